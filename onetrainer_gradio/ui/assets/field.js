// One setting as a row: label and help, a control of its kind, the mark and reset of a changed value, errors.

import { button, el, say, show } from './dom.js';
import { json, list, map, pairs } from './lists.js';
import { same, shownAs, textOf } from './settings.js';
import { sentence } from './words.js';

export const idOf = (path) => `og-f-${path.replaceAll('.', '-')}`;

function typeOf(schema) {
  const types = [schema.type].flat();
  return { base: types.find((type) => type !== 'null'), nullable: types.includes('null') };
}

function fromJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What the control says: the value to send. A text that is no number, or no JSON, is sent as it is, the server says what is wrong. */
export function read(input) {
  const { kind, nullable } = input.dataset;
  if (input.type === 'checkbox') return input.checked;
  const text = input.value;
  if (nullable && text.trim() === '') return null;
  if (kind === 'json') return fromJson(text);
  if (kind === 'integer' || kind === 'number') {
    const number = Number(text.trim().replace(',', '.'));
    return text.trim() === '' || Number.isNaN(number) ? text : number;
  }
  return text;
}

/** The options of a select: the present choices, and a value that is none of them, marked as such. */
function fillChoices(select, settings, field, prefix, value) {
  const possible = settings.choices(field, prefix);
  const strange = value !== null && value !== undefined && value !== '' && !possible.includes(value);
  const gone = settings.unavailable?.[field.path] || {};
  const hide = Object.keys(gone).length > 0 && localStorage.getItem('og-hide-unavailable') === 'yes';
  const key = JSON.stringify([possible, strange && value, gone, hide && value]);
  if (select.dataset.choices === key) return;
  select.dataset.choices = key;
  const words = field.schema['x-enum-labels'] || {};
  const known = field.schema.enum?.includes(value);
  select.replaceChildren(
    ...(select.dataset.nullable ? [el('option', { value: '', text: '(empty)' })] : []),
    ...possible
      .filter((choice) => !hide || !gone[choice] || choice === value)
      .map((choice) =>
        el('option', {
          value: choice,
          title: gone[choice],
          text: `${words[choice] || choice}${gone[choice] ? ' (not available here)' : ''}`,
        }),
      ),
    ...(strange
      ? [el('option', { value, text: `${words[value] || value} (${known ? 'not for these settings' : 'unknown'})` })]
      : []),
  );
  select.value = textOf(value);
}

/** The input of a setting that is one value. */
export function control(settings, field, prefix, value) {
  const { path, schema } = field;
  const { base, nullable } = typeOf(schema);
  const shared = {
    id: idOf(path),
    dataset: { path, kind: base, ...(nullable ? { nullable: 'yes' } : {}) },
    'aria-describedby': `${idOf(path)}-help ${idOf(path)}-error`,
  };
  if (base === 'boolean')
    return el('input', { type: 'checkbox', role: 'switch', class: 'og-switch', checked: Boolean(value), ...shared });
  if (schema.enum) {
    const select = el('select', shared);
    fillChoices(select, settings, field, prefix, value);
    return select;
  }
  if (field.kind === 'text') return el('textarea', { rows: 2, value: textOf(value), ...shared });
  const numeric = base === 'integer' || base === 'number';
  return el('input', {
    type: 'text',
    value: textOf(value),
    ...shared,
    spellcheck: 'false',
    autocomplete: 'off',
    inputmode: numeric && !schema.pattern ? 'decimal' : undefined,
    class: numeric ? 'og-number' : 'og-text',
    placeholder: nullable ? 'empty: default' : undefined,
  });
}

/** A control of one value as a row wants it: the node, and how it takes a new value. */
function single(settings, field, prefix) {
  const { path } = field;
  const input = control(settings, field, prefix, settings.shownValue(path));
  return {
    node: input,
    put() {
      if (document.activeElement === input && settings.drafts.get(path)?.state === 'typing') return;
      const value = settings.shownValue(path);
      if (field.schema.enum) fillChoices(input, settings, field, prefix, value);
      if (input instanceof HTMLInputElement && input.type === 'checkbox') input.checked = Boolean(value);
      else if (input.value !== textOf(value) && !same(read(input), value)) input.value = textOf(value);
    },
  };
}

/** Kept on the server, never in the page: a way to where it is set. */
function secret(_settings, field) {
  return {
    node: el('a', { href: '#system', dataset: { ogTab: 'system' }, id: idOf(field.path), text: 'Set it on the System tab' }),
    put() {},
  };
}

const EDITORS = { json, map, pairs, secret };

// settings with a picture of what they lead to below them, loaded when they come into view
const WITH_CONSEQUENCES = new Set(['timestep_distribution', 'layer_filter_preset', 'quantization.layer_filter_preset']);

function consequences(settings, path) {
  const place = el('div', { class: 'og-below' });
  import('./editors.js').then(({ below }) => below(settings, path, place));
  return place;
}

/** The row of a field. `settings` holds the values; `prefix` is the list element that its conditions refer to. */
export function row(settings, field, prefix = '') {
  if (field.kind === 'list') return list(settings, field);
  const { path } = field;
  const editor = (EDITORS[field.kind] || single)(settings, field, prefix);
  const input = editor.node;
  const unitField = field.unitOf && settings.fieldAt(field.unitOf);
  const unit = unitField && single(settings, unitField, prefix);
  unit?.node.setAttribute('aria-label', `${field.label}: unit`);
  const errors = el('div', { class: 'og-errors', id: `${idOf(path)}-error` });
  const back = button('', { icon: 'reset', kind: 'quiet small og-reset', title: 'Reset', onclick: reset });
  const browse =
    field.kind === 'path' &&
    button('', { icon: 'folder', kind: 'quiet small', title: `Choose: ${field.label}`, onclick: choose });
  const note = el('p', { class: 'og-note', hidden: true });
  const was = el('p', { class: 'og-was', hidden: true });
  const node = el(
    'div',
    { class: editor.wide ? 'og-row wide' : 'og-row', dataset: { row: path } },
    el(
      'div',
      { class: 'og-row-words' },
      el(input.id ? 'label' : 'span', { class: 'og-label', for: input.id || undefined, text: field.label, title: path }),
      el('p', { class: 'og-help', id: `${idOf(path)}-help`, text: field.help }),
      note,
    ),
    el(
      'div',
      { class: 'og-row-control' },
      el(
        'div',
        { class: 'og-control' },
        input,
        unit?.node,
        field.schema['x-unit'] && el('span', { class: 'og-muted', text: field.schema['x-unit'] }),
        browse,
        back,
      ),
      was,
      errors,
    ),
  );
  const below = WITH_CONSEQUENCES.has(path) && consequences(settings, path);
  if (below) node.append(below);

  function reset() {
    const paths = [path, field.unitOf, ...Object.values(field.schema['x-writes'] || {})].filter(
      (each) => each && settings.changed(each),
    );
    settings.editTogether(Object.fromEntries(paths.map((each) => [each, settings.baseValue(each)])), 'reset');
  }

  async function choose() {
    const { choosePath } = await import('./files.js');
    const chosen = await choosePath({
      title: field.label,
      wants: field.schema['x-path'],
      path: textOf(settings.shownValue(path)),
      setting: path,
    });
    if (chosen !== null) settings.edit(path, chosen);
  }

  /** Bring the row up to date with the settings, without touching what is being typed. */
  node.update = () => {
    editor.put();
    unit?.put();
    const changed = settings.changed(path) || Boolean(unitField && settings.changed(unitField.path));
    node.classList.toggle('changed', changed);
    show(back, changed);
    show(was, changed);
    if (changed) {
      const before = [
        [path, field],
        [field.unitOf, unitField],
      ]
        .filter(([each]) => each)
        .map(([each, at]) => shownAs(settings.baseValue(each), at.schema))
        .join(' ');
      say(was, `was ${before}`);
      const title = `Reset to ${before}`;
      back.title = title;
      back.setAttribute('aria-label', `${field.label}: ${title}`);
    }
    const draft = settings.drafts.get(path);
    const found = [...settings.errorsAt(path), ...(unitField ? settings.errorsAt(unitField.path) : [])];
    const wrong = found.some((error) => error.severity !== 'warning' && error.severity !== 'note');
    if (wrong) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
    const lines = found.map((error) => message(settings, path, error));
    if (draft?.state === 'unsent') lines.push(el('p', { class: 'warn', text: 'Not saved yet: waiting for the connection.' }));
    const key = JSON.stringify([found, draft?.state === 'unsent']);
    if (errors.dataset.key !== key) {
      errors.dataset.key = key;
      errors.replaceChildren(...lines);
    }
    const why = settings.whyNot(field, prefix);
    node.classList.toggle('off', Boolean(why));
    show(note, Boolean(why));
    if (why) say(note, `Not used now: ${why}.`);
    else if (field.schema['x-lacking']) {
      show(note, true);
      say(note, `${settings.schema['x-follows'].title} does not have this setting and passes over it.`);
    }
    if (below) below.update?.();
  };
  node.update();
  return node;
}

const quoted = (text, value) => (typeof value === 'string' ? `“${text}”` : text);

/** The button that makes the one change that removes a finding; nothing where there is none. */
export function fixButton(settings, finding) {
  const changes = Object.entries(finding.fix || {});
  if (!changes.length) return null;
  const words = changes.map(
    ([path, value]) =>
      `${path === finding.path ? '' : `${settings.labelOf(path)} `}to ${Array.isArray(value) || (value && typeof value === 'object') ? 'what fits' : quoted(shownAs(value, settings.fieldAt(path)?.schema), value)}`,
  );
  const text = changes.length === 1 ? `Set ${words[0]}` : 'Fix it';
  return button(text, {
    kind: 'small og-fix',
    title: `Set ${words.join(', ')}`,
    onclick: () => settings.editTogether(finding.fix, 'fix'),
  });
}

export function message(settings, path, error) {
  if (error.conflict) {
    return el(
      'p',
      { class: 'warn' },
      el('span', { text: `Somebody else set this to ${shownAs(error.theirs, settings.fieldAt(path)?.schema)} meanwhile. ` }),
      button('Keep mine', {
        kind: 'small',
        onclick: () => {
          const { value, also } = settings.drafts.get(path);
          settings.drafts.delete(path);
          settings.edit(path, value, also);
        },
      }),
      button('Take theirs', { kind: 'small', onclick: () => settings.forget(path) }),
    );
  }
  const tone = error.severity === 'warning' || error.severity === 'note' ? (error.severity === 'note' ? 'note' : 'warn') : 'bad';
  const more = error.suggestion ? sentence(error.suggestion) : error.expected && `Expected: ${error.expected}.`;
  return el(
    'p',
    { class: tone },
    el(
      'span',
      {},
      el('span', { text: more && !/[.!?]$/.test(error.message) ? `${error.message}.` : error.message }),
      more && el('span', { class: 'og-muted', text: ` ${more}` }),
    ),
    fixButton(settings, error),
  );
}
