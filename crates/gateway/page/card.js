/** A job in work: how far it is, when it will be done, and what holds it up. */

import { jobPage } from './api.js';
import { h, setAttribute, setClass, setHidden, setText } from './dom.js';
import { atWork, deadline, lastMinute, remaining } from './estimate.js';
import { age, amount, clean, count, counted, duration, isOver, percent, STATES, stateName } from './format.js';
import { TreeView } from './tree.js';

const SLOW_SHOWN = 3;

/** The facts about a job's block, or its engine, in a line. @param {any} job */
export function subtitle(job) {
  const { block } = job;
  if (!block) return clean(job.engine, 20);
  const which = block.blocks > 1
    ? `${count(block.blocks)} blocks up to ${count(block.number)}`
    : `Block ${count(block.number)}`;
  return [which, `chain ${block.chain_id}`, `${amount(block.gas_used)} gas`, counted(block.transactions, 'transaction'), clean(job.engine, 20)].join(' · ');
}

/** @param {any} state a job's state */
export function chip(state) {
  const element = h('span', { class: 'chip' });
  setChip(element, state);
  return element;
}

/** @param {HTMLElement} element @param {string} state */
export function setChip(element, state) {
  setAttribute(element, 'data-state', Object.hasOwn(STATES, state) ? state : 'queued');
  setText(element, stateName(state));
}

/** How far a job is, in words and as a bar; used on the overview and on the job's own page. */
export class Progress {
  constructor() {
    this.percent = h('span', { class: 'percent' });
    this.left = h('span', { class: 'left-time' });
    this.due = h('span', { class: 'due' });
    this.fill = h('span', {});
    this.bar = h('div', { class: 'bar', role: 'progressbar', 'aria-label': 'Proofs accepted', 'aria-valuemin': '0', 'aria-valuemax': '100' }, this.fill);
    this.element = h('div', { class: 'progress' }, this.percent, this.left, this.due);
  }

  /** @param {import('./model.js').JobModel} model @param {number} now */
  show(model, now) {
    const { job } = model;
    const { done, tasks } = job.progress;
    const share = job.state === 'done' ? 1 : tasks ? Math.min(done / tasks, 1) : 0;
    setText(this.percent, tasks || job.state === 'done' ? (job.state === 'done' ? '100 %' : percent(done, tasks)) : '');
    this.fill.style.width = `${share * 100}%`;
    setAttribute(this.bar, 'aria-valuenow', String(Math.floor(share * 100)));
    const left = remaining(model, now);
    setText(this.left, this.time(model, now, left));
    // Of a job without a proof, the deadline says nothing any more.
    const due = isOver(job.state) && job.state !== 'done' ? null : deadline(job, now, left);
    setHidden(this.due, !due);
    if (!due) return;
    setClass(this.due, 'bad', due.late || due.willBeLate);
    setText(this.due, dueText(due, isOver(job.state)));
  }

  /** @param {import('./model.js').JobModel} model @param {number} now @param {number} left */
  time(model, now, left) {
    const { job } = model;
    if (job.state === 'queued') return `waits for ${age(now - job.submitted_ms)}`;
    if (job.state === 'planning') return `executing for ${age(now - job.submitted_ms)}`;
    if (isOver(job.state)) {
      const took = job.proof?.wall_ms ?? (job.ended_ms ?? job.updated_ms) - job.submitted_ms;
      return job.state === 'done' ? `took ${duration(took)}` : `ended after ${duration(took)}`;
    }
    return Number.isNaN(left) ? `for ${age(now - job.submitted_ms)}` : `about ${age(Math.max(left, 1000))} left`;
  }
}

/** @param {{ left: number, late: boolean, willBeLate: boolean }} due @param {boolean} over */
function dueText({ left, late, willBeLate }, over) {
  if (over) return late ? `after the deadline, by ${age(-left)}` : 'within the deadline';
  if (late) return `late by ${age(-left)}`;
  return willBeLate ? `will miss its deadline, ${age(left)} away` : `due in ${age(left)}`;
}

export class JobCard {
  /** @param {import('./watch.js').JobWatch} watch @param {() => number} now */
  constructor(watch, now) {
    this.watch = watch;
    this.now = now;
    const { job } = watch.model;
    this.name = h('a', { href: jobPage(job.id), class: 'foreign' }, clean(job.name, 100) || job.id.slice(0, 12));
    this.chip = chip(job.state);
    this.sub = h('p', { class: 'muted foreign' });
    this.progress = new Progress();
    this.tree = new TreeView(watch.model, now);
    this.tree.plot.setAttribute('aria-label', `Tree of proofs of ${clean(job.name, 60)}`);
    this.slow = h('ul', { class: 'slow' });
    this.foot = h('p', { class: 'card-foot muted' });
    this.error = h('p', { class: 'bad', hidden: true });
    this.element = h('article', { class: 'card' },
      this.progress.bar,
      h('header', {}, h('div', {}, h('div', { class: 'card-title' }, h('h3', {}, this.name), this.chip), this.sub), this.progress.element),
      this.tree.element, this.error, h('div', { class: 'card-end' }, this.slow, this.foot));
    this.tick();
  }

  /** After events. */
  changed() {
    this.tree.paint();
  }

  /** Every second. */
  tick() {
    const { model, error } = this.watch;
    const now = this.now();
    setChip(this.chip, model.job.state);
    setText(this.sub, subtitle(model.job));
    this.progress.show(model, now);
    this.tree.tick();
    setHidden(this.error, error === '');
    setText(this.error, error ? `The tasks cannot be shown: ${clean(error, 200)}` : '');
    const rows = atWork(model, now);
    showSlow(this.slow, rows, model, SLOW_SHOWN);
    setText(this.foot, footer(this.watch, now));
  }
}

/** @param {import('./watch.js').JobWatch} watch @param {number} now */
function footer({ model, mode }, now) {
  const parts = [];
  if (model.busy > 0) parts.push(`${counted(model.busy, 'machine')} at work`);
  const rate = lastMinute(model, now);
  if (rate > 0) parts.push(`${counted(rate, 'proof')} in the last minute`);
  if (model.job.progress.reused > 0) parts.push(`${count(model.job.progress.reused)} kept from before`);
  if (mode === 'poll') parts.push('updated every few seconds');
  return parts.join(' · ');
}

/**
 * The tasks that take longest in comparison with others of their level: those that are late, or
 * else the slowest one.
 *
 * @param {HTMLElement} list
 * @param {ReturnType<typeof atWork>} rows
 * @param {import('./model.js').JobModel} model
 * @param {number} most
 */
export function showSlow(list, rows, model, most) {
  const late = rows.filter((row) => row.late);
  const shown = (late.length > 0 ? late : rows.filter((row) => !Number.isNaN(row.typical))).slice(0, late.length > 0 ? most : 1);
  while (list.children.length > shown.length) list.lastElementChild?.remove();
  while (list.children.length < shown.length) list.append(h('li', {}));
  shown.forEach((row, at) => {
    const item = /** @type {HTMLElement} */ (list.children[at]);
    const who = clean(row.attempt.lane.name, 24);
    const more = late.length > most && at === most - 1 ? `, and ${count(late.length - most)} more late` : '';
    setClass(item, 'bad', row.late);
    setText(item, `${row.late ? 'Late' : 'Slowest'}: ${model.shape.name(row.attempt.place)} on ${who}, ${age(row.elapsed)} where others took ${duration(row.typical)}${more}`);
  });
}
