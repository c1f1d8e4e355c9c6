/** What can be said of a job's time: how long tasks take, which are late, when the job will be done. */

import { DONE, REUSED, RUNNING, WAITING } from './model.js';

/** @typedef {import('./model.js').JobModel} JobModel */

/** A task that takes this many times as long as others of its level is late. */
export const LATE_FACTOR = 2;
/** Fewer proofs than this say nothing about how long the others take. */
const PROOFS_LEAST = 3;

/** @param {number[]} values */
export function median(values) {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** How long a task of each level takes, by level; NaN where too few are done. @param {JobModel} model */
export function usual(model) {
  return model.shape.counts.map((_, level) => {
    const durations = model.durations[level] ?? [];
    return durations.length >= PROOFS_LEAST ? median(durations) : NaN;
  });
}

/**
 * The attempts that go on, the latest in comparison with their level first.
 *
 * @param {JobModel} model
 * @param {number} now
 */
export function atWork(model, now) {
  const times = usual(model);
  const rows = [];
  for (const attempts of model.open.values()) {
    for (const attempt of attempts) {
      const typical = times[model.shape.level(attempt.place)];
      const elapsed = Math.max(0, now - attempt.start);
      rows.push({ attempt, elapsed, typical, late: elapsed > LATE_FACTOR * typical });
    }
  }
  const factor = (/** @type {typeof rows[0]} */ row) => row.elapsed / (row.typical || Infinity);
  return rows.sort((a, b) => factor(b) - factor(a) || b.elapsed - a.elapsed);
}

/**
 * Milliseconds until the job is done, or NaN if too little is known. The larger of two bounds: all
 * work that is left, divided by the machines that are at it; and the longest way up the tree.
 *
 * @param {JobModel} model
 * @param {number} now
 */
export function remaining(model, now) {
  if (!model.loaded || model.shape.growing || model.job.state !== 'proving') return NaN;
  const known = usual(model);
  const any = known.find((time) => !Number.isNaN(time));
  const machines = Math.max(model.busy, 1);
  if (any === undefined) return NaN;
  let [work, way] = [0, 0];
  let before = any;
  model.shape.counts.forEach((_, level) => {
    // What no level has shown yet takes about as long as on the level below.
    const time = Number.isNaN(known[level]) ? before : known[level];
    before = time;
    const counts = model.counts[level];
    const undone = counts[WAITING] + counts[RUNNING];
    work += time * counts[WAITING];
    if (undone > 0) way += time;
  });
  for (const row of atWork(model, now)) work += Math.max(0, (row.typical || any) - row.elapsed);
  return Math.max(work / machines, way);
}

/** Proofs accepted in the last minute before `now`. @param {JobModel} model @param {number} now */
export function lastMinute(model, now) {
  let from = model.acceptedAt.length;
  while (from > 0 && model.acceptedAt[from - 1] > now - 60_000) from -= 1;
  return model.acceptedAt.length - from;
}

/**
 * How a job stands to its deadline.
 *
 * @param {any} job
 * @param {number} now
 * @param {number} left as `remaining` has it
 * @returns {{ left: number, late: boolean, willBeLate: boolean } | null}
 */
export function deadline(job, now, left) {
  if (job.deadline_s === undefined || job.deadline_s === null) return null;
  const due = job.submitted_ms + job.deadline_s * 1000;
  const end = job.ended_ms ?? now;
  return { left: due - end, late: end > due, willBeLate: now + left > due };
}

/** Done tasks of a level, proofs of earlier runs included. @param {number[]} counts */
export const doneOf = (counts) => counts[DONE] + counts[REUSED];

/**
 * How a machine's time in a job was spent, until `now` or until it left.
 *
 * @param {import('./model.js').Lane} lane
 * @param {number} now
 */
export function spent(lane, now) {
  let [busy, wasted, accepted, other, covered] = [0, 0, 0, 0, -Infinity];
  for (const { start, end, how } of lane.attempts) {
    const until = Number.isNaN(end) ? now : end;
    const fresh = Math.max(0, until - Math.max(start, covered));
    covered = Math.max(covered, until);
    busy += fresh;
    if (how === 'accepted') accepted += 1;
    else if (how !== null) {
      other += 1;
      wasted += fresh;
    }
  }
  const first = lane.attempts[0]?.start ?? now;
  const last = lane.left ? Math.max(covered, first) : now;
  const present = Math.max(last - first, 1);
  return { busy, wasted, accepted, other, present, idle: Math.max(0, 1 - busy / present) };
}
