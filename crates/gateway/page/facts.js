/** What a job is about, and its proof: how to get it, and how to verify it. */

import { jobPath } from './api.js';
import { h, setHidden, setText } from './dom.js';
import { amount, bytes, clean, count, day, duration } from './format.js';

/** @typedef {[string, string] | [string, string, string]} Fact a name, a text, and the whole text where it is shortened */

/** @param {HTMLElement} list @param {any} job */
export function showFacts(list, job) {
  const facts = factsOf(job);
  while (list.children.length > facts.length) list.lastElementChild?.remove();
  while (list.children.length < facts.length) list.append(h('div', {}, h('dt', {}), h('dd', { class: 'foreign' })));
  facts.forEach(([name, text, whole], at) => {
    const [term, value] = list.children[at].children;
    setText(term, name);
    setText(value, text);
    if (whole) value.setAttribute('title', whole);
    else value.removeAttribute('title');
  });
}

/** @param {any} job @returns {Fact[]} */
function factsOf(job) {
  const { block, progress } = job;
  /** @type {Fact[]} */
  const facts = [];
  if (block) {
    facts.push(['Block', block.blocks > 1 ? `${count(block.number)}, and ${count(block.blocks - 1)} before it` : count(block.number)]);
    facts.push(['Chain', String(block.chain_id)]);
    facts.push(['Gas', `${amount(block.gas_used)} in ${count(block.transactions)} transactions`]);
    facts.push(['Block hash', whole(block.block_hash)]);
    facts.push(['State before', whole(block.parent_state_root)]);
    facts.push(['State after', whole(block.state_root)]);
  }
  if (progress.instructions > 0) facts.push(['Instructions', amount(progress.instructions)]);
  if (job.public_values) facts.push(['Public values', whole(job.public_values)]);
  facts.push(['Engine', clean(job.engine, 20)], ['Submitted', day(job.submitted_ms)]);
  if (job.ended_ms) facts.push(['Ended', day(job.ended_ms)]);
  if (job.deadline_s) facts.push(['Deadline', `${duration(job.deadline_s * 1000)} after it was submitted`]);
  if (job.priority !== 0) facts.push(['Priority', String(job.priority)]);
  facts.push(['Job', whole(job.id)]);
  return facts;
}

/** Bytes as text, whole as long as somebody may want to compare them. @param {string} text */
function whole(text) {
  return text.length <= 132 ? clean(text, 132) : `${clean(text, 100)} (${count((text.length - 2) / 2)} bytes)`;
}

/** The arguments are shown as a command that people copy: nothing that a shell reads goes in. */
const HARMLESS = /^[\w./=:@+ -]*$/;

/** The file's name at the one who downloads it. @param {any} job */
function fileOf(job) {
  const stem = /^[A-Za-z0-9][\w.-]{0,99}$/.test(job.name) ? job.name : job.id.slice(0, 12);
  return `${stem}${job.engine === 'risc0' ? '.risc0.receipt' : '.stark.proof'}`;
}

/** @param {HTMLElement} box @param {any} job */
export function showProof(box, job) {
  const { proof } = job;
  setHidden(box, !proof);
  const version = proof ? `${job.id} ${proof.bytes} ${proof.verify}` : '';
  if (!proof || box.dataset.version === version) return;
  box.dataset.version = version;
  const file = fileOf(job);
  const checked = proof.verify_ms > 0 ? `It was verified in ${duration(proof.verify_ms)}` : 'It was verified';
  const time = proof.in_time === undefined || proof.in_time === null ? '' : proof.in_time ? ', and came within the deadline' : ', and came after the deadline';
  const commands = [`curl -fo ${file} ${location.origin}${jobPath(job.id)}/proof`];
  if (HARMLESS.test(proof.verify)) commands.push(`myriad verify ${file} ${proof.verify}`.trim());
  box.replaceChildren(
    h('h2', {}, 'The proof'),
    h('p', {}, `${checked}${time}.`),
    h('p', { class: 'buttons' },
      h('a', { class: 'button', href: proof.href, download: file }, `Download the proof, ${bytes(proof.bytes)}`),
      proof.baseline_href && h('a', { class: 'button quiet', href: proof.baseline_href, download: true }, 'Download the baseline')),
    h('p', { class: 'muted' }, 'Verify it yourself, with a program and a block that you trust:'),
    command(commands.join('\n')),
  );
}

/** A command with a button that copies it. @param {string} text */
function command(text) {
  const copy = h('button', { type: 'button', class: 'copy' }, 'Copy');
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      setText(copy, 'Copied');
    } catch {
      setText(copy, 'Not allowed');
    }
    setTimeout(() => setText(copy, 'Copy'), 2000);
  });
  // Browsers give the clipboard only to pages of TLS or of the same machine.
  const able = typeof navigator.clipboard?.writeText === 'function';
  return h('div', { class: 'command' }, h('pre', { tabindex: '0', 'aria-label': 'Commands' }, h('code', {}, text)), able && copy);
}

