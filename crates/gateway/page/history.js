/** Jobs that are over, with links to their proofs. */

import { get, jobPage } from './api.js';
import { chip } from './card.js';
import { freshId, h, setHidden, setText } from './dom.js';
import { bytes, clean, count, day, duration, isOver, NONE, STATES } from './format.js';

const PART = 20;
const ROWS_MOST = 2_000;

export class History {
  /** @param {(jobs: any[]) => void} onJobs told all jobs of the first part */
  constructor(onJobs) {
    this.onJobs = onJobs;
    this.state = '';
    /** @type {any[]} */
    this.jobs = [];
    /** @type {string | undefined} */
    this.next = undefined;
    const id = freshId('history-state');
    this.select = h('select', { id, on: { change: () => this.choose(this.select.value) } },
      h('option', { value: '' }, 'All'),
      ...Object.entries(STATES).filter(([state]) => isOver(state)).map(([state, name]) => h('option', { value: state }, name)));
    this.body = h('tbody', {});
    this.table = h('table', { class: 'history' },
      h('thead', {}, h('tr', {},
        h('th', { scope: 'col' }, 'Job'), h('th', { scope: 'col' }, 'State'), h('th', { scope: 'col', class: 'wide' }, 'Block'),
        h('th', { scope: 'col', class: 'wide' }, 'Ended'), h('th', { scope: 'col', class: 'number mid' }, 'Took'),
        h('th', { scope: 'col', class: 'number wide' }, 'Tasks'), h('th', { scope: 'col', class: 'number' }, 'Proof'))), this.body);
    this.none = h('p', { class: 'muted' }, 'Asking for earlier jobs …');
    this.more = h('button', { type: 'button', hidden: true, on: { click: () => this.load(true) } }, 'Show more');
    this.tools = h('div', { class: 'tools', hidden: true }, h('label', { for: id }, 'State'), this.select);
    this.element = h('div', {}, this.tools, this.table, this.none, this.more);
    setHidden(this.table, true);
  }

  /** @param {string} state */
  choose(state) {
    this.state = state;
    this.load(false);
  }

  /** @param {boolean} further whether the next part is asked for, or the first one anew */
  async load(further) {
    const asked = this.state;
    const parts = [`limit=${PART}`];
    if (asked) parts.push(`state=${asked}`);
    if (further && this.next) parts.push(`before=${encodeURIComponent(this.next)}`);
    let list;
    try {
      list = await get(`/v1/jobs?${parts.join('&')}`);
    } catch (error) {
      if (this.jobs.length === 0) setText(this.none, clean(/** @type {Error} */ (error).message, 200));
      return;
    }
    if (asked !== this.state) return;
    if (!further && asked === '') this.onJobs(list.jobs);
    this.jobs = further ? [...this.jobs, ...list.jobs].slice(0, ROWS_MOST) : list.jobs;
    this.next = list.next;
    this.show();
  }

  show() {
    const over = this.jobs.filter((job) => isOver(job.state));
    this.body.replaceChildren(...over.map(line));
    setHidden(this.table, over.length === 0);
    setHidden(this.none, over.length > 0);
    setHidden(this.tools, over.length === 0 && !this.state);
    setText(this.none, this.state ? 'No such job.' : 'No job has ended yet.');
    setHidden(this.more, !this.next || this.jobs.length >= ROWS_MOST);
  }
}

/** @param {any} job */
function line(job) {
  const { block, proof, progress } = job;
  const took = proof?.wall_ms ?? (job.ended_ms ? job.ended_ms - job.submitted_ms : NaN);
  const late = proof?.in_time === false ? h('span', { class: 'bad' }, ' late') : null;
  const name = clean(job.name, 80) || job.id.slice(0, 12);
  return h('tr', {},
    h('td', { class: 'foreign' }, h('a', { href: jobPage(job.id) }, name)),
    h('td', {}, chip(job.state)),
    h('td', { class: 'wide' }, block ? count(block.number) : NONE),
    h('td', { class: 'wide' }, day(job.ended_ms ?? job.updated_ms)),
    h('td', { class: 'number mid' }, duration(took), late),
    h('td', { class: 'number wide' }, count(progress.tasks ?? progress.done)),
    h('td', { class: 'number' }, proof
      ? h('a', { href: proof.href, download: true, 'aria-label': `Download the proof of ${name}, ${bytes(proof.bytes)}` }, bytes(proof.bytes))
      : NONE));
}
