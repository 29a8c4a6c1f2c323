// Dialogs for saved configurations: save as, rename, duplicate, export.

import { button, confirmed, el, icon, openDialog } from './dom.js';
import { labeled } from './labeled.js';
import { api, url } from './live.js';
import { sheet } from './sheet.js';

await sheet('manage.css');

/** Ask for a name and run `act` with it. If that fails, the dialog stays open and shows the reason. */
export function named(title, value, yes, act) {
  return new Promise((resolve) => {
    /** @type {any} */
    let result = null;
    const input = el('input', {
      type: 'text',
      value,
      required: true,
      maxlength: 80,
      id: 'og-save-name',
      spellcheck: 'false',
      autocomplete: 'off',
      'aria-describedby': 'og-save-error',
    });
    const wrong = el('p', { class: 'bad', id: 'og-save-error', role: 'alert' });
    const form = el(
      'form',
      { method: 'dialog', onsubmit: submit },
      el('h2', { text: title }),
      labeled('Name', input),
      el('div', { class: 'og-errors' }, wrong),
      el(
        'div',
        { class: 'og-dialog-buttons' },
        button('Cancel', { onclick: () => dialog.close() }),
        el('button', { class: 'og-button primary', type: 'submit', text: yes }),
      ),
    );
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': title }, form);
    async function submit(event) {
      event.preventDefault();
      const name = input.value.trim();
      if (!name) return;
      try {
        result = await act(name);
        if (result !== null) dialog.close();
      } catch (error) {
        wrong.textContent = error.message;
        input.setAttribute('aria-invalid', 'true');
        input.select();
      }
    }
    openDialog(dialog, () => resolve(result));
    input.focus();
    input.select();
  });
}

/** Save the settings under a name; confirm before overwriting. Resolves to the name, or null. */
export function saveAs(settings, value) {
  return named('Save as', value, 'Save', async (name) => {
    const save = (over) => settings.whole('POST', 'api/config/save', { name, over });
    try {
      return (await save(false)).name;
    } catch (error) {
      if (error.status !== 409) throw error;
      const question = await confirmed(
        `Overwrite “${error.errors[0]?.value || name}”?`,
        'A saved configuration with this name already exists. Its contents will be replaced.',
        'Overwrite',
      );
      return question ? (await save(true)).name : null;
    }
  });
}

export const rename = (name) =>
  named('Rename', name, 'Rename', async (to) => (await api('POST', 'api/config/rename', { name, to })).name);

/** Save a copy, by default under the name that the server would choose. */
export function duplicate({ name, kind }) {
  const base = name.replaceAll('#', '').replaceAll('/', ' ');
  return named(
    'Save a copy',
    `${base} copy`,
    'Save',
    async (to) => (await api('POST', 'api/config/duplicate', { name, kind, to })).name,
  );
}

/** Export settings as a file, in one of two forms; without `item`, the settings in the form. */
export function exportDialog(item) {
  const query = (packed) =>
    `api/config/export?${new URLSearchParams({ packed, ...(item ? { name: item.name, kind: item.kind } : {}) })}`;
  const choice = (packed, title, text) =>
    el(
      'a',
      { class: 'og-choice', href: url(query(packed)), download: '', onclick: () => setTimeout(() => dialog.close()) },
      icon('download'),
      el('span', {}, el('b', { text: title }), el('span', { class: 'og-muted og-small', text })),
    );
  const dialog = el(
    'dialog',
    { class: 'og-dialog', 'aria-label': 'Export' },
    el('h2', { text: item ? `Export “${item.name}”` : 'Export' }),
    choice(true, 'All-in-one file', 'Settings, concepts and sample prompts in one file.'),
    choice(false, 'Settings only', 'Without concepts and sample prompts, like OneTrainer’s presets.'),
    el('p', { class: 'og-muted og-small', text: 'OneTrainer opens both. Neither contains secrets.' }),
    el('div', { class: 'og-dialog-buttons' }, button('Cancel', { onclick: () => dialog.close() })),
  );
  openDialog(dialog);
}
