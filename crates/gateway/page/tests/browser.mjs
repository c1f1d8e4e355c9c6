/** Chromium of the system, and pages that record what they complain about. */

import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Where Debian puts it; another place by MYRIAD_CHROMIUM. */
const PATH = process.env.MYRIAD_CHROMIUM ?? '/usr/bin/chromium';

export async function launch() {
  if (!existsSync(PATH)) throw new Error(`there is no Chromium at ${PATH}: install it (apt-get install -y chromium), or name another one by MYRIAD_CHROMIUM`);
  return chromium.launch({ executablePath: PATH, args: FLAGS });
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {object} [options]
 * @param {number} [options.width]
 * @param {number} [options.height]
 * @param {'light' | 'dark'} [options.scheme]
 * @param {boolean} [options.still] prefers-reduced-motion
 */
export async function open(browser, { width = 1280, height = 900, scheme = 'light', still = true } = {}) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, reducedMotion: still ? 'reduce' : 'no-preference', timezoneId: 'UTC', locale: 'en-GB',
    hasTouch: width < 500, isMobile: width < 500, deviceScaleFactor: width < 500 ? 2 : 1,
  });
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  return { context, page, complaints };
}

/** The page has drawn its first jobs, or said that there are none. @param {import('playwright-core').Page} page */
export async function settled(page) {
  await page.waitForFunction(() => {
    const loading = document.getElementById('loading');
    const trees = [...document.querySelectorAll('.tree-summary')];
    return (loading?.hidden ?? true) && trees.every((tree) => tree.textContent !== '');
  });
  await page.waitForTimeout(500);
}
