/**
 * Writes `samples/`: one document of each kind, as the mock serves them, which the Rust types must
 * read. With `--check`, it says instead whether the files are those that it would write.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { Mock } from './mock.mjs';
import { problem, SCENARIOS } from './scenarios.mjs';
import { ARITIES, makePeers, SimJob } from './sim.mjs';

const NOW = 1_767_225_600_000;
const FOLDER = new URL('./samples/', import.meta.url);

/** @returns {Record<string, string>} */
export function samples() {
  const world = SCENARIOS.four(NOW);
  const [sim] = SCENARIOS.proving(NOW).sims;
  const done = SCENARIOS.done(NOW).jobs[0];
  const failed = SCENARIOS.failed(NOW).jobs[0];
  const service = Mock.prototype.service.call({ world, accepted: 4211, traffic: { received_bytes: 2.2e9, sent_bytes: 8.1e9 } });
  const now = { ...service, now_ms: NOW };
  const text = (/** @type {unknown} */ document) => `${JSON.stringify(document, null, 1)}\n`;
  return {
    'service.json': text(now),
    'job.json': text(done),
    'job-failed.json': text(failed),
    'tasks.json': text({ event: '7-204', ...sim.tasks() }),
    'tasks-planning.json': text({ event: '7-3', segments: 26, tasks: [], machines: [], attempts: [], origin_ms: NOW }),
    'peers.json': text(makePeers(9, 40, world.sims)),
    'list.json': text({ jobs: [...world.sims.map((one) => one.job), ...world.jobs.slice(0, 8)], next: '12' }),
    'events.ndjson': `${events(now, done).map((event) => JSON.stringify(event)).join('\n')}\n`,
  };
}

/** Each kind of event, and those of a short run. @param {any} service @param {any} done */
function events(service, done) {
  const sim = new SimJob({ seed: 60, name: 'sample', segments: 9, machines: 4, start: NOW, failures: 0.25 });
  const job = sim.job.id;
  const of = (/** @type {object} */ news) => ({ at_ms: NOW, job, ...news });
  const error = problem('disk-full', 507, 'The disk is full', 'the journal cannot be written: no space is left; free some, and submit the job again');
  return [
    of({ type: 'snapshot', now: done }),
    of({ type: 'state', state: 'planning' }),
    of({ type: 'cut', segments: 4, reused: 0 }),
    of({ type: 'planned', instructions: 12_060_000, segments: 9, tasks: sim.shape.tasks, reused: 0, arities: ARITIES, public_values: sim.job.public_values }),
    of({ type: 'state', state: 'proving' }),
    ...structuredClone(sim.advance(NOW + 200_000)),
    of({ type: 'reopened', task: 's3', reason: 'its proof is damaged on the disk' }),
    of({ type: 'notice', text: 'nobody offers for s3 since 40 s' }),
    of({ type: 'state', state: 'failed', error }),
    of({ type: 'state', state: 'interrupted' }),
    { at_ms: NOW, type: 'notice', text: 'the clock went back by 3 s' },
    { at_ms: NOW, type: 'service', now: service },
  ];
}

/** The files that differ from what would be written. */
export function outdated() {
  return Object.entries(samples()).filter(([name, text]) => {
    try {
      return readFileSync(new URL(name, FOLDER), 'utf8') !== text;
    } catch {
      return true;
    }
  }).map(([name]) => name);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--check')) {
    const files = outdated();
    if (files.length > 0) throw new Error(`${files.join(', ')} in samples/ are outdated: run npm run samples`);
  } else {
    mkdirSync(FOLDER, { recursive: true });
    for (const [name, text] of Object.entries(samples())) writeFileSync(new URL(name, FOLDER), text);
  }
}
