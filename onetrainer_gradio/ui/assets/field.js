// One setting as a row: label, help text, control, reset button of a changed value, and errors.

import { list } from './card-list.js';
import { idOf, secret, single } from './control.js';
import { button, el, setText, setVisible } from './dom.js';
import { json, map, pairs } from './lists.js';
import { may } from './live.js';
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
/** @type {Record<string, string>} */
const ON_REQUEST = { base_model_name: 'Estimate VRAM' };

function consequences(settings, path) {
  const place = el('div', { class: 'og-below' });
  const load = () => import('./editors.js').then(({ below }) => below(settings, path, place));
  if (ON_REQUEST[path]) place.append(button(ON_REQUEST[path], { kind: 'small', onclick: load }));
  else if (may('operator')) load();
  return place;
}

/** The search for a base model, which loads when asked for. */
function hubSearch(settings, path) {
  const place = el('div', { class: 'og-below' });
  const load = () => import('./hub-search.js').then(({ searchFor }) => searchFor(place, settings, path));
  place.append(button('Search the Hugging Face Hub', { kind: 'small', onclick: load }));
  return place;
}

/**
 * The row of a field. `settings` holds the values; `prefix` is the list element that its conditions refer to.
 * @param {any} settings
 * @param {any} field
 * @returns {Element}
 */
export function row(settings, field, prefix = '') {
  if (field.kind === 'list') return list(settings, field, row);
  const made = new Row(settings, field, prefix);
  made.node.update = () => made.update();
  made.update();
  return made.node;
}

class Row {
  /**
   * @param {any} settings
   * @param {any} field
   * @param {string} prefix
   */
  constructor(settings, field, prefix) {
    this.settings = settings;
    this.field = field;
    this.prefix = prefix;
    this.editor = (EDITORS[field.kind] || single)(settings, field, prefix);
    this.unitField = field.unitOf && settings.fieldAt(field.unitOf);
    this.unit = this.unitField && single(settings, this.unitField, prefix);
    this.unit?.node.setAttribute('aria-label', `${field.label}: unit`);
    this.errors = el('div', { class: 'og-errors', id: `${idOf(field.path)}-error` });
    const reset = () => this.reset();
    this.back = button('', { icon: 'reset', kind: 'quiet small og-reset', title: 'Reset', onclick: reset });
    this.note = el('p', { class: 'og-note', hidden: true });
    this.was = el('p', { class: 'og-was', hidden: true });
    this.node = this.layout();
    const { path } = field;
    this.below = (WITH_CONSEQUENCES.has(path) || ON_REQUEST[path]) && consequences(settings, path);
    if (this.below) this.node.append(this.below);
    if (path === 'base_model_name') this.node.append(hubSearch(settings, path));
  }

  layout() {
    const { path, label, help, schema, kind } = this.field;
    const input = this.editor.node;
    const choose = () => this.choose();
    const browse = { icon: 'folder', kind: 'quiet small', title: `Browse: ${label}`, onclick: choose };
    return el(
      'div',
      { class: this.editor.wide ? 'og-row wide' : 'og-row', dataset: { row: path } },
      el(
        'div',
        { class: 'og-row-words' },
        el(input.id ? 'label' : 'span', { class: 'og-label', for: input.id || undefined, text: label, title: path }),
        el('p', { class: 'og-help', id: `${idOf(path)}-help`, text: help }),
        this.note,
      ),
      el(
        'div',
        { class: 'og-row-control' },
        el(
          'div',
          { class: 'og-control' },
          input,
          this.unit?.node,
          schema['x-unit'] && el('span', { class: 'og-muted', text: schema['x-unit'] }),
          kind === 'path' && button('', browse),
          this.back,
        ),
        this.was,
        this.errors,
      ),
    );
  }

  reset() {
    const { settings, field } = this;
    const paths = [field.path, field.unitOf, ...Object.values(field.schema['x-writes'] || {})].filter(
      (each) => each && settings.changed(each),
    );
    settings.editTogether(Object.fromEntries(paths.map((each) => [each, settings.baseValue(each)])), 'reset');
  }

  async choose() {
    const { settings, field } = this;
    const { choosePath } = await import('./files.js');
    const { path, label: title } = field;
    const now = textOf(settings.shownValue(path));
    const chosen = await choosePath({ title, wants: field.schema['x-path'], path: now, setting: path });
    if (chosen !== null) settings.edit(path, chosen);
  }

  /** Bring the row up to date with the settings, without touching what is being typed. */
  update() {
    const { settings, field, unitField, node } = this;
    this.editor.put();
    this.unit?.put();
    const changed = settings.changed(field.path) || Boolean(unitField && settings.changed(unitField.path));
    node.classList.toggle('changed', changed);
    setVisible(this.back, changed);
    setVisible(this.was, changed);
    if (changed) this.before();
    this.wrong();
    const why = settings.whyNot(field, this.prefix);
    node.classList.toggle('off', Boolean(why));
    const lacking = `${settings.schema['x-follows']?.title} doesn’t support this setting and ignores it.`;
    setVisible(this.note, Boolean(why || field.schema['x-lacking']));
    if (why) setText(this.note, `Not used: ${why}.`);
    else if (field.schema['x-lacking']) setText(this.note, lacking);
    if (this.below) this.below.update?.();
  }

  /** What a changed setting was. */
  before() {
    const { settings, field, unitField } = this;
    const values = [shownAs(settings.baseValue(field.path), field.schema)];
    if (field.unitOf) values.push(shownAs(settings.baseValue(field.unitOf), unitField.schema));
    const before = values.join(' ');
    setText(this.was, `was ${before}`);
    const title = `Reset to ${before}`;
    this.back.title = title;
    this.back.setAttribute('aria-label', `${field.label}: ${title}`);
  }

  /** What is wrong with the value, or that it isn't saved yet. */
  wrong() {
    const { settings, field, unitField, errors } = this;
    const { path } = field;
    /** @type {any[]} */
    const found = [...settings.errorsAt(path), ...(unitField ? settings.errorsAt(unitField.path) : [])];
    const wrong = found.some(({ severity }) => severity !== 'warning' && severity !== 'note');
    if (wrong) this.editor.node.setAttribute('aria-invalid', 'true');
    else this.editor.node.removeAttribute('aria-invalid');
    const unsent = settings.drafts.get(path)?.state === 'unsent';
    const key = JSON.stringify([found, unsent]);
    if (errors.dataset.key === key) return;
    errors.dataset.key = key;
    errors.replaceChildren(...found.map((error) => message(settings, path, error)));
    if (unsent) errors.append(el('p', { class: 'warn', text: 'Not saved yet. Waiting to reconnect.' }));
  }
}
