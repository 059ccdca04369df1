// The dashboard: keeps in touch with routor and hands on what it says.

import { call, canBeKey, follow, hasKey, setKey } from './api.js';
import { ago, byId, put } from './dom.js';
import * as health from './health.js';
import * as log from './log.js';
import * as attempt from './try.js';

const EVERY = 5000;
const SOON = 700;
/** A page that nobody sees lets go of its connections after this time. */
const UNSEEN = 30000;

/** `starting`, `up`, `down` (nobody answers), `locked` (a key is needed). */
let link = 'starting';
let pollTimer = null;
let polling = false;
let pollAgain = false;
let lastPoll = 0;
let failures = 0;
let lastAnswer = null;
let nextTry = 0;
let feed = null;
let feedLive = false;
let feedTimer = null;
let feedFailures = 0;
let feedProblem = '';
let asleep = false;
let wrongKey = false;

const pause = (failed) => Math.min(15000, 500 * 2 ** Math.min(failed, 6)) * (0.8 + Math.random() * 0.4);

let saidAt = 0;
/** For those who do not see the page; not more often than they can listen. */
function say(text) {
  if (!text || Date.now() - saidAt < 3000) return;
  saidAt = Date.now();
  put(byId('said'), text);
}

function show() {
  const isLocked = link === 'locked';
  const wantsTry = new URLSearchParams(location.hash.slice(1)).get('view') === 'try';
  byId('locked').hidden = !isLocked;
  byId('monitor').hidden = isLocked || wantsTry;
  byId('try').hidden = isLocked || !wantsTry;
  document.querySelector('.top nav').hidden = isLocked;
  byId('to-try').ariaCurrent = wantsTry ? 'page' : null;
  byId('to-monitor').ariaCurrent = wantsTry ? null : 'page';
  const state = link === 'up' && !feedLive ? 'waiting' : link;
  byId('link').dataset.link = state;
  put(byId('link'), { starting: 'connecting', up: 'live', waiting: feedProblem ? 'not live' : 'connecting', down: 'no answer', locked: 'locked' }[state]);
  byId('link').title = feedProblem && state === 'waiting' ? feedProblem : '';
  document.body.dataset.link = link;
  const down = link === 'down';
  const troubles = health.countDown();
  document.title = `${down ? 'no answer – ' : troubles && link === 'up' ? `${troubles} down – ` : ''}routor`;
  byId('banner').hidden = !down;
  if (down) {
    put(byId('banner-text'), 'routor does not answer; trying again');
    const wait = Math.max(0, Math.ceil((nextTry - Date.now()) / 1000));
    const told = lastAnswer ? `What is shown is from ${ago(lastAnswer)}.` : 'Is it running? Start it with routor serve.';
    put(byId('banner-more'), `${told} ${wait ? `Next try in ${wait} s.` : 'Asking now …'}`);
  }
}

function lock(problem) {
  link = 'locked';
  clearTimeout(pollTimer);
  clearTimeout(feedTimer);
  feed?.abort();
  const [, name] = /value of (\S+)$/.exec(problem.message) ?? [];
  put(byId('locked-why'), `Programs send it with each call, and so does this page.${name ? ` It is the value of ${name}.` : ''}`);
  put(byId('key-wrong'), wrongKey ? 'This key is not the right one.' : '');
  wrongKey = false;
  setKey(null);
  show();
  byId('key').select();
  byId('key').focus();
}

/** A call failed: nobody there, a key needed, or told so where it belongs. */
function trouble(problem) {
  if (problem.locked) return lock(problem);
  if (problem.status !== undefined) return health.problem(problem.message);
  if (problem.name === 'AbortError' && link === 'locked') return undefined;
  if (link !== 'down') {
    link = 'down';
    say('routor does not answer');
  }
  feed?.abort();
  show();
  return undefined;
}

async function poll() {
  if (polling) {
    pollAgain = true;
    return;
  }
  clearTimeout(pollTimer);
  if (link === 'locked' || asleep) return;
  polling = true;
  pollAgain = false;
  lastPoll = Date.now();
  try {
    const providers = await call('/api/providers');
    const back = link === 'down';
    wrongKey = false;
    failures = 0;
    lastAnswer = new Date().toISOString();
    if (link !== 'up') {
      link = 'up';
      if (back) say('routor answers again');
      version();
      // Whoever was there before may have been another routor.
      feedFailures = 0;
      listen();
    }
    say(health.show(providers).join(', '));
    log.offer(health.known());
  } catch (problem) {
    failures += 1;
    trouble(problem);
  } finally {
    polling = false;
    if (link !== 'locked' && !asleep) {
      const wait = pollAgain ? SOON : link === 'down' ? pause(failures) : EVERY;
      nextTry = Date.now() + wait;
      clearTimeout(pollTimer);
      pollTimer = setTimeout(poll, wait);
    }
    show();
  }
}

/** Something has happened: the figures have moved. */
function pollSoon() {
  if (polling) {
    pollAgain = true;
    return;
  }
  if (link !== 'up') return;
  const wait = Math.max(50, lastPoll + SOON - Date.now());
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, wait);
}

async function version() {
  const root = await call('/').catch(() => null);
  if (root?.routor) put(byId('version'), root.routor);
}

/** Follows the feed; after a break what was missed comes from the store. */
async function listen() {
  clearTimeout(feedTimer);
  if (feed || link !== 'up' || asleep) return;
  feed = new AbortController();
  const mine = feed;
  try {
    await follow(mine.signal, () => {
      feedLive = true;
      feedFailures = 0;
      feedProblem = '';
      show();
      log.refill().catch(trouble);
    }, (kind, data) => {
      if (kind === 'missed') log.refill().catch(trouble);
      if (kind !== 'request') return;
      log.heard(data);
      if (data.outcome === 'fallback' || data.outcome === 'failed') say(data.outcome === 'failed' ? 'a request failed' : `fallback: answered by ${data.served_by}`);
      pollSoon();
    });
  } catch (problem) {
    if (problem.locked) lock(problem);
    else if (problem.status !== undefined) {
      feedProblem = problem.message;
      log.refill().catch(trouble);
    }
  }
  feed = null;
  feedLive = false;
  feedFailures += 1;
  if (link === 'up' && !asleep) {
    feedTimer = setTimeout(listen, pause(feedFailures));
    // Is it only the feed, or is nobody there?
    pollSoon();
  }
  show();
}

function readHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const other = log.choose(wanted);
  if (wanted.get('view') !== 'try') byId('to-monitor').href = location.hash || '#';
  show();
  if (other && link === 'up') log.load().catch(trouble);
}

function goTo(query) {
  const hash = query.toString();
  if (location.hash.slice(1) === hash) return;
  history.pushState(null, '', hash ? `#${hash}` : location.pathname);
  readHash();
}

function wireTheme() {
  const button = byId('theme');
  const root = document.documentElement;
  const tell = () => put(button.lastElementChild, root.dataset.theme ?? 'auto');
  button.addEventListener('click', () => {
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    // From the system's to the other one, then to the same one, then back.
    const order = dark ? ['auto', 'light', 'dark'] : ['auto', 'dark', 'light'];
    const next = order[(order.indexOf(root.dataset.theme ?? 'auto') + 1) % 3];
    if (next === 'auto') delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === 'auto') localStorage.removeItem('routor-theme');
      else localStorage.setItem('routor-theme', next);
    } catch { /* for this visit alone */ }
    tell();
  });
  tell();
}

function wireKey() {
  byId('key-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = byId('key').value.trim();
    if (!canBeKey(text)) {
      put(byId('key-wrong'), 'This cannot be a key: it has spaces or letters that a key does not have.');
      return;
    }
    setKey(text);
    wrongKey = true;
    link = 'starting';
    put(byId('key-wrong'), '');
    poll().then(() => { if (link === 'up') byId('key').value = ''; });
  });
}

let sleepTimer = null;
document.addEventListener('visibilitychange', () => {
  clearTimeout(sleepTimer);
  if (document.hidden) {
    sleepTimer = setTimeout(() => {
      asleep = true;
      clearTimeout(pollTimer);
      feed?.abort();
    }, UNSEEN);
  } else if (asleep) {
    asleep = false;
    poll();
    listen();
  }
});

// The part of the address behind # holds the filters, so this is no plain link.
byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('main').focus();
});
byId('banner-now').addEventListener('click', poll);
addEventListener('hashchange', readHash);
addEventListener('popstate', readHash);
addEventListener('online', () => { if (link === 'down') poll(); });
setInterval(() => {
  if (document.hidden) return;
  if (health.tick()) pollSoon();
  if (link === 'down') show();
}, 1000);

wireTheme();
wireKey();
log.start(goTo);
attempt.start(trouble);
// A key from before a reload of the page may have changed meanwhile.
wrongKey = hasKey();
readHash();
poll();
