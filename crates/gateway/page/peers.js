/** The peers of the service: a line of counts, and a table that is searched and sorted. */

import { freshId, h, setHidden, setText } from './dom.js';
import { clean, count, counted, NONE, speed } from './format.js';
import { VirtualTable } from './table.js';

const STANDINGS = /** @type {Record<string, string>} */ ({ own: 'own machine', proven: 'proven', stranger: 'stranger', banned: 'banned' });

export class PeersView {
  /** @param {(job: string) => string} nameOf names a job by its id */
  constructor(nameOf) {
    this.nameOf = nameOf;
    this.query = { search: '', sort: 'doing', descending: true };
    this.first = 0;
    /** @type {any[]} */
    this.rows = [];
    this.sight = '';
    this.worker = new Worker('/page/peers-worker.js', { type: 'module' });
    this.worker.addEventListener('message', ({ data }) => this.take(data));
    this.summary = h('p', { class: 'muted' }, 'Asking for the peers …');
    this.mix = h('div', { class: 'mix', 'aria-hidden': 'true' });
    this.detail = h('p', { class: 'detail muted', 'aria-live': 'polite' });
    this.none = h('p', { class: 'muted', hidden: true }, 'No peer matches the search.');
    const search = freshId('peer-search');
    this.search = h('input', {
      id: search, type: 'search', placeholder: 'name, build, engine, task', autocomplete: 'off', spellcheck: 'false', maxlength: '100',
      on: { input: () => this.ask({ search: this.search.value }) },
    });
    this.tools = h('div', { class: 'tools' }, h('label', { for: search }, 'Search'), this.search);
    this.table = new VirtualTable({
      label: 'Peers',
      columns: [
        { key: 'name', name: 'Peer', sorts: true },
        { key: 'doing', name: 'Does', sorts: true },
        { key: 'standing', name: 'Standing', sorts: true, wide: true },
        { key: 'speed', name: 'Speed', sorts: true, number: true },
        { key: 'accepted', name: 'Accepted', sorts: true, number: true, wide: true },
      ],
      fill: (row, index) => this.fill(row, this.rows[index - this.first]),
      onSort: (key) => this.sort(key),
      onWindow: (first, end) => this.look(first, end),
      onActive: (index) => this.describe(this.rows[index - this.first]),
    });
    this.table.showSort('doing', true);
    this.table.setCount(0);
    this.element = h('div', {}, this.mix, this.summary, this.tools, this.none, this.table.element, this.detail);
    new IntersectionObserver((entries) => {
      this.worker.postMessage({ type: 'seen', seen: entries[entries.length - 1].isIntersecting });
    }, { rootMargin: '200px' }).observe(this.element);
    this.worker.postMessage({ type: 'ask' });
  }

  /** Asks at once: something has changed. */
  refresh() {
    this.worker.postMessage({ type: 'ask' });
  }

  /** Asks soon: peers have begun or finished tasks. */
  changed() {
    this.worker.postMessage({ type: 'changed' });
  }

  /** @param {object} change */
  ask(change) {
    this.query = { ...this.query, ...change };
    this.worker.postMessage({ type: 'query', query: this.query });
  }

  /** @param {string} key */
  sort(key) {
    const descending = key === this.query.sort ? !this.query.descending : key !== 'name';
    this.table.showSort(key, descending);
    this.ask({ sort: key, descending });
  }

  /** @param {number} first @param {number} end */
  look(first, end) {
    const sight = `${first} ${end}`;
    if (sight === this.sight) return;
    this.sight = sight;
    this.worker.postMessage({ type: 'window', sight: { first, end } });
  }

  /** @param {any} news */
  take(news) {
    if (news.type === 'rows') {
      this.first = news.first;
      this.rows = news.rows;
      this.table.refresh();
      return;
    }
    const { connected, listed, found, states, standings, error } = news;
    setHidden(this.tools, listed === 0);
    setHidden(this.mix, listed === 0);
    setHidden(this.none, listed === 0 || found > 0);
    this.table.setCount(found);
    this.share(states);
    if (error && listed === 0) setText(this.summary, clean(error, 200));
    else setText(this.summary, inWords(connected, listed, found, states, standings));
  }

  /** @param {Record<string, number>} states */
  share(states) {
    const parts = Object.entries(states).filter(([, value]) => value > 0);
    while (this.mix.children.length < parts.length) this.mix.append(h('span', {}));
    while (this.mix.children.length > parts.length) this.mix.lastChild?.remove();
    parts.forEach(([state, value], at) => {
      this.mix.children[at].dataset.state = state;
      this.mix.children[at].style.flexGrow = String(value);
    });
  }

  /** @param {Record<string, (text: string, state?: string) => void>} row @param {any} peer */
  fill(row, peer) {
    if (!peer) {
      for (const set of Object.values(row)) set('…', '');
      return;
    }
    row.name(clean(peer.name, 24) || NONE);
    row.doing(this.doing(peer, 1), peer.state);
    row.standing(STANDINGS[peer.standing] ?? clean(peer.standing, 20), peer.standing);
    row.speed(speed(peer.speed_milli));
    row.accepted(count(peer.accepted));
  }

  /** @param {any} peer @param {number} most tasks to name */
  doing(peer, most) {
    if (peer.state !== 'proving' || peer.tasks.length === 0) {
      return peer.state === 'bystander' ? 'no prover for us' : clean(peer.state, 20);
    }
    const named = peer.tasks.slice(0, most).map((/** @type {any} */ task) => `${clean(task.task, 16)} of ${clean(this.nameOf(task.job), 32)}`);
    const rest = peer.tasks.length - named.length;
    return named.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
  }

  /** @param {any} peer */
  describe(peer) {
    if (!peer) return;
    const engines = peer.engines.slice(0, 8).map((/** @type {string} */ engine) => clean(engine, 20)).join(', ');
    setText(this.detail, `${clean(peer.id, 80)} · ${clean(peer.build, 60) || 'unknown build'} · ${engines || 'no engine'} · ${STANDINGS[peer.standing] ?? clean(peer.standing, 20)} · ${speed(peer.speed_milli)} · ${counted(peer.accepted, 'proof')} accepted · ${this.doing(peer, 4)}`);
  }
}

/**
 * @param {number} connected
 * @param {number} listed
 * @param {number} found
 * @param {Record<string, number>} states
 * @param {Record<string, number>} standings
 */
function inWords(connected, listed, found, states, standings) {
  if (connected === 0) return 'No peer is connected. Provers find this service on the local network, or by its bootstrap peers.';
  const parts = [`${counted(connected, 'peer')} connected`];
  if (connected > listed) parts.push(`${count(listed)} listed`);
  parts.push(`${count(states.proving)} proving`, `${count(states.idle)} idle`);
  if (states.bystander > 0) parts.push(counted(states.bystander, 'bystander'));
  if (standings.stranger > 0) parts.push(counted(standings.stranger, 'stranger'));
  if (standings.banned > 0) parts.push(`${count(standings.banned)} banned`);
  if (found < listed) parts.push(`${count(found)} found`);
  return parts.join(' · ');
}
