// Try a prompt: the decision for it, with no provider called.

import { call } from './api.js';
import { byId, chainOf, fact, h, mono, muted, part, s, usd } from './dom.js';
import { leftOut } from './log.js';

const out = byId('decision');
let running = null;

function signals(list) {
  const most = Math.max(0.001, ...list.map((signal) => Math.abs(signal.contribution)));
  return h('ul', { class: 'signals' }, list.map((signal) => {
    const width = (Math.abs(signal.contribution) / most) * 50;
    const up = signal.contribution >= 0;
    return h('li', {},
      mono(signal.dimension),
      s('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        s('rect', { class: 'rail', x: 0, y: 3, width: 100, height: 2 }),
        s('rect', { class: up ? 'up' : 'down', x: up ? 50 : 50 - width, y: 0, width, height: 8 })),
      h('span', { class: 'num' }, `${up ? '+' : '−'}${Math.abs(signal.contribution).toFixed(3)}`),
      muted(signal.matched.join(', ')));
  }));
}

function show(decision) {
  const saved = decision.savings === null || decision.savings === undefined ? null
    : `${Math.abs(Math.round(decision.savings * 100))} % ${decision.savings >= 0 ? 'less' : 'more'} than the baseline model’s ${usd(decision.baselineCost)}`;
  const chain = decision.filteredChain;
  out.replaceChildren(
    h('p', { class: 'verdict' }, h('strong', { class: 'tier' }, decision.tier ?? 'no tier'),
      h('span', {}, 'would go to ', mono(decision.model || 'nobody'))),
    h('dl', { class: 'facts' },
      fact('confidence', h('meter', { min: 0, max: 1, value: decision.confidence }), ` ${Math.round(decision.confidence * 100)} %`),
      fact('category', decision.category ?? '–'),
      fact('cost estimate', usd(decision.costEstimate), saved ? muted(`, ${saved}`) : ''),
      fact('profile', decision.profile),
      decision.historyFloor ? fact('floor by the conversation', decision.historyFloor) : null),
    part('Chain', chain.length ? chainOf(chain.map((name, at) => [name, at ? `fallback ${at}` : 'first', at ? null : 'ok'])) : 'No model has room for it.'),
    leftOut(decision.skipped) ?? '',
    part('Signals', decision.signals.length ? signals(decision.signals) : muted('None of the words weighs anything.')),
    h('p', { class: 'mono small muted' }, decision.reasoning));
}

async function decide(failed) {
  const prompt = byId('prompt').value;
  running?.abort();
  running = new AbortController();
  const mine = running;
  out.setAttribute('aria-busy', 'true');
  try {
    const { decision } = await call('/v1/routing/debug', { body: { prompt }, signal: mine.signal });
    if (mine === running) show(decision);
  } catch (problem) {
    if (mine !== running) return;
    out.replaceChildren(h('p', { class: 'wrong' }, problem.status ? problem.message : 'routor does not answer.'));
    failed(problem);
  } finally {
    if (mine === running) out.removeAttribute('aria-busy');
  }
}

/** Wires the form; `failed` is told of what is not about the prompt. */
export function start(failed) {
  byId('try-form').addEventListener('submit', (event) => {
    event.preventDefault();
    decide(failed);
  });
  byId('prompt').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('try-form').requestSubmit();
  });
}
