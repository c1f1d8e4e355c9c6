/**
 * A job's time by machine: a lane for each, a bar for each attempt, and hatched where the machine
 * had nothing to do. Only the lanes in sight are drawn.
 */

import { announce, freshId, h, onWidth, perFrame, setAttribute, setHidden, setText } from './dom.js';
import { spent } from './estimate.js';
import { age, clean, clock, count, counted, duration } from './format.js';
import { colours, onTheme, prepare } from './theme.js';

const LANE = 22;
const BAR = 15;
const AXIS = 24;
const LANES_SEEN_MOST = 18;
const SPANS = [
  { name: 'All', ms: Infinity }, { name: '10 min', ms: 600_000 }, { name: '2 min', ms: 120_000 },
];

/** @typedef {import('./model.js').Lane} Lane */

export class Gantt {
  /** @param {import('./model.js').JobModel} model @param {() => number} now */
  constructor(model, now) {
    this.model = model;
    this.now = now;
    this.width = 0;
    this.span = Infinity;
    /** The lane and the attempt that are looked at. */
    this.at = { lane: -1, attempt: -1 };
    this.canvas = h('canvas', { class: 'gantt-canvas' });
    this.spacer = h('div', { class: 'gantt-spacer' });
    this.tip = h('div', { class: 'tip', hidden: true });
    const help = freshId('gantt-help');
    this.scroller = h('div', {
      class: 'gantt-scroll', role: 'application', tabindex: '0', 'aria-label': 'Timeline by machine', 'aria-describedby': help,
      on: {
        pointermove: (/** @type {PointerEvent} */ event) => this.point(event),
        pointerdown: (/** @type {PointerEvent} */ event) => this.point(event),
        pointerleave: () => this.leave(),
        blur: () => this.leave(),
        focus: () => this.scroller.matches(':focus-visible') && this.move(0, 0),
        keydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
      },
    }, this.canvas, this.spacer);
    this.summary = h('p', { class: 'tree-summary' });
    this.buttons = SPANS.map(({ name, ms }) => h('button', {
      type: 'button', 'aria-pressed': String(ms === this.span), on: { click: () => this.zoom(ms) },
    }, name));
    this.element = h('div', { class: 'gantt' },
      h('div', { class: 'tools', role: 'group', 'aria-label': 'Span of the timeline' }, ...this.buttons),
      h('div', { class: 'gantt-frame' }, this.scroller, this.tip), this.summary,
      h('p', { class: 'visually-hidden', id: help }, 'Up and down choose a machine, left and right one of its attempts.'));
    this.paint = perFrame(() => this.draw());
    this.scroller.addEventListener('scroll', this.paint, { passive: true });
    onWidth(this.scroller, (width) => {
      this.width = width;
      this.paint();
    });
    onTheme(this.paint);
  }

  /** @param {number} ms */
  zoom(ms) {
    this.span = ms;
    this.buttons.forEach((button, at) => setAttribute(button, 'aria-pressed', String(SPANS[at].ms === ms)));
    this.paint();
  }

  get until() {
    return this.model.job.ended_ms ?? this.now();
  }

  get from() {
    const { origin } = this.model;
    return Math.max(Number.isNaN(origin) ? this.until - 1000 : origin, this.until - this.span);
  }

  get names() {
    return this.width >= 640 ? 108 : 72;
  }

  get idles() {
    return this.width >= 640 ? 84 : 44;
  }

  /** @param {number} time */
  x(time) {
    const inner = Math.max(this.width - this.names - this.idles, 40);
    const length = Math.max(this.until - this.from, 1);
    return this.names + Math.min(Math.max((time - this.from) / length, 0), 1) * inner;
  }

  draw() {
    const { lanes } = this.model;
    if (this.width < 40) return;
    const rows = Math.min(lanes.length, LANES_SEEN_MOST);
    const height = AXIS + Math.max(rows, 1) * LANE + 4;
    this.scroller.style.height = `${height}px`;
    this.spacer.style.height = `${Math.max((lanes.length - rows) * LANE, 0)}px`;
    if (this.drawn !== `${this.width} ${height} ${devicePixelRatio}`) {
      this.drawn = `${this.width} ${height} ${devicePixelRatio}`;
      this.context = prepare(this.canvas, this.width, height);
      this.hatch = undefined;
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.context);
    context.clearRect(0, 0, this.width, height);
    this.ticks(context, height, true);
    const top = this.scroller.scrollTop;
    const first = Math.floor(top / LANE);
    for (let at = first; at < Math.min(first + rows + 2, lanes.length); at += 1) {
      this.lane(context, lanes[at], AXIS + at * LANE - top, at);
    }
    // Lanes that are scrolled half away must not reach into the axis.
    context.clearRect(0, 0, this.width, AXIS - 4);
    this.ticks(context, height, false);
    this.summarise();
  }

  /**
   * The lines of the times, below the bars, or the times themselves.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {number} height
   * @param {boolean} lines
   */
  ticks(context, height, lines) {
    const length = this.until - this.from;
    const step = niceStep(length / Math.max(Math.floor((this.width - this.names - this.idles) / 90), 2));
    const zero = Number.isNaN(this.model.origin) ? this.from : this.model.origin;
    context.font = `11px ${colours.font}`;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    for (let time = Math.ceil((this.from - zero) / step) * step; time <= this.until - zero; time += step) {
      const x = Math.round(this.x(zero + time)) + 0.5;
      if (lines) {
        context.beginPath();
        context.moveTo(x, AXIS - 4);
        context.lineTo(x, height);
        context.stroke();
        continue;
      }
      context.fillStyle = colours.muted;
      context.textAlign = time === 0 ? 'left' : 'center';
      if (x < this.width - this.idles - 20) context.fillText(time === 0 ? '0' : axisTime(time), x, 10);
    }
    if (lines) return;
    context.textAlign = 'right';
    context.fillStyle = colours.muted;
    context.fillText('idle', this.width - 4, 10);
  }

  /** @param {CanvasRenderingContext2D} context @param {Lane} lane @param {number} y @param {number} at */
  lane(context, lane, y, at) {
    const top = y + (LANE - BAR) / 2;
    const middle = y + LANE / 2;
    const use = spent(lane, this.until);
    if (at === this.at.lane) {
      context.fillStyle = colours.waiting;
      context.globalAlpha = 0.5;
      context.fillRect(0, y, this.width, LANE);
      context.globalAlpha = 1;
    }
    context.font = `12px ${colours.font}`;
    context.textAlign = 'left';
    context.fillStyle = lane.left ? colours.muted : colours.ink;
    context.fillText(clean(lane.name, 14), 0, middle, this.names - 10);
    this.idle(context, lane, top);
    for (const attempt of lane.attempts) this.bar(context, attempt, top);
    context.textAlign = 'right';
    context.font = `12px ${colours.font}`;
    context.fillStyle = colours.muted;
    const text = lane.left ? 'gone' : `${Math.round(use.idle * 100)} %`;
    context.fillText(lane.attempts.length === 0 ? '' : text, this.width - 4, middle);
  }

  /** @param {CanvasRenderingContext2D} context @param {Lane} lane @param {number} top */
  idle(context, lane, top) {
    const begun = lane.attempts[0]?.start;
    if (begun === undefined) return;
    const ends = lane.attempts.map(({ end }) => (Number.isNaN(end) ? this.until : end));
    const until = lane.left ? Math.max(...ends.slice(-4)) : this.until;
    if (until < this.from) return;
    const x = this.x(begun);
    this.hatch ??= hatched(context);
    context.fillStyle = this.hatch ?? colours.idle;
    context.fillRect(x, top, Math.max(this.x(until) - x, 1), BAR);
  }

  /** @param {CanvasRenderingContext2D} context @param {import('./model.js').Attempt} attempt @param {number} top */
  bar(context, attempt, top) {
    const end = Number.isNaN(attempt.end) ? this.until : attempt.end;
    if (end < this.from) return;
    const x = this.x(attempt.start);
    const width = Math.max(this.x(end) - x - 0.75, 1);
    context.fillStyle = colourOf(attempt.how);
    context.fillRect(x, top, width, BAR);
    const focused = this.model.lanes[this.at.lane]?.attempts[this.at.attempt] === attempt;
    if (focused) {
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.strokeRect(x, top - 1, width, BAR + 2);
    }
    if (width < 30) return;
    context.font = `11px ${colours.font}`;
    const name = this.model.shape.name(attempt.place);
    if (context.measureText(name).width > width - 8) return;
    context.textAlign = 'left';
    context.fillStyle = attempt.how === 'accepted' ? colours['done-ink'] : colours['running-ink'];
    context.fillText(name, x + 5, top + BAR / 2 + 0.5);
  }

  /** Every few seconds: all attempts are added up. */
  summarise() {
    const { lanes, job, version } = this.model;
    const moment = `${version} ${lanes.length} ${job.state} ${Math.floor(this.until / 3000)}`;
    if (moment === this.summarised) return;
    this.summarised = moment;
    if (lanes.length === 0) {
      setText(this.summary, 'No machine has taken a task yet.');
      return;
    }
    let [busy, present, gone] = [0, 0, 0];
    for (const lane of lanes) {
      const use = spent(lane, this.until);
      busy += use.busy;
      present += use.present;
      gone += lane.left ? 1 : 0;
    }
    const idle = present > 0 ? Math.round((1 - busy / present) * 100) : 0;
    const left = gone > 0 ? `, ${count(gone)} gone` : '';
    setText(this.summary, `${counted(lanes.length, 'machine')}${left} · ${duration(busy)} of work · ${idle} % of their time idle`);
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.scroller.getBoundingClientRect();
    const y = event.clientY - box.top;
    const x = event.clientX - box.left;
    const lane = y < AXIS ? -1 : Math.floor((y - AXIS + this.scroller.scrollTop) / LANE);
    const attempts = this.model.lanes[lane]?.attempts ?? [];
    const attempt = attempts.findLastIndex((one) => {
      const end = Number.isNaN(one.end) ? this.until : one.end;
      return x >= this.x(one.start) - 1 && x <= this.x(end) + 1;
    });
    if (lane === this.at.lane && attempt === this.at.attempt && !this.tip.hidden) return;
    this.at = { lane: this.model.lanes[lane] ? lane : -1, attempt };
    this.show();
  }

  leave() {
    if (document.activeElement === this.scroller && this.scroller.matches(':focus-visible')) return;
    this.at = { lane: -1, attempt: -1 };
    setHidden(this.tip, true);
    this.paint();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = /** @type {Record<string, number[]>} */ (moves)[event.key];
    if (event.key === 'Escape') setHidden(this.tip, true);
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.move(move[0], move[1]);
  }

  /** @param {number} lanes @param {number} attempts */
  move(lanes, attempts) {
    const all = this.model.lanes;
    if (all.length === 0) return;
    const lane = Math.min(Math.max(this.at.lane + lanes, 0), all.length - 1);
    const last = all[lane].attempts.length - 1;
    const begin = lanes !== 0 || this.at.attempt < 0 ? last : this.at.attempt + attempts;
    this.at = { lane, attempt: Math.min(Math.max(begin, Math.min(0, last)), last) };
    const top = lane * LANE;
    const room = this.scroller.clientHeight - AXIS - LANE;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
    this.show();
    announce(this.tip.textContent ?? '');
  }

  show() {
    const lane = this.model.lanes[this.at.lane];
    setHidden(this.tip, !lane);
    this.paint();
    if (!lane) return;
    const use = spent(lane, this.until);
    const attempt = lane.attempts[this.at.attempt];
    const lines = [
      attempt && this.attemptText(attempt),
      `${counted(use.accepted, 'proof')} accepted${use.other > 0 ? `, ${use.other} without` : ''}`,
      lane.left ? 'The machine is gone' : `Idle for ${Math.round(use.idle * 100)} % of its time`,
    ];
    this.tip.replaceChildren(h('strong', {}, clean(lane.name, 40)), ...lines.map((line) => line && h('span', {}, line)).filter(Boolean));
    const y = AXIS + this.at.lane * LANE - this.scroller.scrollTop;
    const tip = this.tip.getBoundingClientRect();
    const x = attempt ? this.x(attempt.start) : this.names;
    const top = y > tip.height + 8 ? y - tip.height - 6 : y + LANE + 4;
    this.tip.style.transform = `translate(${Math.round(Math.min(Math.max(x, 0), Math.max(this.width - tip.width, 0)))}px, ${Math.round(top)}px)`;
  }

  /** @param {import('./model.js').Attempt} attempt */
  attemptText(attempt) {
    const name = this.model.shape.name(attempt.place);
    if (Number.isNaN(attempt.end)) return `${name}: running for ${age(this.until - attempt.start)}`;
    const how = { accepted: 'proof accepted', revoked: 'taken from it, or given back', left: 'lost when it left' }[attempt.how ?? 'revoked'];
    return `${name}: ${how} after ${duration(attempt.end - attempt.start)}, at ${clock(attempt.end)}`;
  }
}

/** @param {string | null} how */
function colourOf(how) {
  if (how === null) return colours.running;
  return how === 'accepted' ? colours.done : how === 'left' ? colours.left : colours.lost;
}

/** @param {number} least milliseconds */
function niceStep(least) {
  const steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400].map((step) => step * 1000);
  return steps.find((step) => step >= least) ?? Math.ceil(least / 86_400_000) * 86_400_000;
}

/** @param {number} ms */
function axisTime(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return seconds % 60 ? `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} min` : `${seconds / 60} min`;
  return `${(seconds / 3600).toFixed(seconds % 3600 ? 1 : 0)} h`;
}

/** @param {CanvasRenderingContext2D} context */
function hatched(context) {
  const tile = document.createElement('canvas');
  tile.width = 6;
  tile.height = 6;
  const brush = tile.getContext('2d');
  if (!brush) return null;
  brush.strokeStyle = colours.idle;
  brush.lineWidth = 1.2;
  brush.beginPath();
  for (const from of [-6, 0, 6]) {
    brush.moveTo(from, 6);
    brush.lineTo(from + 6, 0);
  }
  brush.stroke();
  return context.createPattern(tile, 'repeat');
}
