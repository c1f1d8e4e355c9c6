/**
 * A table of which only the rows in sight exist, for thousands of rows. It can be read row by row
 * with the arrow keys, and its head sorts.
 */

import { h, perFrame, setAttribute, setClass, setHidden, setText } from './dom.js';

/** The height of a row, as the style sheet has it. */
const ROW = 34;
const ROWS_SEEN_MOST = 12;
const ROWS_BEYOND = 6;

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} name
 * @property {boolean} [number]
 * @property {boolean} [wide] only shown where there is room
 * @property {boolean} [sorts]
 * @typedef {Record<string, (text: string, state?: string) => void>} Row sets the cells, by column
 */

export class VirtualTable {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {Column[]} options.columns
   * @param {(row: Row, index: number) => void} options.fill
   * @param {(key: string) => void} [options.onSort]
   * @param {(first: number, end: number) => void} [options.onWindow] the rows in sight have changed
   * @param {(index: number) => void} [options.onActive]
   */
  constructor({ label, columns, fill, onSort, onWindow, onActive }) {
    this.columns = columns;
    this.fill = fill;
    this.onWindow = onWindow;
    this.onActive = onActive;
    this.count = 0;
    this.active = 0;
    this.first = 0;
    this.end = 0;
    /** @type {{ element: HTMLTableRowElement, index: number, row: Row }[]} */
    this.pool = [];
    this.above = h('td', {});
    this.below = h('td', {});
    /** @type {Map<string, HTMLElement>} */
    this.heads = new Map();
    const heads = columns.map((column) => this.head(column, onSort));
    this.body = h('tbody', { on: { keydown: (/** @type {KeyboardEvent} */ event) => this.key(event) } });
    this.body.append(spacer(this.above), spacer(this.below));
    this.grid = h('table', { role: 'grid', 'aria-label': label },
      h('thead', {}, h('tr', { 'aria-rowindex': '1' }, ...heads)), this.body);
    this.element = h('div', { class: 'vt', tabindex: '-1' }, this.grid);
    this.refresh = perFrame(() => this.render());
    this.element.addEventListener('scroll', this.refresh, { passive: true });
    new ResizeObserver(this.refresh).observe(this.element);
  }

  /** @param {Column} column @param {((key: string) => void) | undefined} onSort */
  head(column, onSort) {
    const sorts = column.sorts && onSort;
    const content = sorts
      ? h('button', { type: 'button', class: 'sort', on: { click: () => onSort(column.key) } }, column.name)
      : column.name;
    const head = h('th', { scope: 'col', class: classes(column) }, content);
    this.heads.set(column.key, head);
    return head;
  }

  /** @param {string} key @param {boolean} descending */
  showSort(key, descending) {
    for (const [name, head] of this.heads) {
      if (name === key) head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    }
  }

  /** @param {number} count */
  setCount(count) {
    if (count === this.count && this.pool.length > 0) return;
    this.count = count;
    this.active = Math.min(this.active, Math.max(count - 1, 0));
    setHidden(this.element, count === 0);
    setAttribute(this.grid, 'aria-rowcount', String(count + 1));
    this.element.style.height = `${(Math.min(count, ROWS_SEEN_MOST) + 1) * ROW + 2}px`;
    this.refresh();
  }

  render() {
    const room = this.element.clientHeight;
    if (room === 0) return;
    const top = Math.floor(this.element.scrollTop / ROW);
    this.first = Math.max(Math.min(top - ROWS_BEYOND, this.count), 0);
    this.end = Math.min(top + Math.ceil(room / ROW) + ROWS_BEYOND, this.count);
    this.onWindow?.(this.first, this.end);
    this.fit(this.end - this.first);
    this.above.style.height = `${this.first * ROW}px`;
    this.below.style.height = `${Math.max(this.count - this.end, 0) * ROW}px`;
    const focused = this.pool.find(({ element }) => element === document.activeElement);
    this.pool.forEach((line, at) => {
      line.index = this.first + at;
      setAttribute(line.element, 'aria-rowindex', String(line.index + 2));
      setClass(line.element, 'odd', line.index % 2 === 1);
      this.fill(line.row, line.index);
    });
    // A row that is scrolled away becomes another one, and stays the one with the focus.
    if (focused && (this.active < this.first || this.active >= this.end)) this.active = focused.index;
    const reachable = Math.min(Math.max(this.active, this.first), Math.max(this.end - 1, 0));
    for (const { element, index } of this.pool) setAttribute(element, 'tabindex', index === reachable ? '0' : '-1');
  }

  /** Makes or removes rows. @param {number} count */
  fit(count) {
    while (this.pool.length < count) {
      /** @type {Row} */
      const row = {};
      const cells = this.columns.map((column) => {
        const text = h('span', { class: 'cell' });
        const cell = h('td', { class: classes(column) }, text);
        row[column.key] = (value, state) => {
          setText(text, value);
          if (state !== undefined) setAttribute(text, 'data-state', state);
        };
        return cell;
      });
      const element = h('tr', { on: { focus: () => this.activate(element) } }, ...cells);
      this.body.insertBefore(element, this.body.lastChild);
      this.pool.push({ element, index: 0, row });
    }
    for (const { element } of this.pool.splice(count)) element.remove();
  }

  /** @param {HTMLElement} element */
  activate(element) {
    const line = this.pool.find((line) => line.element === element);
    if (!line) return;
    this.active = line.index;
    this.onActive?.(line.index);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = Math.max(Math.floor(this.element.clientHeight / ROW) - 2, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = /** @type {Record<string, number>} */ (steps)[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.go(Math.min(Math.max(this.active + step, 0), this.count - 1));
  }

  /** Brings a row into sight and puts the focus on it. @param {number} index */
  go(index) {
    this.active = index;
    const scroll = this.element.scrollTop;
    const room = this.element.clientHeight - 2 * ROW;
    if (index * ROW < scroll) this.element.scrollTop = index * ROW;
    else if (index * ROW > scroll + room) this.element.scrollTop = index * ROW - room;
    this.render();
    const line = this.pool.find((line) => line.index === index);
    line?.element.focus({ preventScroll: true });
    this.onActive?.(index);
  }
}

/** @param {Column} column */
function classes(column) {
  return [column.number ? 'number' : '', column.wide ? 'wide' : ''].join(' ').trim() || undefined;
}

/** @param {HTMLElement} cell */
function spacer(cell) {
  return h('tr', { class: 'spacer', 'aria-hidden': 'true' }, cell);
}
