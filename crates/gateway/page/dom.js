/**
 * Makes elements. Text goes in as text nodes and nothing else: there is no way through this file by
 * which data becomes markup.
 */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [props] attributes; `class`, and `on` with handlers
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any} the element
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') {
      for (const [event, handler] of Object.entries(/** @type {any} */ (value))) {
        element.addEventListener(event, handler);
      }
    } else if (name === 'href') {
      const path = localPath(value);
      if (path) element.setAttribute('href', path);
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  for (const child of children) {
    if (child || child === '') element.append(child);
  }
  return element;
}

/**
 * A path of this service, or null: a document must not send the reader elsewhere, nor run a script
 * by a `javascript:` address.
 *
 * @param {unknown} href
 */
export function localPath(href) {
  const text = String(href);
  return /^\/(?![/\\])[\x21-\x7e]*$/.test(text) && text.length < 2000 ? text : null;
}

/** Sets the text if it is another one: an unchanged one must not cost a layout. */
export function setText(/** @type {Node} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(/** @type {Element} */ element, /** @type {string} */ name, /** @type {boolean} */ on) {
  if (element.classList.contains(name) !== on) element.classList.toggle(name, on);
}

export function setAttribute(/** @type {Element} */ element, /** @type {string} */ name, /** @type {string} */ value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setHidden(/** @type {HTMLElement} */ element, /** @type {boolean} */ hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element with the id ${id}`);
  return element;
}

let numbers = 0;

/** An id that no other element has. @param {string} stem */
export function freshId(stem) {
  numbers += 1;
  return `${stem}-${numbers}`;
}

/**
 * Says something to people who do not see the page. Texts of one moment are said together.
 *
 * @param {string} text
 */
export function announce(text) {
  const region = document.getElementById('announcer');
  if (!region) return;
  said.push(text);
  if (said.length > 1) return;
  setTimeout(() => {
    region.textContent = said.slice(-4).join('. ');
    said.length = 0;
  }, 150);
}

/** @type {string[]} */
const said = [];

/** Calls `draw` before the next frame, once however often it is asked for. */
export function perFrame(/** @type {() => void} */ draw) {
  let asked = 0;
  return () => {
    if (asked) return;
    asked = requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  };
}

/** Calls `told` when the element's width changes. */
export function onWidth(/** @type {Element} */ element, /** @type {(width: number) => void} */ told) {
  let last = -1;
  new ResizeObserver((entries) => {
    const width = Math.floor(entries[entries.length - 1].contentRect.width);
    if (width === last) return;
    last = width;
    told(width);
  }).observe(element);
}
