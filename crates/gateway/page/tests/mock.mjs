/**
 * A server that speaks the page's part of the HTTP API, with pretended jobs:
 *
 *     node mock.mjs [SCENARIO] [--port 8088]
 *
 * It also serves the page's files, under the same content security policy as the gateway.
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

import { problem, SCENARIOS } from './scenarios.mjs';
import { makePeers } from './sim.mjs';

const PAGE = new URL('../', import.meta.url);
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' };
const HEADERS = {
  'content-security-policy': "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'", 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer',
};
const RING = 16_384;
const STEP_MS = 50;

export class Mock {
  /** @param {string} scenario */
  constructor(scenario) {
    this.start = 7;
    this.set(scenario);
    this.server = createServer((request, response) => this.answer(request, response));
    this.sockets = new Set();
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    /** Requests as they came, for tests. @type {{ path: string, at: number, lastId: string | undefined }[]} */
    this.seen = [];
    this.timer = setInterval(() => this.step(), STEP_MS);
    this.second = setInterval(() => this.tellService(), 1000);
  }

  /** @param {string} scenario */
  set(scenario) {
    const make = SCENARIOS[scenario];
    if (!make) throw new Error(`the scenario ${scenario} is none of ${Object.keys(SCENARIOS).join(', ')}`);
    this.world = make(Date.now());
    /** Events by stream: the id of a job, or `all`. @type {Map<string, { id: string, name: string, data: string }[]>} */
    this.rings = new Map();
    this.counts = new Map();
    /** @type {Map<string, Set<import('node:http').ServerResponse>>} */
    this.readers = new Map();
    this.accepted = this.world.sims.reduce((sum, sim) => sum + sim.job.progress.done, this.world.jobs.length * 400);
    this.traffic = { received_bytes: 2.2e9, sent_bytes: 8.1e9 };
    for (const event of this.world.script ?? []) this.tell(event);
  }

  /** @param {number} [port] */
  async listen(port = 0) {
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', () => resolve(undefined)));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  /** The service is gone. */
  async goAway() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Only connections break; the service goes on. */
  breakStreams() {
    for (const readers of this.readers.values()) for (const response of readers) response.destroy();
    this.readers.clear();
  }

  /** It is back, as another start. @param {string} [scenario] */
  async comeBack(scenario) {
    this.start += 1;
    if (scenario) this.set(scenario);
    this.rings.clear();
    this.world.started = Date.now();
    await this.listen(this.port);
  }

  async close() {
    clearInterval(this.timer);
    clearInterval(this.second);
    if (this.server.listening) await this.goAway();
  }

  step() {
    const now = Date.now();
    for (const sim of this.world.sims) {
      if (sim.planning) this.plan(sim, now);
      else for (const event of sim.advance(now)) this.tell(event);
      if (sim.extra) for (const event of sim.extra.splice(0)) this.tell(event);
    }
    this.traffic.sent_bytes += 600_000 + 500_000 * Math.sin(now / 9000);
    this.traffic.received_bytes += 210_000 + 150_000 * Math.cos(now / 7000);
  }

  plan(sim, now) {
    if (now - (sim.cutAt ?? 0) < 400) return;
    sim.cutAt = now;
    sim.job.progress.segments += 2;
    this.tell({ at_ms: now, job: sim.job.id, type: 'cut', segments: sim.job.progress.segments, reused: 0 });
  }

  /** @param {any} event */
  tell(event) {
    if (event.type === 'accepted') this.accepted += 1;
    if (event.job) this.push(event.job, event);
    if (['state', 'planned', 'joined', 'left', 'notice', 'service', 'snapshot'].includes(event.type)) this.push('all', event);
  }

  /** @param {string} stream @param {any} event */
  push(stream, event) {
    const count = (this.counts.get(stream) ?? 0) + 1;
    this.counts.set(stream, count);
    const line = { id: `${this.start}-${count}`, name: event.type, data: JSON.stringify(event) };
    const ring = this.rings.get(stream) ?? [];
    this.rings.set(stream, ring);
    ring.push(line);
    if (ring.length > RING) ring.shift();
    for (const response of this.readers.get(stream) ?? []) response.write(frame(line));
  }

  tellService() {
    if (!this.world.refuses) this.tell({ at_ms: Date.now(), type: 'service', now: this.service() });
  }

  service() {
    const live = this.world.sims.filter((sim) => sim.job.state === 'proving' || sim.job.state === 'planning');
    return {
      build: 'myriad 0.1.0', peer: '12D3KooWGateway1111111111111111111111111111111k3Fq9x', started_ms: this.world.started, now_ms: Date.now(),
      engines: ['openvm', 'risc0'], jobs: live.length, jobs_max: 64, running: live.reduce((sum, sim) => sum + sim.job.progress.running, 0),
      accepted: this.accepted, traffic: { peers: this.world.peers, received_bytes: Math.round(this.traffic.received_bytes), sent_bytes: Math.round(this.traffic.sent_bytes) },
      disk_free_bytes: 212_000_000_000, disk_bytes: 480_000_000_000,
    };
  }

  jobs() {
    return [...this.world.sims.map((sim) => sim.job), ...this.world.jobs];
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async answer(request, response) {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const path = url.pathname;
    this.seen.push({ path, at: Date.now(), lastId: /** @type {string | undefined} */ (request.headers['last-event-id']) });
    if (path.startsWith('/v1/') && this.world.refuses) return json(response, this.world.refuses.status, this.world.refuses);
    if (path === '/v1/service') return json(response, 200, this.service());
    if (path === '/v1/peers') return json(response, 200, this.world.peersDocument ?? makePeers(9, this.world.peers, this.world.sims));
    if (path === '/v1/jobs') return this.list(url, response);
    if (path === '/v1/events') return this.stream('all', request, response);
    const match = /^\/v1\/jobs\/([^/]+)(\/[a-z]+)?$/.exec(path);
    if (match) return this.job(match[1], match[2] ?? '', request, response);
    return this.file(path, response);
  }

  /** @param {URL} url @param {import('node:http').ServerResponse} response */
  list(url, response) {
    const state = url.searchParams.get('state');
    const limit = Number(url.searchParams.get('limit') ?? 100);
    const all = this.jobs().filter((job) => !state || job.state === state).sort((a, b) => b.submitted_ms - a.submitted_ms);
    const before = url.searchParams.get('before');
    const from = before ? Number(before) : 0;
    const jobs = all.slice(from, from + limit);
    const more = from + limit < all.length ? { next: String(from + limit) } : {};
    json(response, 200, { jobs, ...more });
  }

  /** @param {string} id @param {string} part @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  job(id, part, request, response) {
    const sim = this.world.sims.find((sim) => sim.job.id === id);
    const job = sim?.job ?? this.world.jobs.find((job) => job.id === id);
    if (!job) return json(response, 404, problem('not-found', 404, 'There is no such thing', `the service has no job ${id.slice(0, 80)}`));
    if (part === '') return json(response, 200, job);
    if (part === '/events') return this.stream(id, request, response);
    if (part === '/tasks') {
      // A script is played to each reader anew.
      const upTo = sim && !this.world.script ? { event: `${this.start}-${this.counts.get(id) ?? 0}` } : {};
      if (sim?.planning) return json(response, 200, { ...upTo, segments: job.progress.segments, tasks: [], machines: [], attempts: [], origin_ms: job.submitted_ms });
      return json(response, 200, (sim && { ...upTo, ...sim.tasks() }) ?? this.world.tasks.get(id) ?? { segments: 0, tasks: [], machines: [], attempts: [], origin_ms: 0 });
    }
    if (part === '/proof' && job.proof) {
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-disposition': 'attachment' });
      return response.end('proof');
    }
    return json(response, 404, problem('not-found', 404, 'There is no such thing', 'the job has no proof yet'));
  }

  /** @param {string} name @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  stream(name, request, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const ring = this.rings.get(name) ?? [];
    const at = ring.findIndex((line) => line.id === request.headers['last-event-id']);
    if (at >= 0) for (const line of ring.slice(at + 1)) response.write(frame(line));
    else if (name !== 'all') {
      const now = this.jobs().find((job) => job.id === name);
      const id = `${this.start}-${this.counts.get(name) ?? 0}`;
      response.write(frame({ id, name: 'snapshot', data: JSON.stringify({ at_ms: Date.now(), job: name, type: 'snapshot', now }) }));
      if (this.world.script) for (const line of ring) response.write(frame(line));
    } else {
      for (const text of this.world.notices ?? []) {
        response.write(frame({ id: `${this.start}-0`, name: 'notice', data: JSON.stringify({ at_ms: Date.now(), type: 'notice', text }) }));
      }
    }
    if (name === 'all') response.write(frame({ id: `${this.start}-${this.counts.get(name) ?? 0}`, name: 'service', data: JSON.stringify({ at_ms: Date.now(), type: 'service', now: this.service() }) }));
    const readers = this.readers.get(name) ?? new Set();
    this.readers.set(name, readers);
    readers.add(response);
    response.on('close', () => readers.delete(response));
  }

  /** @param {string} path @param {import('node:http').ServerResponse} response */
  async file(path, response) {
    const name = path === '/' ? 'index.html' : path === '/job' ? 'job.html' : /^\/page\/([\w-]+\.(?:js|css|svg))$/.exec(path)?.[1];
    if (path === '/docs') return response.writeHead(200, { 'content-type': TYPES.html }).end('<!doctype html><title>API</title>');
    try {
      if (!name) throw new Error('no file');
      const body = await readFile(fileURLToPath(new URL(name, PAGE)));
      const type = /** @type {Record<string, string>} */ (TYPES)[name.split('.').pop() ?? ''];
      response.writeHead(200, { ...HEADERS, 'content-type': type, 'cache-control': 'no-cache', etag: `"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"` });
      response.end(body);
    } catch {
      json(response, 404, problem('not-found', 404, 'There is no such thing', `there is nothing at ${path}`));
    }
  }
}

/** @param {{ id: string, name: string, data: string }} line */
const frame = ({ id, name, data }) => `id: ${id}\nevent: ${name}\ndata: ${data}\n\n`;

/** @param {import('node:http').ServerResponse} response @param {number} status @param {any} body */
function json(response, status, body) {
  response.writeHead(status, { ...HEADERS, 'content-type': status < 400 ? 'application/json' : 'application/problem+json' });
  response.end(JSON.stringify(body));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--port');
  const name = process.argv[2] && !process.argv[2].startsWith('--') ? process.argv[2] : 'four';
  const mock = await new Mock(name).listen(at > 0 ? Number(process.argv[at + 1]) : 8088);
  console.log(`${name} at ${mock.url}`);
}
