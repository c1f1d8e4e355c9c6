/** The states in which the page is looked at. Each gives a world: jobs that go on, and others that do not. */

import { blockFacts, hex, makePeers, random, SimJob } from './sim.mjs';

/**
 * @typedef {object} World
 * @property {SimJob[]} sims jobs that go on
 * @property {any[]} jobs documents of other jobs, newest first
 * @property {Map<string, any>} tasks documents of their tasks, by id
 * @property {number} peers how many are connected
 * @property {any} [peersDocument]
 * @property {number} started
 * @property {any} [refuses] a problem with which everything is refused
 * @property {string[]} [notices]
 * @property {any[]} [script] events of the whole service, played once
 */

/** @param {number} now @param {object} change @returns {World} */
const world = (now, change) => ({ sims: [], jobs: [], tasks: new Map(), peers: 0, started: now - 5_400_000, ...change });

/** Jobs that are done, each without its tasks. @param {number} now @param {number} count */
function earlier(now, count, seed = 77) {
  const next = random(seed);
  return Array.from({ length: count }, (_, at) => {
    const id = hex(next);
    const ended = now - 400_000 - at * 260_000;
    const kind = at % 17 === 5 ? 'failed' : at % 29 === 9 ? 'cancelled' : at % 41 === 12 ? 'interrupted' : 'done';
    const wall = 48_000 + Math.floor(next() * 60_000);
    const tasks = 400 + Math.floor(next() * 900);
    const number = 19_234_100 - at;
    const job = {
      id, name: `block-${number}`, engine: 'openvm', state: kind, priority: 0, submitted_ms: ended - wall, updated_ms: ended, ended_ms: ended, deadline_s: 90,
      progress: { done: kind === 'done' ? tasks : Math.floor(tasks / 2), tasks, segments: Math.floor(tasks * 0.66), instructions: tasks * 900_000, reused: 0, running: 0 },
      public_values: `0x${hex(next)}`, block: blockFacts(next, number),
    };
    if (kind === 'failed') job.error = problem('invalid', 422, 'The program, the input or the block is not valid', 'the state root after the block is 0x3f…, and the block says 0x91…; check that the witness is of this block');
    if (kind === 'done') {
      job.proof = { bytes: 534_636, href: `/v1/jobs/${id}/proof`, baseline_href: `/v1/jobs/${id}/baseline`, verify_ms: 16, wall_ms: wall, in_time: wall <= 90_000, verify: `--block block-${number}.json.gz` };
    }
    return job;
  });
}

/** @param {string} kind @param {number} status @param {string} title @param {string} detail */
export function problem(kind, status, title, detail) {
  return { type: `/problems/${kind}`, title, status, detail, kind };
}

/** @param {number} now @param {number} seed @param {object} options */
function block(now, seed, options) {
  const next = random(seed + 500);
  const number = options.number ?? 19_234_112;
  return new SimJob({ seed, name: `block-${number}`, start: now - 40_000, machines: 24, segments: 300, ...options, more: { block: blockFacts(next, number), ...options.more } });
}

/** @param {SimJob} sim @param {number} now */
function until(sim, now) {
  sim.advance(now);
  return sim;
}

/** @type {Record<string, (now: number) => World>} */
export const SCENARIOS = {
  empty: (now) => world(now, { started: now - 90_000 }),
  planning: (now) => {
    const sim = block(now, 3, { segments: 1, machines: 0, more: { state: 'planning' } });
    sim.job.progress = { done: 0, segments: 26, instructions: 0, reused: 0, running: 0 };
    delete sim.job.public_values;
    sim.planning = true;
    sim.job.submitted_ms = now - 3400;
    return world(now, { sims: [sim], peers: 18, jobs: earlier(now, 4) });
  },
  proving: (now) => {
    const sim = until(block(now, 11, { failures: 0.06, machines: 14, segments: 96, start: now - 68_000, reused: 9, more: { deadline_s: 90, priority: 5 } }), now);
    return world(now, { sims: [sim], peers: 21, jobs: earlier(now, 12), notices: ['Nobody offers for s81 since 40 s: provers with 2 GiB or more are needed'] });
  },
  small: (now) => {
    const sim = until(new SimJob({ seed: 5, name: 'sample-block', segments: 3, machines: 2, start: now - 13_000, failures: 0, more: { block: blockFacts(random(8), 2, { chain_id: 1337, gas_used: 1_284_000, transactions: 2 }) } }), now);
    return world(now, { sims: [sim], peers: 2, started: now - 40_000 });
  },
  four: (now) => {
    const sims = [
      until(block(now, 21, { number: 19_234_115, segments: 840, machines: 60, start: now - 92_000, more: { deadline_s: 150 } }), now),
      until(block(now, 22, { number: 19_234_116, segments: 240, machines: 26, start: now - 50_000, failures: 0.04 }), now),
      until(new SimJob({ seed: 23, name: 'fibonacci', segments: 24, machines: 5, start: now - 34_000, more: { engine: 'risc0' } }), now),
      until(block(now, 24, { number: 19_234_117, segments: 180, machines: 12, start: now - 12_000, more: { deadline_s: 100 } }), now),
    ];
    const queued = { ...earlier(now, 1, 5)[0], state: 'queued', submitted_ms: now - 4000, progress: { done: 0, segments: 0, instructions: 0, reused: 0, running: 0 }, name: 'block-19234118' };
    for (const key of ['ended_ms', 'proof', 'public_values']) delete queued[key];
    return world(now, { sims, jobs: [queued, ...earlier(now, 60)], peers: 130 });
  },
  large: (now) => {
    const sim = until(block(now, 31, { segments: 3330, machines: 110, seconds: 10, start: now - 210_000, failures: 0.012, more: { deadline_s: 600 } }), now);
    return world(now, { sims: [sim], peers: 10_000, jobs: earlier(now, 1000) });
  },
  done: (now) => ended(now, {}),
  failed: (now) => ended(now, { state: 'failed', error: problem('invalid', 422, 'The program, the input or the block is not valid', 'the proof of the final step says other public values than the block: 0x3f0c2a… in place of 0x91ab77…; submit the block with its own witness') }),
  cancelled: (now) => ended(now, { state: 'cancelled' }),
  private: (now) => world(now, { refuses: problem('unauthorized', 401, 'The request has no valid key', 'this service is private: name a key with `Authorization: Bearer KEY`') }),
  hostile,
};

/** @param {number} now @param {any} change */
function ended(now, change) {
  const sim = block(now, 41, { number: 19_234_120, segments: 120, machines: 18, start: now - 900_000, failures: 0.03, more: { deadline_s: 240 } });
  sim.advance(change.state ? now - 850_000 : now);
  if (change.state) sim.end(change);
  return world(now, { jobs: [sim.job, ...earlier(now, 8)], tasks: new Map([[sim.job.id, sim.tasks()]]), peers: 20 });
}

export const HOSTILE = [
  '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>',
  'W'.repeat(10_000),
  'ab\u202Etxt.exe\u202D \u2067\u05d0\u05d1\u05d2\u2069 \u200F\u0627\u0644\u0639',
  'line\none\r\ttwo\u0000\u0007\u001b[31mred\u2028\u2029 Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308',
  '"><a href="javascript:window.hurt=1">click</a>{{7*7}}${7*7}',
];

/** @param {number} now */
function hostile(now) {
  const sim = until(new SimJob({ seed: 51, name: HOSTILE[0], segments: 40, machines: 5, names: HOSTILE, failures: 0.2, start: now - 40_000 }), now);
  for (const [at, reason] of HOSTILE.entries()) sim.tell(now, { type: 'retrying', task: `s${at}`, reason });
  const held = sim.events;
  const others = earlier(now, 6).map((job, at) => ({ ...job, name: HOSTILE[at % HOSTILE.length] }));
  others[0].proof = { ...others[0].proof, href: 'javascript:window.hurt=1', baseline_href: '//evil.example/x', verify: '--block x; rm -rf ~ $(id)' };
  others[1].state = 'failed';
  others[1].error = problem('invalid', 422, HOSTILE[0], HOSTILE[1] + HOSTILE[2]);
  const failed = new SimJob({ seed: 52, name: HOSTILE[1], segments: 5, machines: 2, start: now - 90_000 });
  failed.advance(now - 70_000);
  failed.end({ state: 'failed', error: problem('invalid', 422, HOSTILE[0], HOSTILE.join(' ')), public_values: `0x${'ab'.repeat(65_536)}` });
  const document = makePeers(9, 12, [sim]);
  document.peers.forEach((peer, at) => {
    peer.build = HOSTILE[(at + 1) % HOSTILE.length];
    peer.engines = [HOSTILE[at % HOSTILE.length], 'openvm'];
    if (at >= 5) peer.name = HOSTILE[at % HOSTILE.length];
  });
  return world(now, {
    sims: [sim], jobs: [failed.job, ...others], tasks: new Map([[failed.job.id, failed.tasks()]]), peersDocument: document, peers: 12, notices: HOSTILE, script: held,
  });
}
