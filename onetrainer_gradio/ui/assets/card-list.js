// A list of objects as cards: each folds out into its settings, by group; cards can be switched off, copied, moved, removed.

import { idOf } from './control.js';
import { button, el, setText, setVisible } from './dom.js';
import { may } from './live.js';
import { message } from './message.js';
import { copyOf } from './settings.js';

// from how many cards on there is a filter
const FILTER_FROM = 5;

/** @type {Record<string, string>} */
const ONE = { concepts: 'concept', samples: 'sample prompt', additional_embeddings: 'embedding' };
/** @type {Record<string, (item: any) => string>} */
const TITLES = {
  concepts: (item) => item.name || item.path || 'New concept',
  samples: (item) => item.prompt || 'Empty prompt',
  additional_embeddings: (item) => item.placeholder || item.model_name || 'New embedding',
};

// what a list shows in addition to its settings, loaded when it comes into view
/** @type {Record<string, (list: any) => Promise<any>>} */
const EXTENSIONS = { concepts: (list) => import('./editors.js').then((editors) => editors.concepts(list)) };

/** @typedef {(settings: any, field: any, prefix: string) => Element} Row makes the row of a setting */

/**
 * @param {any} settings
 * @param {any} field
 * @param {Row} row
 */
export function list(settings, field, row) {
  const made = new CardList(settings, field, row);
  const { node, path } = made;
  node.update = () => made.update();
  // what a person has unfolded and typed in the filter; `unfold` sets it in a list that replaces this one
  node.unfolded = () => ({ cards: made.open, sections: made.unfolded, words: made.filter.value });
  node.unfold = (was) => made.unfold(was);
  node.reveal = (wanted) => made.reveal(wanted);
  node.update();
  const { items, change, arrange } = made;
  if (may('operator'))
    EXTENSIONS[path]?.({ settings, path, items, change, arrange, update: () => node.update() }).then((extension) =>
      made.put(extension),
    );
  return node;
}

class CardList {
  /**
   * @param {any} settings
   * @param {any} field
   * @param {Row} row
   */
  constructor(settings, field, row) {
    const { path } = field;
    this.settings = settings;
    this.field = field;
    this.row = row;
    /** @type {string} */
    this.path = path;
    this.one = ONE[path] || 'entry';
    this.titleOf = TITLES[path] || (() => this.one);
    /** @type {any[]} */
    this.inner = settings.inner.get(path);
    this.groups = /** @type {any[]} */ (settings.schema['x-groups']).filter((group) => group['x-of'] === path);
    this.cards = el('div', { class: 'og-cards' });
    this.errors = el('div', { class: 'og-errors', id: `${idOf(path)}-error` });
    this.empty = el('p', { class: 'og-empty' });
    const reset = () => settings.edit(path, settings.baseValue(path));
    this.back = button('Reset', { icon: 'reset', kind: 'small', onclick: reset });
    this.filter = el('input', {
      type: 'search',
      placeholder: 'Filter',
      'data-og-needs': 'viewer',
      'aria-label': `Filter: ${field.label}`,
      oninput: () => this.update(),
    });
    const words = [el('h3', { text: field.label }), el('p', { class: 'og-help', text: field.help })];
    this.node = el(
      'div',
      { class: 'og-list', dataset: { row: path } },
      el(
        'div',
        { class: 'og-card-head' },
        el('div', { class: 'og-grow' }, words),
        [this.filter, this.back],
        button(`Add ${this.one}`, { icon: 'add', kind: 'small', onclick: () => this.add() }),
      ),
      [this.errors, this.empty, this.cards],
    );
    this.open = new Set(this.items().length === 1 ? [0] : []);
    this.unfolded = new Set(this.groups.slice(0, 1).map((group) => group.key));
    this.pinned = '';
    this.rendered = -1;
    /** @type {any} */
    this.extension = null;
  }

  /** @returns {any[]} */
  items = () => this.settings.shownValue(this.path) || [];

  /** @param {any[]} next */
  change = (next) => this.settings.edit(this.path, next);

  /**
   * Move, copy or remove cards: `order` has the old place of each, and the open ones stay open.
   * @param {any[]} next
   * @param {number[]} order
   */
  arrange = (next, order) => {
    this.open = new Set(order.flatMap((old, at) => (this.open.has(old) ? [at] : [])));
    this.change(next);
  };

  add() {
    this.open.add(this.items().length);
    this.change([...this.items(), this.settings.newElement(this.field)]);
  }

  /**
   * @param {number} at
   * @param {number} to
   */
  move(at, to) {
    const order = this.items().map((_, index) => index);
    order.splice(to, 0, ...order.splice(at, 1));
    this.reorder(order);
  }

  /** @param {number} at */
  duplicate(at) {
    const now = this.items();
    const order = now.map((_, index) => index);
    order.splice(at + 1, 0, -1);
    const copy = copyOf(now[at], this.field.schema.items);
    this.arrange(
      order.map((old) => (old < 0 ? copy : now[old])),
      order,
    );
  }

  /** @param {number} at */
  remove(at) {
    this.reorder([...this.items().keys()].filter((old) => old !== at));
  }

  /** @param {number[]} order */
  reorder(order) {
    const now = this.items();
    this.arrange(
      order.map((old) => now[old]),
      order,
    );
  }

  update() {
    const now = this.items();
    if (this.rendered !== now.length) {
      this.rendered = now.length;
      this.cards.replaceChildren(...now.map((item, at) => card(this, item, at)));
    }
    this.extension?.update();
    for (const each of this.cards.children) each.update();
    setVisible(this.filter, now.length >= FILTER_FROM);
    setVisible(this.empty, now.length === 0);
    setText(this.empty, `No ${this.one}s yet.`);
    const { settings, path } = this;
    const changed = settings.changed(path);
    this.node.classList.toggle('changed', changed);
    setVisible(this.back, changed && settings.baseValue(path) !== undefined);
    const errors = /** @type {any[]} */ (settings.errorsAt(path));
    this.errors.replaceChildren(...errors.map((error) => message(settings, path, error)));
  }

  /** @param {{cards: Set<number>, sections: Set<string>, words: string}} was */
  unfold(was) {
    this.open = new Set(was.cards);
    for (const key of was.sections) this.unfolded.add(key);
    this.filter.value = was.words;
    this.rendered = -1;
    this.update();
  }

  /**
   * Fold out what holds a path within the list, and give its row.
   * @param {string} wanted
   */
  reveal(wanted) {
    const [index, ...rest] = wanted.slice(this.path.length + 1).split('.');
    const at = Number(index);
    if (!this.cards.children[at]) return this.node;
    this.pinned = wanted;
    this.filter.value = '';
    this.open.add(at);
    const group = this.inner.find((each) => each.path === rest.join('.'))?.group;
    if (group) this.unfolded.add(group);
    const details = this.cards.children[at].querySelector('details');
    if (details) details.open = true;
    this.update();
    const title = this.groups.find((other) => other.key === group)?.title;
    for (const each of this.cards.children[at].querySelectorAll('details'))
      if (group && each.matches('.og-section') && each.querySelector('summary span')?.textContent === title) each.open = true;
    this.update();
    return this.node.querySelector(`[data-row="${CSS.escape(wanted)}"]`) || this.cards.children[at];
  }

  /**
   * Show what belongs next to the settings, once it is loaded.
   * @param {any} extension
   */
  put(extension) {
    this.extension = extension;
    this.empty.before(extension.head);
    this.rendered = -1;
    const focused = this.node.contains(document.activeElement) && document.activeElement?.id;
    this.update();
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

/**
 * A group of settings in a card. Its `update` returns how many of its settings are hidden.
 * @param {CardList} cards
 * @param {any} group
 * @param {string} prefix
 */
function section(cards, group, prefix) {
  const { settings, unfolded } = cards;
  const rows = cards.inner
    .filter((each) => each.group === group.key && each.path !== 'enabled')
    .map((each) => ({ ...each, path: prefix + each.path }));
  const alone = cards.groups.length === 1;
  const body = el('div', { class: 'og-section-body' });
  const count = el('span', { class: 'og-muted og-small' });
  const details = el(
    'details',
    { class: 'og-section', open: alone || unfolded.has(group.key) },
    el('summary', { hidden: alone }, el('span', { text: group.title }), count),
    body,
  );
  details.addEventListener('toggle', () => {
    if (details.open) unfolded.add(group.key);
    else unfolded.delete(group.key);
    details.update();
  });
  const shown = (/** @type {any} */ { level, path }) =>
    settings.levels.has(level) || settings.changed(path) || path === cards.pinned || settings.errorsAt(path).length;
  details.update = () => {
    const applying = rows.filter((each) => settings.applies(each, prefix));
    const wanted = applying.filter(shown);
    setVisible(details, wanted.length > 0);
    const changed = applying.filter((each) => settings.changed(each.path)).length;
    setText(count, changed ? `${changed} changed` : '');
    if (details.open) put(body, wanted, (each) => cards.row(settings, each, prefix));
    else if (body.childElementCount) body.replaceChildren();
    return applying.length - wanted.length;
  };
  return details;
}

/**
 * Show the rows of these settings; a row that is there stays.
 * @param {HTMLElement} body
 * @param {any[]} wanted
 * @param {(field: any) => Element} row
 */
function put(body, wanted, row) {
  const paths = [...body.children].map((child) => child.dataset.row);
  if (paths.join() !== wanted.map((each) => each.path).join()) {
    const have = new Map([...body.children].map((child) => [child.dataset.row, child]));
    body.replaceChildren(...wanted.map((each) => have.get(each.path) || row(each)));
  }
  for (const child of body.children) child.update();
}

/**
 * @param {CardList} cards
 * @param {any} item
 * @param {number} at
 */
function card(cards, item, at) {
  const made = new Card(cards, item, at);
  made.node.update = () => made.update();
  return made.node;
}

class Card {
  /**
   * @param {CardList} cards
   * @param {any} item
   * @param {number} at
   */
  constructor(cards, item, at) {
    this.cards = cards;
    this.at = at;
    this.prefix = `${cards.path}.${at}.`;
    this.title = el('span', { class: 'og-card-title' });
    this.body = el('div', { class: 'og-card-body' });
    this.more = el('p', { class: 'og-muted og-small og-more' });
    this.box = 'enabled' in item ? this.toggle(item) : null;
    this.look = cards.extension?.card(at);
    const words = el('span', { class: 'og-item-words' }, this.title, this.look?.line);
    const summary = el('summary', {}, this.look?.thumb, words);
    this.details = el('details', { class: 'og-item', open: cards.open.has(at) }, summary, this.body);
    /** @type {Element[]} */
    this.sections = [];
    // known at once: an update may come before the event that the card was folded out
    summary.addEventListener('click', () => {
      if (this.details.open) cards.open.delete(at);
      else cards.open.add(at);
    });
    this.details.addEventListener('toggle', () => this.toggled());
    this.up = this.tool('up', 'Move', () => cards.move(at, at - 1), 'up');
    this.down = this.tool('down', 'Move', () => cards.move(at, at + 1), 'down');
    const copy = this.tool('copy', 'Duplicate', () => cards.duplicate(at));
    const remove = this.tool('trash', 'Remove', () => cards.remove(at));
    const use =
      this.box && el('label', { class: 'og-inline' }, this.box, el('span', { class: 'og-sr', text: `Enable this ${cards.one}` }));
    const tools = el('div', { class: 'og-item-tools' }, use, this.up, this.down, copy, remove);
    this.node = el('div', { class: 'og-item-wrap' }, this.details, tools);
  }

  /** @param {{enabled: boolean}} item */
  toggle({ enabled }) {
    const path = `${this.prefix}enabled`;
    return el('input', {
      type: 'checkbox',
      role: 'switch',
      class: 'og-switch',
      checked: enabled,
      id: idOf(path),
      dataset: { path, kind: 'boolean' },
    });
  }

  /**
   * @param {string} icon
   * @param {string} verb
   * @param {() => void} onclick
   */
  tool(icon, verb, onclick, where = '') {
    const title = `${verb} this ${this.cards.one} ${where}`.trim();
    return button('', { icon, title, kind: 'quiet small', onclick });
  }

  toggled() {
    if (this.details.open) {
      this.cards.open.add(this.at);
      this.fill();
    } else {
      this.cards.open.delete(this.at);
      this.sections = [];
      this.body.replaceChildren();
    }
  }

  fill() {
    if (!this.sections.length) {
      this.sections = this.cards.groups.map((group) => section(this.cards, group, this.prefix));
      this.body.replaceChildren(...(this.look ? [this.look.body] : []), ...this.sections, this.more);
      this.look?.update();
    }
    const hidden = this.sections.reduce((sum, each) => sum + each.update(), 0);
    setText(this.more, hidden ? `${hidden} more ${hidden === 1 ? 'setting' : 'settings'} under Advanced and Expert.` : '');
  }

  update() {
    const { cards, at, node, details } = this;
    const now = cards.items()[at];
    if (!now) return;
    setText(this.title, cards.titleOf(now));
    node.classList.toggle('off', now.enabled === false);
    if (this.box) this.box.checked = now.enabled;
    this.up.disabled = at === 0;
    this.down.disabled = at === cards.items().length - 1;
    const findings = /** @type {any[]} */ (cards.settings.findings);
    const wrong = findings.some(({ severity, path }) => severity === 'error' && path.startsWith(this.prefix));
    node.classList.toggle('bad', wrong);
    setVisible(node, this.passes(now));
    if (details.open !== cards.open.has(at)) details.open = cards.open.has(at);
    if (details.open) this.fill();
    this.look?.update();
  }

  /** @param {any} now */
  passes(now) {
    const { extension, filter } = this.cards;
    if (extension && !extension.passes(now)) return false;
    const words = filter.value.trim().toLowerCase();
    const text = JSON.stringify([now.name, now.path, now.prompt, now.placeholder, now.type]);
    return !words || text.toLowerCase().includes(words);
  }
}
