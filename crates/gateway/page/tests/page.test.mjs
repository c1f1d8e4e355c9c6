/** The page in headless Chromium, against the mock: each state, by pointer and by keyboard. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { launch, open, settled } from './browser.mjs';
import { Mock } from './mock.mjs';
import { outdated } from './samples.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** @type {import('playwright-core').Browser} */
let browser;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

/**
 * @param {string} scenario
 * @param {Parameters<typeof open>[1]} look
 * @param {(tools: { mock: Mock, page: import('playwright-core').Page, complaints: string[] }) => Promise<void>} body
 */
async function withPage(scenario, look, body) {
  const mock = await new Mock(scenario).listen();
  const { page, context, complaints } = await open(browser, look);
  try {
    await body({ mock, page, complaints });
  } finally {
    await context.close();
    await mock.close();
  }
}

/** @param {import('playwright-core').Page} page */
async function findings(page) {
  await page.evaluate(AXE);
  const result = await page.evaluate(() => /** @type {any} */ (window).axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return result.violations.map((/** @type {any} */ one) => `${one.id}: ${one.nodes.map((/** @type {any} */ node) => `${node.target} ${node.failureSummary}`).slice(0, 4).join('; ')}`);
}

/** What reaches beyond the window, if the page scrolls sideways. @param {import('playwright-core').Page} page */
function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > width + 1).map((one) => `${one.tagName}.${one.className}`).slice(0, 8);
  });
}

/** @param {import('playwright-core').Page} page @param {string} id */
const text = (page, id) => page.locator(`#${id}`).innerText();

/** @param {Mock} mock */
const jobUrl = (mock) => `${mock.url}/job?id=${mock.jobs()[0].id}`;

const LOOKS = /** @type {const} */ ([
  { width: 1280, scheme: 'light' }, { width: 1280, scheme: 'dark' }, { width: 360, height: 780, scheme: 'light' }, { width: 360, height: 780, scheme: 'dark' },
]);
const STATES = /** @type {Record<string, { headline: RegExp, job?: string }>} */ ({
  empty: { headline: /^Nothing to prove$/ },
  planning: { headline: /^Planning block-19234112$/, job: 'Planning' },
  proving: { headline: /^Proving block-19234112$/, job: 'Proving' },
  four: { headline: /^5 jobs in work$/, job: 'Proving' },
  large: { headline: /^Proving block-19234112$/, job: 'Proving' },
  done: { headline: /^Nothing to prove$/, job: 'Done' },
  failed: { headline: /^Nothing to prove$/, job: 'Failed' },
  cancelled: { headline: /^Nothing to prove$/, job: 'Cancelled' },
});

for (const [scenario, expected] of Object.entries(STATES)) {
  test(`${scenario}: no complaint, no finding, no overflow`, async () => {
    for (const look of scenario === 'proving' ? LOOKS : [LOOKS[0], LOOKS[3]]) {
      await withPage(scenario, look, async ({ mock, page, complaints }) => {
        const where = `${scenario} ${look.width} ${look.scheme}`;
        const urls = expected.job ? [mock.url, jobUrl(mock)] : [mock.url];
        for (const url of urls) {
          await page.goto(url);
          await settled(page);
          assert.equal(await text(page, 'status-text'), 'Live', where);
          assert.deepEqual(await findings(page), [], where);
          assert.deepEqual(await overflow(page), [], where);
          if (url === mock.url) assert.match(await text(page, 'headline'), expected.headline);
        }
        if (expected.job) {
          assert.equal(await text(page, 'state'), expected.job);
          for (const details of await page.locator('details').all()) await details.evaluate((one) => one.setAttribute('open', ''));
          await page.waitForTimeout(300);
          assert.deepEqual(await findings(page), [], `${where} with tables`);
          assert.deepEqual(await overflow(page), [], `${where} with tables`);
        }
        assert.deepEqual(complaints, [], where);
      });
    }
  });
}

test('the tree is painted in the colours of its states', () => withPage('proving', {}, async ({ page, mock }) => {
  await page.goto(jobUrl(mock));
  await settled(page);
  const colours = await page.evaluate(() => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector('.tree-cells'));
    const data = /** @type {any} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Map();
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] < 255) continue;
      const name = [data[at], data[at + 1], data[at + 2]].map((part) => part.toString(16).padStart(2, '0')).join('');
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    return Object.fromEntries(seen);
  });
  for (const [state, colour] of Object.entries({ waiting: 'e3e8e9', running: 'e69f00', done: '0072b2', reused: 'b9dcef' })) {
    assert.ok((colours[colour] ?? 0) > 50, `${state} is painted ${colour}`);
  }
  const before = await page.locator('.tree-summary').first().innerText();
  await page.waitForFunction((old) => document.querySelector('.tree-summary')?.textContent !== old, before);
}));

test('a job is followed to its end', () => withPage('proving', {}, async ({ page, mock, complaints }) => {
  const [sim] = mock.world.sims;
  await page.goto(jobUrl(mock));
  await settled(page);
  // The rest in one moment: thousands of events at once.
  for (const event of sim.advance(Date.now() + 3_600_000)) mock.tell(event);
  await page.waitForFunction(() => document.getElementById('state')?.textContent === 'Done');
  await page.locator('#proof').waitFor();
  const proof = await text(page, 'proof');
  assert.match(proof, /Download the proof, 535 kB/);
  assert.match(proof, /myriad verify block-19234112\.stark\.proof --block block-19234112\.json\.gz/);
  assert.equal(await page.locator('#proof a').first().getAttribute('href'), `/v1/jobs/${sim.job.id}/proof`);
  assert.match(await page.locator('.tree-summary').first().innerText(), /final proof done$/);
  assert.match(await page.locator('#announcer').innerText(), /The job is Done/);
  assert.deepEqual(complaints, []);
}));

test('a new job appears, and a job that ends goes to the history', () => withPage('empty', {}, async ({ page, mock, complaints }) => {
  await page.goto(mock.url);
  await settled(page);
  const other = new Mock('small');
  mock.world.sims = other.world.sims;
  const [sim] = mock.world.sims;
  await other.close();
  mock.tell({ at_ms: Date.now(), job: sim.job.id, type: 'state', state: 'proving' });
  await page.waitForFunction(() => document.getElementById('headline')?.textContent === 'Proving sample-block');
  await page.waitForFunction(() => document.querySelector('.history a')?.textContent === 'sample-block', undefined, { timeout: 60_000 });
  assert.equal(await text(page, 'headline'), 'Nothing to prove');
  assert.equal(await page.locator('.card').count(), 0);
  assert.deepEqual(complaints, []);
}));

test('while the service is away, the page says since when its data is old', () => withPage('proving', { width: 360, height: 780 }, async ({ page, mock, complaints }) => {
  await page.goto(mock.url);
  await settled(page);
  assert.ok(!(await page.locator('#banner').isVisible()));
  await mock.goAway();
  await page.locator('#banner').waitFor();
  await page.waitForTimeout(2500);
  assert.match(await text(page, 'banner'), /Disconnected Everything below is as it was at \d\d:\d\d:\d\d, \d+ s ago\..*(Next attempt in|Trying to connect)/s);
  assert.equal(await text(page, 'status-text'), 'Disconnected');
  assert.match(await page.locator('#announcer').innerText(), /The connection broke at/);
  const stopped = await text(page, 'subline');
  const { still, tip } = await page.evaluate(() => ({ still: document.body.classList.contains('stale'), tip: document.querySelector('.left-time')?.textContent }));
  assert.ok(still);
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(await overflow(page), []);
  await page.waitForTimeout(2200);
  assert.equal(await text(page, 'subline'), stopped, 'no figure goes on');
  assert.equal(await page.locator('.left-time').first().innerText(), tip);
  mock.seen.length = 0;
  await mock.comeBack();
  await page.locator('#retry').click();
  await page.waitForFunction(() => document.getElementById('status-text')?.textContent === 'Live');
  assert.ok(!(await page.locator('#banner').isVisible()));
  assert.match(await page.locator('#notices').innerText(), /The service was started anew/);
  const ids = mock.seen.filter(({ path }) => path.endsWith('/events')).map(({ lastId }) => lastId);
  assert.ok(ids.some((id) => /^7-\d+$/.test(id ?? '')), `the page names the last event that it has: ${ids}`);
  // A refused connection is an error of the browser's own, and nothing else may be one.
  assert.deepEqual(complaints.filter((one) => !/Failed to load resource|net::ERR_/.test(one)), []);
}));

test('after a break, the stream goes on where it broke', () => withPage('proving', {}, async ({ page, mock }) => {
  await page.goto(jobUrl(mock));
  await settled(page);
  const asked = () => mock.seen.filter(({ path }) => path.endsWith('/tasks')).length;
  const before = asked();
  mock.breakStreams();
  await page.waitForTimeout(2500);
  assert.equal(await text(page, 'status-text'), 'Live');
  assert.equal(asked(), before, 'the tasks are not asked for again');
  const [sim] = mock.world.sims;
  const shown = await page.locator('.percent').innerText();
  assert.equal(shown, `${Math.floor((100 * sim.job.progress.done) / sim.job.progress.tasks)} %`);
}));

test('a job that a stop has interrupted is followed again after the start', () => withPage('proving', {}, async ({ page, mock }) => {
  const [sim] = mock.world.sims;
  await page.goto(jobUrl(mock));
  await settled(page);
  sim.end({ state: 'interrupted' });
  mock.tell({ at_ms: Date.now(), job: sim.job.id, type: 'state', state: 'interrupted' });
  await page.getByText('The service was stopped during the job').waitFor();
  await mock.goAway();
  sim.job.state = 'proving';
  delete sim.job.ended_ms;
  await mock.comeBack();
  await page.waitForFunction(() => document.getElementById('state')?.textContent === 'Proving');
  assert.ok(!(await page.locator('#end').isVisible()));
}));

test('the peers are asked for when tasks move, and not more than once a second', () => withPage('proving', {}, async ({ page, mock }) => {
  await page.goto(mock.url);
  await settled(page);
  await page.locator('#peers').scrollIntoViewIfNeeded();
  mock.seen.length = 0;
  await page.waitForTimeout(6_000);
  const times = mock.seen.filter(({ path }) => path === '/v1/peers').map(({ at }) => at);
  assert.ok(times.length >= 3, `${times.length} in 6 s`);
  times.slice(1).forEach((at, before) => assert.ok(at - times[before] > 900, `${at - times[before]} ms`));
}));

test('charts of less than a minute are a line that says so', () => withPage('proving', {}, async ({ page, mock }) => {
  await page.goto(mock.url);
  await settled(page);
  await page.getByText('A chart appears here after a minute').first().waitFor();
  assert.equal(await page.locator('.chart canvas').first().isVisible(), false);
  assert.ok((await page.locator('.chart').first().evaluate((one) => one.clientHeight)) < 60);
}));

test('a private service is explained, and no key is asked for', () => withPage('private', {}, async ({ page, mock }) => {
  await page.goto(mock.url);
  await page.locator('#banner').waitFor();
  assert.match(await text(page, 'banner'), /This service is private.*never asks for one/s);
  assert.deepEqual(await findings(page), []);
  assert.equal(await page.locator('input[type="password"], form').count(), 0);
}));

test('an address of no job says so', () => withPage('done', {}, async ({ page, mock }) => {
  for (const [query, title] of [['', 'This address names no job'], ['?id=<script>', 'This address names no job'], [`?id=${'a'.repeat(64)}`, 'There is no such job']]) {
    await page.goto(`${mock.url}/job${query}`);
    await page.waitForFunction((title) => document.querySelector('#nothing h1')?.textContent === title, title);
    assert.deepEqual(await findings(page), []);
  }
}));

test('tasks, machines and peers are reached by keyboard alone', () => withPage('large', {}, async ({ page, mock }) => {
  await page.goto(mock.url);
  await settled(page);
  const focused = () => page.evaluate(() => document.activeElement?.className || document.activeElement?.tagName);
  const tabTo = async (/** @type {string} */ selector) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press('Tab');
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    }
    assert.fail(`Tab does not reach ${selector}, and is at ${await focused()}`);
  };
  await tabTo('.tree-plot');
  const tip = page.locator('.tree .tip');
  assert.match(await tip.innerText(), /Running on/);
  await page.keyboard.press('Home');
  assert.match(await tip.innerText(), /^s0 · segment/);
  await page.keyboard.press('ArrowUp');
  assert.match(await tip.innerText(), /^n1\.0 · leaf[^]*Covers segments 0 to 2/);
  await page.keyboard.press('ArrowRight');
  assert.match(await tip.innerText(), /^n1\.1 · leaf/);
  await page.waitForTimeout(300);
  assert.match(await page.locator('#announcer').innerText(), /n1\.1/);
  await tabTo('.vt tbody tr');
  const row = () => page.evaluate(() => Number(document.activeElement?.getAttribute('aria-rowindex')));
  assert.equal(await row(), 2);
  await page.keyboard.press('ArrowDown');
  assert.equal(await row(), 3);
  await page.keyboard.press('End');
  assert.equal(await row(), 10_001);
  await page.waitForTimeout(300);
  assert.match(await page.evaluate(() => document.activeElement?.textContent ?? ''), /\d/);
  await page.keyboard.press('Home');
  assert.equal(await row(), 2);
  await page.goto(jobUrl(mock));
  await settled(page);
  await tabTo('summary');
  await page.keyboard.press('Enter');
  await tabTo('#task-table tbody tr');
  await page.keyboard.press('End');
  assert.match(await page.evaluate(() => document.activeElement?.textContent ?? ''), /^final/);
  await tabTo('.gantt-scroll');
  for (let presses = 0; presses < 30; presses += 1) await page.keyboard.press('ArrowDown');
  assert.ok((await page.locator('.gantt-scroll').evaluate((one) => one.scrollTop)) > 0);
  assert.match(await page.locator('.gantt .tip').innerText(), /accepted/);
}));

test('10,000 peers are searched and sorted', () => withPage('large', {}, async ({ page, mock }) => {
  await page.goto(mock.url);
  await settled(page);
  const rows = page.locator('#peers tbody tr:not(.spacer)');
  assert.ok((await rows.count()) < 40, 'only rows in sight exist');
  await page.getByRole('button', { name: 'Speed' }).click();
  await page.waitForTimeout(400);
  const speeds = await page.evaluate(() => [...document.querySelectorAll('#peers tbody tr:not(.spacer) td:nth-child(4)')].map((one) => parseFloat(one.textContent ?? '')));
  assert.deepEqual(speeds, [...speeds].sort((a, b) => b - a));
  assert.equal(await page.locator('#peers th[aria-sort]').innerText(), 'Speed ↓'.replace(' ↓', ''));
  await page.getByLabel('Search').fill('0.0.9');
  await page.waitForFunction(() => /found/.test(document.querySelector('#peers .muted')?.textContent ?? ''));
  const wanted = mock.jobs().length > 0 && (await (await fetch(`${mock.url}/v1/peers`)).json()).peers.filter((/** @type {any} */ peer) => peer.build.includes('0.0.9')).length;
  assert.match(await page.locator('#peers .muted').first().innerText(), new RegExp(`${wanted.toLocaleString('en-US')} found`));
  await page.getByLabel('Search').fill('no such peer');
  await page.getByText('No peer matches the search.').waitFor();
}));

test('hostile text stays text, and in its place', async () => {
  for (const look of [LOOKS[0], LOOKS[3]]) {
    await withPage('hostile', look, async ({ page, mock, complaints }) => {
      for (const url of [mock.url, jobUrl(mock), `${mock.url}/job?id=${mock.world.jobs[0].id}`, `${mock.url}/job?id=${mock.world.jobs[1].id}`]) {
        await page.goto(url);
        await settled(page);
        for (const details of await page.locator('details').all()) await details.evaluate((one) => one.setAttribute('open', ''));
        await page.waitForTimeout(700);
        assert.deepEqual(await overflow(page), [], url);
        assert.deepEqual(await findings(page), [], url);
        const { hurt, bad, links, tall } = await page.evaluate(() => ({
          hurt: /** @type {any} */ (window).hurt,
          bad: /[\u202A-\u202E\u2066-\u2069\u200E\u200F\u0000-\u0008\u001b]/.test(document.body.innerText),
          links: [...document.querySelectorAll('a[href], img, script')].map((one) => one.getAttribute('href') ?? one.getAttribute('src') ?? '').filter((href) => !/^\/(?!\/)|^#main$/.test(href)),
          tall: document.documentElement.scrollHeight,
        }));
        assert.equal(hurt, undefined, url);
        assert.ok(!bad, 'no control characters');
        assert.deepEqual(links, [], 'no way out of the service');
        assert.ok(tall < 12_000, `${url} is ${tall} px high`);
      }
      assert.ok(!(await page.locator('body').innerText()).includes('rm -rf'), 'no command of a stranger is offered');
      assert.deepEqual(complaints, []);
    });
  }
});

test('what a stranger leaves in place of documents does not stop the page', () => withPage('proving', {}, async ({ page, mock, complaints }) => {
  await page.goto(jobUrl(mock));
  await settled(page);
  const job = mock.jobs()[0].id;
  for (const event of [
    { type: 'unheard', of: 1 }, { type: 'started', machine: 99, task: 's1' }, { type: 'accepted', machine: 1, task: 'n99.1', bytes: 1, done: 0 },
    { type: 'started', machine: 1, task: 's99999' }, { type: 'left', machine: 500 }, { type: 'state', state: 'proving' },
  ]) mock.push(job, { at_ms: Date.now(), job, ...event });
  await page.waitForTimeout(800);
  assert.equal(await text(page, 'status-text'), 'Live');
  assert.deepEqual(complaints, []);
}));

test('the samples are what the mock serves', () => assert.deepEqual(outdated(), []));
