// The control of one value: made, filled, and read.

import { el } from './dom.js';
import { same, textOf } from './settings.js';

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

/** Return the value to send. Text that is not a number or not JSON is sent unchanged, and the server reports the error. */
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

/** The options of a select: the current choices, and any other value, marked as such. */
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
      ? [el('option', { value, text: `${words[value] || value} (${known ? 'not available with these settings' : 'unknown'})` })]
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
    placeholder: nullable ? 'Default' : undefined,
  });
}

/** A control of one value as a row wants it: the node, and how it takes a new value. */
export function single(settings, field, prefix) {
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

/** A secret is stored on the server, never in the page: link to where it is set. */
export function secret(_settings, field) {
  return {
    node: el('a', { href: '#system', dataset: { ogTab: 'system' }, id: idOf(field.path), text: 'Set it on the System tab' }),
    put() {},
  };
}
