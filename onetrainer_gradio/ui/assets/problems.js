// Warnings and errors of the run, and why it ended. Hidden while there are none.

import { el, format, setVisible } from './dom.js';
import { api, on, viewed } from './live.js';
import { COMMANDS, ENDS, sentence } from './words.js';

const KINDS = { warning_issued: 'warn', backup_failed: 'bad', save_failed: 'bad' };
const TYPES = 'warning_issued,backup_failed,save_failed,command_completed,run_ended';
const MOST = 200;
const MOST_PAGES = 10;

export function mount(place) {
  const list = el('ul', { class: 'og-problems' });
  const title = el('h2', { text: 'Warnings and errors' });
  const card = el(
    'section',
    { class: 'og-card', id: 'og-cause', tabindex: -1, 'aria-label': 'Warnings and errors', hidden: true },
    title,
    list,
  );
  place.append(card);

  /** @type {string | null} */
  let runId = null;
  let seen = new Map();

  /** The text of an event, or null if it isn’t a problem. */
  /** @returns {any} */
  /** @returns {any} */
  function read(event) {
    if (event.type === 'run_ended') {
      if (!event.error && event.reason !== 'lost') return null;
      const error = event.error || { message: 'The training process exited without an error message.' };
      const how = event.signal || (event.exit_code ? `exit code ${event.exit_code}` : '');
      // most messages already contain it
      const more = how && !error.message.includes(how) ? ` (${event.signal ? `signal ${how}` : how})` : '';
      return {
        tone: 'bad',
        text: `Run ${(ENDS[event.reason] || event.reason).toLowerCase()}: ${error.message}${more}`,
        ...hints(error),
      };
    }
    if (event.type === 'command_completed' && event.outcome === 'refused') {
      return { tone: 'warn', text: `${COMMANDS[event.command]?.label || event.command} failed: ${event.reason}` };
    }
    const tone = KINDS[event.type];
    if (!tone) return null;
    if (event.error) {
      return {
        tone,
        text: `${event.type === 'backup_failed' ? COMMANDS.backup_now.label : COMMANDS.save_now.label} failed: ${event.error.message}`,
        ...hints(event.error),
      };
    }
    return { tone, text: event.message, path: event.path, code: event.code };
  }

  function hints(error) {
    return { path: error.path, expected: error.expected, suggestion: error.suggestion };
  }

  function add(event, seq) {
    const read_ = read(event);
    if (!read_ || seen.has(seq)) return;
    // the same warning about many images is one entry with a count
    const key = `${read_.tone} ${read_.text}`;
    const before = [...seen.values()].find((entry) => entry.key === key);
    if (before) {
      before.times += 1;
      before.counter.textContent = `× ${before.times}`;
      seen.set(seq, before);
      return;
    }
    const counter = el('span', { class: 'og-muted' });
    const node = el(
      'li',
      { class: read_.tone },
      el('span', { class: 'og-muted og-mono', text: event.at ? format.clock(event.at) : '' }),
      el(
        'div',
        {},
        el('div', {}, el('span', { text: read_.text }), ' ', counter),
        read_.path &&
          (/^[a-z][a-z0-9_.]*$/.test(read_.path) && !event.code
            ? el('a', { class: 'og-setting', href: '#configuration', dataset: { ogSetting: read_.path }, text: read_.path })
            : el('div', { class: 'og-muted og-mono og-small', text: read_.path })),
        read_.expected && !read_.suggestion && el('div', { class: 'og-small', text: `Expected: ${read_.expected}` }),
        read_.suggestion && el('div', { class: 'og-small', text: sentence(read_.suggestion) }),
      ),
    );
    seen.set(seq, { key, times: 1, counter, node });
    list.prepend(node);
    while (list.childElementCount > MOST) list.lastElementChild?.remove();
    setVisible(card, true);
  }

  async function load() {
    const id = viewed();
    runId = id;
    seen = new Map();
    list.replaceChildren();
    setVisible(card, false);
    if (!id) return;
    try {
      let since = 0;
      for (let pages = 0; pages < MOST_PAGES; pages += 1) {
        const answer = await api('GET', `api/runs/${encodeURIComponent(id)}/journal?since=${since}&limit=1000&types=${TYPES}`);
        if (runId !== id) return;
        for (const event of answer.events) add(event, event.seq);
        if (!answer.events.length) return;
        since = answer.next;
      }
    } catch (error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    }
  }

  on('connected', load);
  on('training_state', () => {
    if (viewed() !== runId) load();
  });
  on('view', load);
  on('event', (message) => {
    if (message.run_id === runId) add(message.event, message.journal_seq);
  });
  load();
}
