/** What has happened, in sentences, newest first. */

import { freshId, h, perFrame, setHidden } from './dom.js';
import { amount, bytes, clean, clock, count, counted, stateName } from './format.js';

const KEPT = 400;
const SHOWN = 150;
const WORDS_MOST = 400;

/** Events that are many, and that the tree shows already. */
const ROUTINE = new Set(['started', 'accepted', 'cut']);
const BAD = new Set(['retrying', 'reopened', 'revoked', 'left']);

/**
 * @param {any} event
 * @param {(machine: number) => string} nameOf
 * @returns {string} empty for what is not worth a line
 */
export function sentence(event, nameOf) {
  const who = 'machine' in event ? clean(nameOf(event.machine), 24) : '';
  const task = clean(event.task, 24);
  switch (event.type) {
    case 'state': {
      const why = event.error ? `: ${clean(event.error.detail, WORDS_MOST)}` : '';
      return `The job is ${stateName(event.state).toLowerCase()}${why}`;
    }
    case 'cut': return `${counted(event.segments, 'segment')} cut so far`;
    case 'planned': {
      const kept = event.reused > 0 ? `, ${count(event.reused)} of them kept from before` : '';
      return `Planned: ${amount(event.instructions)} instructions in ${counted(event.segments, 'segment')}, ${counted(event.tasks, 'task')}${kept}`;
    }
    case 'joined': return `${clean(event.name, 24)} took its first task`;
    case 'left': return `${who} is gone`;
    case 'started': return `${who} began ${task}`;
    case 'accepted': return `${who} has proven ${task}, ${bytes(event.bytes)}`;
    case 'revoked': return `${task} was taken from ${who}, or given back`;
    case 'retrying': return `${task} goes to another machine: ${clean(event.reason, WORDS_MOST)}`;
    case 'reopened': return `${task} is open again: ${clean(event.reason, WORDS_MOST)}`;
    case 'notice': return clean(event.text, WORDS_MOST);
    default: return '';
  }
}

export class EventLog {
  /** @param {object} options @param {string} options.label @param {boolean} [options.routine] whether the reader may ask for each task */
  constructor({ label, routine = false }) {
    /** @type {{ at: number, text: string, kind: string }[]} */
    this.lines = [];
    this.all = false;
    const id = freshId('log-all');
    this.box = h('input', { type: 'checkbox', id, on: { change: () => this.choose(this.box.checked) } });
    this.list = h('ol', { class: 'log', tabindex: '0', 'aria-label': label });
    this.none = h('p', { class: 'muted' }, 'Nothing to tell since this page was opened.');
    this.element = h('div', {},
      routine && h('div', { class: 'tools' }, this.box, h('label', { for: id }, 'Each task too')), this.list, this.none);
    this.paint = perFrame(() => this.draw());
    this.draw();
  }

  /** @param {boolean} all */
  choose(all) {
    this.all = all;
    this.paint();
  }

  /** @param {number} at @param {string} text @param {string} kind the type of the event */
  add(at, text, kind) {
    if (text === '') return;
    // What documents tell of the past may come after the first events.
    let place = 0;
    while (place < this.lines.length && this.lines[place].at > at) place += 1;
    this.lines.splice(place, 0, { at, text, kind });
    if (this.lines.length > KEPT) {
      // What is rare is kept longest.
      const last = this.lines.findLastIndex((line) => ROUTINE.has(line.kind));
      this.lines.splice(last < 0 ? this.lines.length - 1 : last, 1);
    }
    if (this.all || !ROUTINE.has(kind)) this.paint();
  }

  draw() {
    const shown = this.lines.filter((line) => this.all || !ROUTINE.has(line.kind)).slice(0, SHOWN);
    while (this.list.children.length > shown.length) this.list.lastChild?.remove();
    while (this.list.children.length < shown.length) this.list.append(h('li', {}, h('time', {}), h('span', { class: 'foreign' })));
    shown.forEach((line, at) => {
      const item = /** @type {HTMLElement} */ (this.list.children[at]);
      if (item.dataset.at === `${line.at} ${line.text}`) return;
      item.dataset.at = `${line.at} ${line.text}`;
      /** @type {Node} */ (item.firstChild).textContent = clock(line.at);
      /** @type {Node} */ (item.lastChild).textContent = line.text;
      item.className = BAD.has(line.kind) ? 'bad' : line.kind === 'notice' ? 'note' : '';
    });
    setHidden(this.list, shown.length === 0);
    setHidden(this.none, shown.length > 0);
  }
}
