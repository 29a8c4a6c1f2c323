// Compare any two configurations side by side: the form, the opened one, a saved one, a preset, a run.

import { table } from './differences.js';
import { button, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';

const MAX_RUNS = 50;
/** @type {Record<string, string>} */
const TITLES = { current: 'Current form', opened: 'As opened', defaults: 'Defaults' };

/**
 * Open the comparison; `left` is the source that the form is first compared with, in the server’s notation.
 * @param {any} settings
 */
export async function openCompare(settings, left = '') {
  const [{ configs }, runs] = await Promise.all([
    api('GET', 'api/config/list'),
    api('GET', 'api/runs?limit=1000').then((answer) => answer.runs || answer),
  ]);
  const comparison = new Comparison(settings, configs, runs);
  const wanted = left === `run:${runs[0]?.id}` ? 'run:latest' : left;
  if (!comparison.choose(wanted, runs.length ? 'run:latest' : 'opened')) toast('That run no longer exists.', 'bad');
  const follow = (/** @type {string} */ what) => {
    if (what === 'document') comparison.draw();
  };
  settings.listeners.add(follow);
  openDialog(comparison.dialog, () => settings.listeners.delete(follow));
  comparison.sides[0].focus();
  comparison.draw();
}

class Comparison {
  /**
   * @param {any} settings
   * @param {any[]} configs
   * @param {any[]} runs
   */
  constructor(settings, configs, runs) {
    this.settings = settings;
    this.asked = 0;
    this.sides = ['Left side', 'Right side'].map((label) =>
      el('select', { 'aria-label': label, onchange: () => this.draw() }, sources(settings, configs, runs)),
    );
    this.count = el('p', { class: 'og-muted og-small og-grow', role: 'status' });
    this.body = el('div', { class: 'og-diff-body', tabindex: 0, role: 'region', 'aria-label': 'Differences' });
    this.mark = el('input', {
      type: 'checkbox',
      onchange: () => settings.compareWith(this.mark.checked ? this.other() : ''),
    });
    const marked = el('span', { text: 'Highlight these differences in the form' });
    this.marking = el('label', { class: 'og-inline' }, this.mark, marked);
    const title = 'Compare settings';
    this.dialog = el(
      'dialog',
      { class: 'og-dialog og-compare', 'aria-label': title },
      el(
        'div',
        { class: 'og-dialog-head' },
        el('h2', { class: 'og-grow', text: title }),
        button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => this.dialog.close() }),
      ),
      el(
        'div',
        { class: 'og-compare-sides' },
        this.sides[0],
        button('', { icon: 'swap', title: 'Swap sides', kind: 'quiet', onclick: () => this.swap() }),
        this.sides[1],
      ),
      this.body,
      el('div', { class: 'og-dialog-buttons' }, this.count, this.marking),
    );
  }

  /**
   * Show a source on the left, or another one where it is not there. Returns whether it is.
   * @param {string} wanted
   * @param {string} otherwise
   */
  choose(wanted, otherwise) {
    const has = [...this.sides[0].options].some((option) => option.value === wanted);
    this.sides[0].value = has ? wanted : otherwise;
    this.sides[1].value = 'current';
    return has || !wanted;
  }

  /** The side that is not the form. */
  other() {
    const [one, two] = this.sides;
    return one.value === 'current' ? two.value : one.value;
  }

  swap() {
    const [one, two] = this.sides;
    [one.value, two.value] = [two.value, one.value];
    this.draw();
  }

  async draw() {
    this.asked += 1;
    const mine = this.asked;
    const [left, right] = this.sides.map((side) => side.value);
    const markable = (left === 'current') !== (right === 'current');
    this.mark.checked = markable && this.settings.against === this.other();
    setVisible(this.marking, markable);
    try {
      const answer = await api('GET', `api/config/diff?${new URLSearchParams({ left, right })}`);
      if (mine === this.asked) this.put(answer, left, right, markable);
    } catch (/** @type {any} */ error) {
      if (mine === this.asked) this.body.replaceChildren(el('p', { class: 'og-empty bad', text: error.message }));
    }
  }

  /**
   * @param {any} answer
   * @param {string} left
   * @param {string} right
   * @param {boolean} markable
   */
  put(answer, left, right, markable) {
    const title = (/** @type {any} */ side) => TITLES[side.kind] || side.title;
    /** @type {[string, string]} */
    const titles = [title(answer.left), title(answer.right)];
    if (titles[0] === titles[1]) for (const at of [0, 1]) titles[at] = `${titles[at]} (${at ? 'right' : 'left'})`;
    const { differences } = answer;
    const { length } = differences;
    setText(this.count, length ? `${length} ${length === 1 ? 'difference' : 'differences'}` : '');
    const take = (/** @type {any} */ { path, before, after }) =>
      this.settings.edit(path, (left === 'current' ? after : before) ?? null, {});
    const scrolled = this.body.scrollTop;
    this.body.replaceChildren(
      left === right
        ? el('p', { class: 'og-empty', text: 'Both sides are the same. Choose something else to compare.' })
        : table(this.settings, differences, titles, markable ? take : undefined),
    );
    this.body.scrollTop = scrolled;
  }
}

/**
 * @param {string} value
 * @param {string} text
 */
const option = (value, text) => el('option', { value, text });

/**
 * @param {string} title
 * @param {HTMLElement[]} [options]
 */
const optgroup = (title, options) => options?.length && el('optgroup', { label: title }, options);

/**
 * What can be compared: the form, the opened one, the defaults, runs, saved ones, and presets by family.
 * @param {any} settings
 * @param {any[]} configs
 * @param {any[]} runs
 */
function sources(settings, configs, runs) {
  /** @type {Map<string, HTMLElement[]>} */
  const groups = new Map();
  for (const { name, kind, summary } of configs) {
    const family = kind === 'saved' ? 'Saved' : summary?.family || 'Presets';
    const short = kind !== 'saved' && summary?.family ? name.slice(summary.family.length + 1).replace(/^#/, '') : name;
    groups.set(family, [...(groups.get(family) || []), option(`${kind}:${name}`, short)]);
  }
  const saved = groups.get('Saved');
  groups.delete('Saved');
  const { name } = settings.document;
  const run = (/** @type {any} */ each, /** @type {number} */ at) =>
    option(
      at ? `run:${each.id}` : 'run:latest',
      `${at ? '' : 'Last run: '}${each.name || each.id}, ${format.time(each.created_at)}`,
    );
  return [
    option('current', 'Current form'),
    option('opened', name ? `As opened: ${name}` : 'As opened'),
    option('defaults', 'Defaults for this model and method'),
    optgroup('Runs', runs.slice(0, MAX_RUNS).map(run)),
    optgroup('Saved', saved),
    ...[...groups].map(([title, options]) => optgroup(title, options)),
  ];
}
