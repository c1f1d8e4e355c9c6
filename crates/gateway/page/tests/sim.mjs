/**
 * A job that is proven by pretended machines, in virtual time: it makes the documents and events of
 * the HTTP API as the service would. The same seed makes the same job.
 */

import { Shape } from '../shape.js';

export const ARITIES = { leaf: 3, internal_for_leaf: 3, internal: 3 };

/** Small, and the same everywhere (mulberry32). @param {number} seed */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** @param {() => number} next @param {number} length @param {string} letters */
export function letters(next, length, letters) {
  return Array.from({ length }, () => letters[Math.floor(next() * letters.length)]).join('');
}

/** @param {() => number} next */
export function peerId(next) {
  return `12D3KooW${letters(next, 44, BASE58)}`;
}

/** @param {() => number} next */
export const hex = (next, digits = 64) => letters(next, digits, '0123456789abcdef');

const SECONDS = [11, 2.6, 2.2, 2.0];
const REASONS = [
  'the proof of s{i} does not verify: the commitment to its trace differs',
  'the child ended by signal 9 (out of memory) after 8.2 s',
  'no sign of life for 12 s',
];

export class SimJob {
  /**
   * @param {object} options
   * @param {number} options.seed
   * @param {string} options.name
   * @param {number} options.segments
   * @param {number} options.machines
   * @param {number} options.start milliseconds since 1970
   * @param {object} [options.more] fields of the job's document
   * @param {number} [options.failures] of a task, as a probability
   * @param {number} [options.seconds] for a segment
   * @param {number} [options.reused] segments that an earlier run has left
   * @param {string[]} [options.names] of machines
   */
  constructor({ seed, name, segments, machines, start, more = {}, failures = 0.01, seconds = SECONDS[0], reused = 0, names }) {
    this.next = random(seed);
    this.failures = failures;
    this.seconds = seconds;
    this.start = start;
    this.time = start;
    this.shape = new Shape(segments, ARITIES);
    this.states = new Array(this.shape.tasks).fill('waiting');
    for (let place = 0; place < reused; place += 1) this.states[place] = 'reused';
    this.reused = reused;
    this.by = new Map();
    this.sizes = new Map();
    this.attempts = [];
    this.cursor = this.shape.counts.map(() => 0);
    this.retry = [];
    this.machines = Array.from({ length: machines }, (_, machine) => ({
      machine,
      name: names?.[machine] ?? letters(this.next, 6, BASE58),
      left: false,
      speed: 0.6 + this.next() * 0.9,
      free: start + 400 + Math.floor(this.next() * 4000),
      attempt: null,
      known: false,
    }));
    this.events = [];
    this.job = {
      id: hex(this.next), name, engine: 'openvm', state: 'proving', priority: 0,
      submitted_ms: start - 2600, updated_ms: start,
      progress: { done: reused, tasks: this.shape.tasks, segments, instructions: segments * 1_340_000, reused, running: 0 },
      public_values: `0x${hex(this.next)}`,
      ...more,
    };
  }

  /** @param {number} at @param {object} news */
  tell(at, news) {
    this.events.push({ at_ms: at, job: this.job.id, ...news });
  }

  ready(place) {
    const [from, to] = this.shape.children(place);
    for (let child = from; child < to; child += 1) if (this.states[child] !== 'done' && this.states[child] !== 'reused') return false;
    return this.states[place] === 'waiting';
  }

  take() {
    const again = this.retry.shift();
    if (again !== undefined && this.states[again] === 'waiting') return again;
    for (let level = this.shape.levels - 1; level > 0; level -= 1) {
      const [from, to] = [this.shape.starts[level], this.shape.starts[level + 1]];
      while (this.cursor[level] < to - from && this.states[from + this.cursor[level]] !== 'waiting') this.cursor[level] += 1;
      for (let place = from + this.cursor[level]; place < Math.min(to, from + this.cursor[level] + 80); place += 1) if (this.ready(place)) return place;
    }
    while (this.cursor[0] < this.shape.counts[0] && this.states[this.cursor[0]] !== 'waiting') this.cursor[0] += 1;
    return this.cursor[0] < this.shape.counts[0] ? this.cursor[0] : -1;
  }

  /** Goes on until a time. @param {number} until */
  advance(until) {
    const step = 50;
    while (this.time < until && this.job.state === 'proving') {
      this.time = Math.min(this.time + step, until);
      for (const machine of this.machines) this.turn(machine);
    }
    this.job.updated_ms = this.time;
    this.job.progress.running = this.machines.filter((machine) => machine.attempt).length;
    const events = this.events;
    this.events = [];
    return events;
  }

  turn(machine) {
    if (machine.left || machine.free > this.time) return;
    if (machine.attempt) {
      this.finish(machine);
      // Files travel between two tasks.
      machine.free = this.time + Math.floor(this.next() ** 3 * 2600) + 120;
      return;
    }
    const place = this.take();
    if (place < 0) return;
    const level = this.shape.level(place);
    const at = this.time;
    if (!machine.known) {
      machine.known = true;
      this.tell(at, { type: 'joined', machine: machine.machine, name: machine.name });
    }
    const base = (level === 0 ? this.seconds : SECONDS[Math.min(level, 3)] * (this.seconds / SECONDS[0])) * 1000;
    const slow = this.next() < 0.012 ? 3.2 : 1;
    machine.free = at + Math.round((base * (0.85 + this.next() * 0.3) * slow) / machine.speed);
    machine.attempt = { machine: machine.machine, task: this.shape.name(place), start_ms: at - this.start };
    machine.fails = this.next() < this.failures;
    machine.place = place;
    this.attempts.push(machine.attempt);
    this.states[place] = 'running';
    this.by.set(place, [machine.machine]);
    this.tell(at, { type: 'started', machine: machine.machine, task: machine.attempt.task });
  }

  finish(machine) {
    const { attempt, place } = machine;
    const at = machine.free;
    attempt.end_ms = at - this.start;
    machine.attempt = null;
    if (machine.fails) {
      const leaves = this.next() < 0.25;
      attempt.end = leaves ? 'left' : 'revoked';
      this.states[place] = 'waiting';
      this.by.delete(place);
      this.retry.push(place);
      if (leaves) {
        machine.left = true;
        this.tell(at, { type: 'left', machine: machine.machine });
      } else {
        this.tell(at, { type: 'revoked', machine: machine.machine, task: attempt.task });
      }
      const reason = REASONS[leaves ? 2 : Math.floor(this.next() * 2)].replace('{i}', String(place));
      this.tell(at, { type: 'retrying', task: attempt.task, reason });
      return;
    }
    attempt.end = 'accepted';
    const bytes = 380_000 + Math.floor(this.next() * 900_000);
    this.states[place] = 'done';
    this.sizes.set(place, bytes);
    this.job.progress.done += 1;
    this.tell(at, { type: 'accepted', machine: machine.machine, task: attempt.task, bytes, done: this.job.progress.done });
    if (place === this.shape.tasks - 1) this.finished(at);
  }

  finished(at) {
    const { job } = this;
    job.state = 'done';
    job.ended_ms = at;
    job.updated_ms = at;
    const wall = at - this.start + 2600;
    job.proof = {
      bytes: 534_636, href: `/v1/jobs/${job.id}/proof`, baseline_href: `/v1/jobs/${job.id}/baseline`, verify_ms: 16, wall_ms: wall,
      ...(job.deadline_s ? { in_time: wall <= job.deadline_s * 1000 } : {}),
      verify: job.block ? `--block ${job.name}.json.gz` : `--program ${job.name}.elf`,
    };
    this.tell(at, { type: 'state', state: 'done' });
  }

  /** Ends the job before its time. @param {object} change */
  end(change) {
    for (const machine of this.machines) {
      if (!machine.attempt) continue;
      machine.attempt.end_ms = this.time - this.start;
      machine.attempt.end = 'revoked';
      this.states[machine.place] = 'waiting';
      this.by.delete(machine.place);
      machine.attempt = null;
    }
    Object.assign(this.job, { ended_ms: this.time, updated_ms: this.time }, change);
    this.job.progress.running = 0;
  }

  tasks() {
    const tasks = [];
    this.states.forEach((state, place) => {
      if (state === 'waiting') return;
      const task = { task: this.shape.name(place), state };
      const machines = this.by.get(place);
      if (machines) task.machines = machines;
      if (this.sizes.has(place)) task.bytes = this.sizes.get(place);
      tasks.push(task);
    });
    return {
      segments: this.shape.counts[0], arities: ARITIES, tasks,
      machines: this.machines.filter((machine) => machine.known).map(({ machine, name, left }) => ({ machine, name, left })),
      attempts: this.attempts.slice(-20_000), origin_ms: this.start,
    };
  }
}

/** @param {() => number} next @param {number} number */
export function blockFacts(next, number, more = {}) {
  return {
    chain_id: 59144, number, block_hash: `0x${hex(next)}`, parent_state_root: `0x${hex(next)}`, state_root: `0x${hex(next)}`,
    blocks: 1, gas_used: 8_000_000 + Math.floor(next() * 22_000_000), transactions: 40 + Math.floor(next() * 300), ...more,
  };
}

/**
 * @param {number} seed
 * @param {number} count
 * @param {SimJob[]} jobs whose machines are among the peers
 */
export function makePeers(seed, count, jobs) {
  const next = random(seed);
  const peers = [];
  for (const sim of jobs) {
    for (const machine of sim.machines.filter((machine) => !machine.left)) {
      const id = peerId(next);
      peers.push({
        id: id.slice(0, id.length - 6) + (machine.name.length === 6 ? machine.name : id.slice(-6)), name: machine.name,
        build: 'myriad 0.1.0', engines: ['openvm'], state: machine.attempt ? 'proving' : 'idle', standing: machine.machine === 0 ? 'own' : 'proven',
        tasks: machine.attempt ? [{ job: sim.job.id, task: machine.attempt.task }] : [],
        speed_milli: Math.round(machine.speed * 1000), accepted: 3 + Math.floor(next() * 400),
      });
    }
  }
  while (peers.length < count) {
    const id = peerId(next);
    const kind = next();
    const measured = kind < 0.7;
    peers.push({
      id, name: id.slice(-6), build: kind < 0.9 ? 'myriad 0.1.0' : 'myriad 0.0.9',
      engines: kind < 0.06 ? [] : kind < 0.3 ? ['openvm', 'risc0'] : ['openvm'],
      state: kind < 0.06 ? 'bystander' : 'idle', standing: kind > 0.985 ? 'banned' : measured ? 'proven' : 'stranger', tasks: [],
      ...(measured ? { speed_milli: 200 + Math.floor(next() * 1900) } : {}),
      accepted: measured ? Math.floor(next() * 900) : 0,
    });
  }
  const busy = (peer) => (peer.tasks.length > 0 ? 1 : 0);
  peers.sort((a, b) => busy(b) - busy(a) || (b.speed_milli ?? 0) - (a.speed_milli ?? 0));
  return { connected: peers.length, peers: peers.slice(0, 10_000) };
}
