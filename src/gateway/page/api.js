// Calls to routor: the key, time limits, and the feed of events.

const STORE = 'routor-key';
const PATIENCE = 8000;
// A comment comes every 15 s; a feed that is silent for this long is dead.
const SILENCE = 40000;

let key = null;
try { key = sessionStorage.getItem(STORE); } catch { /* no storage: asked for anew after a reload */ }

/** routor has answered, and the answer is no. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
  get locked() { return this.status === 401; }
}

export const hasKey = () => key !== null;

/** Whether this can be a key at all: what else a header would not carry. */
export const canBeKey = (text) => /^[\x21-\x7e]+$/.test(text);

export function setKey(text) {
  key = text;
  try {
    if (text === null) sessionStorage.removeItem(STORE);
    else sessionStorage.setItem(STORE, text);
  } catch { /* kept in memory alone */ }
}

function ask(path, signal, body) {
  const headers = key === null ? {} : { authorization: `Bearer ${key}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  return fetch(path, { method: body === undefined ? 'GET' : 'POST', headers, body, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
}

async function refusal(response) {
  const error = await response.json().then((answer) => answer.error, () => null);
  return new Refused(response.status, error?.code, error?.message ?? `routor answers with status ${response.status}`);
}

/** A JSON answer. Throws `Refused`, or anything else when nobody answers. */
export async function call(path, { body, signal } = {}) {
  const stop = new AbortController();
  const end = () => stop.abort();
  const clock = setTimeout(end, PATIENCE);
  signal?.addEventListener('abort', end);
  try {
    const response = await ask(path, stop.signal, body === undefined ? undefined : JSON.stringify(body));
    if (!response.ok) throw await refusal(response);
    return await response.json();
  } finally {
    clearTimeout(clock);
    signal?.removeEventListener('abort', end);
  }
}

/** Reads the feed until it ends; `opened` is told when it stands. EventSource cannot send a key. */
export async function follow(signal, opened, heard) {
  const stop = new AbortController();
  const end = () => stop.abort();
  signal.addEventListener('abort', end);
  let clock = setTimeout(end, PATIENCE);
  try {
    const response = await ask('/api/events?limit=0', stop.signal);
    if (!response.ok) throw await refusal(response);
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      clearTimeout(clock);
      clock = setTimeout(end, SILENCE);
      const { done, value } = await reader.read();
      if (done) return;
      const events = (text + value).split('\n\n');
      text = events.pop();
      for (const event of events) {
        const field = (name) => event.split('\n').filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join('\n');
        const data = field('data');
        if (data) heard(field('event'), JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(clock);
    signal.removeEventListener('abort', end);
    end();
  }
}
