// Settings with several values: name-value pairs, maps with fixed keys, JSON.

import { idOf, read } from './control.js';
import { button, el } from './dom.js';
import { jsonOf, same, shownAs, textOf } from './settings.js';

/** A list of `{key, value}` texts: a line for each, one more to begin with. */
export function pairs(settings, field) {
  const { path } = field;
  const lines = el('div', { class: 'og-pairs-lines' });
  const node = el(
    'div',
    { class: 'og-pairs', role: 'group', 'aria-label': field.label },
    lines,
    button('Add', {
      icon: 'add',
      kind: 'small',
      onclick: () => {
        lines.append(line({ key: '', value: '' }));
        lines.lastElementChild?.querySelector('input')?.focus();
      },
    }),
  );
  const present = () =>
    [...lines.children]
      .map((each) => {
        const [key, value] = each.querySelectorAll('input');
        return { key: key.value.trim(), value: value.value };
      })
      .filter((pair) => pair.key);
  const send = () => settings.edit(path, present());

  function line(pair) {
    const made = el(
      'div',
      { class: 'og-pair' },
      el('input', {
        type: 'text',
        class: 'og-text',
        value: textOf(pair.key),
        placeholder: 'name',
        'aria-label': 'Name',
        spellcheck: 'false',
        onchange: send,
      }),
      el('input', {
        type: 'text',
        class: 'og-text',
        value: textOf(pair.value),
        placeholder: 'value',
        'aria-label': 'Value',
        spellcheck: 'false',
        onchange: send,
      }),
      button('', {
        icon: 'trash',
        title: 'Remove row',
        kind: 'quiet small',
        onclick: () => {
          made.remove();
          send();
        },
      }),
    );
    return made;
  }
  return {
    node,
    wide: true,
    put() {
      const value = settings.shownValue(path) || [];
      if (node.contains(document.activeElement) || same(value, present())) return;
      lines.replaceChildren(...value.map(line));
    },
  };
}

/** A list or object as JSON. A text that is none stays as it was typed, with what is wrong below it. */
export function json(settings, field) {
  const { path } = field;
  const nullable = [field.schema.type].flat().includes('null');
  const input = el('textarea', {
    rows: 3,
    class: 'og-json',
    id: idOf(path),
    spellcheck: 'false',
    autocomplete: 'off',
    placeholder: nullable ? 'Default' : undefined,
    dataset: { path, kind: 'json', ...(nullable ? { nullable: 'yes' } : {}) },
    'aria-describedby': `${idOf(path)}-help ${idOf(path)}-error`,
  });
  return {
    node: input,
    wide: true,
    put() {
      if (document.activeElement === input && settings.drafts.get(path)?.state === 'typing') return;
      const value = settings.shownValue(path);
      if (!same(read(input), value)) input.value = typeof value === 'string' ? value : value === null ? '' : jsonOf(value);
    },
  };
}

const TRUTH = { true: true, false: false };

/** An object with fixed keys: an input for each applicable key. An empty input means the default. */
export function map(settings, field) {
  const { path, schema } = field;
  const node = el('div', { class: 'og-map', role: 'group', 'aria-label': field.label });
  const keys = () => Object.entries(schema['x-keys']).filter(([, key]) => settings.applies({ shown: key['x-shown'] || {} }));
  const usual = () => settings.schema['x-optimizers'][settings.value('optimizer.optimizer')]?.auxiliary || {};

  function send(key, of, text) {
    const value = { ...(settings.shownValue(path) || {}) };
    const number = Number(text.trim().replace(',', '.'));
    if (text.trim() === '') delete value[key];
    else if ([of.type].flat().includes('boolean')) value[key] = TRUTH[text];
    else value[key] = [of.type].flat().includes('string') || Number.isNaN(number) ? text : number;
    settings.edit(path, value);
  }
  function line([key, of]) {
    const held = settings.shownValue(path)?.[key];
    const normal = shownAs(usual()[key]);
    const onchange = ({ target }) => send(key, of, target.value);
    const boolean = [of.type].flat().includes('boolean');
    const input = boolean
      ? el(
          'select',
          { onchange },
          el('option', { value: '', text: `default (${normal})` }),
          el('option', { value: 'true', text: 'on' }),
          el('option', { value: 'false', text: 'off' }),
        )
      : el('input', {
          type: 'text',
          class: 'og-number',
          placeholder: `default: ${normal}`,
          spellcheck: 'false',
          autocomplete: 'off',
          onchange,
        });
    input.value = textOf(held);
    return el('label', { class: 'og-field', title: of.description }, el('span', { class: 'og-label', text: of.title }), input);
  }
  let drawn = '';
  return {
    node,
    wide: true,
    put() {
      const key = JSON.stringify([settings.value('optimizer.optimizer'), settings.shownValue(path)]);
      if (drawn === key || node.contains(document.activeElement)) return;
      drawn = key;
      node.replaceChildren(...keys().map(line));
    },
  };
}
