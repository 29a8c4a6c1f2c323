// What stands above the settings: open, undo, save, import, export, reset.

import { api, on, url } from './live.js';
import { button, confirmed, el, icon, openDialog, say, show, toast } from './dom.js';

const loadPath = (name) => `api/config/load/${name.split('/').map(encodeURIComponent).join('/')}`;

export function toolbar(settings) {
  const name_ = el('span', { class: 'og-open-name' });
  const pick = el('button', { type: 'button', id: 'og-config', class: 'og-button', 'aria-haspopup': 'dialog', onclick: browse }, icon('file'), el('span', { class: 'og-sr', text: 'Open a preset or saved configuration, now: ' }), name_, icon('down'));
  const changes = el('span', { class: 'og-muted og-small', role: 'status' });
  const file = el('input', { type: 'file', accept: '.json,application/json', hidden: true, 'aria-label': 'Settings file', onchange: () => importFile(file.files[0]) });
  const undo = button('', { icon: 'undo', title: 'Undo', kind: 'small quiet', onclick: () => settings.again('undo') });
  const redo = button('', { icon: 'redo', title: 'Redo', kind: 'small quiet', onclick: () => settings.again('redo') });
  const saveButton = button('Save', { kind: 'small', onclick: () => save(settings.document.name) });
  const removeButton = button('', { icon: 'trash', title: 'Delete this saved configuration', kind: 'small quiet', onclick: remove });
  let items = [];

  async function fill() {
    try {
      items = (await api('GET', 'api/config/list')).configs;
    } catch (error) {
      if (error.status !== 0) throw error;
      return;
    }
    state();
  }
  const current = () => items.find((item) => item.name === settings.document.name);

  function state() {
    const count = settings.changes().length;
    say(name_, settings.document.name || 'Open a preset …');
    say(changes, count ? `${count} changed` : current() ? 'unchanged' : '');
    saveButton.disabled = current()?.kind !== 'saved' || !count;
    undo.disabled = settings.past.length === 0;
    redo.disabled = settings.future.length === 0;
    show(removeButton, current()?.kind === 'saved');
  }

  async function attempt(action, done) {
    try {
      await action();
      if (done) toast(done);
      await fill();
    } catch (error) {
      toast([error.message, ...error.errors.map((each) => `${each.path}: ${each.message}`).filter((text) => !error.message.includes(text)).slice(0, 3)].join(' '), 'bad');
      state();
    }
  }

  async function browse() {
    const { openPresets } = await import('./presets.js');
    await fill();
    openPresets(settings, items, (name) => attempt(() => settings.whole('GET', loadPath(name)), `Opened ${name}.`));
  }
  async function raw() {
    const { openRaw } = await import('./raw.js');
    openRaw(settings);
  }
  async function save(name) {
    await attempt(() => settings.whole('POST', 'api/config/save', { name }), `Saved as ${name}.`);
  }
  function saveAs() {
    const input = el('input', { type: 'text', value: current()?.kind === 'saved' ? settings.document.name : '', required: true, maxlength: 120, id: 'og-save-name' });
    const form = el('form', { method: 'dialog', onsubmit: () => { const name = input.value.trim(); if (name) save(name); } },
      el('h2', { text: 'Save as' }), el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: 'Name' }), input),
      el('div', { class: 'og-dialog-buttons' }, button('Cancel', { onclick: () => dialog.close() }), el('button', { class: 'og-button primary', type: 'submit', text: 'Save' })));
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Save as' }, form);
    openDialog(dialog);
    input.focus();
  }
  async function importFile(chosen) {
    if (!chosen) return;
    const text = await chosen.text();
    file.value = '';
    await attempt(() => settings.whole('POST', 'api/config/import', text, { raw: true }), `Imported ${chosen.name}.`);
  }
  async function reset() {
    const name = current() ? settings.document.name : '';
    if (!await confirmed('Reset all settings?', `Everything goes back to ${name ? `“${name}”` : 'the defaults'}.`, 'Reset')) return;
    await attempt(() => (name ? settings.whole('GET', loadPath(name))
      : settings.whole('PUT', 'api/config/current', { config: { model_type: settings.value('model_type'), training_method: settings.value('training_method') }, name: null })));
  }
  async function remove() {
    const { name } = settings.document;
    if (!await confirmed(`Delete “${name}”?`, 'The saved configuration is removed; the settings in the form stay.', 'Delete')) return;
    await attempt(() => api('DELETE', `api/config/${encodeURIComponent(name)}`), `Deleted ${name}.`);
  }

  settings.listeners.add((what) => { if (what === 'document' || what === 'steps') state(); });
  on('connected', fill);
  state();
  fill();
  return el('div', { class: 'og-toolbar', role: 'group', 'aria-label': 'Open and save settings' },
    pick, undo, redo, changes, removeButton, el('span', { class: 'og-grow' }),
    saveButton, button('Save as …', { kind: 'small', onclick: saveAs }),
    button('Import', { icon: 'upload', kind: 'small', onclick: () => file.click() }), file,
    el('a', { class: 'og-button small', href: url('api/config/export'), download: 'onetrainer_config.json' }, icon('download'), el('span', { text: 'Export' })),
    button('JSON', { kind: 'small', title: 'Look at the settings as OneTrainer writes them, and edit them', onclick: raw }),
    button('Reset', { icon: 'reset', kind: 'small', onclick: reset }));
}
