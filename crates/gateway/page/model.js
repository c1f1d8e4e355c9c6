/**
 * A job as the page knows it: the job's document, the states of its tasks, and who was at which task
 * when. It is loaded from documents and kept up to date by events. It does no I/O and draws nothing.
 *
 * Documents and events reach the page on different ways, so that an event may tell what a document
 * has told already. Each is therefore applied such that a second time changes nothing.
 */

import { isOver } from './format.js';
import { Shape } from './shape.js';

export const WAITING = 0;
export const RUNNING = 1;
export const DONE = 2;
export const REUSED = 3;
const STATE_OF = new Map([['waiting', WAITING], ['running', RUNNING], ['done', DONE], ['reused', REUSED]]);
export const STATE_NAMES = ['waiting', 'running', 'done', 'kept from before'];

const ATTEMPTS_MAX = 60_000;
const DURATIONS_KEPT = 240;

/**
 * @typedef {object} Attempt
 * @property {Lane} lane
 * @property {number} place
 * @property {number} start in milliseconds since 1970
 * @property {number} end NaN while it goes on
 * @property {'accepted' | 'revoked' | 'left' | null} how
 */

/** A machine's time in a job. @typedef {{ machine: number, name: string, left: boolean, attempts: Attempt[] }} Lane */

export class JobModel {
  /** @param {any} job the job's document */
  constructor(job) {
    this.job = job;
    this.loaded = false;
    this.shape = new Shape(0, undefined);
    this.clear();
  }

  clear() {
    const { tasks, levels } = this.shape;
    this.states = new Uint8Array(tasks);
    /** How often each task was given to another machine, or made anew. */
    this.troubles = new Uint8Array(tasks);
    /** By level and state. @type {number[][]} */
    this.counts = Array.from({ length: levels }, (_, level) => [this.shape.counts[level], 0, 0, 0]);
    /** @type {Lane[]} */
    this.lanes = [];
    /** The lane that has each machine's number now. @type {Map<number, Lane>} */
    this.laneOf = new Map();
    /** Attempts that go on, by place. @type {Map<number, Attempt[]>} */
    this.open = new Map();
    /** The attempt whose proof was accepted, by place. @type {Map<number, Attempt>} */
    this.made = new Map();
    /** @type {Map<number, number>} */
    this.sizes = new Map();
    /** The latest durations of accepted attempts, by level. @type {number[][]} */
    this.durations = [];
    /** When proofs were accepted, in order. @type {number[]} */
    this.acceptedAt = [];
    this.attemptCount = 0;
    this.origin = NaN;
    /** The last event that the document of the tasks has in it. @type {number[] | null} */
    this.upTo = null;
    /** Places whose colour has changed since they were painted. @type {Set<number>} */
    this.dirty = new Set();
    /** Counts up when views must lay themselves out anew. */
    this.version = (this.version ?? 0) + 1;
  }

  /** @param {any} tasks the document of the job's tasks */
  load(tasks) {
    this.shape = new Shape(tasks.segments, tasks.arities);
    this.clear();
    this.loaded = true;
    this.upTo = placeOf(tasks.event);
    this.origin = tasks.origin_ms > 0 ? tasks.origin_ms : NaN;
    for (const machine of tasks.machines ?? []) this.lane(machine.machine, machine.name, machine.left === true);
    for (const task of tasks.tasks ?? []) {
      const place = this.shape.place(task.task);
      if (place < 0) continue;
      this.setState(place, STATE_OF.get(task.state) ?? WAITING);
      if (task.bytes !== undefined) this.sizes.set(place, task.bytes);
    }
    for (const row of tasks.attempts ?? []) this.loadAttempt(row, tasks.origin_ms);
    this.acceptedAt.sort((a, b) => a - b);
    this.countTroubles();
    this.count();
    this.dirty.clear();
  }

  /** Attempts that came to nothing, apart from copies of tasks that another machine had done. */
  countTroubles() {
    this.troubles.fill(0);
    // What was at work when the job ended did not fail.
    const over = this.job.ended_ms ?? Infinity;
    for (const { attempts } of this.lanes) {
      for (const { place, how, end } of attempts) {
        const made = this.made.get(place);
        const useless = (made && made.end <= end) || end >= over;
        if (how !== null && how !== 'accepted' && !useless) this.addTrouble(place);
      }
    }
  }

  /** @param {number} place */
  addTrouble(place) {
    this.troubles[place] = Math.min(this.troubles[place] + 1, 255);
    this.dirty.add(place);
  }

  /** @param {any} row @param {number} origin */
  loadAttempt(row, origin) {
    const place = this.shape.place(row.task);
    if (place < 0) return;
    const lane = this.laneOf.get(row.machine) ?? this.lane(row.machine, `#${row.machine}`, true);
    const attempt = this.begin(lane, place, origin + row.start_ms);
    if (row.end_ms === undefined || row.end_ms === null) return;
    this.finish(attempt, origin + row.end_ms, row.end ?? 'revoked');
  }

  /**
   * @param {any} event
   * @param {string | null} [id] its place in the stream
   * @returns {boolean} whether the documents must be asked for again
   */
  apply(event, id) {
    const at = event.at_ms;
    switch (event.type) {
      case 'snapshot':
        this.job = event.now;
        return true;
      case 'state':
        this.job = { ...this.job, state: event.state, error: event.error, updated_ms: at };
        if (isOver(event.state)) this.job.ended_ms = at;
        return true;
      case 'cut': {
        const { segments, reused = 0 } = event;
        const more = reused > this.job.progress.reused;
        if (this.shape.growing && segments > this.shape.counts[0]) this.reshape(segments, undefined);
        this.progress({ segments, reused });
        // The event does not say which proofs an earlier run has left.
        return more;
      }
      case 'planned':
        return this.planned(event);
      default:
        if (!this.knows(id)) this.applyToTasks(event, at);
        return false;
    }
  }

  /** Whether the document of the tasks has an event in it. @param {string | null | undefined} id */
  knows(id) {
    const place = placeOf(id);
    if (!place || !this.upTo) return false;
    return place[0] === this.upTo[0] ? place[1] <= this.upTo[1] : place[0] < this.upTo[0];
  }

  /** @param {any} event @param {number} at */
  applyToTasks(event, at) {
    switch (event.type) {
      case 'joined':
        this.lane(event.machine, event.name, false);
        break;
      case 'left':
        this.leave(event.machine, at);
        break;
      default:
        this.applyToTask(event, at);
        this.count();
    }
  }

  /** A task that is open again lowers what is done. The end of a job is told by its document. */
  count() {
    if (!this.loaded || isOver(this.job.state)) return;
    const done = this.counts.reduce((sum, counts) => sum + counts[DONE] + counts[REUSED], 0);
    if (done !== this.job.progress.done) this.progress({ done });
  }

  /** @param {any} event @param {number} at */
  applyToTask(event, at) {
    const place = event.task === undefined ? -1 : this.shape.place(event.task);
    if (place < 0) return;
    if (event.type === 'started') this.started(event, place, at);
    else if (event.type === 'accepted') this.accepted(event, place, at);
    else if (event.type === 'revoked') this.revoked(event, place, at);
    else if (event.type === 'retrying') this.trouble(place);
    else if (event.type === 'reopened') this.reopened(place);
  }

  /** @param {any} event */
  planned(event) {
    this.reshape(event.segments, event.arities);
    const { instructions, segments, tasks, reused } = event;
    this.progress({ instructions, segments, tasks, reused });
    this.job = { ...this.job, public_values: event.public_values };
    // The event does not say which proofs an earlier run has left.
    return reused > 0;
  }

  /** @param {any} event @param {number} place @param {number} at */
  started(event, place, at) {
    const lane = this.laneOf.get(event.machine) ?? this.lane(event.machine, `#${event.machine}`, false);
    const last = lane.attempts[lane.attempts.length - 1];
    if (last && (last.start > at || (last.start === at && last.place === place))) return;
    this.begin(lane, place, at);
    // The proof of an earlier run is of no use then.
    if (this.states[place] !== DONE) this.setState(place, RUNNING);
  }

  /** @param {any} event @param {number} place @param {number} at */
  accepted(event, place, at) {
    const attempt = this.openOf(place, event.machine);
    if (attempt) this.finish(attempt, at, 'accepted');
    this.sizes.set(place, event.bytes);
    this.setState(place, DONE);
    if (!this.loaded) this.progress({ done: event.done });
  }

  /** @param {any} event @param {number} place @param {number} at */
  revoked(event, place, at) {
    const attempt = this.openOf(place, event.machine);
    if (!attempt || attempt.start > at) return;
    this.finish(attempt, at, 'revoked');
    this.settle(place);
  }

  /** @param {number} machine @param {number} at */
  leave(machine, at) {
    const lane = this.laneOf.get(machine);
    if (!lane || lane.left) return;
    lane.left = true;
    for (const attempt of lane.attempts.filter((attempt) => Number.isNaN(attempt.end))) {
      this.finish(attempt, at, 'left');
      this.settle(attempt.place);
    }
  }

  /** @param {number} place */
  trouble(place) {
    // The end of the attempt itself is told by another event, before or after.
    if (this.troubles[place] === 0) this.addTrouble(place);
    this.settle(place);
  }

  /** @param {number} place */
  reopened(place) {
    this.made.delete(place);
    this.addTrouble(place);
    this.setState(place, this.open.has(place) ? RUNNING : WAITING);
  }

  /** A task that nobody is at any more waits again. @param {number} place */
  settle(place) {
    if (this.states[place] === RUNNING && !this.open.has(place)) this.setState(place, WAITING);
  }

  /** @param {number} segments @param {any} arities */
  reshape(segments, arities) {
    const before = this.shape;
    const next = new Shape(segments, arities);
    if (next.growing === before.growing && next.tasks === before.tasks) return;
    const { states, troubles } = this;
    this.shape = next;
    this.states = new Uint8Array(next.tasks);
    this.troubles = new Uint8Array(next.tasks);
    this.counts = next.counts.map((count) => [count, 0, 0, 0]);
    // Segments keep their places; of nodes there are none before the plan is there.
    const kept = Math.min(before.counts[0], next.counts[0]);
    for (let place = 0; place < kept; place += 1) {
      if (states[place] !== WAITING) this.setState(place, states[place]);
    }
    this.troubles.set(troubles.subarray(0, kept));
    this.version += 1;
  }

  /** @param {number} machine @param {string} name @param {boolean} left */
  lane(machine, name, left) {
    const known = this.laneOf.get(machine);
    if (known && known.name === name && !known.left) return known;
    /** @type {Lane} */
    const lane = { machine, name: String(name), left, attempts: [] };
    this.lanes.push(lane);
    this.laneOf.set(machine, lane);
    return lane;
  }

  /** @param {Lane} lane @param {number} place @param {number} start */
  begin(lane, place, start) {
    /** @type {Attempt} */
    const attempt = { lane, place, start, end: NaN, how: null };
    lane.attempts.push(attempt);
    this.attemptCount += 1;
    if (this.attemptCount > ATTEMPTS_MAX) this.forget();
    const others = this.open.get(place);
    if (others) others.push(attempt);
    else this.open.set(place, [attempt]);
    if (!(this.origin <= start)) this.origin = start;
    this.dirty.add(place);
    return attempt;
  }

  /** @param {Attempt} attempt @param {number} end @param {'accepted' | 'revoked' | 'left'} how */
  finish(attempt, end, how) {
    attempt.end = end;
    attempt.how = how;
    const { place } = attempt;
    const rest = (this.open.get(place) ?? []).filter((other) => other !== attempt);
    if (rest.length > 0) this.open.set(place, rest);
    else this.open.delete(place);
    this.dirty.add(place);
    if (how !== 'accepted') {
      if (!this.made.has(place)) this.addTrouble(place);
      return;
    }
    this.made.set(place, attempt);
    this.acceptedAt.push(end);
    const level = this.shape.level(place);
    const durations = (this.durations[level] ??= []);
    durations.push(end - attempt.start);
    if (durations.length > DURATIONS_KEPT) durations.shift();
  }

  forget() {
    for (const lane of this.lanes) lane.attempts = lane.attempts.slice(Math.floor(lane.attempts.length / 2));
    this.attemptCount = this.lanes.reduce((sum, lane) => sum + lane.attempts.length, 0);
  }

  /** @param {number} place @param {number} machine */
  openOf(place, machine) {
    return this.open.get(place)?.find((attempt) => attempt.lane.machine === machine);
  }

  /** @param {number} place @param {number} state */
  setState(place, state) {
    const before = this.states[place];
    if (before === state) return;
    const counts = this.counts[this.shape.level(place)];
    counts[before] -= 1;
    counts[state] += 1;
    this.states[place] = state;
    this.dirty.add(place);
  }

  /** @param {object} change */
  progress(change) {
    this.job = { ...this.job, progress: { ...this.job.progress, ...change } };
  }

  /** @param {any} job a newer document of the job */
  update(job) {
    this.job = job;
  }

  /** Tasks that are being made, as far as the tasks are known. */
  get running() {
    return this.loaded ? this.open.size : this.job.progress.running;
  }

  /** Machines that are at a task. */
  get busy() {
    const machines = new Set();
    for (const attempts of this.open.values()) for (const attempt of attempts) machines.add(attempt.lane);
    return machines.size;
  }
}

/** The start and the count of an event's id. @param {unknown} id @returns {number[] | null} */
function placeOf(id) {
  const parts = typeof id === 'string' ? /^(\d{1,20})-(\d{1,20})$/.exec(id) : null;
  return parts && [Number(parts[1]), Number(parts[2])];
}
