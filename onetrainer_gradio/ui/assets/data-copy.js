// The copy of the data folder on the Hugging Face Hub: the last push, why one failed, and a button to push now.

import { button, el, format, setText, setVisible } from './dom.js';
import { api, on } from './live.js';

const POLL_MS = 2000;
const LONGEST_MS = 120_000;

/**
 * @typedef {{ repository: string, limit_bytes: number, pushed_at: number | null, files: number, bytes: number,
 *   tried_at: number | null, omitted: string[], error: string }} Copy
 */

/**
 * Show the copy, if there is one. Without a repository, nothing is shown.
 * @param {HTMLElement} place
 */
export function mount(place) {
  const known = el('dl', { class: 'og-facts', style: 'margin: 8px 0' });
  const why = el('span', { class: 'bad' });
  const problem = el('p', { class: 'og-errors', role: 'status', style: 'margin-bottom: 8px' }, why);
  const push = button('Push now', { kind: 'small', onclick: () => pushed() });
  const node = el(
    'section',
    { class: 'og-card', 'aria-label': 'Copy of the data folder' },
    el('h2', { text: 'Copy of the data folder' }),
    known,
    problem,
    push,
  );
  setVisible(node, false);
  place.append(node);

  /** @param {Copy} copy */
  function draw(copy) {
    setVisible(node, Boolean(copy.repository));
    known.replaceChildren(
      ...factsOf(copy).map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))),
    );
    showError(copy.error && `The last push failed: ${copy.error} The panel tries again.`);
  }

  const load = () => api('GET', 'api/data-copy').then(draw, (error) => showError(error.message));
  /** @param {string} text */
  function showError(text) {
    setText(why, text);
    setVisible(problem, Boolean(text));
  }

  async function pushed() {
    push.disabled = true;
    setText(push, 'Pushing…');
    try {
      const before = await api('POST', 'api/data-copy');
      draw({ ...before, error: '' });
      await outcome(before);
    } catch (/** @type {any} */ error) {
      showError(error.message);
    }
    setText(push, 'Push now');
    push.disabled = false;
  }

  /**
   * Follow a push until its end.
   * @param {Copy} before
   */
  async function outcome(before) {
    const until = Date.now() + LONGEST_MS;
    let now = before;
    do {
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS);
      });
      now = await api('GET', 'api/data-copy');
    } while (Date.now() < until && node.isConnected && now.tried_at === before.tried_at);
    draw(now);
  }

  on('connected', load);
  on('notification', load);
  load();
}

/**
 * @param {Copy} copy
 * @returns {[string, string][]}
 */
function factsOf({ repository, limit_bytes, pushed_at, files, bytes, omitted }) {
  const size = `${files} files, ${format.bytes(bytes)} of at most ${format.bytes(limit_bytes)}`;
  /** @type {[string, string][]} */
  const always = [
    ['Repository', repository],
    ['Last push', pushed_at ? format.time(pushed_at) : 'None since the panel started'],
  ];
  return [...always, .../** @type {[string, string][]} */ (pushed_at ? [['Content', size]] : []), ...omittedIn(omitted)];
}

/**
 * @param {string[]} omitted
 * @returns {[string, string][]}
 */
const omittedIn = (omitted) => (omitted.length ? [['Omitted because of the limit', omitted.join(', ')]] : []);
