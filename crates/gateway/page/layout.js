/**
 * Where each task of a tree stands. From left to right is the order of the execution, and from the
 * bottom to the top the way from segments to the final proof. While all tasks of a level fit side by
 * side, each stands above what it aggregates. A level of more tasks is a field of small cells in
 * columns, from the top to the bottom of each, so that what belongs together still stands together.
 */

import { TASKS_MAX } from './shape.js';

/** Cells are not drawn smaller than this, with the gap that follows. */
const PITCH_LEAST = 6;
/** A level with more tasks than this is drawn as one bar that fills. */
const CELLS_MAX = 40_000;
const BAND_GAP = 6;

/**
 * @typedef {object} Band
 * @property {number} level
 * @property {'spans' | 'field' | 'bar'} kind
 * @property {number} y
 * @property {number} height of the whole band
 * @property {number} cell height of a cell, with its gap
 * @property {number} rows
 * @property {number} pitch width of a column
 */

export class Layout {
  /**
   * @param {import('./shape.js').Shape} shape
   * @param {number} width
   */
  constructor(shape, width) {
    this.shape = shape;
    this.width = Math.max(width, 40);
    /** From the bottom to the top. @type {Band[]} */
    this.bands = [];
    let y = 0;
    for (let level = shape.levels - 1; level >= 0; level -= 1) {
      if (shape.counts[level] === 0) continue;
      const band = this.band(level, y);
      this.bands[level] = band;
      y += band.height + BAND_GAP;
    }
    this.height = Math.max(y - BAND_GAP, 24);
  }

  /** @param {number} level @param {number} y @returns {Band} */
  band(level, y) {
    const count = this.shape.counts[level];
    if (count > CELLS_MAX || count >= TASKS_MAX) {
      return { level, kind: 'bar', y, height: 24, cell: 24, rows: 1, pitch: this.width };
    }
    if (count * PITCH_LEAST <= this.width) {
      const pitch = this.width / count;
      const height = pitch >= 44 ? 26 : pitch >= 14 ? 18 : 12;
      return { level, kind: 'spans', y, height, cell: height, rows: 1, pitch };
    }
    // Fields are broad and low: no more rows than the least pitch asks for.
    const rows = Math.ceil((count * PITCH_LEAST) / this.width);
    const pitch = this.width / Math.ceil(count / rows);
    const cell = Math.max(5, Math.min(pitch, 9));
    return { level, kind: 'field', y, height: rows * cell, cell, rows, pitch };
  }

  /** @param {number} place @returns {[number, number, number, number]} x, y, width and height */
  rect(place) {
    const level = this.shape.level(place);
    const band = this.bands[level];
    const index = place - this.shape.starts[level];
    const gap = band.pitch > 8 ? 1.5 : 1;
    if (band.kind === 'bar') return [0, band.y, this.width, band.height];
    if (band.kind === 'field') {
      const x = Math.floor(index / band.rows) * band.pitch;
      return [x, band.y + (index % band.rows) * band.cell, band.pitch - 1, band.cell - 1];
    }
    const [first, last] = this.shape.covered(place);
    const all = this.shape.counts[0];
    const x = (first / all) * this.width;
    return [x, band.y, Math.max(((last + 1) / all) * this.width - x - gap, 1), band.height];
  }

  /** The place of the task at a point, or -1. @param {number} x @param {number} y */
  at(x, y) {
    const band = this.bands.find((band) => band && y >= band.y - 2 && y < band.y + band.height + 3);
    if (!band || x < 0 || x >= this.width || band.kind === 'bar') return -1;
    const { counts, starts } = this.shape;
    if (band.kind === 'field') {
      const row = Math.min(Math.max(Math.floor((y - band.y) / band.cell), 0), band.rows - 1);
      const index = Math.floor(x / band.pitch) * band.rows + row;
      return index < counts[band.level] ? starts[band.level] + index : -1;
    }
    let place = Math.min(Math.floor((x / this.width) * counts[0]), counts[0] - 1);
    for (let level = 0; level < band.level; level += 1) place = this.shape.parent(place);
    return place;
  }
}
