/**
 * Asks for the peers, and searches and sorts them, beside the page's own thread: the document of
 * 10,000 peers is some 3 MB, and reading it would hold up drawing.
 */

import { get } from './api.js';

const SOON_MS = 4_000;
const MANY_MS = 12_000;
const UNSEEN_MS = 45_000;
/** After a change, no sooner than this. */
const CHANGED_MS = 1_000;
const MANY = 1_000;

/** @type {any[]} */
let peers = [];
let connected = 0;
/** @type {any[]} */
let found = [];
let query = { search: '', sort: 'doing', descending: true };
let sight = { first: 0, end: 0 };
let seen = true;
let timer = 0;
let asking = false;
/** When the peers were asked for last. */
let askedAt = 0;
let changed = false;

const STATES = ['bystander', 'idle', 'proving'];
const STANDINGS = ['banned', 'stranger', 'proven', 'own'];

/** @type {Record<string, (peer: any) => number | string>} */
const KEYS = {
  name: (peer) => String(peer.name).toLowerCase(),
  doing: (peer) => STATES.indexOf(peer.state),
  standing: (peer) => STANDINGS.indexOf(peer.standing),
  speed: (peer) => peer.speed_milli ?? -1,
  accepted: (peer) => peer.accepted ?? 0,
};

function arrange() {
  const words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
  found = words.length === 0 ? peers.slice() : peers.filter((peer) => words.every((word) => peer.text.includes(word)));
  const key = KEYS[query.sort] ?? KEYS.doing;
  const sign = query.descending ? -1 : 1;
  const keyed = found.map((peer) => ({ peer, value: key(peer) }));
  // Equal ones keep the service's order: those with a task first, then the fastest.
  keyed.sort((a, b) => (a.value < b.value ? -sign : a.value > b.value ? sign : 0));
  found = keyed.map(({ peer }) => peer);
}

/** @param {string} [error] */
function tell(error) {
  const states = { proving: 0, idle: 0, bystander: 0 };
  const standings = { own: 0, proven: 0, stranger: 0, banned: 0 };
  for (const peer of peers) {
    // Later releases may name others.
    if (Object.hasOwn(states, peer.state)) states[/** @type {'idle'} */ (peer.state)] += 1;
    if (Object.hasOwn(standings, peer.standing)) standings[/** @type {'own'} */ (peer.standing)] += 1;
  }
  postMessage({ type: 'summary', connected, listed: peers.length, found: found.length, states, standings, error });
  rows();
}

function rows() {
  const { first, end } = sight;
  const part = found.slice(first, end).map(({ text: _, ...peer }) => peer);
  postMessage({ type: 'rows', first, rows: part });
}

async function ask() {
  if (asking) return;
  asking = true;
  changed = false;
  askedAt = Date.now();
  clearTimeout(timer);
  try {
    const answer = await get('/v1/peers');
    connected = answer.connected;
    peers = answer.peers;
    for (const peer of peers) {
      const tasks = peer.tasks.map((/** @type {any} */ task) => task.task).join(' ');
      peer.text = `${peer.id} ${peer.name} ${peer.build} ${peer.engines.join(' ')} ${peer.state} ${peer.standing} ${tasks}`.toLowerCase();
    }
    arrange();
    tell();
  } catch (error) {
    tell(/** @type {Error} */ (error).message);
  }
  asking = false;
  timer = setTimeout(ask, !seen ? UNSEEN_MS : peers.length > MANY ? MANY_MS : SOON_MS);
  if (changed) soon();
}

/** Many peers are megabytes: they are asked for in their own time. */
function soon() {
  changed = true;
  if (asking || !seen || peers.length > MANY) return;
  clearTimeout(timer);
  timer = setTimeout(ask, Math.max(0, askedAt + CHANGED_MS - Date.now()));
}

addEventListener('message', ({ data }) => {
  if (data.type === 'query') {
    query = data.query;
    arrange();
    tell();
  } else if (data.type === 'window') {
    sight = data.sight;
    rows();
  } else if (data.type === 'seen') {
    const appears = data.seen && !seen;
    seen = data.seen;
    if (appears) ask();
  } else if (data.type === 'changed') {
    soon();
  } else if (data.type === 'ask') {
    ask();
  }
});
