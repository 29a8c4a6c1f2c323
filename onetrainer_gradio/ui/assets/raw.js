// View and edit the settings as OneTrainer JSON. The server validates them.

import { button, el, openDialog, toast } from './dom.js';
import { api, placed } from './live.js';
import { same } from './settings.js';

export function openRaw(settings) {
  const before = settings.document.config;
  const { revision } = settings.document;
  const text = el('textarea', {
    class: 'og-raw',
    spellcheck: 'false',
    'aria-label': 'Settings as JSON',
    value: JSON.stringify(before, null, 4),
  });
  const errors = el('div', { class: 'og-errors', role: 'status' });
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-raw-dialog', 'aria-label': 'Settings as JSON' },
    el('h2', { text: 'Settings as JSON' }),
    text,
    errors,
    el(
      'div',
      { class: 'og-dialog-buttons' },
      button('Cancel', { onclick: () => dialog.close() }),
      button('Apply', { kind: 'primary', onclick: apply }),
    ),
  );
  const refuse = (...lines) => errors.replaceChildren(...lines.slice(0, 12).map((line) => el('p', { class: 'bad', text: line })));

  async function apply() {
    let wanted;
    try {
      wanted = JSON.parse(text.value);
    } catch (error) {
      refuse(`Invalid JSON: ${error.message}`);
      return;
    }
    const missing = Object.keys(before).filter((key) => !(key in wanted));
    if (missing.length) {
      refuse(`Missing settings: ${missing.join(', ')}.`);
      return;
    }
    const changes = Object.fromEntries(Object.entries(wanted).filter(([key, value]) => !same(value, before[key])));
    if (!Object.keys(changes).length) {
      dialog.close();
      return;
    }
    try {
      const answer = await api('PATCH', 'api/config/current', { revision, changes });
      await settings.take(answer);
      dialog.close();
      toast('Settings updated.');
    } catch (error) {
      refuse(...(error.errors.length ? error.errors.map(placed) : [error.message]));
    }
  }
  openDialog(dialog);
  text.focus();
  text.setSelectionRange(0, 0);
  text.scrollTop = 0;
}
