/**
 * Keeps the model of one job true: by the job's stream, or by asking again and again where the
 * browser has no connection left for one more stream.
 */

import { get, jobPath } from './api.js';
import { whileSeen } from './connection.js';
import { isOver } from './format.js';
import { JobModel } from './model.js';
import { EventStream } from './stream.js';

/** The service sends a comment at least this often. */
const SILENCE_MS = 45_000;
/** Events that wait for the tasks' document; beyond these it is asked for again. */
const WAITING_MOST = 20_000;

/**
 * A browser has six connections for one service of HTTP/1.1, in all its windows together. So many
 * of them may be streams of jobs.
 */
const SLOTS = 3;

/** @returns {Promise<(() => void) | null>} gives the connection back; null if there is none */
async function slot() {
  if (!navigator.locks) return () => {};
  for (let at = 0; at < SLOTS; at += 1) {
    const release = await new Promise((resolve) => {
      navigator.locks.request(`myriad-stream-${at}`, { ifAvailable: true }, (lock) => {
        if (!lock) {
          resolve(null);
          return undefined;
        }
        return new Promise((free) => resolve(() => free(undefined)));
      });
    });
    if (release) return release;
  }
  return null;
}

export class JobWatch {
  /**
   * @param {any} job the job's document
   * @param {object} options
   * @param {boolean} options.streams whether it may have a connection of its own
   * @param {() => void} options.onChange
   * @param {(event: any) => void} [options.onEvent]
   */
  constructor(job, { streams, onChange, onEvent }) {
    this.id = job.id;
    this.model = new JobModel(job);
    this.onChange = onChange;
    this.onEvent = onEvent;
    /** Why there are no tasks. @type {string} */
    this.error = '';
    this.loading = false;
    this.again = false;
    /** @type {{ event: any, id: string | null }[]} */
    this.waiting = [];
    this.ended = false;
    this.mode = 'none';
    this.begin(streams);
  }

  /** @param {boolean} streams */
  async begin(streams) {
    const free = streams && !isOver(this.model.job.state) ? await slot() : null;
    if (this.ended) {
      free?.();
      return;
    }
    if (!free) {
      await this.load();
      this.poll();
      return;
    }
    this.mode = 'stream';
    this.free = free;
    this.stream = new EventStream(`${jobPath(this.id)}/events`, {
      silenceMs: SILENCE_MS,
      onEvent: (event, id) => this.take(event, id),
      onState: (state) => {
        if (state.kind === 'lost' && !this.model.loaded) this.load();
      },
    });
    whileSeen(this.stream);
  }

  poll() {
    if (this.ended || isOver(this.model.job.state)) return;
    this.mode = 'poll';
    const wait = this.model.shape.tasks > 1000 ? 15_000 : 5_000;
    this.timer = setTimeout(async () => {
      if (!document.hidden) await this.refresh();
      this.poll();
    }, wait);
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    if (this.stream) {
      this.stream.wanted = false;
      this.stream.stop();
    }
    this.free?.();
  }

  /** @param {any} event @param {string | null} id */
  take(event, id) {
    if (this.ended) return;
    // A snapshot has in it what came before.
    if (event.type === 'snapshot') this.waiting = [];
    if (this.loading && event.type !== 'snapshot') {
      this.waiting.push({ event, id });
      if (this.waiting.length > WAITING_MOST) {
        this.waiting = [];
        this.again = true;
      }
    } else {
      this.applied(event, id);
    }
    this.onEvent?.(event);
    this.onChange();
  }

  /** @param {any} event @param {string | null} id */
  applied(event, id) {
    if (!this.model.apply(event, id)) return;
    if (event.type === 'state') this.refresh();
    else this.load();
  }

  /** Asks for the job and its tasks. */
  async refresh() {
    try {
      this.model.update(await get(jobPath(this.id)));
      this.onChange();
      await this.load();
    } catch {
      // The page says that it is disconnected; the next event or turn tries again.
    }
    if (isOver(this.model.job.state) && this.stream) {
      this.stream.wanted = false;
      this.stream.stop();
      this.mode = 'none';
      this.free?.();
    }
  }

  async load() {
    if (this.loading) {
      this.again = true;
      return;
    }
    this.loading = true;
    do {
      this.again = false;
      await this.loadOnce();
    } while (this.again && !this.ended);
    this.loading = false;
    const waiting = this.waiting;
    this.waiting = [];
    for (const { event, id } of waiting) this.applied(event, id);
    if (!this.ended) this.onChange();
  }

  async loadOnce() {
    try {
      const tasks = await get(`${jobPath(this.id)}/tasks`);
      if (!this.ended) this.model.load(tasks);
      this.error = '';
    } catch (error) {
      this.error = /** @type {Error} */ (error).message;
    }
  }
}
