// Making elements, and saying numbers and times. Text goes in as text: nothing
// here reads HTML.

const SVG = 'http://www.w3.org/2000/svg';
// Characters that draw nothing or turn the line around: shown as a dot.
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export const byId = (id) => document.getElementById(id);
export const clean = (text) => String(text ?? '').replace(UNSEEN, '\u00b7');

function fill(node, attributes, kids) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : clean(value));
  }
  node.append(...kids.flat().filter((kid) => kid !== null && kid !== undefined && kid !== false)
    .map((kid) => (kid instanceof Node ? kid : clean(kid))));
  return node;
}

export const h = (tag, attributes, ...kids) => fill(document.createElement(tag), attributes, kids);
export const s = (tag, attributes, ...kids) => fill(document.createElementNS(SVG, tag), attributes, kids);

export const mono = (text) => h('span', { class: 'mono' }, text);
export const muted = (...kids) => h('span', { class: 'muted' }, ...kids);
export const part = (title, ...kids) => h('section', {}, h('h3', {}, title), ...kids);
export const fact = (name, ...value) => h('div', {}, h('dt', {}, name), h('dd', {}, ...value));

/** A chain: each a name, what is said of it, and how it went. */
export const chainOf = (links) => h('ol', { class: 'chain' }, links.map(([name, word, end, title]) =>
  h('li', { class: end ?? 'idle', title }, mono(name), ' ', muted(word))));

/** Writes only what has changed, so that a selection survives. */
export function put(node, text) {
  const wanted = clean(text);
  if (node.textContent !== wanted) node.textContent = wanted;
  return node;
}

/** Puts these nodes in place of what is there if `mark` is not what it was. */
export function swap(node, mark, make) {
  if (node.routorMark === mark) return;
  node.routorMark = mark;
  node.replaceChildren(...make());
}

export const cut = (text, most = 160) => (text && text.length > most ? `${text.slice(0, most)}…` : text);
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

export function took(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return `${ms} ms`;
  if (ms < 59950) return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;
  return `${(ms / 60000).toFixed(1)} min`;
}

export function left(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

export function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (!Number.isFinite(seconds)) return 'at an unknown time';
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 48 * 3600 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} days ago`;
}

const two = (number) => String(number).padStart(2, '0');
const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

/** `11-22 17:13:33`, as `routor logs` prints it. */
export function stamp(time) {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? clean(time) : `${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(at)}`;
}
export const timeOf = (millis) => clock(new Date(millis));

export function usd(cost) {
  if (cost === null || cost === undefined) return 'not known';
  if (cost === 0) return '$0';
  return cost < 0.00001 ? 'less than $0.00001' : `$${Number(cost.toPrecision(3)).toFixed(cost < 0.01 ? 5 : 3)}`;
}

const SHAPES = {
  good: () => [s('circle', { cx: 6, cy: 6, r: 5 }), s('path', { d: 'M3.6 6.2l1.7 1.7 3.2-3.6', class: 'cut' })],
  warn: () => [s('path', { d: 'M6 .8L11.6 11H.4z' }), s('path', { d: 'M6 4.4v3.2M6 9.1v.4', class: 'cut' })],
  bad: () => [s('rect', { x: 1, y: 1, width: 10, height: 10, rx: 1.6 }), s('path', { d: 'M4 4l4 4M8 4l-4 4', class: 'cut' })],
  none: () => [s('circle', { cx: 6, cy: 6, r: 4.2, class: 'ring' })],
};

/** A word with a colour and a shape. */
export const badge = (tone, text) => h('span', { class: `badge ${tone}` },
  s('svg', { viewBox: '0 0 12 12', width: 12, height: 12, 'aria-hidden': 'true' }, ...SHAPES[tone]()), text);

/** Text in backquotes becomes code. */
export const spoken = (text) => String(text).split('`').map((part, at) => (at % 2 ? h('code', {}, part) : part));

/** A button that copies; where the browser does not allow that, it marks the text. */
export function copyButton(text, what, marked) {
  const button = h('button', { type: 'button', class: 'quiet copy', 'aria-label': `Copy ${what}` }, 'Copy');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(marked);
      button.textContent = 'Marked';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  return button;
}
