// One setting as a row: label, help text, control, reset button of a changed value, and errors.

import { idOf, secret, single } from './control.js';
import { button, el, setText, setVisible } from './dom.js';
import { json, list, map, pairs } from './lists.js';
import { message } from './message.js';
import { shownAs, textOf } from './settings.js';

const EDITORS = { json, map, pairs, secret };

// settings with a preview of their effect below them, loaded when they come into view
const WITH_CONSEQUENCES = new Set([
  'batch_size',
  'timestep_distribution',
  'layer_filter_preset',
  'quantization.layer_filter_preset',
]);

// the same, loaded when asked for: they are in the first view
const ON_REQUEST = { base_model_name: 'Estimate VRAM' };

function consequences(settings, path) {
  const place = el('div', { class: 'og-below' });
  const load = () => import('./editors.js').then(({ below }) => below(settings, path, place));
  if (ON_REQUEST[path]) place.append(button(ON_REQUEST[path], { kind: 'small', onclick: load }));
  else load();
  return place;
}

/** The row of a field. `settings` holds the values; `prefix` is the list element that its conditions refer to. */
export function row(settings, field, prefix = '') {
  if (field.kind === 'list') return list(settings, field, row);
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
    button('', { icon: 'folder', kind: 'quiet small', title: `Browse: ${field.label}`, onclick: choose });
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
  const below = (WITH_CONSEQUENCES.has(path) || ON_REQUEST[path]) && consequences(settings, path);
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
    setVisible(back, changed);
    setVisible(was, changed);
    if (changed) {
      const before = [
        [path, field],
        [field.unitOf, unitField],
      ]
        .filter(([each]) => each)
        .map(([each, at]) => shownAs(settings.baseValue(each), at.schema))
        .join(' ');
      setText(was, `was ${before}`);
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
    if (draft?.state === 'unsent') lines.push(el('p', { class: 'warn', text: 'Not saved yet. Waiting to reconnect.' }));
    const key = JSON.stringify([found, draft?.state === 'unsent']);
    if (errors.dataset.key !== key) {
      errors.dataset.key = key;
      errors.replaceChildren(...lines);
    }
    const why = settings.whyNot(field, prefix);
    node.classList.toggle('off', Boolean(why));
    setVisible(note, Boolean(why));
    if (why) setText(note, `Not used: ${why}.`);
    else if (field.schema['x-lacking']) {
      setVisible(note, true);
      setText(note, `${settings.schema['x-follows'].title} doesn’t support this setting and ignores it.`);
    }
    if (below) below.update?.();
  };
  node.update();
  return node;
}
