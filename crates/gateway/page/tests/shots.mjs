/** Pictures of each state, in `shots/`, for people to look at: `node shots.mjs [SCENARIO...]`. */

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { launch, open, settled } from './browser.mjs';
import { Mock } from './mock.mjs';
import { SCENARIOS } from './scenarios.mjs';

const FOLDER = fileURLToPath(new URL('./shots/', import.meta.url));
const LOOKS = [
  { width: 1280, scheme: 'light' }, { width: 1280, scheme: 'dark' }, { width: 360, height: 780, scheme: 'light' }, { width: 360, height: 780, scheme: 'dark' },
];
const HAVE_JOB = ['planning', 'proving', 'small', 'large', 'done', 'failed', 'cancelled', 'hostile'];

const asked = process.argv.slice(2);
await mkdir(FOLDER, { recursive: true });
const browser = await launch();
for (const name of asked.length > 0 ? asked : [...Object.keys(SCENARIOS), 'away']) {
  const mock = await new Mock(name === 'away' ? 'proving' : name).listen();
  for (const look of LOOKS) {
    const { page, context, complaints } = await open(browser, /** @type {any} */ (look));
    const file = (/** @type {string} */ view) => `${FOLDER}${name}-${view}-${look.width}-${look.scheme}.png`;
    await page.goto(mock.url);
    await settled(page);
    if (name === 'away') {
      await mock.goAway();
      await page.waitForTimeout(3500);
    }
    await page.screenshot({ path: file('overview'), fullPage: true });
    if (HAVE_JOB.includes(name)) {
      await page.goto(`${mock.url}/job?id=${mock.jobs()[0].id}`);
      await settled(page);
      await page.screenshot({ path: file('job'), fullPage: true });
    }
    if (name === 'away') await mock.comeBack();
    if (complaints.length > 0 && name !== 'away') console.log(name, look, complaints);
    await context.close();
  }
  await mock.close();
}
await browser.close();
console.log(`pictures in ${FOLDER}`);
