// Warnings and errors of the run, and why it ended. Hidden while there are none.

import { el, format, setVisible } from './dom.js';
import { api, on, viewed } from './live.js';
import { COMMANDS, ENDS, sentence } from './words.js';

/** @type {Record<string, string>} */
const KINDS = { warning_issued: 'warn', backup_failed: 'bad', save_failed: 'bad' };
const TYPES = 'warning_issued,backup_failed,save_failed,command_completed,run_ended';
const MOST = 200;
const MAX_PAGES = 10;

/** @typedef {{tone: string, text: string, path?: string, code?: string, expected?: string, suggestion?: string}} Problem */

/** @param {HTMLElement} place */
export function mount(place) {
  const problems = new Problems();
  place.append(problems.node);
  const load = () => problems.load();
  on('connected', load);
  on('training_state', () => {
    if (viewed() !== problems.runId) load();
  });
  on('view', load);
  on('event', (/** @type {any} */ message) => {
    if (message.run_id === problems.runId) problems.add(message.event, message.journal_seq);
  });
  load();
}

class Problems {
  constructor() {
    /** @type {string | null} */
    this.runId = null;
    /** @type {Map<number, {key: string, times: number, counter: HTMLElement}>} */
    this.seen = new Map(); // of each position in the journal
    this.list = el('ul', { class: 'og-problems' });
    const title = 'Warnings and errors';
    this.node = el(
      'section',
      { class: 'og-card', id: 'og-cause', tabindex: -1, 'aria-label': title, hidden: true },
      el('h2', { text: title }),
      this.list,
    );
  }

  /**
   * @param {any} event
   * @param {number} seq its position in the journal
   */
  add(event, seq) {
    const problem = read(event);
    if (!problem || this.seen.has(seq)) return;
    // the same warning about many images is one entry with a count
    const key = `${problem.tone} ${problem.text}`;
    const before = [...this.seen.values()].find((entry) => entry.key === key);
    if (before) {
      before.times += 1;
      before.counter.textContent = `× ${before.times}`;
      this.seen.set(seq, before);
      return;
    }
    const counter = el('span', { class: 'og-muted' });
    this.seen.set(seq, { key, times: 1, counter });
    this.list.prepend(line(problem, event, counter));
    while (this.list.childElementCount > MOST) this.list.lastElementChild?.remove();
    setVisible(this.node, true);
  }

  async load() {
    const id = viewed();
    this.runId = id;
    this.seen = new Map();
    this.list.replaceChildren();
    setVisible(this.node, false);
    if (!id) return;
    try {
      let since = 0;
      for (let pages = 0; pages < MAX_PAGES; pages += 1) {
        const answer = await api('GET', `api/runs/${encodeURIComponent(id)}/journal?since=${since}&limit=1000&types=${TYPES}`);
        if (this.runId !== id) return;
        for (const event of answer.events) this.add(event, event.seq);
        if (!answer.events.length) return;
        since = answer.next;
      }
    } catch (/** @type {any} */ error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    }
  }
}

/**
 * The text of an event, or null if it isn’t a problem.
 * @param {any} event
 * @returns {Problem | null}
 */
function read(event) {
  if (event.type === 'run_ended') return ending(event);
  if (event.type === 'command_completed' && event.outcome === 'refused')
    return { tone: 'warn', text: `${COMMANDS[event.command]?.label || event.command} failed: ${event.reason}` };
  const tone = KINDS[event.type];
  if (!tone) return null;
  if (!event.error) return { tone, text: event.message, path: event.path, code: event.code };
  const what = event.type === 'backup_failed' ? COMMANDS.backup_now.label : COMMANDS.save_now.label;
  return { tone, text: `${what} failed: ${event.error.message}`, ...hints(event.error) };
}

/**
 * @param {any} event
 * @returns {Problem | null}
 */
function ending(event) {
  if (!event.error && event.reason !== 'lost') return null;
  const error = event.error || { message: 'The training process exited without an error message.' };
  const how = event.signal || (event.exit_code ? `exit code ${event.exit_code}` : '');
  // most messages already contain it
  const more = how && !error.message.includes(how) ? ` (${event.signal ? `signal ${how}` : how})` : '';
  const ended = (ENDS[event.reason] || event.reason).toLowerCase();
  return { tone: 'bad', text: `Run ${ended}: ${error.message}${more}`, ...hints(error) };
}

/** @param {any} error */
const hints = ({ path, expected, suggestion }) => ({ path, expected, suggestion });

/**
 * @param {Problem} problem
 * @param {any} event
 * @param {HTMLElement} counter
 */
function line({ tone, text, path, expected, suggestion }, event, counter) {
  const isSetting = path && /^[a-z][a-z0-9_.]*$/.test(path) && !event.code;
  return el(
    'li',
    { class: tone },
    el('span', { class: 'og-muted og-mono', text: event.at ? format.clock(event.at) : '' }),
    el(
      'div',
      {},
      el('div', {}, el('span', { text }), ' ', counter),
      isSetting && el('a', { class: 'og-setting', href: '#configuration', dataset: { ogSetting: path }, text: path }),
      path && !isSetting && el('div', { class: 'og-muted og-mono og-small', text: path }),
      expected && !suggestion && el('div', { class: 'og-small', text: `Expected: ${expected}` }),
      suggestion && el('div', { class: 'og-small', text: sentence(suggestion) }),
    ),
  );
}
