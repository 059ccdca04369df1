// Request Logs: history a page at a time, then each request as it ends.

import { call, hasKey } from './api.js';
import { badge, byId, chainOf, copyButton, cut, fact, h, mono, muted, part, plural, put, spoken, stamp, swap, took } from './dom.js';

const PAGE = 50;
const MOST = 1000;
const FIELDS = ['outcome', 'provider', 'model', 'since', 'id'];
const TONES = { served: 'good', fallback: 'warn', partial: 'warn', failed: 'bad', client_closed: 'none', rejected: 'none' };
const UNITS = { ms: 1, s: 1000, sec: 1000, m: 60000, min: 60000, h: 3600000, d: 86400000 };
const WHY = {
  tools: 'it cannot call tools', vision: 'it cannot read images', audio: 'it cannot hear audio', files: 'it cannot read files',
  json_schema: 'it cannot answer by a JSON schema', max_cost: 'it would cost more than routor_max_cost',
  bfcl_min: 'its function-calling score is below routor_bfcl_min', local_only: 'the alias keeps requests on this machine',
  context_window: 'the prompt does not fit its context window', auth: 'its provider rejected the key a moment ago', cooling: 'it was cooling, and another one answered',
  not_in_pool: 'its provider is not in the pool; `routor check` says why',
};

const table = byId('log');
const body = table.tBodies[0];
const empty = byId('log-empty');
const older = byId('older');

let filter = {};
let rows = [];
const known = new Set();
let cursor = null;
let recorded = true;
/** Records that could not be read, and whether the log is damaged, so that nothing older can be. */
let unreadable = 0;
let damaged = false;
/** The most rows; more when older ones are asked for. */
let bound = MOST;
/** Old rows were dropped to make room, so `cursor` is behind a gap. */
let dropped = false;
/** Rises with each new list; what belongs to an earlier one is thrown away. */
let turn = 0;
let loading = null;
let waiting = [];
let paused = false;
let count = 0;

/** Ids may come from callers and come twice. */
const keyOf = (record) => `${record.id} ${record.time}`;
const queryOf = (more) => {
  const query = new URLSearchParams(more);
  for (const name of FIELDS) if (filter[name]) query.set(name, filter[name]);
  return `/api/requests?${query}`;
};

function span() {
  const [, number, unit] = /^(\d+)\s*([a-z]+)$/.exec(filter.since ?? '') ?? [];
  return UNITS[unit] ? number * UNITS[unit] : null;
}

/** The same choice as the server makes. */
function wants(record) {
  const named = (attempt) => attempt.model === filter.model || `${attempt.provider}/${attempt.model}` === filter.model;
  return (!filter.outcome || record.outcome === filter.outcome)
    && (!filter.provider || record.attempts.some((attempt) => attempt.provider === filter.provider))
    && (!filter.model || record.model === filter.model || record.attempts.some(named))
    && (!filter.id || record.id === filter.id);
}

function whyLeftOut(skipped) {
  const sizes = skipped.needs_tokens ? ` (needs about ${skipped.needs_tokens.toLocaleString('en')} tokens, the model has ${(skipped.has_tokens ?? 0).toLocaleString('en')})` : '';
  return spoken(`${WHY[skipped.why] ?? skipped.why}${sizes}`);
}
const label = (attempt) => `${attempt.provider}/${attempt.model}`;
export const leftOut = (list) => (list.length ? part('Left out', h('ul', { class: 'left-out' }, list.map((skipped) =>
  h('li', {}, mono(label(skipped)), ': ', whyLeftOut(skipped))))) : null);
const answer = (attempt) => attempt.status ?? attempt.class;

function attemptsCell(record) {
  if (!record.attempts.length) {
    return [muted('nothing was tried', record.model ? ['; asked for ', mono(cut(record.model))] : null)];
  }
  return record.attempts.map((attempt, at) => h('span', { class: 'try-one' },
    at ? h('span', { class: 'arrow' }, '→ ') : null,
    mono(label(attempt)), ' ',
    h('b', { class: attempt.class === 'ok' ? 'ok' : 'no', title: attempt.class }, answer(attempt)), ' ',
    h('span', { class: 'ms' }, `${attempt.ms} ms`), ' '));
}

function makeRow(record) {
  count += 1;
  const detailId = `d${count}`;
  const opener = h('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', 'aria-controls': detailId, 'aria-label': `${stamp(record.time)}, ${record.outcome}: show the attempts` }, stamp(record.time));
  const node = h('tr', { class: `row o-${record.outcome}`, 'data-id': record.id },
    h('td', { class: 'c-time', title: record.time }, opener),
    h('td', { class: 'c-out' }, badge(TONES[record.outcome] ?? 'none', record.outcome)),
    h('td', { class: 'c-tier' }, record.tier ?? ''),
    h('td', { class: 'c-ms' }, `${record.ms} ms`),
    h('td', { class: 'c-att' }, attemptsCell(record)),
    h('td', { class: 'c-id mono', title: record.id }, cut(record.id, 40)));
  const row = { record, node, detail: null, key: keyOf(record) };
  const toggle = () => {
    const open = row.detail === null || row.detail.hidden;
    if (row.detail === null) {
      row.detail = h('tr', { class: 'detail', id: detailId }, h('td', { colspan: 6 }, detailOf(record)));
      node.after(row.detail);
    }
    row.detail.hidden = !open;
    node.classList.toggle('open', open);
    opener.setAttribute('aria-expanded', String(open));
  };
  node.addEventListener('click', () => { if (String(getSelection()) === '') toggle(); });
  opener.addEventListener('click', (event) => { event.stopPropagation(); toggle(); });
  opener.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      rows[rows.indexOf(row) + step]?.node.querySelector('.opener').focus();
    } else if (event.key === 'Escape' && row.detail && !row.detail.hidden) toggle();
  });
  return row;
}

function timeline(record) {
  const end = Math.max(1, record.ms, ...record.attempts.map((attempt) => (attempt.at_ms ?? 0) + attempt.ms));
  let sum = 0;
  return h('ol', { class: 'timeline' }, record.attempts.map((attempt, at) => {
    const begins = attempt.at_ms ?? sum;
    sum = begins + attempt.ms;
    const good = attempt.class === 'ok';
    const percent = (ms) => `${Math.min(100, (ms / end) * 100).toFixed(2)}%`;
    const bar = h('span', { class: `bar ${good ? 'ok' : 'no'}` });
    bar.style.left = percent(begins);
    bar.style.width = percent(attempt.ms);
    if (attempt.first_ms !== null && attempt.first_ms < attempt.ms) {
      const first = h('span', { class: 'wait' });
      first.style.width = `${((attempt.first_ms / Math.max(1, attempt.ms)) * 100).toFixed(2)}%`;
      bar.append(first);
    }
    const facts = [
      attempt.first_ms === null ? null : `first word after ${took(attempt.first_ms)}`,
      attempt.answered_as ? `answered as ${attempt.answered_as}` : null,
      attempt.possible_duplicate ? 'the provider may have done the work all the same' : null,
    ].filter(Boolean).join(' · ');
    return h('li', {},
      h('span', { class: 't-who' }, muted(`${at + 1}. `), mono(label(attempt))),
      h('span', { class: 't-what' }, badge(good ? 'good' : attempt.class === 'client_closed' ? 'none' : 'bad', attempt.class),
        ' ', attempt.status === null ? muted('no status') : String(attempt.status)),
      h('span', { class: 'track', 'aria-hidden': 'true' }, bar),
      h('span', { class: 't-ms' }, `${attempt.ms} ms`, muted(` from ${begins} ms`)),
      facts || attempt.upstream_id ? h('span', { class: 't-more muted' }, facts, facts && attempt.upstream_id ? ' · ' : '',
        attempt.upstream_id ? ['the provider’s id ', mono(attempt.upstream_id)] : null) : null);
  }));
}

function detailOf(record) {
  const id = mono(record.id);
  const link = new URLSearchParams({ id: record.id });
  const tokens = (number) => (number === null ? '–' : number.toLocaleString('en'));
  const tried = new Map(record.attempts.map((attempt) => [label(attempt), attempt.class === 'ok' ? 'ok' : 'no']));
  const passed = new Set(record.skipped.map(label));
  return h('div', { class: 'inside' },
    part('Attempts', record.attempts.length ? timeline(record) : h('p', { class: 'muted' }, 'routor answered by itself; no model was asked.')),
    part('Request', h('dl', { class: 'facts' },
      fact('id', id, ' ', copyButton(record.id, 'the request id', id), ' ', h('a', { href: `#${link}` }, 'link')),
      fact('asked for', mono(record.model || '–')),
      fact('answered by', mono(record.served_by ?? 'nobody')),
      fact('status', record.status === null ? 'the caller left' : record.status),
      fact('took', `${record.ms} ms`, record.first_ms === null ? '' : `, first word after ${record.first_ms} ms`),
      fact('tokens', record.prompt_tokens === null && record.completion_tokens === null ? 'not told'
        : `${tokens(record.prompt_tokens)} in, ${tokens(record.completion_tokens)} out`),
      fact('stream', record.stream ? 'yes' : 'no'),
      fact('arrived', h('time', { datetime: record.time }, record.time)))),
    record.chain.length ? part('Chain', chainOf(record.chain.map((name) => {
      const end = tried.get(name);
      const isPutOff = !end && record.skipped.some((other) => other.why === 'cooling' && `${other.provider}/${other.model}` === name);
      const word = end === 'ok' ? 'answered' : end ? 'failed' : isPutOff ? 'put off' : passed.has(name) ? 'left out' : 'not needed';
      return [name, word, end, isPutOff && 'It was being left alone at that time, so it came behind the others'];
    }))) : null,
    leftOut(record.skipped.filter((other) => other.why !== 'cooling')));
}

function remove(row) {
  known.delete(row.key);
  row.node.remove();
  row.detail?.remove();
}

/** Puts a record at one of the ends of the list; false when it is there. */
function add(record, atTop, before) {
  const key = keyOf(record);
  if (known.has(key)) return false;
  known.add(key);
  const row = before?.get(key) ?? makeRow(record);
  if (atTop) {
    row.node.classList.add('new');
    rows.unshift(row);
  } else rows.push(row);
  body[atTop ? 'prepend' : 'append'](row.node, row.detail ?? '');
  return true;
}

function trim() {
  while (rows.length > bound) {
    remove(rows.pop());
    dropped = true;
  }
  const most = span();
  if (most === null) return;
  while (rows.length && Date.now() - Date.parse(rows.at(-1).record.time) > most) remove(rows.pop());
}

const isFiltered = () => FIELDS.some((name) => filter[name]);

function nothing() {
  if (isFiltered()) {
    const clear = h('button', { type: 'button' }, 'Clear the filters');
    clear.addEventListener('click', () => byId('filters').reset());
    return [h('strong', {}, 'No request matches'), h('p', {}, 'New ones appear here by themselves.'), clear];
  }
  if (unreadable || damaged) return [h('strong', {}, 'The requests so far cannot be shown'), h('p', {}, 'New ones appear here by themselves.')];
  const key = hasKey() ? "\n  -H \"Authorization: Bearer $ROUTOR_API_KEY\" \\" : '';
  const line = `curl ${location.origin}/v1/chat/completions \\${key}\n  -H 'Content-Type: application/json' \\\n  -d '{"model": "auto", "messages": [{"role": "user", "content": "hello"}]}'`;
  const code = h('code', {}, line);
  return [h('strong', {}, 'No requests yet'), h('p', {}, 'They appear here as soon as they end. To send one:'),
    h('div', { class: 'sample' }, h('pre', {}, code), copyButton(line, 'the command', code))];
}

function render() {
  trim();
  table.hidden = !rows.length;
  table.setAttribute('aria-busy', String(loading !== null));
  empty.hidden = rows.length > 0;
  if (loading === null && !rows.length) swap(empty, `${isFiltered()} ${hasKey()} ${unreadable} ${damaged}`, nothing);
  older.hidden = !rows.length || (cursor === null && !dropped);
  put(byId('log-end'), rows.length > 10 && older.hidden && recorded && !damaged ? 'That is all.' : '');
  const fallbacks = rows.filter((row) => row.record.outcome === 'fallback').length;
  put(byId('log-sum'), rows.length ? `${plural(rows.length, 'request')} shown${fallbacks ? `, ${plural(fallbacks, 'fallback')}` : ''}` : '');
  const note = byId('log-note');
  const notes = [
    recorded ? null : 'The request log is switched off (`[log] requests = false`). Only requests that end while this page is open are shown.',
    unreadable ? `${plural(unreadable, 'record')} of the request log could not be read.` : null,
    damaged ? 'The request log is damaged: what is older than this could not be read.' : null,
  ].filter(Boolean).join(' ');
  note.hidden = !notes;
  swap(note, notes, () => spoken(notes));
  byId('clear').disabled = !isFiltered();
  put(byId('pause'), paused ? (waiting.length ? `Resume (${waiting.length} new)` : 'Resume') : 'Pause');
  byId('pause').setAttribute('aria-pressed', String(paused));
}

function flush() {
  if (paused || loading !== null) return;
  const news = waiting;
  waiting = [];
  for (const record of news) add(record, true);
  render();
}

let drawing = false;
/** A request has ended. */
export function heard(record) {
  if (!wants(record)) return;
  waiting.push(record);
  if (waiting.length > MOST) waiting.shift();
  if (drawing) return;
  drawing = true;
  // A timer and not a frame: tabs in the background have no frames.
  setTimeout(() => {
    drawing = false;
    if (paused) render();
    else flush();
  }, 60);
}

function fail(problem) {
  if (problem.status === undefined || problem.locked) throw problem;
  table.hidden = true;
  empty.hidden = false;
  older.hidden = true;
  swap(empty, {}, () => [h('strong', {}, 'The requests cannot be shown'), h('p', {}, problem.message)]);
}

/** Runs one reading of the store; live records wait until it is done. */
async function reading(act) {
  turn += 1;
  const mine = turn;
  loading?.abort();
  const stop = new AbortController();
  loading = stop;
  const still = () => mine === turn;
  try {
    await act((path) => call(path, { signal: stop.signal }), still);
    if (!still()) return;
    loading = null;
    if (paused) render();
    else flush();
  } catch (problem) {
    if (!still()) return;
    loading = null;
    fail(problem);
  }
}

function takePage(page) {
  recorded = page.recorded;
  cursor = page.next;
  unreadable += page.unreadable;
  damaged = page.damaged;
}

/** The list anew. */
export const load = () => reading(async (get, still) => {
  table.setAttribute('aria-busy', 'true');
  const page = await get(queryOf({ limit: PAGE }));
  if (!still()) return;
  // With the log switched off, what the page has seen is all there is.
  const kept = page.recorded ? page.requests : rows.map((row) => row.record).filter(wants);
  // Rows that stay are the same ones, open or not.
  const before = new Map(rows.map((row) => [row.key, row]));
  rows.forEach(remove);
  rows = [];
  dropped = false;
  bound = MOST;
  unreadable = 0;
  takePage(page);
  for (const record of kept) add(record, false, before);
});

/** What has happened while nobody listened: pages from the top until a known one. */
export const refill = () => (rows.length ? reading(async (get, still) => {
  const missed = [];
  let from = null;
  for (;;) {
    const page = await get(queryOf(from === null ? { limit: PAGE } : { limit: 500, cursor: from }));
    if (!still()) return;
    recorded = page.recorded;
    const news = page.requests.filter((record) => !known.has(keyOf(record)));
    missed.push(...news);
    from = page.next;
    if (news.length < page.requests.length || from === null) break;
    if (missed.length >= MOST) {
      // Too much: what was shown is far behind.
      rows.forEach(remove);
      rows = [];
      dropped = false;
      cursor = from;
      break;
    }
  }
  for (const record of missed.reverse()) add(record, true);
}) : load());

async function more() {
  older.disabled = true;
  const focused = document.activeElement === older;
  const had = rows.length;
  await reading(async (get, still) => {
    let from = dropped ? null : cursor;
    for (;;) {
      const page = await get(queryOf({ limit: dropped ? 500 : PAGE, ...(from === null ? {} : { cursor: from }) }));
      if (!still()) return;
      takePage(page);
      from = page.next;
      const added = page.requests.filter((record) => add(record, false)).length;
      if (added || from === null) break;
    }
    dropped = false;
    bound = Math.max(MOST, rows.length + PAGE);
  });
  older.disabled = false;
  if (focused) rows[had]?.node.querySelector('.opener').focus();
}

/** Shows other requests. Returns whether the choice is another one. */
export function choose(wanted) {
  const next = Object.fromEntries(FIELDS.map((name) => [name, wanted.get(name) ?? '']));
  const same = FIELDS.every((name) => (filter[name] ?? '') === next[name]);
  filter = next;
  const form = byId('filters');
  for (const name of FIELDS) {
    const field = form.elements[name];
    if (field.options && ![...field.options].some((option) => option.value === next[name])) field.append(h('option', { value: next[name] }, next[name]));
    field.value = next[name];
  }
  if (!same) waiting = [];
  return !same;
}

/** The providers and models that can be chosen. */
export function offer(providers) {
  const { provider } = byId('filters').elements;
  const names = [...new Set([...providers.map(({ name }) => name), filter.provider].filter(Boolean))];
  swap(provider, names.join('\n'), () => [h('option', { value: '' }, 'any'), ...names.map((name) => h('option', {}, name))]);
  if (provider.value !== (filter.provider ?? '')) provider.value = filter.provider ?? '';
  const models = providers.flatMap(({ name, models: own }) => own.map((model) => `${name}/${model}`));
  swap(byId('models'), models.join('\n'), () => models.slice(0, 500).map((name) => h('option', { value: name })));
}

/** Wires the controls; `chosen` is told the filters. */
export function start(chosen) {
  const form = byId('filters');
  const tell = () => {
    const query = new URLSearchParams();
    for (const name of FIELDS) {
      const value = form.elements[name].value.trim();
      if (value) query.set(name, value);
    }
    chosen(query);
  };
  form.addEventListener('change', tell);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    tell();
  });
  form.addEventListener('reset', () => chosen(new URLSearchParams()));
  older.addEventListener('click', more);
  byId('pause').addEventListener('click', () => {
    paused = !paused;
    if (paused) render();
    else flush();
  });
  setInterval(() => { if (rows.length && span() !== null) render(); }, 5000);
}
