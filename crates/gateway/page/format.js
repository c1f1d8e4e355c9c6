/**
 * Numbers, times and foreign text, as people read them. Everything here gives plain text: nothing
 * of it is ever read as HTML.
 */

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const clockOf = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayOf = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit',
});

/** What stands where a value is not known. */
export const NONE = '–';

/** @param {number} value */
export function count(value) {
  return Number.isFinite(value) ? whole.format(value) : NONE;
}

/** @param {number} value @param {string} one @param {string} [many] */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Three significant digits at most, and never an exponent. @param {number} value */
function three(value) {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2).replace(/0$/, '');
}

/** @param {number} value @param {string[]} units of which each is 1,000 of the one before */
function scaled(value, units) {
  let at = 0;
  let rest = value;
  while (rest >= 999.5 && at < units.length - 1) {
    rest /= 1000;
    at += 1;
  }
  return `${at === 0 ? whole.format(rest) : three(rest)} ${units[at]}`.trim();
}

/** @param {number} value */
export function bytes(value) {
  return Number.isFinite(value) ? scaled(value, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']) : NONE;
}

/** Large counts such as gas and instructions: `12.4 M`. @param {number} value */
export function amount(value) {
  return Number.isFinite(value) ? scaled(value, ['', 'k', 'M', 'G', 'T']) : NONE;
}

/** @param {number} perSecond */
export function rate(perSecond) {
  return Number.isFinite(perSecond) ? `${bytes(perSecond)}/s` : NONE;
}

/** @param {number} value of events in a minute */
export function perMinute(value) {
  if (!Number.isFinite(value)) return NONE;
  return value > 0 && value < 9.95 ? value.toFixed(1) : whole.format(value);
}

const two = (/** @type {number} */ value) => String(value).padStart(2, '0');

/** A length of time. @param {number} ms */
export function duration(ms) {
  if (!Number.isFinite(ms)) return NONE;
  const time = Math.max(0, ms);
  if (time < 995) return `${Math.round(time)} ms`;
  if (time < 9950) return `${(time / 1000).toFixed(1)} s`;
  const seconds = Math.round(time / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A length of time that moves every second: without parts of seconds. @param {number} ms */
export function age(ms) {
  return duration(Math.max(0, Math.round(ms / 1000) * 1000) || 0).replace(/^0 ms$/, '0 s').replace(/\.0 s$/, ' s');
}

/** The time of day. @param {number} ms */
export function clock(ms) {
  return Number.isFinite(ms) ? clockOf.format(ms) : NONE;
}

/** @param {number} ms */
export function day(ms) {
  return Number.isFinite(ms) ? dayOf.format(ms) : NONE;
}

/** @param {number} done @param {number | undefined} all */
export function percent(done, all) {
  if (!all) return NONE;
  // Rounded down: 100 % means that nothing is left.
  return `${Math.floor((100 * Math.min(done, all)) / all)} %`;
}

/** The beginning of an id or a hash, enough to tell it from others. @param {string} id */
export function short(id) {
  const text = clean(id, 80);
  const begin = text.startsWith('0x') ? 10 : 8;
  return text.length > begin + 4 ? `${text.slice(0, begin)}…` : text;
}

/** A speed in thousandths of the reference machine's. @param {number | undefined} milli */
export function speed(milli) {
  return milli === undefined ? NONE : `${(milli / 1000).toFixed(2)}×`;
}

/**
 * Text from strangers: names, reasons, notices. Control characters and those that turn the
 * direction of the text around go, runs of white space become one space, and the rest is cut. A
 * name must not look like another one, nor push anything else off the page.
 *
 * @param {unknown} text
 * @param {number} most characters
 */
export function clean(text, most) {
  const begin = String(text ?? '').slice(0, most * 4 + 16);
  const plain = begin
    .replace(/[\p{Cc}\u2028\u2029\s]+/gu, ' ')
    .replace(/[\p{Cf}\p{Co}\p{Cn}\p{Cs}]/gu, '')
    // More than two marks on one letter reach into the lines above.
    .replace(/(\p{M}{2})\p{M}+/gu, '$1')
    .trim();
  const letters = Array.from(plain);
  return letters.length > most ? `${letters.slice(0, most - 1).join('')}…` : plain;
}

/** The states of jobs, in words. @type {Record<string, string>} */
export const STATES = {
  queued: 'Queued',
  planning: 'Planning',
  proving: 'Proving',
  done: 'Done',
  failed: 'Failed',
  cancelled: 'Cancelled',
  interrupted: 'Interrupted',
};

/** A state in words, and as it is if a later release has named it. @param {unknown} state */
export const stateName = (state) => (typeof state === 'string' && Object.hasOwn(STATES, state) ? STATES[state] : clean(state, 20));

/** @param {string} state */
export function isOver(state) {
  return state === 'done' || state === 'failed' || state === 'cancelled' || state === 'interrupted';
}
