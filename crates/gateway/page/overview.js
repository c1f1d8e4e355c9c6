/** The page `/`: what the service does now. */

import { get, jobPage } from './api.js';
import { chip, JobCard } from './card.js';
import { Connection, emptiness } from './connection.js';
import { announce, byId, h, setHidden, setText } from './dom.js';
import { atWork, deadline, remaining } from './estimate.js';
import { age, clean, counted, isOver, percent, stateName } from './format.js';
import { History } from './history.js';
import { EventLog, sentence } from './log.js';
import { PeersView } from './peers.js';
import { Pulse } from './pulse.js';
import { JobWatch } from './watch.js';

/** So many jobs have a stream of their own, in this window; the others are asked for. */
const STREAMS = 2;
/** So many jobs are shown with their trees. */
const CARDS = 12;
const LIST_WAIT_MS = 700;
/** What changes the tasks of peers. */
const MOVES = new Set(['started', 'accepted', 'revoked', 'left']);
const TOLD = new Set(['state', 'planned', 'notice', 'joined', 'left']);

/** Jobs that are not over, by id. @type {Map<string, any>} */
const live = new Map();
/** @type {Map<string, JobCard>} */
const cards = new Map();
/** Names of jobs that this page has seen. @type {Map<string, string>} */
const names = new Map();
/** The names of machines, by job and number. @type {Map<string, string>} */
const machines = new Map();
let loaded = false;
let failure = '';
/** @type {any} */
let lastDone = null;

const pulse = new Pulse();
const peers = new PeersView((job) => names.get(job) ?? job.slice(0, 8));
const history = new History(takeList);
const notices = new EventLog({ label: 'Latest news' });
const connection = new Connection(take);
const now = () => connection.now();

byId('pulse').append(pulse.element);
byId('peers').append(peers.element);
byId('history').append(history.element);
byId('notices').append(notices.element);

/** @param {any[]} jobs */
function takeList(jobs) {
  for (const job of jobs) know(job);
  lastDone = jobs.find((job) => job.state === 'done') ?? null;
  const listed = new Map(jobs.map((job) => [job.id, job]));
  for (const id of live.keys()) {
    const job = listed.get(id);
    if (job && isOver(job.state)) live.delete(id);
  }
}

/** @param {any} job */
function know(job) {
  names.set(job.id, String(job.name));
  if (isOver(job.state)) live.delete(job.id);
  else live.set(job.id, job);
}

/** Asks for all jobs that are not over, and for the first part of the others. */
async function loadJobs() {
  const states = ['proving', 'planning', 'queued'];
  try {
    const lists = await Promise.all(states.map((state) => get(`/v1/jobs?state=${state}&limit=100`)));
    live.clear();
    for (const list of lists) for (const job of list.jobs) know(job);
    await history.load(false);
    loaded = true;
    failure = '';
  } catch (error) {
    failure = /** @type {Error} */ (error).message;
  }
  arrange();
}

let listTimer = 0;

/** Something has begun or ended: asks once for what may be many events. */
function loadSoon() {
  clearTimeout(listTimer);
  listTimer = setTimeout(() => {
    loadJobs();
    peers.refresh();
  }, LIST_WAIT_MS);
}

/** @param {any} event */
function take(event) {
  if (event.type === 'service') {
    if (connection.restarted) {
      connection.restarted = 0;
      setHidden(byId('notices'), false);
      notices.add(event.at_ms, 'The service was started anew', 'notice');
      announce('The service was started anew');
      loadSoon();
    }
    pulse.take(event.now);
    if (!loaded && failure) loadSoon();
    return;
  }
  if (event.type === 'joined') machines.set(`${event.job} ${event.machine}`, event.name);
  if (event.type === 'snapshot' || event.type === 'state') loadSoon();
  if (TOLD.has(event.type)) tell(event);
}

/** @param {any} event */
function tell(event) {
  const name = clean(names.get(event.job) ?? String(event.job ?? '').slice(0, 8), 60);
  const text = sentence(event, (machine) => machines.get(`${event.job} ${machine}`) ?? `machine ${machine}`);
  setHidden(byId('notices'), false);
  notices.add(event.at_ms, name ? `${name} · ${text}` : text, event.type);
  if (event.type === 'state') announce(`${name} is ${stateName(event.state)}`);
}

/** Makes and removes cards so that they are those of the jobs that are not over. */
function arrange() {
  const order = [...live.values()].sort((a, b) => rank(a) - rank(b) || b.priority - a.priority || a.submitted_ms - b.submitted_ms);
  const shown = order.filter((job) => job.state !== 'queued').slice(0, CARDS);
  const wanted = new Set(shown.map((job) => job.id));
  for (const [id, card] of cards) {
    if (wanted.has(id)) continue;
    card.watch.end();
    card.element.remove();
    cards.delete(id);
  }
  const box = byId('jobs');
  let streams = [...cards.values()].filter((card) => card.watch.mode === 'stream').length;
  shown.forEach((job, at) => {
    let card = cards.get(job.id);
    if (!card) {
      card = makeCard(job, streams < STREAMS);
      streams += 1;
      cards.set(job.id, card);
    }
    if (box.children[at] !== card.element) box.insertBefore(card.element, box.children[at] ?? null);
  });
  byId('jobs').classList.toggle('single', shown.length === 1);
  const queued = order.filter((job) => !wanted.has(job.id));
  showQueued(queued);
  showNothing(order.length === 0);
  tick();
}

/** @param {any} job */
const rank = (job) => ['proving', 'planning', 'queued'].indexOf(job.state);

/** @param {any} job @param {boolean} streams */
function makeCard(job, streams) {
  const watch = new JobWatch(job, {
    streams,
    onChange: () => {
      const { state } = watch.model.job;
      if (live.has(job.id)) live.set(job.id, watch.model.job);
      cards.get(job.id)?.changed();
      if (isOver(state)) loadSoon();
      // Of a job without a stream, each answer may tell of other tasks.
      if (watch.mode === 'poll') peers.changed();
    },
    onEvent: ({ type }) => {
      if (MOVES.has(type)) peers.changed();
    },
  });
  return new JobCard(watch, now);
}

/** @param {any[]} jobs */
function showQueued(jobs) {
  const box = byId('queued');
  setHidden(box, jobs.length === 0);
  byId('queued-list').replaceChildren(...jobs.slice(0, 50).map((job) => h('li', {},
    h('a', { href: jobPage(job.id), class: 'foreign' }, clean(job.name, 80) || job.id.slice(0, 12)), ' ', chip(job.state))));
}

/** @param {boolean} nothing */
function showNothing(nothing) {
  const box = byId('nothing');
  setHidden(box, !nothing || !loaded);
  setHidden(byId('loading'), loaded || failure !== '');
  setHidden(byId('legend'), nothing);
  if (!nothing || box.childElementCount > 0) return;
  const command = `curl -H "Authorization: Bearer $KEY" -F block=@block.json.gz ${location.origin}/v1/jobs`;
  box.append(emptiness('h3', 'No job is in work',
    'Submit a block or a program, and its tree of proofs grows here. For example: ', h('code', { class: 'block' }, command)));
}

function tick() {
  // While the connection is broken, nothing on the page may look as if it went on.
  for (const card of cards.values()) card.tick();
  headline();
}

function headline() {
  const working = [...cards.values()].map((card) => card.watch.model);
  const title = byId('headline');
  const sub = byId('subline');
  const leader = working.find((model) => model.job.state === 'proving');
  document.body.classList.toggle('unread', !loaded && failure !== '');
  if (!loaded) {
    setText(title, failure ? 'The service cannot be asked' : 'Asking the service …');
    setText(sub, failure ? clean(failure, 300) : '');
    document.title = 'Myriad';
    return;
  }
  if (live.size === 0) {
    setText(title, 'Nothing to prove');
    setText(sub, lastDone ? `The last proof, ${clean(lastDone.name, 60)}, was done ${age(now() - (lastDone.ended_ms ?? lastDone.updated_ms))} ago.` : 'The service waits for its first job.');
    document.title = 'Idle · Myriad';
    return;
  }
  setText(title, live.size === 1
    ? `${stateName([...live.values()][0].state)} ${clean([...live.values()][0].name, 60)}`
    : `${counted(live.size, 'job')} in work`);
  const line = points(working).join(' · ');
  setText(sub, line.charAt(0).toUpperCase() + line.slice(1));
  const done = leader ? `${percent(leader.job.progress.done, leader.job.progress.tasks)} · ` : '';
  document.title = `${done}${live.size === 1 ? clean([...live.values()][0].name, 40) : counted(live.size, 'job')} · Myriad`;
}

/** What an operator wants to know first. @param {import('./model.js').JobModel[]} working */
function points(working) {
  const list = [];
  const at = now();
  const lefts = working.map((model) => remaining(model, at));
  const next = Math.min(...lefts.filter((left) => !Number.isNaN(left)));
  if (Number.isFinite(next)) list.push(`${working.length > 1 ? 'next done' : 'done'} in about ${age(Math.max(next, 1000))}`);
  const tasks = working.reduce((sum, model) => sum + model.running, 0);
  if (tasks > 0) list.push(`${counted(tasks, 'task')} at work`);
  const late = working.reduce((sum, model) => sum + atWork(model, at).filter((row) => row.late).length, 0);
  if (late > 0) list.push(`${counted(late, 'task')} slower than usual`);
  const missed = working.filter((model, index) => {
    const due = deadline(model.job, at, lefts[index]);
    return due && (due.late || due.willBeLate);
  }).length;
  if (missed > 0) list.push(`${counted(missed, 'job')} behind the deadline`);
  const planning = [...live.values()].filter((job) => job.state === 'planning').length;
  if (planning > 0 && live.size > 1) list.push(`${planning} planning`);
  const queued = [...live.values()].filter((job) => job.state === 'queued').length;
  if (queued > 0) list.push(`${queued} queued`);
  return list;
}

setInterval(tick, 1000);
loadJobs();
