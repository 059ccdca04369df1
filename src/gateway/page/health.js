// Provider Health: a row for each configured provider.

import { ago, badge, byId, h, left, plural, put, s, spoken, stamp, swap, timeOf, took } from './dom.js';

const STATUS = { healthy: ['good', 'healthy'], degraded: ['warn', 'degraded'], down: ['bad', 'down'], no_data: ['none', 'no data'] };
const SLOT = 10000;
const SHOWN = 4;

const box = byId('health');
const rows = new Map();
let last = null;

/** What a provider's trouble is, and what ends it. */
function advice(provider) {
  if (provider.in_pool) {
    if (provider.validation === 'no_credit') return 'After topping up, `routor reload` brings it back at once.';
    return '';
  }
  switch (provider.validation) {
    case 'unreachable': return 'Out of the pool. When it can be reached again, `routor reload` brings it back.';
    case 'rejected':
    case 'no_key':
      return 'Out of the pool. Set a working key, then restart routor; when the key is in a file, `routor reload` is enough.';
    default: return 'Passed over until its key has been looked at; it comes back by itself if the key is good.';
  }
}

/** What is wrong with it, in one sentence; '' when nothing is. */
function trouble({ why, detail, in_pool: inPool }) {
  if (!why) return '';
  const text = detail && !inPool && why !== detail ? `${why}: ${detail}` : why;
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

/** What else to know of it. */
function remark(provider) {
  const few = provider.status === 'no_data' && provider.attempts ? 'Too few calls to judge by.' : '';
  const unproven = provider.validation === 'unverified' && provider.detail ? `Its key is not verified: ${provider.detail}.` : '';
  return [few, unproven, advice(provider)].filter(Boolean).join(' ');
}

function chart(provider, now) {
  const { series } = provider;
  const most = Math.max(4, ...series.map((point) => point.ok + point.failed));
  const medians = series.map((point) => point.p50_ms).filter((ms) => ms !== null);
  const slowest = Math.max(1, ...medians);
  const high = 40;
  const parts = [];
  let line = '';
  let before = null;
  series.forEach((point, at) => {
    const x = at * 10;
    const [ok, failed] = [point.ok, point.failed].map((count) => (count / most) * high);
    if (ok) parts.push(s('rect', { class: 'b-ok', x: x + 1.5, y: high - ok, width: 7, height: ok }));
    if (failed) parts.push(s('rect', { class: 'b-bad', x: x + 1.5, y: high - ok - failed, width: 7, height: failed }));
    if (point.p50_ms === null) {
      before = null;
    } else {
      const y = (high - 3 - (point.p50_ms / slowest) * (high - 8)).toFixed(1);
      line += before === null ? `M${x} ${y}H${x + 10}` : `V${y}H${x + 10}`;
      before = y;
    }
    const begins = now - (series.length - at) * SLOT;
    const median = point.p50_ms === null ? '' : `, median ${took(point.p50_ms)}`;
    const told = point.ok + point.failed ? `${point.ok} answered, ${point.failed} failed${median}` : 'no calls';
    parts.push(s('rect', { class: 'b-all', x, y: 0, width: 10, height: high }, s('title', {}, `about ${timeOf(begins)}: ${told}`)));
  });
  parts.push(s('path', { class: 'b-mid', d: line || 'M0 0' }));
  const [ok, failed] = ['ok', 'failed'].map((name) => series.reduce((sum, point) => sum + point[name], 0));
  const span = medians.length ? `; median from ${took(Math.min(...medians))} to ${took(slowest)}` : '';
  const text = ok + failed ? `Last 5 minutes: ${ok} answered, ${failed} failed${span}` : 'No calls in the last 5 minutes';
  return [
    s('svg', { viewBox: `0 0 300 ${high}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': text }, ...parts),
    h('p', { class: 'axis', 'aria-hidden': 'true' }, h('span', {}, '5 min ago'),
      h('span', {}, medians.length ? `median up to ${took(slowest)}` : ok + failed ? '' : 'no calls'), h('span', {}, 'now')),
  ];
}

function modelChip(model) {
  const state = h('span', { class: 'm-state' });
  const chip = h('li', { class: `model ${model.state}` }, h('span', { class: 'm-name' }, model.model), state);
  const until = performance.now() + model.cooling_ms;
  chip.routorTick = () => {
    const over = until - performance.now();
    const text = model.state === 'cooling' ? (over > 0 ? `cooling ${left(over)}` : 'cooling, over now') : model.state;
    put(state, text);
    return model.state === 'cooling' && over <= 0;
  };
  chip.routorTick();
  return chip;
}

function modelList(models, isOpen) {
  // Those in trouble first; beyond a handful the rest are folded away.
  const rank = (model) => (model.state === 'ready' ? 1 : 0);
  const sorted = models.map((model, at) => [model, at]).sort((a, b) => rank(a[0]) - rank(b[0]) || a[1] - b[1]).map(([model]) => model);
  const few = sorted.length <= SHOWN + 1 ? sorted : sorted.slice(0, SHOWN);
  const rest = sorted.slice(few.length);
  const list = (some) => h('ul', { class: 'models' }, some.map(modelChip));
  if (!sorted.length) return [h('p', { class: 'muted' }, 'no models')];
  return [list(few), rest.length ? h('details', { open: isOpen }, h('summary', {}, `${rest.length} more`), list(rest)) : null].filter(Boolean);
}

function makeRow(provider) {
  const parts = {};
  const figure = (name, label, title) => {
    parts[name] = h('dd', {});
    return h('div', { title }, h('dt', {}, label), parts[name]);
  };
  const node = h('article', { class: 'provider', 'data-provider': provider.provider },
    h('div', { class: 'p-who' },
      parts.badge = h('div', {}),
      h('h3', {}, provider.provider),
      parts.url = h('p', { class: 'url' }),
      parts.checked = h('p', { class: 'muted' })),
    parts.note = h('p', { class: 'p-note' }),
    h('dl', { class: 'figures' },
      figure('errors', 'errors', 'Failed attempts of the last 5 minutes. Rate limits, your own mistakes and cancelled calls do not count.'),
      figure('p50', 'P50', 'Half of the answers began within this time'),
      figure('p95', 'P95', '95 of 100 answers began within this time'),
      figure('calls', 'calls', 'Attempts of the last 5 minutes')),
    parts.chart = h('div', { class: 'chart' }),
    parts.models = h('div', { class: 'p-models' }));
  return { node, parts, status: null };
}

function update(row, provider) {
  const { node, parts } = row;
  const [tone, word] = STATUS[provider.status] ?? ['none', provider.status];
  swap(parts.badge, word, () => [badge(tone, word)]);
  const isIdle = !provider.in_pool && !provider.attempts;
  node.className = `provider is-${tone}${isIdle ? ' idle' : ''}`;
  put(parts.url, provider.base_url).title = provider.base_url;
  row.checked = provider.last_checked;
  row.validation = provider.validation.replace('_', ' ');
  parts.checked.title = provider.last_checked ? `${stamp(provider.last_checked)} (${provider.last_checked})` : '';
  const rate = provider.error_rate;
  put(parts.errors, rate === null ? '–' : `${(rate * 100).toFixed(rate > 0 && rate < 0.0995 ? 1 : 0)} %`);
  parts.errors.className = rate > 0.05 && provider.status !== 'no_data' ? tone : '';
  put(parts.p50, took(provider.p50_ms));
  put(parts.p95, took(provider.p95_ms));
  parts.p95.className = provider.status === 'degraded' && !(rate > 0.05) ? 'warn' : '';
  put(parts.calls, provider.attempts.toLocaleString('en'));
  swap(parts.chart, JSON.stringify(provider.series), () => chart(provider, Date.now()));
  const steady = provider.models.every((model) => model.state !== 'cooling');
  swap(parts.models, steady ? JSON.stringify(provider.models) : {}, () => modelList(provider.models, parts.models.querySelector('details')?.open));
  const [wrong, more] = [trouble(provider), remark(provider)];
  swap(parts.note, `${wrong}\n${more}`, () => [h('strong', {}, wrong), ' ', ...spoken(more)]);
  parts.note.hidden = !wrong && !more;
  row.status = word;
}

/** Shows what `/api/providers` says; returns what has changed, to be said aloud. */
export function show(providers) {
  last = providers;
  box.removeAttribute('aria-busy');
  if (!providers.length) {
    rows.clear();
    put(byId('health-sum'), '');
    box.replaceChildren(h('div', { class: 'empty' }, h('strong', {}, 'No provider is configured'),
      h('p', {}, spoken('Set the key of one, such as GEMINI_API_KEY, and restart routor. `routor check` says what it finds.'))));
    return [];
  }
  const changes = [];
  const nodes = providers.map((provider) => {
    const row = rows.get(provider.provider) ?? makeRow(provider);
    const before = row.status;
    update(row, provider);
    if (before && before !== row.status) changes.push(`${provider.provider} is ${row.status === 'no data' ? 'without data' : row.status}`);
    rows.set(provider.provider, row);
    return row.node;
  });
  for (const name of rows.keys()) if (!providers.some((provider) => provider.provider === name)) rows.delete(name);
  if (nodes.length !== box.children.length || nodes.some((node, at) => box.children[at] !== node)) box.replaceChildren(...nodes);
  const count = (status) => providers.filter((provider) => provider.status === status).length;
  const sums = Object.entries(STATUS).map(([status, [, word]]) => [count(status), word]).filter(([number]) => number).map(([number, word]) => `${number} ${word === 'no data' ? 'without data' : word}`);
  put(byId('health-sum'), `${plural(providers.length, 'provider')}: ${sums.join(', ')}`);
  tick();
  return changes;
}

/** Said once a second: times go on between two polls. Returns whether a model has just cooled. */
export function tick() {
  let over = false;
  for (const row of rows.values()) {
    put(row.parts.checked, row.checked ? `${row.validation}, checked ${ago(row.checked)}` : 'not checked yet');
    for (const chip of row.node.querySelectorAll('.model.cooling')) over = chip.routorTick() || over;
  }
  return over;
}

/** A call that failed although routor is there. */
export function problem(text) {
  if (last === null) box.replaceChildren(h('p', { class: 'empty' }, `The providers cannot be shown: ${text}`));
  else put(byId('health-sum'), `What is shown is old: ${text}`);
}

export const countDown = () => (last ?? []).filter((provider) => provider.status === 'down').length;

export const known = () => (last ?? []).map((provider) => ({ name: provider.provider, models: provider.models.map((model) => model.model) }));
