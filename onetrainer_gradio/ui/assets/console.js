// The console: the last lines of the training process’s output, as plain text.

import { button, causeLink, el, format, icon, setText, setVisible, toast } from './dom.js';
import { api, on, url, viewed } from './live.js';

const MOST_LINES = 2000;
const BAD = /\b(error|traceback|exception)\b/i;
const WARN = /\bwarn(ing)?\b/i;
// the last line of a run that failed: its cause is shown in full among the warnings and errors
const FAILED = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Run (?:failed|crashed)): /;
const TRACE = /^Traceback \(most recent call last\):/;
const STAMPED = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /;
const OPEN = 'og-console';

export function mount(place) {
  const lines = el('pre', {
    class: 'og-log',
    tabindex: 0,
    role: 'log',
    'aria-label': 'Output of the training process',
    'aria-live': 'off',
  });
  const empty = el('p', { class: 'og-empty', text: 'No output yet. Output from the training process appears here.' });
  const follow = el('input', { type: 'checkbox', checked: true, onchange: () => bottom() });
  const search = el('input', {
    type: 'search',
    placeholder: 'Search log',
    'aria-label': 'Search log',
    oninput: () => filter(),
  });
  const count = el('span', { class: 'og-muted og-small' });
  const download = el(
    'a',
    { class: 'og-button small quiet', title: 'Download log', 'aria-label': 'Download log', download: true },
    icon('download'),
  );
  const details = el(
    'details',
    {
      class: 'og-card og-fold',
      open: localStorage.getItem(OPEN) !== 'closed',
      hidden: true,
      ontoggle: () => localStorage.setItem(OPEN, details.open ? 'open' : 'closed'),
    },
    el('summary', {}, el('span', { text: 'Console' }), count),
    el(
      'div',
      { class: 'og-card-head' },
      el('span', { class: 'og-search' }, search),
      el('label', { class: 'og-inline' }, follow, el('span', { text: 'Auto-scroll' })),
      el('span', { class: 'og-grow' }),
      download,
      button('', { icon: 'copy', title: 'Copy log', kind: 'small quiet', onclick: copy }),
    ),
    lines,
    empty,
  );
  place.append(details);

  /** @type {string | null} */
  let runId = null;
  let held = [];
  let end = 0; // byte behind what is shown

  /** @type {any} */
  let trace = null; // the traceback that lines are still added to

  /** Lines as they are shown: plain text, an element only where a line has a color; a traceback folds. */
  function put(texts) {
    const nodes = [];
    for (const text of texts) {
      if (STAMPED.test(text)) trace = null;
      if (TRACE.test(text) && !trace) {
        trace = el('pre', {});
        nodes.push(el('details', { class: 'og-trace' }, el('summary', { text: 'Traceback' }), trace));
      }
      if (trace) {
        trace.append(`${text}\n`);
        continue;
      }
      const [, failed] = FAILED.exec(text) || [];
      const tone = failed || BAD.test(text) ? 'bad' : WARN.test(text) ? 'warn' : '';
      nodes.push(
        failed
          ? el('span', { class: tone }, `${failed}. `, causeLink(), '\n')
          : tone
            ? el('span', { class: tone, text: `${text}\n` })
            : document.createTextNode(`${text}\n`),
      );
    }
    return nodes;
  }
  const wanted = () => search.value.trim().toLowerCase();

  function add(texts) {
    held.push(...texts);
    if (held.length > MOST_LINES) held = held.slice(-MOST_LINES);
    const word = wanted();
    lines.append(...put(texts.filter((text) => !word || text.toLowerCase().includes(word))));
    while (lines.childNodes.length > MOST_LINES) lines.firstChild?.remove();
    after();
  }
  function filter() {
    const word = wanted();
    trace = null;
    lines.replaceChildren(...put(held.filter((text) => !word || text.toLowerCase().includes(word))));
    after();
  }
  function after() {
    setVisible(empty, held.length === 0);
    setVisible(lines, held.length > 0);
    const word = wanted();
    setText(
      count,
      held.length
        ? `${word ? `${format.count(held.filter((text) => text.toLowerCase().includes(word)).length)} of ` : ''}${format.count(held.length)} lines`
        : '',
    );
    bottom();
  }
  function bottom() {
    if (follow.checked) lines.scrollTop = lines.scrollHeight;
  }
  async function copy() {
    const text = held.join('\n');
    try {
      await navigator.clipboard.writeText(text);
      toast('Log copied.');
    } catch {
      // over plain HTTP a page can’t write to the clipboard, so the text is selected instead
      getSelection()?.selectAllChildren(lines);
      toast('Log selected. Press Ctrl+C to copy.');
    }
  }

  async function load() {
    const id = viewed();
    runId = id;
    held = [];
    lines.replaceChildren();
    after();
    setVisible(details, Boolean(id));
    trace = null;
    if (!id) return;
    download.href = url(`api/runs/${encodeURIComponent(id)}/log.txt`);
    try {
      const answer = await api('GET', `api/runs/${encodeURIComponent(id)}/log`);
      if (runId !== id) return;
      held = [];
      lines.replaceChildren();
      end = answer.next;
      // of a line that overwrites itself (a progress bar) the last state counts
      add(
        answer.text
          ? answer.text
              .replace(/\n$/, '')
              .split('\n')
              .slice(-MOST_LINES)
              .map((line) => line.replace(/\r$/, '').split('\r').pop())
          : [],
      );
    } catch (error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    }
  }
  // scrolling up stops following, scrolling to the end takes it up again
  lines.addEventListener('scroll', () => {
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 24;
    if (follow.checked !== atEnd && !document.hidden) follow.checked = atEnd;
  });
  on('connected', load);
  on('training_state', () => {
    if (viewed() !== runId) load();
  });
  on('view', load);
  on('log', (message) => {
    // what was read above may come again as news
    if (message.run_id === runId && message.offset > end) add(message.lines);
  });
  load();
}
