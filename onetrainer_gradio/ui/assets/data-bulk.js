// Change many captions at once, with a preview of what would change.

import { button, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';

// kind of a change -> its title and the fields that it needs
const KINDS = {
  replace: ['Find and replace', ['find', 'to', 'match_case', 'whole_word']],
  add_tags: ['Add tags', ['tags', 'first']],
  remove_tags: ['Remove tags', ['tags']],
  rename_tag: ['Rename a tag', ['find', 'to']],
  order_tags: ['Order tags', ['tags']],
  trigger: ['Trigger word first', ['to']],
  remove_duplicates: ['Remove duplicate tags', []],
  set: ['Replace the whole caption', ['to']],
};
const LABELS = {
  find: 'Find',
  to: 'New text',
  tags: 'Tags, separated by commas',
  first: 'Add at the start',
  match_case: 'Match case',
  whole_word: 'Whole words only',
};
const SWITCHES = new Set(['first', 'match_case', 'whole_word']);

function control(name) {
  const input = el('input', { type: SWITCHES.has(name) ? 'checkbox' : 'text', id: `og-bulk-${name}`, class: 'og-text' });
  const label = el('label', { for: input.id, text: LABELS[name] });
  const switched = SWITCHES.has(name);
  return {
    input,
    node: el('div', { class: switched ? 'og-inline' : 'og-data-field' }, switched ? [input, label] : [label, input]),
  };
}

const value = (name, input) => {
  if (SWITCHES.has(name)) return input.checked;
  if (name !== 'tags') return input.value;
  return input.value
    .split(',')
    .map((tag) => tag.trim())
    .filter(Boolean);
};

function shown(example) {
  return el(
    'li',
    {},
    el('span', { class: 'og-muted og-small', text: example.path }),
    el('del', { text: example.before || 'No caption' }),
    el('ins', { text: example.after || 'Empty' }),
  );
}

/**
 * Open the dialog; `body` selects the images, `preset` fills it. `changed()` is called after a change.
 * @param {{ body: any, count: number, changed: () => void, preset?: Record<string, string> }} options
 */
export function openBulk({ body, count, changed, preset = {} }) {
  const kind = el(
    'select',
    { id: 'og-bulk-kind', onchange: draw },
    Object.entries(KINDS).map(([key, [title]]) => el('option', { value: key, text: title })),
  );
  const controls = Object.fromEntries(Object.keys(LABELS).map((name) => [name, control(name)]));
  const examples = el('ul', { class: 'og-data-examples' });
  const statusLine = el('p', { role: 'status', class: 'og-muted' });
  const apply = button('Change captions', { kind: 'primary', onclick: () => send(false) });

  const edit = () => ({
    kind: kind.value,
    ...Object.fromEntries(KINDS[kind.value][1].map((name) => [name, value(name, controls[name].input)])),
  });
  async function send(preview) {
    try {
      const answer = await api('POST', 'api/datasets/captions/change', { ...body, edit: edit(), preview });
      if (!preview) {
        toast(`${format.count(answer.changed)} ${answer.changed === 1 ? 'caption' : 'captions'} changed.`);
        dialog.close();
        changed();
        return;
      }
      setText(
        statusLine,
        `${format.count(answer.changed)} of ${format.count(answer.changed + answer.unchanged)} captions would change.`,
      );
      examples.replaceChildren(...answer.examples.map(shown));
    } catch (error) {
      setText(statusLine, error.message);
      examples.replaceChildren();
    }
  }
  function draw() {
    for (const [name, { node }] of Object.entries(controls)) setVisible(node, KINDS[kind.value][1].includes(name));
    setText(statusLine, '');
    examples.replaceChildren();
  }
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-data-bulk', 'aria-label': 'Edit captions' },
    el('h2', { text: `Edit captions of ${format.count(count)} ${count === 1 ? 'image' : 'images'}` }),
    el('div', { class: 'og-data-field' }, el('label', { for: 'og-bulk-kind', text: 'Change' }), kind),
    Object.values(controls).map(({ node }) => node),
    statusLine,
    examples,
    el(
      'div',
      { class: 'og-dialog-buttons' },
      button('Cancel', { onclick: () => dialog.close() }),
      button('Preview', { onclick: () => send(true) }),
      apply,
    ),
  );
  kind.value = preset.kind || 'replace';
  for (const [name, text] of Object.entries(preset)) if (controls[name]) controls[name].input.value = text;
  draw();
  openDialog(dialog);
}
