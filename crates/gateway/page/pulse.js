/**
 * The service over time: proofs, bandwidth, disk. The service tells its counters every second, and
 * the page keeps a quarter of an hour of them; another page of this window takes them over.
 */

import { Chart } from './chart.js';
import { h, setClass, setHidden, setText } from './dom.js';
import { age, bytes, clean, clock, count, counted, duration, perMinute, rate } from './format.js';

const KEPT = 900;
const STORE = 'myriad-pulse';
const STORE_EACH = 10;
const PROOFS_OVER_MS = 30_000;
const BYTES_OVER_MS = 5_000;
/** A rate over less time than this says more about the moment than about the service. */
const PROOFS_LEAST_MS = 10_000;
/** A chart of less time is an empty area with a dot. */
const CHART_LEAST_MS = 60_000;
const DISK_LOW = 0.08;

/** One sample: time, proofs, bytes received, bytes sent. @typedef {[number, number, number, number]} Sample */

export class Pulse {
  constructor() {
    /** @type {Sample[]} */
    this.samples = [];
    this.key = '';
    this.proofs = h('p', { class: 'big' }, '–');
    this.proofsSub = h('p', { class: 'muted' });
    this.proofsChart = new Chart({ name: 'Proofs a minute', format: (value) => perMinute(value) });
    this.traffic = h('p', { class: 'big' }, '–');
    this.trafficSub = h('p', { class: 'muted' });
    this.trafficChart = new Chart({ name: 'Bandwidth', format: (value) => rate(value) });
    this.disk = h('p', { class: 'big' }, '–');
    this.diskFill = h('span', {});
    this.diskBar = h('div', { class: 'bar thick', 'aria-hidden': 'true' }, this.diskFill);
    this.diskSub = h('p', { class: 'muted' });
    this.facts = h('dl', { class: 'facts tight' });
    this.element = h('div', { class: 'pulse' },
      h('div', { class: 'tile' }, h('h3', {}, 'Throughput'), this.proofs, this.proofsSub, this.proofsChart.element),
      h('div', { class: 'tile' }, h('h3', {}, 'Bandwidth'), this.traffic, this.trafficSub, this.trafficChart.element),
      h('div', { class: 'tile' }, h('h3', {}, 'Disk and service'), this.disk, this.diskSub, this.diskBar, this.facts));
    setHidden(this.element, true);
  }

  /** @param {any} service */
  take(service) {
    const key = `${service.peer} ${service.started_ms}`;
    if (key !== this.key) {
      this.key = key;
      this.samples = restored(key, service.now_ms);
    }
    const last = this.samples[this.samples.length - 1];
    if (last && service.now_ms <= last[0]) return;
    const { received_bytes: received, sent_bytes: sent } = service.traffic;
    this.samples.push([service.now_ms, service.accepted, received, sent]);
    if (this.samples.length > KEPT) this.samples.shift();
    if (this.samples.length % STORE_EACH === 0 || this.samples.length === KEPT) this.store(service.now_ms);
    setHidden(this.element, false);
    this.show(service);
  }

  /** @param {number} now */
  store(now) {
    if (this.samples.length === KEPT && Math.floor(now / 1000) % STORE_EACH !== 0) return;
    try {
      sessionStorage.setItem(STORE, JSON.stringify({ key: this.key, samples: this.samples }));
    } catch {
      // Without storage, the next page begins anew.
    }
  }

  /** @param {any} service */
  show(service) {
    const { samples } = this;
    const begin = samples[0][0];
    const now = service.now_ms;
    const times = samples.map((sample) => sample[0]);
    const proofs = rates(samples, 1, PROOFS_OVER_MS, PROOFS_LEAST_MS).map((value) => value * 60);
    const received = rates(samples, 2, BYTES_OVER_MS, BYTES_OVER_MS - 500);
    const sent = rates(samples, 3, BYTES_OVER_MS, BYTES_OVER_MS - 500);
    const up = Math.max(service.now_ms - service.started_ms, 1);
    const average = (service.accepted / up) * 60_000;
    const known = !Number.isNaN(sent[sent.length - 1]);
    const settled = !Number.isNaN(proofs[proofs.length - 1]);
    setText(this.proofs, settled ? `${perMinute(proofs[proofs.length - 1])} a minute` : `${perMinute(average)} a minute`);
    setText(this.proofsSub, settled
      ? `${perMinute(average)} a minute since the start · ${counted(service.accepted, 'proof')}`
      : `since the start · ${counted(service.accepted, 'proof')}`);
    const has = now - begin;
    const why = has < CHART_LEAST_MS ? `A chart appears here after a minute with this page open; ${age(has)} have passed.` : '';
    const inWords = this.proofs.textContent ?? '';
    if (why) this.proofsChart.wait(why, inWords);
    else this.proofsChart.show([{ times, values: proofs, colour: 'done' }], begin, now, inWords);
    const down = received[received.length - 1];
    const away = sent[sent.length - 1];
    setText(this.traffic, known ? `${rate(away)} out` : 'Measuring …');
    setText(this.trafficSub, `${known ? `${rate(down)} in · ` : ''}${bytes(service.traffic.sent_bytes)} sent, ${bytes(service.traffic.received_bytes)} received`);
    const both = `${rate(away)} out, ${rate(down)} in`;
    if (why) this.trafficChart.wait(why, both);
    else this.trafficChart.show([{ times, values: sent, colour: 'accent' }, { times, values: received, colour: 'second' }], begin, now, both);
    this.showDisk(service);
  }

  /** @param {any} service */
  showDisk(service) {
    const free = service.disk_free_bytes / Math.max(service.disk_bytes, 1);
    setText(this.disk, `${bytes(service.disk_free_bytes)} free`);
    setClass(this.disk, 'bad', free < DISK_LOW);
    setText(this.diskSub, `of ${bytes(service.disk_bytes)}${free < DISK_LOW ? ' · jobs end when the disk is full: free some space' : ''}`);
    this.diskFill.style.width = `${Math.min(1 - free, 1) * 100}%`;
    setClass(this.diskFill, 'bad', free < DISK_LOW);
    const rows = [
      ['Jobs', `${count(service.jobs)} of ${count(service.jobs_max)}`],
      ['Tasks at work', count(service.running)],
      ['Peers', count(service.traffic.peers)],
      ['Up for', duration(service.now_ms - service.started_ms)],
      ['Engines', service.engines.map((/** @type {string} */ engine) => clean(engine, 20)).join(', ')],
    ];
    while (this.facts.children.length < rows.length) this.facts.append(h('div', {}, h('dt', {}), h('dd', {})));
    rows.forEach(([name, value], at) => {
      setText(this.facts.children[at].firstChild, name);
      setText(this.facts.children[at].lastChild, value);
    });
    this.facts.title = `Started at ${clock(service.started_ms)}`;
  }
}

/**
 * How fast a counter grows in a second, at each sample, over the time before it.
 *
 * @param {Sample[]} samples
 * @param {1 | 2 | 3} at
 * @param {number} over milliseconds
 * @param {number} least milliseconds, below which the rate is not known
 */
function rates(samples, at, over, least) {
  let from = 0;
  return samples.map((sample, index) => {
    while (from < index && samples[from + 1][0] <= sample[0] - over) from += 1;
    const time = sample[0] - samples[from][0];
    return time >= least ? (Math.max(sample[at] - samples[from][at], 0) / time) * 1000 : NaN;
  });
}

/** @param {string} key @param {number} now @returns {Sample[]} */
function restored(key, now) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE) ?? 'null');
    if (kept?.key !== key || !Array.isArray(kept.samples)) return [];
    return kept.samples.filter((/** @type {Sample} */ sample) => Array.isArray(sample) && sample[0] > now - KEPT * 1000 && sample[0] < now);
  } catch {
    return [];
  }
}
