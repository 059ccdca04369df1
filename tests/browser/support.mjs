// What the browser tests share: scripted providers, the real binary, a browser.

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const BINARY = process.env.ROUTOR_BINARY;
/** In development the page's files are taken from this folder, so that no build is needed. */
const PAGE_FROM = process.env.ROUTOR_PAGE_FROM;
const TIERS = ['NANO', 'SIMPLE', 'LIGHT', 'STANDARD', 'COMPLEX'];

/** Runs until `look` gives something, or says what was waited for. */
export async function eventually(what, look, patience = 10000) {
  const end = Date.now() + patience;
  let last;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
      last = undefined;
    } catch (problem) {
      last = problem;
    }
    if (Date.now() > end) throw new Error(`in ${patience} ms not there: ${what}`, { cause: last });
    await sleep(40);
  }
}

const completion = (model) => ({
  id: 'chatcmpl-1', object: 'chat.completion', created: 1, model,
  choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 31, completion_tokens: 128, total_tokens: 159 },
});

/** A provider that does what `behave` says: a status, or a function of the request. */
export class Provider {
  calls = 0;
  /** Everything that came, beside the list of models that the start asks for. */
  seen = [];

  static async start(models = ['m1'], behave = { status: 200 }) {
    const provider = new Provider();
    provider.models = models;
    provider.behave = behave;
    provider.server = createServer((request, response) => provider.#answer(request, response));
    await new Promise((done) => provider.server.listen(0, '127.0.0.1', done));
    provider.port = provider.server.address().port;
    return provider;
  }

  get base() { return `http://127.0.0.1:${this.port}/v1`; }

  async #answer(request, response) {
    let text = '';
    for await (const part of request) text += part;
    const send = (status, value, headers = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(value));
    };
    if (request.url.endsWith('/models')) {
      return send(200, { object: 'list', data: this.models.map((id) => ({ id, object: 'model' })) });
    }
    this.calls += 1;
    this.seen.push(`${request.method} ${request.url}`);
    const body = JSON.parse(text || '{}');
    const { status = 200, after = 0, words = 4, gap = 8 } = typeof this.behave === 'function' ? this.behave(body, this.calls) : this.behave;
    await sleep(after);
    if (status !== 200) return send(status, { error: { message: 'it is too much', type: 'server_error', code: status === 503 ? 'overloaded' : null } }, { 'x-request-id': `up-${this.calls}` });
    if (!body.stream) return send(200, completion(body.model), { 'x-request-id': `up-${this.calls}` });
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': `up-${this.calls}` });
    const event = (delta, finish = null) => response.write(`data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: body.model, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`);
    for (let word = 0; word < words; word += 1) {
      event({ content: 'word ' });
      await sleep(gap);
    }
    event({}, 'stop');
    response.end('data: [DONE]\n\n');
    return undefined;
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((done) => this.server.close(done));
  }
}

/** A configuration with these providers and no others; every tier is this chain. */
export function config(providers, chain, more = '') {
  const tables = Object.entries(providers).map(([name, provider]) =>
    `[providers.${name}]\nbase_url = "${provider.base ?? provider}"\napi_key_env = ""\n`);
  const tiers = TIERS.map((tier) => `${tier} = ${JSON.stringify(chain)}`);
  return `${tables.join('\n')}\n[pool]\nonly = ${JSON.stringify(Object.keys(providers))}\n\n[tiers]\n${tiers.join('\n')}\n\n${more}\n`;
}

/** `routor serve`, the real binary, with a folder of its own. */
export class Daemon {
  static async start(toml, { env = {} } = {}) {
    const daemon = new Daemon();
    daemon.home = mkdtempSync(join(tmpdir(), 'routor-browser-'));
    daemon.env = env;
    daemon.port = 0;
    writeFileSync(join(daemon.home, 'routor.toml'), toml);
    await daemon.run();
    return daemon;
  }

  async run() {
    const args = ['serve', '--config', join(this.home, 'routor.toml'), '--state', join(this.home, 'state'), '--port', String(this.port)];
    this.process = spawn(BINARY, args, {
      cwd: this.home, stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env.PATH, HOME: this.home, ...this.env },
    });
    this.errors = '';
    this.process.stderr.on('data', (part) => { this.errors += part; });
    this.ended = new Promise((done) => this.process.on('exit', done));
    const found = await eventually('`listening on`', () => {
      if (this.process.exitCode !== null) throw new Error(`routor ended with ${this.process.exitCode}:\n${this.errors}`);
      return /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(this.errors);
    }, 20000).catch((problem) => { throw new Error(`${problem.message}\n${this.errors}`, { cause: problem }); });
    this.port = Number(found[1]);
    this.url = `http://127.0.0.1:${this.port}`;
  }

  async halt() {
    this.process.kill('SIGTERM');
    await this.ended;
  }

  async stop() {
    this.process.kill('SIGKILL');
    await this.ended;
    rmSync(this.home, { recursive: true, force: true });
  }

  /** A chat completion, as an app sends it. Returns status and id. */
  async chat({ model = 'auto', stream = false, id, key, text = 'hello' } = {}) {
    const headers = { 'content-type': 'application/json' };
    if (id) headers['x-request-id'] = id;
    if (key) headers.authorization = `Bearer ${key}`;
    const body = JSON.stringify({ model, stream, messages: [{ role: 'user', content: text }] });
    const response = await fetch(`${this.url}/v1/chat/completions`, { method: 'POST', headers, body });
    await response.text();
    return { status: response.status, id: response.headers.get('x-request-id') };
  }
}

export const launch = (more = []) => chromium.launch({
  executablePath: process.env.ROUTOR_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...more],
});

const KINDS = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8', svg: 'image/svg+xml' };

/** A page of its own, which notes what it complains of and whom it asks. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, timezoneId: 'UTC', locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.asked = new Set();
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) page.complaints.push(message.text()); });
  page.on('pageerror', (problem) => page.complaints.push(String(problem)));
  page.on('request', (request) => page.asked.add(new URL(request.url()).host));
  if (PAGE_FROM) {
    await page.route(/\/dashboard(\/[a-z.]*)?$/, async (route) => {
      const real = await route.fetch({ url: route.request().url().replace(/\/dashboard.*/, '/dashboard') });
      const name = basename(new URL(route.request().url()).pathname);
      const file = name === 'dashboard' ? 'index.html' : name;
      const headers = { ...real.headers(), 'content-type': KINDS[file.split('.').at(-1)] };
      await route.fulfill({ status: 200, headers, body: readFileSync(join(PAGE_FROM, file)) });
    });
  }
  await page.goto(`${url}/dashboard`);
  return page;
}

export const dashboard = (page, hash) => page.evaluate((to) => { location.hash = to; }, hash);

/** The texts of the log's rows, the first cell of each is its time. */
export const rowsOf = (page) => page.locator('#log tr.row').evaluateAll((rows) => rows.map((row) => row.innerText.replace(/\s+/g, ' ').trim()));
export const idsOf = (page) => page.locator('#log tr.row').evaluateAll((rows) => rows.map((row) => row.dataset.id));
