/**
 * The colours of the style sheet, for canvases. They are defined there and nowhere else, so that a
 * state has one colour everywhere, in the dark and in the light.
 */

const NAMES = [
  'ink', 'muted', 'line', 'panel', 'accent', 'waiting', 'waiting-ink', 'running', 'running-ink', 'done',
  'done-ink', 'reused', 'reused-fill', 'lost', 'left', 'idle', 'second',
];

/** @type {Record<string, string>} */
export const colours = {};

/** @type {Set<() => void>} */
const painters = new Set();

function read() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) colours[name] = style.getPropertyValue(`--${name}`).trim();
  colours.font = style.getPropertyValue('--sans').trim() || 'sans-serif';
}

/** Calls `paint` when the colours have changed. @param {() => void} paint */
export function onTheme(paint) {
  painters.add(paint);
}

for (const query of ['(prefers-color-scheme: dark)', '(prefers-contrast: more)']) {
  matchMedia(query).addEventListener('change', () => {
    read();
    painters.forEach((paint) => paint());
  });
}
read();

/**
 * Sets a canvas to so many CSS pixels, sharp on any screen, and empty.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function prepare(canvas, width, height) {
  const scale = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.textBaseline = 'middle';
  return context;
}
