/**
 * Whether what the page shows is true now: the stream of the whole service, the service's clock, and
 * the words that say so. While the stream is broken the clock stands still, so that no figure goes
 * on as if it were known.
 */

import { announce, byId, h, setClass, setHidden, setText } from './dom.js';
import { age, clean, clock } from './format.js';
import { EventStream } from './stream.js';

/** The service speaks every second. */
const SILENCE_MS = 12_000;
/** A page that nobody looks at gives its connections back after this time. */
const HIDDEN_MS = 60_000;
/** A connection that breaks for a moment is not worth a word. */
const GRACE_MS = 800;

/** Stops streams while nobody sees the page. @param {EventStream} stream */
export function whileSeen(stream) {
  let timer = 0;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => stream.wanted && stream.stop(), HIDDEN_MS);
    else if (stream.wanted) stream.start();
  });
  stream.wanted = true;
  if (!document.hidden) stream.start();
}

export class Connection {
  /** @param {(event: any) => void} onEvent */
  constructor(onEvent) {
    this.onEvent = onEvent;
    /** @type {import('./stream.js').StreamState} */
    this.state = { kind: 'connecting' };
    /** When something was heard last, by this machine's clock; 0 before that. */
    this.heard = 0;
    this.offset = 0;
    /** When the connection broke; 0 while it stands. */
    this.brokenAt = 0;
    /** @type {any} */
    this.service = null;
    this.restarted = 0;
    this.stream = new EventStream('/v1/events', {
      silenceMs: SILENCE_MS,
      onEvent: (event) => this.take(event),
      onState: (state) => this.turn(state),
    });
    this.draw();
    byId('retry').addEventListener('click', () => this.stream.retryNow());
    setInterval(() => this.draw(), 1000);
    whileSeen(this.stream);
  }

  /** The service's time; while the connection is broken, that of the last word. */
  now() {
    return (this.isLive || this.heard === 0 ? Date.now() : this.heard) + this.offset;
  }

  get isLive() {
    return this.state.kind === 'open' && this.heard > 0;
  }

  /** @param {any} event */
  take(event) {
    this.heard = Date.now();
    if (this.brokenAt > 0) {
      announce('Connected again');
      this.brokenAt = 0;
    }
    if (event.type === 'service') {
      const before = this.service;
      this.service = event.now;
      this.offset = event.now.now_ms - this.heard;
      this.restarted = before && before.started_ms !== event.now.started_ms ? this.heard : this.restarted;
      if (!before) this.draw();
    }
    this.onEvent(event);
    if (!this.drawnLive) this.draw();
  }

  /** @param {import('./stream.js').StreamState} state */
  turn(state) {
    // An attempt that begins does not end the time without data.
    const isAttempt = state.kind === 'connecting' && this.state.kind === 'lost';
    if (!isAttempt) this.state = state;
    if (state.kind === 'lost' || state.kind === 'gone') {
      if (this.brokenAt === 0) {
        this.brokenAt = Date.now();
        setTimeout(() => {
          if (this.brokenAt > 0 && this.heard > 0) announce(`The connection broke at ${clock(this.brokenAt)}. What the page shows is from then.`);
          this.draw();
        }, GRACE_MS);
      }
    }
    this.draw();
  }

  draw() {
    const { state } = this;
    const live = this.isLive && this.brokenAt === 0;
    const broken = this.brokenAt > 0 && Date.now() - this.brokenAt >= GRACE_MS;
    this.drawnLive = live;
    const status = byId('status');
    const word = live ? 'live' : broken ? 'lost' : 'wait';
    if (status.dataset.state !== word) status.dataset.state = word;
    setText(byId('status-text'), live ? 'Live' : broken ? 'Disconnected' : 'Connecting');
    setText(byId('status-time'), live || this.heard > 0 ? clock(this.now()) : '');
    setClass(document.body, 'stale', broken && this.heard > 0);
    setHidden(byId('banner'), !broken);
    if (broken) this.explain(state);
    if (this.service) setText(byId('build'), clean(this.service.build, 40));
  }

  /** @param {import('./stream.js').StreamState} state */
  explain(state) {
    const refused = 'status' in state && (state.status === 401 || state.status === 403);
    const reason = 'reason' in state ? clean(state.reason, 200) : '';
    if (refused) {
      setText(byId('banner-title'), 'This service is private');
      setText(byId('banner-text'), `It answers only requests with a key, and this page never asks for one. Open it through a proxy that adds the key. The service says: ${reason}`);
      setText(byId('banner-next'), '');
      return;
    }
    setText(byId('banner-title'), this.heard > 0 ? 'Disconnected' : 'The service does not answer');
    const old = this.heard > 0
      ? `Everything below is as it was at ${clock(this.heard + this.offset)}, ${age(Date.now() - this.heard)} ago. `
      : '';
    setText(byId('banner-text'), `${old}${reason}`);
    const wait = state.kind === 'lost' ? state.nextAt - Date.now() : 0;
    setText(byId('banner-next'), wait > 500 ? `Next attempt in ${age(wait)}.` : 'Trying to connect …');
  }
}

/**
 * A message where there is nothing else to show.
 *
 * @param {'h1' | 'h3'} heading
 * @param {string} title
 * @param {...(string | Node)} text
 */
export function emptiness(heading, title, ...text) {
  return h('div', { class: 'empty' }, h(heading, {}, title), h('p', {}, ...text));
}
