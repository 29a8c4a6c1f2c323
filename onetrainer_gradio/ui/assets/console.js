// The console: the last lines of the training process’s output, as plain text.

import { button, causeLink, el, format, icon, setText, setVisible, toast } from './dom.js';
import { api, on, url, viewed } from './live.js';

const MAX_LINES = 2000;
const BAD = /\b(error|traceback|exception)\b/i;
const WARN = /\bwarn(ing)?\b/i;
// the last line of a run that failed: its cause is shown in full among the warnings and errors
const FAILED = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Run (?:failed|crashed)): /;
const TRACE = /^Traceback \(most recent call last\):/;
const STAMPED = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /;
const OPEN = 'og-console';

/** @param {HTMLElement} place */
export function mount(place) {
  const log = new Log();
  place.append(log.node);
  on('connected', () => log.load());
  on('training_state', () => {
    if (viewed() !== log.runId) log.load();
  });
  on('view', () => log.load());
  on('log', (/** @type {any} */ message) => {
    // what was read may come again as news
    if (message.run_id === log.runId && message.offset > log.end) log.add(message.lines);
  });
  log.load();
}

class Log {
  constructor() {
    /** @type {string | null} */
    this.runId = null;
    /** @type {string[]} */
    this.held = [];
    this.end = 0; // byte behind what is shown
    this.traces = new Traces();
    this.lines = el('pre', {
      class: 'og-log',
      tabindex: 0,
      role: 'log',
      'aria-label': 'Output of the training process',
      'aria-live': 'off',
    });
    this.empty = el('p', { class: 'og-empty', text: 'No output yet. Output from the training process appears here.' });
    this.follow = el('input', { type: 'checkbox', checked: true, onchange: () => this.bottom() });
    const label = 'Search log';
    this.search = el('input', { type: 'search', placeholder: label, 'aria-label': label, oninput: () => this.filter() });
    this.count = el('span', { class: 'og-muted og-small' });
    const names = { title: 'Download log', 'aria-label': 'Download log', download: true };
    this.download = el('a', { class: 'og-button small quiet', ...names }, icon('download'));
    this.node = this.layout();
    // scrolling up stops following, scrolling to the end takes it up again
    this.lines.addEventListener('scroll', () => {
      const atEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 24;
      if (this.follow.checked !== atEnd && !document.hidden) this.follow.checked = atEnd;
    });
  }

  layout() {
    const head = el(
      'div',
      { class: 'og-card-head' },
      el('span', { class: 'og-search' }, this.search),
      el('label', { class: 'og-inline' }, this.follow, el('span', { text: 'Auto-scroll' })),
      el('span', { class: 'og-grow' }),
      this.download,
      button('', { icon: 'copy', title: 'Copy log', kind: 'small quiet', onclick: () => this.copy() }),
    );
    const attributes = {
      class: 'og-card og-fold',
      open: localStorage.getItem(OPEN) !== 'closed',
      hidden: true,
      ontoggle: () => localStorage.setItem(OPEN, node.open ? 'open' : 'closed'),
    };
    const summary = el('summary', {}, el('span', { text: 'Console' }), this.count);
    const node = el('details', attributes, summary, head, this.lines, this.empty);
    return node;
  }

  /** @param {string[]} texts */
  found(texts) {
    const word = this.search.value.trim().toLowerCase();
    return word ? texts.filter((text) => text.toLowerCase().includes(word)) : texts;
  }

  /** @param {string[]} texts */
  add(texts) {
    this.held.push(...texts);
    if (this.held.length > MAX_LINES) this.held = this.held.slice(-MAX_LINES);
    this.lines.append(...this.traces.put(this.found(texts)));
    while (this.lines.childNodes.length > MAX_LINES) this.lines.firstChild?.remove();
    this.after();
  }

  filter() {
    this.traces.end();
    this.lines.replaceChildren(...this.traces.put(this.found(this.held)));
    this.after();
  }

  after() {
    const { held } = this;
    setVisible(this.empty, held.length === 0);
    setVisible(this.lines, held.length > 0);
    const of = this.search.value.trim() ? `${format.count(this.found(held).length)} of ` : '';
    setText(this.count, held.length ? `${of}${format.count(held.length)} lines` : '');
    this.bottom();
  }

  bottom() {
    if (this.follow.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }

  async copy() {
    const text = this.held.join('\n');
    try {
      await navigator.clipboard.writeText(text);
      toast('Log copied.');
    } catch {
      // over plain HTTP a page can’t write to the clipboard, so the text is selected instead
      getSelection()?.selectAllChildren(this.lines);
      toast('Log selected. Press Ctrl+C to copy.');
    }
  }

  clear() {
    this.held = [];
    this.lines.replaceChildren();
  }

  async load() {
    const id = viewed();
    this.runId = id;
    this.clear();
    this.after();
    setVisible(this.node, Boolean(id));
    this.traces.end();
    if (!id) return;
    this.download.href = url(`api/runs/${encodeURIComponent(id)}/log.txt`);
    try {
      const answer = await api('GET', `api/runs/${encodeURIComponent(id)}/log`);
      if (this.runId !== id) return;
      this.clear();
      this.end = answer.next;
      this.add(answer.text ? linesOf(answer.text) : []);
    } catch (/** @type {any} */ error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    }
  }
}

/**
 * The last lines of a text. Of a line that overwrites itself (a progress bar) the last state counts.
 * @param {string} text
 */
const linesOf = (text) =>
  text
    .replace(/\n$/, '')
    .split('\n')
    .slice(-MAX_LINES)
    .map((line) => line.replace(/\r$/, '').split('\r').at(-1) ?? '');

/** Lines as they are shown: plain text, an element only where a line has a color; a traceback folds. */
class Traces {
  constructor() {
    /** @type {HTMLElement | null} */
    this.open = null; // the traceback that lines are still added to
  }

  end() {
    this.open = null;
  }

  /**
   * @param {string[]} texts
   * @returns {Node[]}
   */
  put(texts) {
    const nodes = [];
    for (const text of texts) {
      if (STAMPED.test(text)) this.open = null;
      if (TRACE.test(text) && !this.open) {
        this.open = el('pre', {});
        nodes.push(el('details', { class: 'og-trace' }, el('summary', { text: 'Traceback' }), this.open));
      }
      if (this.open) this.open.append(`${text}\n`);
      else nodes.push(lineOf(text));
    }
    return nodes;
  }
}

/** @param {string} text */
function lineOf(text) {
  const [, failed] = FAILED.exec(text) || [];
  if (failed) return el('span', { class: 'bad' }, `${failed}. `, causeLink(), '\n');
  const tone = BAD.test(text) ? 'bad' : WARN.test(text) ? 'warn' : '';
  return tone ? el('span', { class: tone, text: `${text}\n` }) : document.createTextNode(`${text}\n`);
}
