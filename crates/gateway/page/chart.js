/** A small chart of values over time: one or two lines, the first with its area. */

import { h, onWidth, perFrame, setAttribute, setClass, setHidden, setText } from './dom.js';
import { colours, onTheme, prepare } from './theme.js';

const HEIGHT = 92;
const TOP = 14;
const BOTTOM = 16;

/** @typedef {{ times: number[], values: number[], colour: string }} Line */

export class Chart {
  /**
   * @param {object} options
   * @param {(value: number) => string} options.format
   * @param {string} options.name for those who do not see it
   */
  constructor({ format, name }) {
    this.format = format;
    this.name = name;
    /** @type {Line[]} */
    this.lines = [];
    this.width = 0;
    this.canvas = h('canvas', {});
    this.note = h('p', { class: 'muted', hidden: true });
    this.element = h('div', { class: 'chart', role: 'img', 'aria-label': name }, this.canvas, this.note);
    this.paint = perFrame(() => this.draw());
    onWidth(this.element, (width) => {
      this.width = width;
      this.paint();
    });
    onTheme(this.paint);
  }

  /** There is too little to draw. @param {string} why @param {string} text what is known, in words */
  wait(why, text) {
    setText(this.note, why);
    this.turn(true);
    setAttribute(this.element, 'aria-label', `${this.name}: ${text}. ${why}`);
  }

  /** @param {boolean} waits */
  turn(waits) {
    setHidden(this.note, !waits);
    setHidden(this.canvas, waits);
    setClass(this.element, 'brief', waits);
  }

  /** @param {Line[]} lines @param {number} from @param {number} until @param {string} text the same in words */
  show(lines, from, until, text) {
    this.turn(false);
    this.lines = lines;
    this.from = from;
    this.until = until;
    setAttribute(this.element, 'aria-label', `${this.name}: ${text}`);
    this.paint();
  }

  draw() {
    if (this.width < 40 || this.from === undefined || this.until === undefined) return;
    if (this.drawn !== `${this.width} ${devicePixelRatio}`) {
      this.drawn = `${this.width} ${devicePixelRatio}`;
      this.context = prepare(this.canvas, this.width, HEIGHT);
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.context);
    const { width, from, until } = this;
    context.clearRect(0, 0, width, HEIGHT);
    let most = 0;
    for (const { values } of this.lines) for (const value of values) if (value > most) most = value;
    const full = most > 0 ? most : 1;
    const x = (/** @type {number} */ time) => ((time - from) / Math.max(until - from, 1)) * (width - 4);
    const y = (/** @type {number} */ value) => TOP + (1 - value / full) * (HEIGHT - TOP - BOTTOM);
    context.font = `11px ${colours.font}`;
    context.fillStyle = colours.muted;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    for (const level of [y(0), y(full)]) {
      context.beginPath();
      context.moveTo(0, Math.round(level) + 0.5);
      context.lineTo(width, Math.round(level) + 0.5);
      context.stroke();
    }
    this.lines.forEach((line, at) => this.line(context, line, x, y, at === 0));
    context.font = `11px ${colours.font}`;
    context.fillStyle = colours.muted;
    context.textAlign = 'left';
    if (most > 0) context.fillText(this.format(most), 0, 7);
    context.fillText(span(until - from), 0, HEIGHT - 6);
    context.textAlign = 'right';
    context.fillText('now', width - 1, HEIGHT - 6);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Line} line
   * @param {(time: number) => number} x
   * @param {(value: number) => number} y
   * @param {boolean} area
   */
  line(context, { times: all, values: each, colour }, x, y, area) {
    const times = all.filter((_, at) => !Number.isNaN(each[at]));
    const values = each.filter((value) => !Number.isNaN(value));
    if (times.length < 2) return;
    context.beginPath();
    times.forEach((time, at) => context.lineTo(x(time), y(values[at])));
    context.strokeStyle = colours[colour];
    context.lineWidth = 1.75;
    context.lineJoin = 'round';
    context.stroke();
    if (!area) return;
    context.lineTo(x(times[times.length - 1]), y(0));
    context.lineTo(x(times[0]), y(0));
    context.globalAlpha = 0.14;
    context.fillStyle = colours[colour];
    context.fill();
    context.globalAlpha = 1;
    context.beginPath();
    context.arc(x(times[times.length - 1]), y(values[values.length - 1]), 2.5, 0, 7);
    context.fill();
  }
}

/** @param {number} ms */
function span(ms) {
  const seconds = Math.round(ms / 1000);
  return seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}
