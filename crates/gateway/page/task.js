/** A task in words, and all tasks of a job as a table. */

import { h, setText } from './dom.js';
import { usual } from './estimate.js';
import { age, bytes, clean, counted, duration, NONE } from './format.js';
import { DONE, RUNNING, STATE_NAMES, WAITING } from './model.js';
import { VirtualTable } from './table.js';

/** @typedef {import('./model.js').JobModel} JobModel */

/**
 * @param {JobModel} model
 * @param {number} place
 * @param {number} now
 * @returns {{ title: string, lines: string[] }}
 */
export function describe(model, place, now) {
  const { shape } = model;
  const level = shape.level(place);
  const name = shape.name(place);
  const title = name === 'final' ? 'Final proof' : `${name} · ${shape.levelName(level, 1)}`;
  const lines = [status(model, place, now)];
  const typical = usual(model)[level];
  if (model.states[place] === RUNNING && !Number.isNaN(typical)) lines.push(`Others took ${duration(typical)}`);
  const size = model.sizes.get(place);
  if (size !== undefined) lines.push(`Proof of ${bytes(size)}`);
  if (model.troubles[place] > 0) lines.push(`${counted(model.troubles[place], 'attempt')} came to nothing`);
  if (level > 0) {
    const [first, last] = shape.covered(place);
    lines.push(first === last ? `Covers segment ${first}` : `Covers segments ${first} to ${last}`);
  }
  return { title, lines };
}

/** @param {JobModel} model @param {number} place @param {number} now */
function status(model, place, now) {
  const state = model.states[place];
  const open = model.open.get(place);
  if (state === RUNNING && open) {
    const who = open.slice(0, 3).map((attempt) => clean(attempt.lane.name, 24)).join(', ');
    return `Running on ${who} for ${age(now - open[0].start)}`;
  }
  const made = model.made.get(place);
  if (state === DONE && made) {
    return `Done by ${clean(made.lane.name, 24)} in ${duration(made.end - made.start)}`;
  }
  if (state === WAITING) return isReady(model, place) ? 'Waits for a machine' : 'Waits for the proofs below it';
  const name = STATE_NAMES[state];
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** Whether all that a task takes is there. @param {JobModel} model @param {number} place */
function isReady(model, place) {
  const [from, to] = model.shape.children(place);
  for (let child = from; child < to; child += 1) if (model.states[child] < DONE) return false;
  return true;
}

const FILTERS = [
  ['all', 'All tasks'], ['running', 'Running'], ['trouble', 'With failed attempts'], ['waiting', 'Waiting'],
  ['done', 'Done'],
];

/** The tasks as a table: what the drawn tree shows, for those who do not see or point. */
export class TaskTable {
  /** @param {JobModel} model @param {() => number} now */
  constructor(model, now) {
    this.model = model;
    this.now = now;
    this.filter = 'all';
    /** @type {number[]} */
    this.places = [];
    this.table = new VirtualTable({
      label: 'Tasks',
      columns: [
        { key: 'task', name: 'Task' },
        { key: 'state', name: 'State' },
        { key: 'machine', name: 'Machine' },
        { key: 'time', name: 'Time', number: true },
        { key: 'bytes', name: 'Proof', number: true, wide: true },
        { key: 'troubles', name: 'Failed attempts', number: true, wide: true },
      ],
      fill: (row, index) => this.fill(row, this.places[index]),
    });
    const select = h('select', { on: { change: () => this.choose(select.value) } },
      ...FILTERS.map(([value, name]) => h('option', { value }, name)));
    this.total = h('span', { class: 'muted' });
    this.element = h('div', {},
      h('div', { class: 'tools' }, h('label', {}, 'Show ', select), this.total), this.table.element);
  }

  /** @param {string} filter */
  choose(filter) {
    this.filter = filter;
    this.refresh();
  }

  refresh() {
    const { model, filter } = this;
    const places = [];
    for (let place = 0; place < model.shape.tasks; place += 1) {
      const state = model.states[place];
      const wanted = filter === 'all' || (filter === 'trouble' && model.troubles[place] > 0)
        || (filter === 'done' ? state >= DONE : STATE_NAMES[state] === filter);
      if (wanted) places.push(place);
    }
    this.places = places;
    setText(this.total, counted(places.length, 'task'));
    this.table.setCount(places.length);
    this.table.refresh();
  }

  /** @param {Record<string, (text: string, state?: string) => void>} row @param {number} place */
  fill(row, place) {
    const { model } = this;
    const state = model.states[place];
    const attempt = model.open.get(place)?.[0] ?? model.made.get(place);
    row.task(model.shape.name(place));
    row.state(STATE_NAMES[state], ['waiting', 'running', 'done', 'reused'][state]);
    row.machine(attempt ? clean(attempt.lane.name, 24) : NONE);
    const until = attempt && Number.isNaN(attempt.end) ? this.now() : attempt?.end ?? NaN;
    row.time(attempt ? duration(until - attempt.start) : NONE);
    row.bytes(bytes(model.sizes.get(place) ?? NaN));
    row.troubles(model.troubles[place] ? String(model.troubles[place]) : NONE);
  }
}
