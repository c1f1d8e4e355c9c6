/**
 * A stream of server-sent events that does not give up. It reads with `fetch` and not with
 * `EventSource`, which cannot name the last event when it is made anew, and which stops for good at
 * an answer such as 503.
 */

import { refusal } from './api.js';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
/** A line that is longer is none of ours. */
const LONGEST_LINE = 16 * 1024 * 1024;

/**
 * Cuts the text of a stream into events.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventParser {
  /** @param {(event: { id: string | null, name: string, data: string }) => void} found */
  constructor(found) {
    this.found = found;
    this.rest = '';
    this.reset();
  }

  reset() {
    /** @type {string[]} */
    this.data = [];
    this.name = '';
    /** @type {string | null} */
    this.id = null;
  }

  /** @param {string} text */
  push(text) {
    // A line may end in the middle of \r\n: a lone \r at the end waits for what follows.
    const all = this.rest + text;
    const held = all.endsWith('\r') ? all.length - 1 : all.length;
    const lines = all.slice(0, held).split(/\r\n|\n|\r/);
    this.rest = lines.pop() + all.slice(held);
    if (this.rest.length > LONGEST_LINE) throw new Error('an event is longer than 16 MiB');
    for (const line of lines) this.line(line);
  }

  /** @param {string} line */
  line(line) {
    if (line === '') {
      if (this.data.length > 0) this.found({ id: this.id, name: this.name, data: this.data.join('\n') });
      this.reset();
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.name = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
  }
}

/**
 * @typedef {{ kind: 'connecting' } | { kind: 'open' } | { kind: 'gone', reason: string, status: number }
 *   | { kind: 'lost', reason: string, status: number, nextAt: number }} StreamState
 */

export class EventStream {
  /**
   * @param {string} path
   * @param {object} options
   * @param {(event: any, id: string | null) => void} options.onEvent
   * @param {(state: StreamState) => void} [options.onState]
   * @param {number} options.silenceMs after which a silent connection counts as broken
   */
  constructor(path, { onEvent, onState, silenceMs }) {
    this.path = path;
    this.onEvent = onEvent;
    this.onState = onState ?? (() => {});
    this.silenceMs = silenceMs;
    /** Whether the stream is to run while the page is seen. */
    this.wanted = false;
    /** The last event that is complete: where the stream goes on. @type {string | null} */
    this.lastId = null;
    this.running = false;
    /** Counts starts: a run that was stopped must not go on because another has begun. */
    this.turn = 0;
    this.failures = 0;
    /** @type {AbortController | null} */
    this.attempt = null;
    /** @type {(() => void) | null} */
    this.wake = null;
    /** What is read now. @type {ReadableStream<Uint8Array> | null} */
    this.body = null;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.turn += 1;
    this.run(this.turn);
  }

  stop() {
    this.running = false;
    this.body = null;
    this.attempt?.abort();
    this.wake?.();
  }

  /** Does not wait for the next attempt. */
  retryNow() {
    this.failures = 0;
    this.wake?.();
  }

  /** @param {number} turn */
  async run(turn) {
    const isOver = () => !this.running || this.turn !== turn;
    while (!isOver()) {
      this.onState({ kind: 'connecting' });
      let [reason, status, wait] = ['The stream has ended.', 0, 0];
      try {
        await this.read();
      } catch (error) {
        const failure = /** @type {any} */ (error);
        status = failure.status ?? 0;
        wait = failure.waitMs ?? 0;
        reason = failure.reason ?? 'The service does not answer.';
      }
      if (isOver()) return;
      if (status === 404 || status === 410) {
        this.running = false;
        this.onState({ kind: 'gone', reason, status });
        return;
      }
      await this.pause(reason, status, wait);
    }
  }

  /** @param {string} reason @param {number} status @param {number} atLeast */
  async pause(reason, status, atLeast) {
    const doubled = Math.min(FIRST_WAIT_MS * 2 ** this.failures, LONGEST_WAIT_MS);
    this.failures += 1;
    // Spread out: a thousand pages must not come back in the same instant.
    const wait = Math.max(atLeast, doubled * (0.75 + Math.random() / 2));
    this.onState({ kind: 'lost', reason, status, nextAt: Date.now() + wait });
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.wake = null;
  }

  async read() {
    const attempt = new AbortController();
    this.attempt = attempt;
    let silence = setTimeout(() => attempt.abort(), this.silenceMs);
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => attempt.abort(), this.silenceMs);
    };
    try {
      /** @type {Record<string, string>} */
      const headers = { accept: 'text/event-stream' };
      if (this.lastId) headers['last-event-id'] = this.lastId;
      const response = await fetch(this.path, { headers, cache: 'no-store', signal: attempt.signal });
      if (!response.ok || !response.body) await refused(response);
      this.onState({ kind: 'open' });
      await this.consume(/** @type {any} */ (response.body), heard);
    } catch (error) {
      if (attempt.signal.aborted && this.running) throw { reason: `Nothing came for ${this.silenceMs / 1000} s.` };
      throw error;
    } finally {
      clearTimeout(silence);
      attempt.abort();
    }
  }

  /** @param {ReadableStream<Uint8Array>} body @param {() => void} heard */
  async consume(body, heard) {
    const decoder = new TextDecoder();
    const parser = new EventParser((event) => this.deliver(event));
    const reader = body.getReader();
    this.body = body;
    for (;;) {
      const { done, value } = await reader.read();
      if (done || body !== this.body) return;
      heard();
      parser.push(decoder.decode(value, { stream: true }));
    }
  }

  /** @param {{ id: string | null, name: string, data: string }} event */
  deliver(event) {
    let news;
    try {
      news = JSON.parse(event.data);
    } catch {
      // Later releases may send what this page does not read.
      return;
    }
    this.failures = 0;
    this.onEvent(news, event.id);
    if (event.id !== null) this.lastId = event.id;
  }
}

/** @param {Response} response @returns {Promise<never>} */
async function refused(response) {
  const error = await refusal(response);
  const seconds = Number(response.headers.get('retry-after') ?? 0);
  const waitMs = Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 300) * 1000 : 0;
  throw { reason: error.message, status: error.status, waitMs };
}
