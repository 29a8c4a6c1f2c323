// The console: what the training process printed, bounded, as plain text.

import { api, on, viewed } from './live.js';
import { button, el, format, say, show, toast } from './dom.js';

const MOST_LINES = 2000;
const BAD = /\b(error|traceback|exception)\b/i;
const WARN = /\bwarn(ing)?\b/i;

export function mount(place) {
  const lines = el('pre', { class: 'og-log', tabindex: 0, role: 'log', 'aria-label': 'Console of the training process', 'aria-live': 'off' });
  const empty = el('p', { class: 'og-empty', text: 'Nothing is printed. What the training process prints appears here.' });
  const follow = el('input', { type: 'checkbox', checked: true, onchange: () => bottom() });
  const search = el('input', { type: 'search', placeholder: 'Find in the log', 'aria-label': 'Find in the log', oninput: () => filter() });
  const count = el('span', { class: 'og-muted og-small' });
  const details = el('details', { class: 'og-card og-fold', open: true, hidden: true },
    el('summary', {}, el('span', { text: 'Console' }), count),
    el('div', { class: 'og-card-head' },
      el('span', { class: 'og-search' }, search),
      el('label', { class: 'og-inline' }, follow, el('span', { text: 'Follow' })),
      el('span', { class: 'og-grow' }),
      button('', { icon: 'copy', title: 'Copy the log', kind: 'small quiet', onclick: copy })),
    lines, empty);
  place.append(details);

  let runId = null;
  let held = [];
  let end = 0; // byte behind what is shown

  /** A line: plain text, an element only where it has a colour. */
  function node(text) {
    const tone = BAD.test(text) ? 'bad' : WARN.test(text) ? 'warn' : '';
    return tone ? el('span', { class: tone, text: `${text}\n` }) : document.createTextNode(`${text}\n`);
  }
  const wanted = () => search.value.trim().toLowerCase();

  function add(texts) {
    held.push(...texts);
    if (held.length > MOST_LINES) held = held.slice(-MOST_LINES);
    const word = wanted();
    lines.append(...texts.filter((text) => !word || text.toLowerCase().includes(word)).map(node));
    while (lines.childNodes.length > MOST_LINES) lines.firstChild.remove();
    after();
  }
  function filter() {
    const word = wanted();
    lines.replaceChildren(...held.filter((text) => !word || text.toLowerCase().includes(word)).map(node));
    after();
  }
  function after() {
    show(empty, held.length === 0);
    show(lines, held.length > 0);
    const word = wanted();
    say(count, held.length ? `${word ? `${lines.childNodes.length} of ` : ''}${format.count(held.length)} lines` : '');
    bottom();
  }
  function bottom() {
    if (follow.checked) lines.scrollTop = lines.scrollHeight;
  }
  async function copy() {
    const text = held.join('\n');
    try {
      await navigator.clipboard.writeText(text);
      toast('Copied.');
    } catch {
      // over plain http a page may not write the clipboard: leave the text selected instead
      getSelection().selectAllChildren(lines);
      toast('Selected; press Ctrl+C to copy.');
    }
  }

  async function load() {
    const id = viewed();
    runId = id;
    held = [];
    lines.replaceChildren();
    after();
    show(details, Boolean(id));
    if (!id) return;
    try {
      const answer = await api('GET', `api/runs/${encodeURIComponent(id)}/log`);
      if (runId !== id) return;
      held = [];
      lines.replaceChildren();
      end = answer.next;
      // of a line that overwrites itself (a progress bar) the last state counts
      add(answer.text ? answer.text.replace(/\n$/, '').split('\n').slice(-MOST_LINES).map((line) => line.replace(/\r$/, '').split('\r').pop()) : []);
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
  on('training_state', () => { if (viewed() !== runId) load(); });
  on('view', load);
  on('log', (message) => {
    // what was read above may come again as news
    if (message.run_id === runId && message.offset > end) add(message.lines);
  });
  load();
}
