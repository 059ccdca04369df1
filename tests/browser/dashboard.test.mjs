// The dashboard as a person uses it.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Daemon, Provider, config, dashboard, eventually, idsOf, launch, open, rowsOf } from './support.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** What a test started, stopped in reverse order. */
let started = [];
const keep = (thing, stop = () => thing.stop()) => {
  started.push(stop);
  return thing;
};
afterEach(async () => {
  for (const stop of started.reverse()) await stop();
  started = [];
});

async function see(daemon, options) {
  const page = await open(browser, daemon.url, options);
  keep(page, () => page.context().close());
  return page;
}
const live = (page) => page.locator('#link[data-link="up"]').waitFor({ timeout: 10000 });
const figure = (page, provider, name) => page.locator(`[data-provider="${provider}"] dl div`, { hasText: name }).locator('dd').innerText();
const count = (page) => page.locator('#log tr.row').count();

describe('with two providers of which the first fails', () => {
  let daemon;
  let first;
  let second;
  beforeEach(async () => {
    first = keep(await Provider.start(['m1', 'm2'], { status: 503 }));
    second = keep(await Provider.start(['m1']));
    daemon = keep(await Daemon.start(config({ north: first, south: second }, ['north/m1', 'south/m1'], '[aliases]\n"south-only" = ["south/m1"]\n[breaker]\nfailures = 5\ncooldown = "30s"')));
  });

  test('the page loads without a complaint and asks no other host', async () => {
    const page = await see(daemon);
    await live(page);
    await daemon.chat();
    await page.locator('#log tr.row').waitFor();
    await page.click('#to-try');
    await page.fill('#prompt', 'hello');
    await page.click('text=Show the decision');
    await page.locator('.verdict').waitFor();
    assert.deepEqual(page.complaints, []);
    assert.deepEqual([...page.asked], [`127.0.0.1:${daemon.port}`]);
  });

  test('its policy forbids what it does not do', async () => {
    const response = await fetch(`${daemon.url}/dashboard`);
    const policy = response.headers.get('content-security-policy');
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    for (const file of ['page.css', 'theme.js', 'page.js', 'api.js', 'dom.js', 'health.js', 'log.js', 'try.js', 'icon.svg']) {
      const { status, headers } = await fetch(`${daemon.url}/dashboard/${file}`);
      assert.deepEqual([status, headers.get('x-content-type-options')], [200, 'nosniff'], file);
    }
    const page = await see(daemon);
    const inline = await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.owned = 1';
      document.body.append(script);
      const image = new Image();
      image.src = 'http://127.0.0.2:9/x.png';
      return window.owned;
    });
    assert.equal(inline, undefined);
    await eventually('the image is refused', () => page.complaints.some((text) => text.includes('img-src')));
  });

  test('a failover shows and moves the figures without a reload', async () => {
    const page = await see(daemon);
    await live(page);
    await page.getByText('No requests yet').waitFor();
    assert.equal(await figure(page, 'north', 'calls'), '0');
    const { id } = await daemon.chat();
    await page.locator(`#log tr.row[data-id="${id}"]`).waitFor({ timeout: 3000 });
    const [row] = await rowsOf(page);
    assert.match(row, /^\d\d-\d\d \d\d:\d\d:\d\d fallback NANO \d+ ms north\/m1 503 \d+ ms → south\/m1 200 \d+ ms req_/);
    await eventually('the calls are counted', async () => await figure(page, 'north', 'calls') === '1' && await figure(page, 'south', 'calls') === '1', 4000);
    for (let at = 0; at < 5; at += 1) await daemon.chat();
    await eventually('it is down, with its reason', async () => /down[\s\S]*100 % of calls failed/.test(await page.locator('[data-provider="north"]').innerText()));
    assert.equal(await figure(page, 'north', 'errors'), '100 %');
    assert.equal(await figure(page, 'south', 'errors'), '0 %');
    assert.match(await page.locator('[data-provider="north"] .model.cooling').first().innerText(), /m1\s*cooling \d+ s/);
    assert.match(await page.locator('[data-provider="south"]').innerText(), /^healthy/);
    assert.match(await page.locator('[data-provider="south"] svg[role=img]').getAttribute('aria-label'), /Last 5 minutes: 6 answered, 0 failed/);
    const state = page.locator('.model.cooling .m-state').first();
    const before = await state.innerText();
    await eventually('the time left counts down', async () => await state.innerText() !== before);

    await daemon.chat({ id: 'put-off' });
    await page.locator('#log tr[data-id="put-off"] .opener').press('Enter');
    assert.match((await page.locator('#log tr.detail').innerText()).replace(/\s+/g, ' '), /Chain north\/m1 put off south\/m1 answered/);
  });

  test('a row opens to its timeline by the keyboard', async () => {
    await daemon.chat({ id: 'older' });
    await daemon.chat({ id: 'newer', stream: true });
    const page = await see(daemon);
    await page.locator('#log tr.row').nth(1).waitFor();
    await page.locator('#filters input[name=id]').focus();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.closest('tr')?.dataset.id), 'newer');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    const detail = page.locator('#log tr.detail');
    const text = (await detail.innerText()).replace(/\s+/g, ' ');
    assert.match(text, /1\. north\/m1 overloaded 503 \d+ ms from 0 ms the provider’s id up-1 2\. south\/m1 ok 200/);
    assert.match(text, /id older/);
    assert.match(text, /asked for auto answered by south\/m1 status 200/);
    assert.match(text, /tokens 31 in, 128 out stream no/);
    assert.match(text, /north\/m1 failed.*south\/m1 answered/);
    assert.equal(await page.locator('.timeline .bar').count(), 2);
    const [one, two] = await page.locator('.timeline .bar').evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect()).map(({ left, right }) => [left, right]));
    assert.ok(one[1] > one[0] && two[1] > two[0] && two[0] > one[0], 'the second attempt begins after the first');
    assert.deepEqual(page.complaints, []);
    assert.equal(await page.locator('.opener[aria-expanded=true]').count(), 1);
    await page.keyboard.press('Space');
    assert.equal(await detail.isHidden(), true);
    await page.locator('#log tr.row').first().locator('.c-att').click();
    assert.match(await page.locator('#log tr.detail').first().innerText(), /first word after/);
  });

  test('filters choose, live and in history, and are kept in the address', async () => {
    await daemon.chat({ id: 'fell-over' });
    await daemon.chat({ id: 'direct', model: 'south-only' });
    await daemon.chat({ id: 'unknown', model: 'no-such-model' });
    await daemon.chat({ id: 'named', model: 'north/m2' });
    const page = await see(daemon);
    await eventually('all are there', async () => await count(page) === 4);
    const only = async (...ids) => eventually(ids.join(), async () => (await idsOf(page)).join() === ids.join());

    await page.selectOption('[name=outcome]', 'fallback');
    await only('named', 'fell-over');
    assert.equal(new URL(page.url()).hash, '#outcome=fallback');
    await daemon.chat({ id: 'live-direct', model: 'south-only' });
    await daemon.chat({ id: 'live-fallback' });
    await only('live-fallback', 'named', 'fell-over');

    await page.click('#clear');
    await eventually('all again', async () => await count(page) === 6);
    await page.selectOption('[name=provider]', 'north');
    await only('live-fallback', 'named', 'fell-over');
    await page.goBack();
    await eventually('back goes back', async () => await count(page) === 6 && await page.inputValue('[name=provider]') === '');

    await page.fill('[name=model]', 'north/m2');
    await page.keyboard.press('Enter');
    await only('named');
    await page.fill('[name=model]', 'no-such-model');
    await page.keyboard.press('Enter');
    await only('unknown');

    await dashboard(page, 'id=direct');
    await only('direct');
    await page.reload();
    await only('direct');
    assert.equal(await page.inputValue('[name=id]'), 'direct');
    await dashboard(page, 'model=nothing');
    await page.getByText('No request matches').waitFor();
    await page.getByRole('button', { name: 'Clear the filters' }).click();
    await eventually('all again', async () => await count(page) === 6);

    await dashboard(page, 'since=2s');
    await eventually('what grows too old goes', async () => await count(page) === 0, 12000);
    await daemon.chat({ id: 'fresh' });
    await only('fresh');
    await page.selectOption('[name=since]', '1h');
    await eventually('all again', async () => await count(page) === 7);
    await dashboard(page, 'since=soon');
    await page.getByText('since must be a time with its unit').waitFor();
  });

  test('older requests come a page at a time', async () => {
    for (let at = 1; at <= 120; at += 1) await daemon.chat({ id: `r${at}`, model: 'south-only' });
    const page = await see(daemon);
    await eventually('the first page', async () => await count(page) === 50);
    await live(page);
    await daemon.chat({ id: 'r121', model: 'south-only' });
    await eventually('a live one on top', async () => (await idsOf(page))[0] === 'r121');
    await page.locator('#older').press('Enter');
    await eventually('the second page', async () => await count(page) === 101);
    await page.locator('#older').click();
    await eventually('the end', async () => await count(page) === 121);
    assert.deepEqual(await idsOf(page), Array.from({ length: 121 }, (_, at) => `r${121 - at}`));
    assert.equal(await page.locator('#older').isHidden(), true);
  });

  test('a page that was cut off fills the gap', async () => {
    await daemon.chat({ id: 'r0', model: 'south-only' });
    const page = await see(daemon);
    await live(page);
    await page.locator('#log tr.row').waitFor();
    await page.context().setOffline(true);
    await page.locator('#banner').waitFor({ timeout: 10000 });
    for (let at = 1; at <= 130; at += 1) await daemon.chat({ id: `r${at}`, model: 'south-only' });
    await page.context().setOffline(false);
    await page.locator('#banner').waitFor({ state: 'hidden', timeout: 20000 });
    await eventually('all are there', async () => await count(page) === 131);
    assert.deepEqual(await idsOf(page), Array.from({ length: 131 }, (_, at) => `r${130 - at}`));
  });

  test('a page that nobody sees lets go of its connection, and catches up', async () => {
    const page = await see(daemon);
    await page.clock.install();
    await page.reload();
    await live(page);
    const hide = (hidden) => page.evaluate((to) => {
      Object.defineProperty(document, 'hidden', { value: to, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    const gone = page.waitForEvent('requestfailed', (request) => request.url().includes('/api/events'));
    await hide(true);
    await page.clock.fastForward(31000);
    await gone;
    await daemon.chat({ id: 'unseen', model: 'south-only' });
    assert.equal(await count(page), 0);
    await hide(false);
    await eventually('it is there', async () => (await idsOf(page)).join() === 'unseen');
    await live(page);
  });

  test('a flood is shown up to a bound, and the rest is found again', async () => {
    second.behave = {};
    const page = await see(daemon);
    await live(page);
    await page.getByText('No requests yet').waitFor();
    const flood = async (from) => { for (let at = from; at < 1300; at += 20) await daemon.chat({ id: `f${at}`, model: 'south-only' }); };
    await Promise.all(Array.from({ length: 20 }, (_, from) => flood(from)));
    await eventually('a thousand', async () => await count(page) === 1000, 60000);
    await page.locator('#older').click();
    await eventually('the rest', async () => new Set(await idsOf(page)).size === 1300, 60000);
    assert.equal(await count(page), 1300);
    await daemon.chat({ id: 'one-more', model: 'south-only' });
    await eventually('live goes on', async () => (await idsOf(page))[0] === 'one-more');
  });

  test('pause holds new rows back, and none is lost', async () => {
    const page = await see(daemon);
    await live(page);
    await page.getByText('No requests yet').waitFor();
    await page.click('#pause');
    await daemon.chat({ id: 'held' });
    await page.getByText('Resume (1 new)').waitFor();
    assert.equal(await count(page), 0);
    await page.click('#pause');
    await eventually('it is there', async () => (await idsOf(page)).join() === 'held');
  });

  test('a model name that is HTML stays text', async () => {
    const page = await see(daemon);
    await live(page);
    const name = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>';
    await daemon.chat({ model: name, id: 'evil' });
    await page.locator('#log tr.row').waitFor();
    assert.ok((await rowsOf(page))[0].includes(name));
    await page.locator('.opener').press('Enter');
    assert.ok((await page.locator('.detail').innerText()).includes(name));
    await dashboard(page, `model=${encodeURIComponent(name)}`);
    await eventually('the filter finds it', async () => (await idsOf(page)).join() === 'evil');
    assert.equal(await page.locator('#log img, #log script, #filters img').count(), 0);
    assert.equal(await page.evaluate(() => window.owned), undefined);
    assert.deepEqual(page.complaints, []);
  });

  test('a restart shows a banner, then everything that was missed', async () => {
    await daemon.chat({ id: 'before' });
    const page = await see(daemon);
    await live(page);
    await page.locator('#log tr.row').waitFor();
    await daemon.halt();
    await page.getByText('routor does not answer; trying again').waitFor({ timeout: 10000 });
    assert.equal(await page.locator('#link').innerText(), 'no answer');
    assert.equal(await count(page), 1);
    await daemon.run();
    await daemon.chat({ id: 'while-away' });
    await page.locator('#banner').waitFor({ state: 'hidden', timeout: 20000 });
    await live(page);
    await eventually('the missed one', async () => (await idsOf(page)).join() === 'while-away,before');
    await daemon.chat({ id: 'after' });
    await eventually('live again', async () => (await idsOf(page)).join() === 'after,while-away,before');
  });

  test('try a prompt shows the decision and calls nobody', async () => {
    const page = await see(daemon);
    await page.click('#to-try');
    assert.match(await page.locator('#try').innerText(), /No provider is called/);
    await page.fill('#prompt', 'Prove step by step that this distributed architecture is fault-tolerant.');
    await page.keyboard.press('Control+Enter');
    await page.locator('.verdict').waitFor();
    const text = (await page.locator('#decision').innerText()).replace(/\s+/g, ' ');
    assert.match(text, /^(STANDARD|COMPLEX) would go to north\/m1 confidence \d+ % category \w+ cost estimate/);
    assert.match(text, /Chain north\/m1 first south\/m1 fallback 1/);
    assert.match(text, /Signals .*\+0\.\d{3}/);
    assert.equal(first.calls + second.calls, 0);
    await page.goBack();
    assert.equal(await page.locator('#monitor').isVisible(), true);
  });

  test('light and dark follow the system until somebody chooses', async () => {
    const colour = (page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const page = await see(daemon, { colorScheme: 'dark' });
    const dark = await colour(page);
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await colour(page);
    assert.notEqual(dark, light);
    await page.click('#theme');
    assert.equal(await colour(page), dark);
    await page.reload();
    assert.equal(await colour(page), dark);
    assert.equal(await page.locator('#theme').innerText(), 'Theme: dark');
    await page.click('#theme');
    await page.click('#theme');
    assert.equal(await page.locator('#theme').innerText(), 'Theme: auto');
    assert.equal(await colour(page), light);
  });

  test('everything has a name, and ids are unique', async () => {
    await daemon.chat();
    const page = await see(daemon);
    await page.locator('#log tr.row').waitFor();
    await page.locator('.opener').first().press('Enter');
    const unnamed = await page.evaluate(() => [...document.querySelectorAll('button, input, select, textarea, a')]
      .filter((control) => control.checkVisibility() && !(control.ariaLabel || control.labels?.length || control.innerText.trim())).map((control) => control.outerHTML));
    assert.deepEqual(unnamed, []);
    const doubles = await page.evaluate(() => [...document.querySelectorAll('[id]')].map(({ id }) => id).filter((id, at, all) => all.indexOf(id) !== at));
    assert.deepEqual(doubles, []);
    assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll('h1, h2')].filter((title) => title.checkVisibility()).map((title) => title.tagName)), ['H1', 'H2', 'H2']);
  });
});

test('providers out of the pool say what brings them back', async () => {
  const good = keep(await Provider.start());
  const gone = await Provider.start();
  await gone.stop();
  const toml = config({ lab: good, attic: gone }, ['lab/m1']).replace('"attic"]', '"attic", "openai"]');
  const daemon = keep(await Daemon.start(`${toml}[providers.openai]\napi_key_env = "OPENAI_API_KEY"\n`));
  const page = await see(daemon);
  await live(page);
  assert.match(await page.locator('[data-provider="attic"]').innerText(), /down[\s\S]*cannot be reached[\s\S]*routor reload brings it back/);
  assert.match(await page.locator('[data-provider="openai"]').innerText(), /down[\s\S]*no key[\s\S]*OPENAI_API_KEY[\s\S]*restart routor/);
  assert.match(await page.locator('#health-sum').innerText(), /3 providers: 2 down, 1 without data/);
});

test('nothing yet: it says what to do', async () => {
  const provider = keep(await Provider.start());
  const daemon = keep(await Daemon.start(config({ lab: provider }, ['lab/m1'])));
  const page = await see(daemon);
  await page.getByText('No requests yet').waitFor();
  assert.ok((await page.locator('.sample code').innerText()).startsWith(`curl ${daemon.url}/v1/chat/completions`));
  assert.match(await page.locator('[data-provider="lab"]').innerText(), /no data[\s\S]*no calls/);
});

test('a log that is switched off is said, and live rows come all the same', async () => {
  const provider = keep(await Provider.start());
  const daemon = keep(await Daemon.start(config({ lab: provider }, ['lab/m1'], '[log]\nrequests = false')));
  const page = await see(daemon);
  await page.getByText('The request log is switched off').waitFor();
  await live(page);
  await daemon.chat({ id: 'unrecorded' });
  await eventually('it shows', async () => (await idsOf(page)).join() === 'unrecorded');
});

test('what of the log cannot be read is said', async () => {
  const provider = keep(await Provider.start());
  const daemon = keep(await Daemon.start(config({ lab: provider }, ['lab/m1'])));
  await daemon.chat({ id: 'newest' });
  let lost = { unreadable: 2, damaged: true };
  const page = await see(daemon);
  await page.route('**/api/requests*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...await response.json(), ...lost } });
  });
  await page.reload();
  await page.getByText('2 records of the request log could not be read. The request log is damaged: what is older than this could not be read.').waitFor();
  assert.deepEqual(await idsOf(page), ['newest']);
  lost = { requests: [], unreadable: 1, damaged: false };
  await page.reload();
  await page.getByText('The requests so far cannot be shown').waitFor();
  await page.getByText('1 record of the request log could not be read.').waitFor();
});

test('a key is asked for, a wrong one is told, the right one opens', async () => {
  const provider = keep(await Provider.start());
  const daemon = keep(await Daemon.start(config({ lab: provider }, ['lab/m1']), { env: { ROUTOR_API_KEY: 'the-right-key' } }));
  const page = await see(daemon);
  await page.getByRole('heading', { name: 'This routor needs a key' }).waitFor();
  assert.match(await page.locator('#locked-why').innerText(), /ROUTOR_API_KEY/);
  assert.equal(await page.locator('#monitor').isHidden(), true);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key');
  assert.equal(await page.locator('#key-wrong').innerText(), '');
  for (const [wrong, told] of [['a-wrong-key', 'This key is not the right one.'], ['schlüssel', 'This cannot be a key']]) {
    await page.fill('#key', wrong);
    await page.keyboard.press('Enter');
    await page.locator('#key-wrong', { hasText: told }).waitFor();
  }
  await page.fill('#key', 'the-right-key');
  await page.keyboard.press('Enter');
  await live(page);
  await daemon.chat({ id: 'with-key', key: 'the-right-key' });
  await eventually('live', async () => (await idsOf(page)).join() === 'with-key');
  await page.reload();
  await live(page);
  await eventually('the key is kept for the tab', async () => (await idsOf(page)).join() === 'with-key');
  assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('right')), false);
  assert.equal(page.url(), `${daemon.url}/dashboard`);

  // The key is changed while the page is open.
  daemon.env = { ROUTOR_API_KEY: 'another-key' };
  await daemon.halt();
  await daemon.run();
  await page.getByRole('heading', { name: 'This routor needs a key' }).waitFor({ timeout: 20000 });
  await page.fill('#key', 'another-key');
  await page.keyboard.press('Enter');
  await live(page);
});
