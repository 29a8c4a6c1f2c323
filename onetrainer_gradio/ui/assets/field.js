// One setting as a row: label and help, a control of its kind, the mark and reset of a changed value, errors.

import { blank, fieldsOf, same } from './settings.js';
import { button, el, say, show } from './dom.js';

const idOf = (path) => `og-f-${path.replaceAll('.', '-')}`;

/** A value as text in an input: shortest form, powers of ten for what is very small. */
export function textOf(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
  return String(value);
}

function typeOf(schema) {
  const types = [schema.type].flat();
  return { base: types.find((type) => type !== 'null'), nullable: types.includes('null') };
}

/** A value as it is shown in a sentence. */
export function shownAs(value) {
  if (value === true) return 'on';
  if (value === false) return 'off';
  if (value === null || value === undefined || value === '') return 'empty';
  if (Array.isArray(value)) return `${value.length} ${value.length === 1 ? 'entry' : 'entries'}`;
  return typeof value === 'object' ? 'other values' : textOf(value);
}

/** What the control says: the value to send. A text that is no number is sent as it is, the server says what is wrong. */
export function read(input) {
  const { kind, nullable } = input.dataset;
  if (input.type === 'checkbox') return input.checked;
  const text = input.value;
  if (nullable && text.trim() === '') return null;
  if (kind === 'integer' || kind === 'number') {
    const number = Number(text.trim().replace(',', '.'));
    return text.trim() === '' || Number.isNaN(number) ? text : number;
  }
  return text;
}

function control(path, schema, value) {
  const { base, nullable } = typeOf(schema);
  const shared = { id: idOf(path), dataset: { path, kind: base, ...(nullable ? { nullable: 'yes' } : {}) }, 'aria-describedby': `${idOf(path)}-help ${idOf(path)}-error` };
  if (base === 'boolean') return el('input', { type: 'checkbox', role: 'switch', class: 'og-switch', checked: Boolean(value), ...shared });
  if (schema.enum) {
    const choices = schema.enum.filter((choice) => choice !== null);
    if (value && !choices.includes(value)) choices.push(value);
    const select = el('select', shared, nullable && el('option', { value: '', text: '(empty)' }), choices.map((choice) => el('option', { value: choice, text: choice })));
    select.value = textOf(value);
    return select;
  }
  if (schema['x-kind'] === 'text') return el('textarea', { rows: 2, value: textOf(value), ...shared });
  const numeric = base === 'integer' || base === 'number';
  return el('input', {
    type: 'text', value: textOf(value), ...shared, spellcheck: 'false', autocomplete: 'off',
    inputmode: numeric ? 'decimal' : undefined, class: numeric ? 'og-number' : 'og-text', placeholder: nullable ? 'empty: default' : undefined,
  });
}

/** The row of a field. `settings` holds the values; `prefix` is the list element that its conditions refer to. */
export function row(settings, field, prefix = '') {
  if (field.schema['x-kind'] === 'list') return list(settings, field);
  const { path } = field;
  const input = control(path, field.schema, settings.shownValue(path));
  const unitField = field.unitOf && settings.fields.find((other) => other.path === field.unitOf);
  const unit = unitField && control(unitField.path, unitField.schema, settings.shownValue(unitField.path));
  unit?.setAttribute('aria-label', `${field.label}: unit`);
  const errors = el('div', { class: 'og-errors', id: `${idOf(path)}-error` });
  const back = button('', { icon: 'reset', kind: 'quiet small og-reset', title: 'Reset', onclick: reset });
  const note = el('p', { class: 'og-note', hidden: true });
  const was = el('p', { class: 'og-was', hidden: true });
  const node = el('div', { class: 'og-row', dataset: { row: path } },
    el('div', { class: 'og-row-words' },
      el('label', { class: 'og-label', for: input.id, text: field.label }),
      el('p', { class: 'og-help', id: `${idOf(path)}-help`, text: field.help }), note),
    el('div', { class: 'og-row-control' },
      el('div', { class: 'og-control' }, input, unit, field.schema['x-unit'] && el('span', { class: 'og-muted', text: field.schema['x-unit'] }), back),
      was, errors));

  function reset() {
    for (const each of [path, field.unitOf].filter(Boolean)) {
      if (settings.changed(each)) settings.edit(each, settings.baseValue(each));
    }
  }

  function put(control_, at) {
    if (document.activeElement === control_ && settings.drafts.get(at)?.state === 'typing') return;
    const value = settings.shownValue(at);
    if (control_.type === 'checkbox') control_.checked = Boolean(value);
    else if (control_.value !== textOf(value) && !same(read(control_), value)) control_.value = textOf(value);
  }

  /** Bring the row up to date with the settings, without touching what is being typed. */
  node.update = () => {
    put(input, path);
    if (unit) put(unit, unitField.path);
    const changed = settings.changed(path) || Boolean(unitField && settings.changed(unitField.path));
    node.classList.toggle('changed', changed);
    show(back, changed);
    show(was, changed);
    if (changed) {
      const before = [path, field.unitOf].filter(Boolean).map((each) => shownAs(settings.baseValue(each))).join(' ');
      say(was, `was ${before}`);
      const title = `Reset to ${before}`;
      back.title = title;
      back.setAttribute('aria-label', `${field.label}: ${title}`);
    }
    const draft = settings.drafts.get(path);
    const found = [...settings.errorsAt(path), ...(unitField ? settings.errorsAt(unitField.path) : [])];
    input.toggleAttribute('aria-invalid', found.some((error) => error.severity !== 'warning' && error.severity !== 'note'));
    if (input.hasAttribute('aria-invalid')) input.setAttribute('aria-invalid', 'true');
    const lines = found.map((error) => message(settings, path, error));
    if (draft?.state === 'unsent') lines.push(el('p', { class: 'warn', text: 'Not saved yet: waiting for the connection.' }));
    if (lines.length || errors.childElementCount) errors.replaceChildren(...lines);
    const applies = settings.applies(field, prefix);
    node.classList.toggle('off', !applies);
    show(note, !applies);
    if (!applies) say(note, `Not used now: ${Object.entries(field.shown).map(([other, values]) => `${labelOf(settings, prefix + other)} would have to be ${values.map(shownAs).join(' or ')}`).join('; ')}.`);
  };
  node.update();
  return node;
}

function labelOf(settings, path) {
  return settings.fields.find((field) => field.path === path)?.label || path;
}

function message(settings, path, error) {
  if (error.conflict) {
    return el('p', { class: 'warn' }, el('span', { text: `Somebody else set this to ${shownAs(error.theirs)} meanwhile. ` }),
      button('Keep mine', { kind: 'small', onclick: () => { const { value } = settings.drafts.get(path); settings.drafts.delete(path); settings.edit(path, value); } }),
      button('Take theirs', { kind: 'small', onclick: () => settings.forget(path) }));
  }
  const tone = error.severity === 'warning' || error.severity === 'note' ? error.severity === 'note' ? 'note' : 'warn' : 'bad';
  const more = [error.expected && `Expected: ${error.expected}.`, error.change && `To change: ${error.change}.`].filter(Boolean).join(' ');
  return el('p', { class: tone }, el('span', { text: error.message }), more && el('span', { class: 'og-muted', text: ` ${more}` }));
}

// ---- lists: a card for each element

const TITLES = { concepts: (item) => item.name || item.path || 'New concept', samples: (item) => item.prompt || 'Empty prompt' };
const ONE = { concepts: 'concept', samples: 'sample prompt' };

function list(settings, field) {
  const { path } = field;
  const one = ONE[path] || 'entry';
  const cards = el('div', { class: 'og-cards' });
  const errors = el('div', { class: 'og-errors', id: `${idOf(path)}-error` });
  const empty = el('p', { class: 'og-empty', text: `No ${one} yet.` });
  const back = button('Reset', { icon: 'reset', kind: 'small', onclick: () => settings.edit(path, settings.baseValue(path)) });
  const items = () => settings.shownValue(path) || [];
  const node = el('div', { class: 'og-list', dataset: { row: path } },
    el('div', { class: 'og-card-head' }, el('div', { class: 'og-grow' }, el('h4', { text: field.label }), el('p', { class: 'og-help', text: field.help })), back,
      button(`Add ${one}`, { icon: 'add', kind: 'small', onclick: () => { settings.edit(path, [...items(), blank(field.schema.items)]); open.add(items().length - 1); } })),
    errors, empty, cards);
  const open = new Set(items().length === 1 ? [0] : []);
  const inner = fieldsOf(field.schema.items);
  let drawn = '';

  function card(item, at) {
    const prefix = `${path}.${at}.`;
    const rows = inner.filter((each) => each.path !== 'enabled').map((each) => ({ ...each, path: prefix + each.path }));
    const body = el('div', { class: 'og-card-body' });
    const title = el('span', { class: 'og-card-title' });
    const use = 'enabled' in item && el('label', { class: 'og-inline' },
      el('input', { type: 'checkbox', role: 'switch', class: 'og-switch', checked: item.enabled, id: idOf(`${prefix}enabled`), dataset: { path: `${prefix}enabled`, kind: 'boolean' } }),
      el('span', { class: 'og-sr', text: `Use this ${one}` }));
    const details = el('details', { class: 'og-item', open: open.has(at) }, el('summary', {}, title), body);
    const shownRows = () => rows.filter((each) => settings.levels.has(each.level) || settings.changed(each.path)).filter((each) => settings.applies(each, prefix));
    const fill = () => {
      const wanted = shownRows();
      if ([...body.children].map((child) => child.dataset.row).join() !== wanted.map((each) => each.path).join()) {
        const have = new Map([...body.children].map((child) => [child.dataset.row, child]));
        body.replaceChildren(...wanted.map((each) => have.get(each.path) || row(settings, each, prefix)));
      }
      for (const child of body.children) child.update();
    };
    details.addEventListener('toggle', () => { if (details.open) { open.add(at); fill(); } else open.delete(at); });
    const node_ = el('div', { class: 'og-item-wrap' }, details, el('div', { class: 'og-item-tools' }, use,
      button('', { icon: 'copy', title: `Duplicate this ${one}`, kind: 'quiet small', onclick: () => settings.edit(path, [...items().slice(0, at + 1), structuredClone(items()[at]), ...items().slice(at + 1)]) }),
      button('', { icon: 'trash', title: `Remove this ${one}`, kind: 'quiet small', onclick: () => settings.edit(path, items().filter((_, other) => other !== at)) })));
    node_.update = () => {
      const now = items()[at];
      if (!now) return;
      say(title, (TITLES[path] || ((each) => each.name || `Entry ${at + 1}`))(now));
      node_.classList.toggle('off', now.enabled === false);
      const box = node_.querySelector(`#${CSS.escape(idOf(`${prefix}enabled`))}`);
      if (box) box.checked = now.enabled;
      const wrong = settings.findings.some((finding) => finding.severity === 'error' && finding.path.startsWith(prefix));
      node_.classList.toggle('bad', wrong);
      if (details.open) fill();
    };
    return node_;
  }

  node.update = () => {
    const now = items();
    if (drawn !== String(now.length)) { drawn = String(now.length); cards.replaceChildren(...now.map(card)); }
    for (const each of cards.children) each.update();
    show(empty, now.length === 0);
    const changed = settings.changed(path);
    node.classList.toggle('changed', changed);
    show(back, changed && settings.baseValue(path) !== undefined);
    errors.replaceChildren(...settings.errorsAt(path).map((error) => message(settings, path, error)));
  };
  node.update();
  return node;
}
