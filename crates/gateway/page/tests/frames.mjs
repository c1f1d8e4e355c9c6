/**
 * How long the page's thread works for each frame, with 5,000 tasks, 10,000 peers and 20 events a
 * second: `node frames.mjs [--check]`.
 *
 * Two figures are taken. `frame` is the time from the beginning of the frame's callbacks until the
 * page's part of style, layout and painting is over, as the page itself can see it. `work` is all
 * that the thread did from one frame to the next, events included, as Chromium's trace has it, in
 * CPU time: what else runs on the machine is not in it. With `--check`, it fails if the median or the
 * 99th percentile of `work` is 16 ms or more.
 */

import { launch, open, settled } from './browser.mjs';
import { Mock } from './mock.mjs';

const SECONDS = 10;
const LIMIT_MS = 16;

/** @param {number[]} values @param {number} share */
function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? NaN;
}

/** Runs before the page's scripts, so that its callback is the first of each frame. */
function watchFrames() {
  const times = /** @type {number[]} */ ([]);
  /** @type {any} */ (window).frameTimes = times;
  const channel = new MessageChannel();
  let begun = 0;
  channel.port1.onmessage = () => times.push(performance.now() - begun);
  const loop = () => {
    begun = performance.now();
    // A message that is posted now comes after this frame is painted.
    channel.port2.postMessage(0);
    requestAnimationFrame(loop);
  };
  requestAnimationFrame(loop);
}

/**
 * CPU time of the page's main thread between one frame and the next.
 *
 * @param {Buffer} trace
 */
function workOf(trace) {
  const { traceEvents: events } = JSON.parse(trace.toString());
  const isTask = (/** @type {any} */ one) => one.name === 'RunTask' || one.name === 'ThreadControllerImpl::RunTask';
  /** @type {Map<string, any[]>} */
  const ofThread = new Map();
  for (const one of events) {
    const key = `${one.pid} ${one.tid}`;
    const list = ofThread.get(key);
    if (list) list.push(one);
    else ofThread.set(key, [one]);
  }
  const framesIn = (/** @type {any[]} */ list) => list.filter((one) => one.name === 'FireAnimationFrame');
  // The page's main thread is the one that makes the frames.
  const own = [...ofThread.values()].reduce((most, list) => (framesIn(list).length > framesIn(most).length ? list : most));
  const frames = framesIn(own).map((one) => one.ts).sort((a, b) => a - b);
  const tasks = own.filter(isTask).sort((/** @type {any} */ a, /** @type {any} */ b) => a.ts - b.ts);
  const work = [];
  let [sum, next] = [0, 0];
  for (const task of tasks) {
    sum += task.tdur ?? task.dur ?? 0;
    while (next < frames.length && frames[next] < task.ts) next += 1;
    if (next === frames.length || frames[next] > task.ts + task.dur) continue;
    work.push(sum / 1000);
    sum = 0;
  }
  return work;
}

/** @param {string} view @param {(mock: Mock) => string} urlOf @param {number} width */
async function measure(view, urlOf, width) {
  const mock = await new Mock('large').listen();
  const { page, context } = await open(browser, { width, still: false });
  await page.addInitScript(watchFrames);
  await page.goto(urlOf(mock));
  await settled(page);
  for (const details of await page.locator('details').all()) await details.evaluate((one) => one.setAttribute('open', ''));
  // What loading took is over, and a first throw of documents of peers, too.
  await page.waitForTimeout(3000);
  await page.evaluate(() => {
    /** @type {any} */ (window).frameTimes.length = 0;
  });
  const before = mock.counts.get(mock.jobs()[0].id) ?? 0;
  const client = await context.newCDPSession(page);
  await browser.startTracing(page, { categories: ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'toplevel'] });
  await page.waitForTimeout(SECONDS * 1000);
  const trace = await browser.stopTracing();
  const events = ((mock.counts.get(mock.jobs()[0].id) ?? 0) - before) / SECONDS;
  const frames = await page.evaluate(() => /** @type {any} */ (window).frameTimes.slice());
  const work = workOf(trace);
  const tasks = mock.jobs()[0].progress.tasks;
  await client.detach();
  await context.close();
  await mock.close();
  const figures = (/** @type {number[]} */ values) => [0.5, 0.99, 1].map((share) => percentile(values, share).toFixed(1)).join(' / ');
  console.log(`${view} at ${width} px: ${tasks} tasks, ${mock.world.peers} peers, ${events.toFixed(0)} events/s, ${frames.length} frames in ${SECONDS} s`);
  console.log(`  frame, ms (median / p99 / most): ${figures(frames)}`);
  console.log(`  work, ms of CPU (median / p99 / most): ${figures(work)}`);
  return [percentile(work, 0.5), percentile(work, 0.99)];
}

const browser = await launch();
const results = [
  await measure('overview', (mock) => mock.url, 1280),
  await measure('job', (mock) => `${mock.url}/job?id=${mock.jobs()[0].id}`, 1280),
  await measure('overview', (mock) => mock.url, 360),
];
await browser.close();
const slow = results.flat().filter((value) => !(value < LIMIT_MS));
if (process.argv.includes('--check') && slow.length > 0) {
  console.error(`frames of ${slow.map((value) => value.toFixed(1)).join(', ')} ms: ${LIMIT_MS} ms is the limit`);
  process.exitCode = 1;
}
