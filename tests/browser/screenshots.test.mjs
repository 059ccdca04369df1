// Pictures of every state at three widths and in both themes, for a person to
// look at. What a picture cannot hide is checked: nothing is wider than the page.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Daemon, Provider, config, dashboard, launch, open } from './support.mjs';

const FOLDER = new URL('./screenshots/', import.meta.url).pathname;
const ONLY = process.env.ROUTOR_SHOTS?.split(',');
let browser;
let daemon;
const providers = {};

before(async () => {
  mkdirSync(FOLDER, { recursive: true });
  browser = await launch();
  let turn = 0;
  providers.moonshot = await Provider.start(['kimi-k2.6', 'kimi-k2-thinking'], () => { turn += 1; return turn % 9 === 4 ? { status: 503, after: 41 } : { after: 60 + turn % 5 * 20 }; });
  providers.google = await Provider.start(['gemini-3.5-flash', 'gemini-3.1-pro', 'gemini-3.1-flash-lite'], { after: 30 });
  providers.deepseek = await Provider.start(['deepseek-v4-flash'], { status: 429, after: 12 });
  providers.lab = await Provider.start(['qwen3-32b'], { status: 500, after: 9 });
  const gone = await Provider.start();
  const toml = config({ ...providers, attic: gone }, ['moonshot/kimi-k2.6', 'google/gemini-3.5-flash', 'deepseek/deepseek-v4-flash', 'lab/qwen3-32b'],
    `[providers.openai]\napi_key_env = "OPENAI_API_KEY"\n[aliases]\n"limited" = ["deepseek/deepseek-v4-flash", "google/gemini-3.5-flash"]\n"flaky" = ["lab/qwen3-32b", "google/gemini-3.5-flash"]\n"broken" = { to = "lab/qwen3-32b" }\n`)
    .replace('"attic"', '"attic", "openai"');
  await gone.stop();
  daemon = await Daemon.start(toml);
  for (let at = 0; at < 18; at += 1) await daemon.chat({ stream: at % 3 !== 0 });
  for (let at = 0; at < 6; at += 1) await daemon.chat({ model: 'flaky', stream: at % 2 === 0 });
  await daemon.chat({ model: 'limited' });
  await daemon.chat({ model: 'gpt-9' });
  Object.values(providers).forEach((provider) => { provider.behave = { status: 503, after: 20 }; });
  await daemon.chat({ stream: true });
  providers.moonshot.behave = { after: 60, words: 12, gap: 30 };
  providers.google.behave = { after: 80, words: 10, gap: 40 };
  await daemon.chat({ stream: true });
  providers.moonshot.behave = { status: 503, after: 41 };
  await daemon.chat({ stream: true });
});

after(async () => {
  await browser?.close();
  await daemon?.stop();
  await Promise.all(Object.values(providers).map((provider) => provider.stop()));
});

/** Five minutes cannot be waited for: the charts get a past. */
async function withPast(page) {
  await page.route('**/api/providers', async (route) => {
    const answer = await (await route.fetch()).json();
    answer.forEach((provider, which) => {
      if (!provider.attempts) return;
      provider.series.forEach((point, at) => {
        if (at > 27) return;
        const wave = Math.sin(at / 3 + which) + Math.sin(at * 1.7 + which * 2);
        point.ok = Math.max(0, Math.round(5 + 3 * wave));
        point.failed = provider.status === 'healthy' ? (at % 13 === 5 ? 1 : 0) : Math.max(0, Math.round(2 - 2 * wave));
        point.p50_ms = point.ok ? Math.round(340 + 120 * Math.sin(at / 4 + which)) : null;
      });
    });
    await route.fulfill({ json: answer });
  });
  await page.reload();
}

const live = (page) => page.locator('#link[data-link="up"]').waitFor();
const SHOTS = {
  async monitor(page) {
    await withPast(page);
    await live(page);
    await page.locator('#log tr.row').first().waitFor();
    await page.locator('#log tr.o-fallback .opener').first().click();
    await page.mouse.move(0, 0);
  },
  async failed(page) {
    await live(page);
    await dashboard(page, 'outcome=failed');
    await page.locator('#log tr.o-served').first().waitFor({ state: 'detached' });
    await page.locator('#log tr.o-failed .opener').first().press('Enter');
  },
  async try(page) {
    await live(page);
    await page.click('#to-try');
    await page.fill('#prompt', 'Design a fault-tolerant architecture for a payment system and prove step by step that no payment is lost.');
    await page.keyboard.press('Control+Enter');
    await page.locator('.verdict').waitFor();
  },
  async tryempty(page) { await page.click('#to-try'); await live(page); },
  async nomatch(page) {
    await live(page);
    await dashboard(page, 'model=nothing-like-it');
    await page.getByText('No request matches').waitFor();
  },
};

async function picture(name, make, url = daemon.url) {
  if (ONLY && !ONLY.includes(name)) return;
  const page = await open(browser, url);
  await make(page);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const width of [360, 800, 1600]) {
      await page.setViewportSize({ width, height: width === 360 ? 780 : 1000 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await page.screenshot({ path: `${FOLDER}${name}-${width}-${colorScheme}.png`, fullPage: true });
      assert.ok(wide <= 0, `${name} at ${width}: ${wide} px wider than the page`);
    }
  }
  await page.context().close();
}

for (const [name, make] of Object.entries(SHOTS)) test(`pictures: ${name}`, () => picture(name, make));

test('pictures: empty, locked, switched off, gone', async () => {
  const provider = await Provider.start();
  const empty = await Daemon.start(config({ lab: provider }, ['lab/m1']));
  const locked = await Daemon.start(config({ lab: provider }, ['lab/m1']), { env: { ROUTOR_API_KEY: 'the-key' } });
  const silent = await Daemon.start(config({ lab: provider }, ['lab/m1'], '[log]\nrequests = false'));
  try {
    await picture('empty', (page) => page.getByText('No requests yet').waitFor(), empty.url);
    await picture('locked', async (page) => {
      await page.fill('#key', 'wrong');
      await page.keyboard.press('Enter');
      await page.getByText('not the right one').waitFor();
    }, locked.url);
    await picture('off', (page) => page.getByText('switched off').waitFor(), silent.url);
    await picture('gone', async (page) => {
      await live(page);
      await page.route('**/api/**', (route) => route.abort());
      await page.locator('#banner').waitFor({ timeout: 10000 });
    }, empty.url);
  } finally {
    await Promise.all([empty, locked, silent].map((one) => one.stop()));
    await provider.stop();
  }
});
