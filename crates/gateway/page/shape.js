/**
 * The tree above a job's segments: which task takes which proofs. It is the arithmetic of
 * `core::Tree`, so that the service need not send thousands of edges.
 *
 * A task's *place* counts all tasks through: segments, then the nodes of each level, then the final
 * proof.
 */

/** More tasks than this are not drawn one by one, nor kept one by one. */
export const TASKS_MAX = 2_000_000;

/** The lowest level whose single node can become the final proof. */
const TOP_LEVEL_MIN = 3;

/** @typedef {{ leaf: number, internal_for_leaf: number, internal: number }} Arities */

export class Shape {
  /**
   * @param {number} segments
   * @param {Arities | undefined} arities none while the plan grows
   */
  constructor(segments, arities) {
    const known = Number.isSafeInteger(segments) && segments >= 0 ? Math.min(segments, TASKS_MAX) : 0;
    /** How many tasks each level has, segments first. @type {number[]} */
    this.counts = [known];
    this.growing = !arities || known === 0 || !sensible(arities);
    if (arities && !this.growing) {
      while (this.counts.length <= TOP_LEVEL_MIN || this.counts[this.counts.length - 1] > 1) {
        const level = this.counts.length;
        const arity = level === 1 ? arities.leaf : level === 2 ? arities.internal_for_leaf : arities.internal;
        this.counts.push(Math.ceil(this.counts[level - 1] / arity));
      }
      // The final proof, as a level of its own.
      this.counts.push(1);
    }
    /** The place of each level's first task; the last is where the tree ends. @type {number[]} */
    this.starts = [0];
    for (const count of this.counts) this.starts.push(this.starts[this.starts.length - 1] + count);
    this.tasks = this.starts[this.starts.length - 1];
  }

  get levels() {
    return this.counts.length;
  }

  /** The level of the final proof, or -1. */
  get finalLevel() {
    return this.growing ? -1 : this.counts.length - 1;
  }

  /** @param {number} place */
  level(place) {
    let level = 0;
    while (place >= this.starts[level + 1]) level += 1;
    return level;
  }

  /** @param {number} place */
  name(place) {
    const level = this.level(place);
    const index = place - this.starts[level];
    if (level === 0) return `s${index}`;
    return level === this.finalLevel ? 'final' : `n${level}.${index}`;
  }

  /** The place of a task by its name; -1 if the tree has no such task. @param {string} name */
  place(name) {
    if (name === 'final') return this.growing ? -1 : this.starts[this.finalLevel];
    const match = /^(?:s(\d{1,10})|n(\d{1,3})\.(\d{1,10}))$/.exec(String(name));
    if (!match) return -1;
    const level = match[1] === undefined ? Number(match[2]) : 0;
    const index = Number(match[1] ?? match[3]);
    const isLevel = level === 0 ? match[1] !== undefined : level < this.levels - 1;
    return isLevel && index < this.counts[level] ? this.starts[level] + index : -1;
  }

  /** The places of a task's children, the end excluded. @param {number} place @returns {[number, number]} */
  children(place) {
    const level = this.level(place);
    if (level === 0) return [0, 0];
    const index = place - this.starts[level];
    const below = this.counts[level - 1];
    const start = (/** @type {number} */ group) => Math.floor((group * below) / this.counts[level]);
    return [this.starts[level - 1] + start(index), this.starts[level - 1] + start(index + 1)];
  }

  /** The place of the task that takes this one's proof, or -1. @param {number} place */
  parent(place) {
    const level = this.level(place);
    if (level + 1 >= this.levels) return -1;
    const index = place - this.starts[level];
    const groups = this.counts[level + 1];
    // The inverse of `children`: the last group that starts at or before this place.
    return this.starts[level + 1] + Math.ceil(((index + 1) * groups) / this.counts[level]) - 1;
  }

  /** The first and the last segment below a task. @param {number} place @returns {[number, number]} */
  covered(place) {
    let [first, last] = [place, place];
    while (this.level(first) > 0) {
      first = this.children(first)[0];
      last = this.children(last)[1] - 1;
    }
    return [first, last];
  }

  /** What the tasks of a level are called. @param {number} level @param {number} [many] */
  levelName(level, many = 2) {
    if (level === 0) return many === 1 ? 'segment' : 'segments';
    if (level === this.finalLevel) return 'final proof';
    if (level === 1) return many === 1 ? 'leaf' : 'leaves';
    return `${many === 1 ? 'node' : 'nodes'} of level ${level}`;
  }
}

/** @param {Arities} arities */
function sensible(arities) {
  const whole = (/** @type {unknown} */ value, /** @type {number} */ least) =>
    Number.isSafeInteger(value) && Number(value) >= least;
  return whole(arities.leaf, 1) && whole(arities.internal_for_leaf, 1) && whole(arities.internal, 2);
}
