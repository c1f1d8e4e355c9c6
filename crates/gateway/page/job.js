/** The page `/job?id=ID`: everything about one job. */

import { get, isJobId, jobPath } from './api.js';
import { Progress, setChip, showSlow, subtitle } from './card.js';
import { Connection, emptiness } from './connection.js';
import { announce, byId, h, setHidden, setText } from './dom.js';
import { atWork, lastMinute } from './estimate.js';
import { showFacts, showProof } from './facts.js';
import { clean, counted, isOver, percent, stateName } from './format.js';
import { Gantt } from './gantt.js';
import { EventLog, sentence } from './log.js';
import { MachineTable } from './machines.js';
import { TaskTable } from './task.js';
import { TreeView } from './tree.js';
import { JobWatch } from './watch.js';

const FAILURES_TOLD = 100;

const id = new URLSearchParams(location.search).get('id');
const connection = new Connection(take);
const now = () => connection.now();
/** @type {View | null} */
let view = null;
let asking = false;
/** Whether the page may show what was before a restart. */
let outdated = false;

/** The parts of the page that exist once the job is known. */
class View {
  /** @param {any} job */
  constructor(job) {
    this.log = new EventLog({ label: 'Events', routine: true });
    this.told = false;
    this.state = job.state;
    this.watch = new JobWatch(job, {
      streams: true,
      onChange: () => this.changed(),
      onEvent: (event) => this.tell(event),
    });
    const { model } = this.watch;
    this.progress = new Progress();
    this.tree = new TreeView(model, now);
    this.gantt = new Gantt(model, now);
    this.tasks = new TaskTable(model, now);
    this.machines = new MachineTable(model, now);
    byId('progress').replaceChildren(this.progress.element);
    byId('progress-bar').replaceChildren(this.progress.bar);
    byId('tree').replaceChildren(this.tree.element);
    byId('gantt').replaceChildren(this.gantt.element);
    byId('task-table').replaceChildren(this.tasks.element);
    byId('machine-table').replaceChildren(this.machines.element);
    byId('log').replaceChildren(this.log.element);
    for (const details of document.querySelectorAll('details')) details.addEventListener('toggle', () => this.tables());
    this.tick();
  }

  get model() {
    return this.watch.model;
  }

  changed() {
    if (!this.told && this.model.loaded) this.past();
    this.tree.paint();
    const { state } = this.model.job;
    if (state === this.state) return;
    this.state = state;
    announce(`The job is ${stateName(state)}`);
    this.tick();
  }

  /** What the documents tell of the time before the page was opened. */
  past() {
    this.told = true;
    const { job, lanes, shape } = this.model;
    const lost = lanes.flatMap((lane) => lane.attempts).filter(({ how }) => how === 'left' || how === 'revoked');
    const lines = lost.sort((a, b) => a.end - b.end).slice(-FAILURES_TOLD).map((attempt) => {
      const task = shape.name(attempt.place);
      const who = clean(attempt.lane.name, 24);
      const text = attempt.how === 'left' ? `${who} left, and ${task} with it` : `${task} was taken from ${who}, or given back`;
      return { at: attempt.end, text, kind: attempt.how === 'left' ? 'left' : 'revoked' };
    });
    lines.unshift({ at: job.submitted_ms, text: 'The job was submitted', kind: 'state' });
    if (job.ended_ms) lines.push({ at: job.ended_ms, text: sentence({ type: 'state', state: job.state, error: job.error }, String), kind: 'state' });
    for (const line of lines) this.log.add(line.at, line.text, line.kind);
  }

  /** @param {any} event */
  tell(event) {
    const nameOf = (/** @type {number} */ machine) => this.model.laneOf.get(machine)?.name ?? `machine ${machine}`;
    this.log.add(event.at_ms, sentence(event, nameOf), event.type);
  }

  tick() {
    const { model } = this;
    const { job } = model;
    const name = clean(job.name, 100) || job.id.slice(0, 12);
    setText(byId('name'), name);
    setChip(byId('state'), job.state);
    setText(byId('sub'), subtitle(job));
    this.progress.show(model, now());
    this.tree.tick();
    showSlow(byId('slow'), atWork(model, now()), model, 5);
    setText(byId('pace'), pace(model));
    showFacts(byId('facts'), job);
    showProof(byId('proof'), job);
    showEnd(job);
    const share = job.state === 'proving' ? `${percent(job.progress.done, job.progress.tasks)} · ` : `${stateName(job.state)} · `;
    document.title = `${share}${name} · Myriad`;
    if (this.watch.error) setText(byId('pace'), `The tasks cannot be shown: ${clean(this.watch.error, 200)}`);
    // Spread over the second, so that no frame has all of it.
    setTimeout(() => this.gantt.paint(), 300);
    setTimeout(() => this.tables(), 600);
  }

  /** Tables cost nothing until they are opened. */
  tables() {
    if (byId('task-details').open) this.tasks.refresh();
    if (byId('machine-details').open) this.machines.refresh();
  }
}

/** @param {import('./model.js').JobModel} model */
function pace(model) {
  const parts = [];
  if (model.busy > 0) parts.push(`${counted(model.busy, 'machine')} at work`);
  const rate = isOver(model.job.state) ? 0 : lastMinute(model, now());
  if (rate > 0) parts.push(`${counted(rate, 'proof')} in the last minute`);
  if (model.job.progress.reused > 0) parts.push(`${counted(model.job.progress.reused, 'proof')} kept from before`);
  return parts.join(' · ');
}

/** Why a job ended without a proof, and what to do. @param {any} job */
function showEnd(job) {
  const box = byId('end');
  const texts = /** @type {Record<string, string>} */ ({
    failed: 'The job failed', cancelled: 'The job was cancelled', interrupted: 'The service was stopped during the job',
  });
  const title = texts[job.state];
  setHidden(box, !title);
  if (!title) return;
  setText(byId('end-title'), title);
  setText(byId('end-text'), job.error ? clean(job.error.detail, 2000) : '');
  setText(byId('end-next'), 'Accepted proofs are kept. Submitting the job again continues it.');
}

/** @param {any} event */
function take(event) {
  if (!view) {
    if (!asking) load();
    return;
  }
  // A job that was over may be continued, and its own stream has ended then.
  const state = event.type === 'snapshot' ? event.now.state : event.type === 'state' ? event.state : '';
  if (state && event.job === id && isOver(view.model.job.state) && state !== view.model.job.state) outdated = true;
  if (event.type === 'service' && connection.restarted) {
    connection.restarted = 0;
    view.log.add(event.at_ms, 'The service was started anew', 'notice');
    announce('The service was started anew');
    // A stream of its own brings a snapshot.
    if (view.watch.mode !== 'stream') outdated = true;
  }
  if (outdated && !asking) load();
}

/** @param {string} title @param {string} text */
function instead(title, text) {
  setHidden(byId('loading'), true);
  setHidden(byId('view'), true);
  const box = byId('nothing');
  setHidden(box, false);
  box.replaceChildren(emptiness('h1', title, text, ' ', h('a', { href: '/' }, 'All jobs')));
}

async function load() {
  asking = true;
  outdated = false;
  if (!isJobId(id)) {
    instead('This address names no job', 'The id of a job has 64 hex digits, as in /job?id=3f0c…');
    return;
  }
  try {
    const job = await get(jobPath(/** @type {string} */ (id)));
    view?.watch.end();
    setHidden(byId('loading'), true);
    setHidden(byId('nothing'), true);
    setHidden(byId('view'), false);
    view = new View(job);
  } catch (error) {
    const { status, message } = /** @type {any} */ (error);
    if (status === 404) {
      instead('There is no such job', 'The service does not know it, or does not keep it any more.');
      return;
    }
    outdated = true;
    if (!view) instead('The job cannot be shown', clean(message, 300));
  }
  asking = false;
}

setInterval(() => view?.tick(), 1000);
load();
