/** Draws the tree of a job's proofs, and lets the reader walk through it by pointer and keyboard. */

import { announce, freshId, h, onWidth, perFrame, setHidden, setText } from './dom.js';
import { usual } from './estimate.js';
import { clean, count, counted } from './format.js';
import { Layout } from './layout.js';
import { DONE, REUSED, RUNNING, STATE_NAMES, WAITING } from './model.js';
import { describe } from './task.js';
import { colours, onTheme, prepare } from './theme.js';

const GUTTER = 96;
const LABEL_LEAST = 40;

export class TreeView {
  /** @param {import('./model.js').JobModel} model @param {() => number} now */
  constructor(model, now) {
    this.model = model;
    this.now = now;
    this.version = -1;
    this.width = 0;
    this.focus = -1;
    /** @type {Set<number>} */
    this.late = new Set();
    this.cells = h('canvas', { class: 'tree-cells' });
    this.marks = h('canvas', { class: 'tree-marks' });
    this.tip = h('div', { class: 'tip', hidden: true });
    const help = freshId('tree-help');
    this.plot = h(
      'div',
      {
        class: 'tree-plot',
        role: 'application',
        tabindex: '0',
        'aria-label': 'Tree of proofs',
        'aria-describedby': help,
        on: {
          pointermove: (/** @type {PointerEvent} */ event) => this.point(event),
          pointerdown: (/** @type {PointerEvent} */ event) => this.point(event),
          pointerleave: () => this.leave(),
          keydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
          focus: () => this.focused(),
          blur: () => this.leave(),
        },
      },
      this.cells,
      this.marks,
    );
    this.summary = h('p', { class: 'tree-summary' });
    this.element = h(
      'div',
      { class: 'tree' },
      this.plot,
      this.tip,
      this.summary,
      h('p', { class: 'visually-hidden', id: help },
        'Left and right go along a level, up to the task that takes the proof, down to the proofs that a task takes. Home and End go to the ends of a level.'),
    );
    this.paint = perFrame(() => this.draw());
    onWidth(this.plot, (width) => {
      this.width = width;
      this.version = -1;
      this.paint();
    });
    onTheme(() => {
      this.version = -1;
      this.paint();
    });
  }

  /** The tree has levels with names beside them where there is room. */
  get gutter() {
    return this.width >= 640 ? GUTTER : 0;
  }

  draw() {
    if (this.width < 40) return;
    const { model } = this;
    if (this.version !== model.version) {
      this.version = model.version;
      this.layout = new Layout(model.shape, this.width - this.gutter);
      this.context = prepare(this.cells, this.width, this.layout.height);
      this.over = prepare(this.marks, this.width, this.layout.height);
      if (this.focus >= model.shape.tasks) this.focus = -1;
      for (let place = 0; place < model.shape.tasks; place += 1) this.cell(place);
      this.bars();
    } else {
      for (const place of model.dirty) this.cell(place);
      if (model.dirty.size > 0) this.bars();
    }
    model.dirty.clear();
    this.labels();
    this.mark();
    this.summarise();
  }

  /** Marks tasks that take much longer than others of their level. To be called every second. */
  tick() {
    if (!this.layout) return;
    const { model } = this;
    const times = usual(model);
    const late = new Set();
    for (const [place, attempts] of model.open) {
      const typical = times[model.shape.level(place)];
      if (attempts.every((attempt) => this.now() - attempt.start > 2 * typical)) late.add(place);
    }
    for (const place of late) if (!this.late.has(place)) model.dirty.add(place);
    for (const place of this.late) if (!late.has(place)) model.dirty.add(place);
    this.late = late;
    if (this.focus >= 0 && !this.tip.hidden) this.showTip();
    this.paint();
  }

  /** @param {number} place */
  cell(place) {
    const { layout, model, context } = this;
    if (!layout || !context || place >= model.shape.tasks) return;
    if (layout.bands[model.shape.level(place)].kind === 'bar') return;
    const [x0, y, width, height] = layout.rect(place);
    const x = x0 + this.gutter;
    context.clearRect(x - 0.5, y - 0.5, width + 1, height + 1);
    const state = model.states[place];
    const radius = Math.min(3, width / 4, height / 4);
    context.fillStyle = [colours.waiting, colours.running, colours.done, colours['reused-fill']][state];
    rounded(context, x, y, width, height, radius);
    context.fill();
    if (state === REUSED) outline(context, x, y, width, height, radius, colours.reused);
    if (this.late.has(place)) outline(context, x, y, width, height, radius, colours.lost, 2);
    else if (model.troubles[place] > 0 && state !== DONE) this.notch(x, y, width, height);
    if (width >= LABEL_LEAST && height >= 16) this.label(place, x, y, width, height);
  }

  /** A task that had to be given to another machine has a cut corner. */
  notch(/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ width, /** @type {number} */ height) {
    const { context } = this;
    if (!context) return;
    const size = Math.min(8, width, height);
    context.fillStyle = colours.lost;
    context.beginPath();
    context.moveTo(x + width - size, y);
    context.lineTo(x + width, y);
    context.lineTo(x + width, y + size);
    context.fill();
  }

  label(/** @type {number} */ place, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ width, /** @type {number} */ height) {
    const { context, model } = this;
    if (!context) return;
    const state = model.states[place];
    const inks = ['waiting-ink', 'running-ink', 'done-ink', 'waiting-ink'];
    context.fillStyle = colours[inks[state]];
    context.font = `500 11px ${colours.font}`;
    context.textAlign = 'left';
    const name = model.shape.name(place);
    context.fillText(name, x + 7, y + height / 2 + 0.5, width - 10);
    const used = context.measureText(name).width + 14;
    const by = model.open.get(place)?.[0] ?? model.made.get(place);
    if (!by || state === WAITING) return;
    const who = clean(by.lane.name, 12);
    if (context.measureText(who).width > width - used - 8) return;
    context.textAlign = 'right';
    context.font = `11px ${colours.font}`;
    context.fillText(who, x + width - 7, y + height / 2 + 0.5);
  }

  /** Levels that have too many tasks for cells. */
  bars() {
    const { layout, model, context, gutter } = this;
    if (!layout || !context) return;
    for (const band of layout.bands) {
      if (band?.kind !== 'bar') continue;
      const counts = model.counts[band.level];
      const all = model.shape.counts[band.level] || 1;
      context.fillStyle = colours.waiting;
      context.fillRect(gutter, band.y, layout.width, band.height);
      const done = ((counts[DONE] + counts[REUSED]) / all) * layout.width;
      context.fillStyle = colours.done;
      context.fillRect(gutter, band.y, done, band.height);
      context.fillStyle = colours.running;
      context.fillRect(gutter + done, band.y, (counts[RUNNING] / all) * layout.width, band.height);
    }
  }

  labels() {
    const { layout, model, context, gutter } = this;
    if (!layout || !context || gutter === 0) return;
    context.clearRect(0, 0, gutter - 6, layout.height);
    context.textAlign = 'left';
    for (const band of layout.bands) {
      if (!band) continue;
      const { level } = band;
      const name = level === model.shape.finalLevel ? 'final' : level === 0 ? 'segments' : level === 1 ? 'leaves' : `level ${level}`;
      const middle = Math.min(band.y + band.height / 2, band.y + 14);
      context.font = `11px ${colours.font}`;
      context.fillStyle = colours.muted;
      context.fillText(name, 0, middle);
      if (level === model.shape.finalLevel) continue;
      const counts = model.counts[level];
      context.textAlign = 'right';
      context.font = `600 11px ${colours.font}`;
      context.fillText(count(counts[DONE] + counts[REUSED]), gutter - 14, middle);
      context.textAlign = 'left';
    }
  }

  /** The task that is looked at, what it takes, and the way from it to the final proof. */
  mark() {
    const { layout, model, over } = this;
    if (!layout || !over) return;
    over.clearRect(0, 0, this.width, layout.height);
    if (this.focus < 0) return;
    const { shape } = model;
    over.strokeStyle = colours.ink;
    const [from, to] = shape.children(this.focus);
    over.globalAlpha = 0.55;
    over.lineWidth = 1.5;
    for (let child = from; child < to; child += 1) this.ring(child, 0.5);
    for (let up = shape.parent(this.focus); up >= 0; up = shape.parent(up)) this.ring(up, 0.5);
    over.globalAlpha = 1;
    over.lineWidth = 2;
    this.ring(this.focus, 1);
  }

  /** @param {number} place @param {number} out */
  ring(place, out) {
    const { layout, over } = this;
    if (!layout || !over) return;
    const [x, y, width, height] = layout.rect(place);
    rounded(over, x + this.gutter - out + 0.5, y - out + 0.5, width + 2 * out - 1, height + 2 * out - 1, 3);
    over.stroke();
  }

  summarise() {
    const { model } = this;
    if (model.shape.tasks === 0) {
      setText(this.summary, 'No segment is cut yet.');
      return;
    }
    const { shape } = model;
    const done = (/** @type {number} */ level) => model.counts[level][DONE] + model.counts[level][REUSED];
    const parts = [`${count(done(0))} of ${counted(shape.counts[0], 'segment')}`];
    if (!shape.growing) {
      parts.push(`${count(done(1))} of ${counted(shape.counts[1], 'leaf', 'leaves')}`);
      let [nodes, made] = [0, 0];
      for (let level = 2; level < shape.finalLevel; level += 1) {
        nodes += shape.counts[level];
        made += done(level);
      }
      parts.push(`${count(made)} of ${counted(nodes, 'node')}`);
      parts.push(`final proof ${STATE_NAMES[model.states[shape.tasks - 1]]}`);
    }
    setText(this.summary, parts.join(' · '));
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.plot.getBoundingClientRect();
    const place = this.layout?.at(event.clientX - box.left - this.gutter, event.clientY - box.top) ?? -1;
    if (place === this.focus && !this.tip.hidden) return;
    this.focus = place;
    if (place < 0) this.leave();
    else this.showTip();
    this.paint();
  }

  leave() {
    setHidden(this.tip, true);
    if (document.activeElement === this.plot && this.plot.matches(':focus-visible')) return;
    this.focus = -1;
    this.paint();
  }

  focused() {
    if (this.focus < 0 && this.plot.matches(':focus-visible')) this.go(this.model.open.keys().next().value ?? 0);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { shape } = this.model;
    if (shape.tasks === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = Math.max(this.focus, 0);
    const level = shape.level(place);
    const [from, to] = [shape.starts[level], shape.starts[level + 1] - 1];
    const steps = {
      ArrowLeft: place - 1, ArrowRight: place + 1, Home: from, End: to,
      ArrowUp: shape.parent(place), ArrowDown: level > 0 ? shape.children(place)[0] : place,
    };
    if (event.key === 'Escape') {
      setHidden(this.tip, true);
      return;
    }
    const next = /** @type {Record<string, number>} */ (steps)[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const sideways = event.key === 'ArrowLeft' || event.key === 'ArrowRight';
    this.go(sideways ? Math.min(Math.max(next, from), to) : next < 0 ? place : next);
  }

  /** @param {number} place */
  go(place) {
    if (place >= this.model.shape.tasks) return;
    this.focus = place;
    this.showTip();
    announce(this.tip.textContent ?? '');
    this.paint();
  }

  showTip() {
    if (!this.layout || this.focus < 0) return;
    const { title, lines } = describe(this.model, this.focus, this.now());
    this.tip.replaceChildren(h('strong', {}, title), ...lines.map((line) => h('span', {}, line)));
    setHidden(this.tip, false);
    const [x, y, width, height] = this.layout.rect(this.focus);
    const tip = this.tip.getBoundingClientRect();
    const left = Math.min(Math.max(x + this.gutter + width / 2 - tip.width / 2, 0), Math.max(this.width - tip.width, 0));
    const above = y - tip.height - 8;
    const screen = this.plot.getBoundingClientRect().top;
    const top = above + screen > 4 ? above : y + height + 8;
    this.tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} width @param {number} height @param {number} radius */
function rounded(context, x, y, width, height, radius) {
  context.beginPath();
  // Small cells need no corners, and plain rectangles are several times as fast.
  if (width < 8 || height < 8) context.rect(x, y, width, height);
  else context.roundRect(x, y, width, height, radius);
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} width @param {number} height @param {number} radius @param {string} colour */
function outline(context, x, y, width, height, radius, colour, line = 1) {
  context.strokeStyle = colour;
  context.lineWidth = line;
  rounded(context, x + line / 2, y + line / 2, width - line, height - line, radius);
  context.stroke();
}
