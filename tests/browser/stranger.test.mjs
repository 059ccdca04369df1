// A page of another site in the same browser: it can neither read anything nor
// spend anything.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Daemon, Provider, config, eventually, launch } from './support.mjs';

let browser;
let provider;
let daemon;
let site;

before(async () => {
  browser = await launch();
  provider = await Provider.start();
  daemon = await Daemon.start(config({ lab: provider }, ['lab/m1']));
  site = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<!doctype html><title>stranger</title><p>hello');
  });
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
});

after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  await daemon?.stop();
  await provider?.stop();
});

/** Tries everything a page can do; tells what it got to read. */
async function attack(base) {
  const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'pay for me' }] });
  const chat = `${base}/v1/chat/completions`;
  const got = {};
  const read = async (name, act) => {
    try { got[name] = await act(); } catch (problem) { got[name] = `blocked: ${problem.name}`; }
  };
  const text = async (url, init) => {
    const response = await fetch(url, init);
    return response.type === 'opaque' ? 'opaque' : `read: ${response.status}`;
  };
  await read('json', () => text(chat, { method: 'POST', headers: { 'content-type': 'application/json' }, body }));
  await read('json with a key', () => text(chat, { method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer x' }, body }));
  await read('text', () => text(chat, { method: 'POST', headers: { 'content-type': 'text/plain' }, body }));
  await read('text, no-cors', () => text(chat, { method: 'POST', mode: 'no-cors', headers: { 'content-type': 'text/plain' }, body }));
  await read('form, no-cors', () => text(chat, { method: 'POST', mode: 'no-cors', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body }));
  await read('blob, no-cors', () => text(chat, { method: 'POST', mode: 'no-cors', body: new Blob([body]) }));
  for (const path of ['/', '/v1/models', '/api/providers', '/api/requests', '/api/events', '/metrics', '/health', '/dashboard', '/dashboard/page.js']) {
    await read(`GET ${path}`, () => text(`${base}${path}`));
    await read(`GET ${path}, no-cors`, () => text(`${base}${path}`, { mode: 'no-cors' }));
  }
  await read('beacon', async () => (navigator.sendBeacon(chat, new Blob([body], { type: 'text/plain' })) ? 'sent, not readable' : 'refused'));
  await read('beacon json', async () => (navigator.sendBeacon(chat, new Blob([body], { type: 'application/json' })) ? 'sent, not readable' : 'refused'));
  const element = (tag, set) => new Promise((done) => {
    const node = document.createElement(tag);
    node.onload = () => done('loaded');
    node.onerror = () => done('blocked');
    set(node);
    document.body.append(node);
    setTimeout(() => done('blocked: nothing came'), 1500);
  });
  got.image = await element('img', (node) => { node.src = `${base}/v1/models`; });
  got.icon = await element('img', (node) => { node.src = `${base}/dashboard/icon.svg`; });
  got.script = await element('script', (node) => { node.src = `${base}/dashboard/theme.js`; });
  got.style = await element('link', (node) => { node.rel = 'stylesheet'; node.href = `${base}/dashboard/page.css`; });
  await read('frame', () => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.src = `${base}/dashboard`;
    frame.onload = () => {
      try { done(`read: ${frame.contentDocument.title}`); } catch { done('opaque'); }
    };
    document.body.append(frame);
    setTimeout(() => done('blocked: nothing came'), 1500);
  }));
  await read('window', async () => {
    const other = open(`${base}/dashboard`);
    await new Promise((done) => { setTimeout(done, 800); });
    return other?.document.title === undefined ? 'cut off' : `read: ${other.document.title}`;
  });
  for (const path of ['/v1/chat/completions', '/api/events']) {
    got[`socket ${path}`] = await new Promise((done) => {
      const socket = new WebSocket(`${base.replace('http', 'ws')}${path}`);
      socket.onopen = () => done('open');
      socket.onerror = () => done('blocked');
    });
  }
  got.source = await new Promise((done) => {
    const source = new EventSource(`${base}/api/events`);
    source.onopen = () => done('open');
    source.onerror = () => { source.close(); done('blocked'); };
  });
  return got;
}

function check(got, where) {
  for (const [name, what] of Object.entries(got)) assert.doesNotMatch(String(what), /^(read|open$|loaded$)/, `${where}, ${name}: ${what}`);
}

for (const [what, host, local] of [
  ['another port of the same address', '127.0.0.1', '127.0.0.1'],
  ['another name of this machine', 'localhost', '127.0.0.1'],
  ['a name that somebody points here', 'rebound.example', 'rebound.example'],
]) {
  test(`d210 a page of ${what} gets nothing`, async () => {
    const own = await launchFor(host);
    try {
      const page = await own.newPage();
      await page.goto(`http://${host}:${site.address().port}/`);
      const got = await page.evaluate(attack, `http://${local}:${daemon.port}`);
      assert.ok(Object.keys(got).length > 30, 'all was tried');
      check(got, what);
      // A form goes where it is sent, as a page of its own; it brings no JSON.
      await page.evaluate((chat) => {
        const form = document.createElement('form');
        Object.assign(form, { method: 'POST', action: chat, enctype: 'text/plain' });
        const field = document.createElement('input');
        Object.assign(field, { name: '{"model":"auto","messages":[{"role":"user","content":"', value: '"}]}' });
        form.append(field);
        document.body.append(form);
        form.submit();
      }, `http://${local}:${daemon.port}/v1/chat/completions`);
      await eventually('the form was answered', () => page.url().includes('/v1/chat/completions'));
      assert.match(await page.locator('body').innerText(), /"forbidden"/);
    } finally {
      await own.close();
    }
    await sleep(300);
    assert.deepEqual(provider.seen, [], 'no call reached the provider');
    const { requests } = await (await fetch(`${daemon.url}/api/requests`)).json();
    assert.deepEqual(requests, [], 'no call came through the guards');
  });
}

/** A context in which a foreign name leads to this machine. */
async function launchFor(host) {
  if (!host.includes('.example')) return browser.newContext();
  const rebound = await launch(['--host-resolver-rules=MAP *.example 127.0.0.1']);
  const context = await rebound.newContext();
  const close = context.close.bind(context);
  context.close = async () => {
    await close();
    await rebound.close();
  };
  return context;
}

test('the same page can call when its origin is allowed, so the attack is a real one', async () => {
  const origin = `http://127.0.0.1:${site.address().port}`;
  const paid = await Provider.start();
  const open = await Daemon.start(config({ lab: paid }, ['lab/m1'], `[server]\nallow_origins = ["${origin}"]`));
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  const got = await page.evaluate(attack, open.url);
  await context.close();
  await open.stop();
  await paid.stop();
  assert.deepEqual([got.json, got['GET /api/providers'], got.text], ['read: 200', 'read: 200', 'read: 415']);
  assert.equal(paid.calls, 2, 'with a key of its own and without');
});

test('a link to the dashboard works', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`http://localhost:${site.address().port}/`);
  await page.evaluate((to) => { location.href = to; }, `${daemon.url}/dashboard`);
  await page.locator('#link[data-link="up"]').waitFor();
  assert.equal(await page.locator('h1').innerText().then((title) => title.startsWith('routor')), true);
  await context.close();
});
