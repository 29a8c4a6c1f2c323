// The rows of the form: those of the view, kept as long as their settings are in it, with what search found besides.

import { read } from './control.js';
import { el } from './dom.js';
import { row } from './field.js';

/** One listener for all controls: what is typed is kept, what is entered is sent. */
function listen(rows, settings) {
  rows.addEventListener('change', (/** @type {any} */ { target }) => {
    if (target.dataset.path) settings.edit(target.dataset.path, read(target));
  });
  rows.addEventListener('input', (/** @type {any} */ { target }) => {
    if (target.dataset.path && target.type !== 'checkbox' && target.tagName !== 'SELECT')
      settings.typed(target.dataset.path, read(target));
  });
  rows.addEventListener('focusout', (/** @type {any} */ { target }) => {
    // typed and typed back: nothing changed, so no change event came
    const path = target.dataset?.path;
    if (path && settings.drafts.get(path)?.state === 'typing') settings.edit(path, read(target));
  });
}

/** Settings of each element of a list that search found. */
function inside(view, within, jump) {
  const first = (path) => (view.settings.value(path)?.length ? `${path}.0.` : '');
  return within.map(({ list: path, field }) =>
    el(
      'button',
      {
        type: 'button',
        class: 'og-hit',
        'data-og-needs': 'viewer',
        onclick: () => jump(first(path) ? first(path) + field.path : path),
      },
      el('span', { class: 'og-label', text: field.label }),
      el('span', {
        class: 'og-muted og-small',
        text: `in ${view.settings.labelOf(path)} · ${view.titleOf(field.group)}`,
      }),
      el('span', { class: 'og-help', text: field.help }),
    ),
  );
}

/** Settings that search found and that have no control. */
const outside = (unseen) =>
  unseen.map(([path, why]) =>
    el(
      'div',
      { class: 'og-hit off' },
      el('span', { class: 'og-mono', text: path }),
      el('span', { class: 'og-help', text: `Not editable here: ${why}` }),
    ),
  );

/** `jump` leads to a setting, `findings` is the list of issues, `all` shows everything that search found. */
export class Rows {
  constructor(view, { jump, findings, all }) {
    this.view = view;
    this.jump = jump;
    this.findings = findings;
    this.all = all;
    this.node = el('div', { class: 'og-rows', 'data-og-needs': 'operator' });
    this.rendered = '';
    /** @type {Map<string, any>} */
    this.nodes = new Map();
    listen(this.node, view.settings);
  }

  /** Show what the view wants; rows of settings that stay are kept. Returns the shown fields and how many results there are. */
  draw(fresh, { fields: all, within = [], unseen = [], withinFirst = false }) {
    const { view } = this;
    const fields = view.searching ? all.slice(0, view.most) : all;
    const key = `${view.group} ${view.query} ${fields.map((field) => field.path)}`;
    if (fresh || key !== this.rendered) {
      this.rendered = key;
      const old = this.nodes;
      this.nodes = new Map(fields.map((field) => [field.path, old.get(field.path) || row(view.settings, field)]));
      const found = inside(view, within.slice(0, view.most), this.jump);
      const more = view.searching && Math.max(all.length, within.length, unseen.length) > view.most;
      this.put([
        ...(!view.searching && view.group === 'problems' ? [this.findings] : []),
        ...(withinFirst ? found : []),
        ...this.grouped(fields),
        ...(withinFirst ? [] : found),
        ...outside(unseen.slice(0, view.most)),
        ...(more
          ? [el('button', { type: 'button', class: 'og-more', 'data-og-needs': 'viewer', text: 'Show all', onclick: this.all })]
          : []),
      ]);
    }
    for (const node of this.nodes.values()) node.update();
    return { fields, total: all.length + within.length + unseen.length };
  }

  /** Rows with a heading for each group, where they are of several. */
  grouped(fields) {
    const { view } = this;
    let group = '';
    return fields.flatMap((field) => {
      const node = this.nodes.get(field.path);
      if (!(view.searching || view.group === 'changed') || field.group === group) return [node];
      group = field.group;
      return [el('h3', { class: 'og-found-in', text: view.titleOf(group) }), node];
    });
  }

  /** Put the parts in; a row that stays isn't touched, since it would lose the focus. */
  put(parts) {
    const focused = document.activeElement;
    if (!(this.node.contains(focused) && [...this.nodes.values()].some((node) => node.contains(focused)))) {
      this.node.replaceChildren(...parts);
      return;
    }
    const kept = new Set(parts);
    for (const child of [...this.node.children]) if (!kept.has(child)) child.remove();
    for (const [at, part] of parts.entries())
      if (this.node.children[at] !== part) this.node.insertBefore(part, this.node.children[at] || null);
  }

  /** Scroll to a setting and give it the focus; `path` may be within the list of `field`. */
  show(field, path) {
    const node = this.nodes.get(field.path);
    const reveal = () => (node.reveal && path !== field.path ? node.reveal(path) : node);
    let target = reveal();
    // the tab opens a moment after the click that asked for it
    const there = (tries) => {
      if (!target.isConnected) target = reveal(); // made again meanwhile
      if (!target.checkVisibility() && tries) {
        requestAnimationFrame(() => there(tries - 1));
        return;
      }
      target.scrollIntoView({ block: 'center' });
      target.querySelector('input, select, textarea')?.focus({ preventScroll: true });
    };
    there(60);
  }

  /** Make all rows again by `draw`. Unfolded cards, the focus and the caret stay where they are. */
  remake(draw) {
    /** @type {any} */
    const focused = this.node.contains(document.activeElement) ? document.activeElement : {};
    const { id = '', selectionStart: from, selectionEnd: to } = focused;
    const before = this.nodes;
    this.nodes = new Map();
    draw();
    for (const [path, node] of this.nodes) if (before.has(path)) node.unfold?.(before.get(path).unfolded());
    const input = id && document.getElementById(id);
    if (!input || input === document.activeElement) return;
    input.focus({ preventScroll: true });
    if (typeof from === 'number') input.setSelectionRange(from, to);
  }
}
