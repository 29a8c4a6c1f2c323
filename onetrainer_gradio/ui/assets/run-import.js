// Add runs that OneTrainer made elsewhere, from its workspace folder.

import { button, el, format, openDialog, setText, toast } from './dom.js';
import { labeled } from './labeled.js';
import { api } from './live.js';

export function openImport(added) {
  const input = el('input', {
    type: 'text',
    required: true,
    spellcheck: 'false',
    autocomplete: 'off',
    'aria-describedby': 'og-import-error',
  });
  const wrong = el('p', { class: 'bad', id: 'og-import-error', role: 'alert' });
  const found = el('div', { class: 'og-import-list' });
  const look = button('Look for runs', { type: 'submit' });
  const add = button('Add', { kind: 'primary', disabled: true, onclick: take });
  const form = el(
    'form',
    { onsubmit: search },
    el('h2', { text: 'Add OneTrainer runs' }),
    el('p', {
      text: 'Shows the curves, samples, backups and settings of runs that OneTrainer made elsewhere. Nothing in its folder is changed.',
    }),
    labeled('Workspace folder', input),
    wrong,
    el('div', { class: 'og-buttons' }, look),
    found,
    el('div', { class: 'og-dialog-buttons' }, button('Cancel', { onclick: () => dialog.close() }), add),
  );
  const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Add OneTrainer runs' }, form);
  const chosen = () => [...found.querySelectorAll('input:checked')].map((/** @type {any} */ box) => box.value);

  async function search(event) {
    event.preventDefault();
    setText(wrong, '');
    try {
      const { starts } = await api('GET', `api/runs/workspace?${new URLSearchParams({ workspace: input.value.trim() })}`);
      found.replaceChildren(...starts.map((start) => line(start, update)));
      update();
    } catch (error) {
      found.replaceChildren();
      update();
      setText(wrong, error.whole || error.message);
    }
  }

  function update() {
    add.disabled = !chosen().length;
  }

  async function take() {
    add.disabled = true;
    setText(add.lastChild, 'Reading…');
    try {
      const reply = await api('POST', 'api/runs/workspace', { workspace: input.value.trim(), names: chosen() });
      toast(`${format.count(reply.added.length)} added, ${format.count(reply.updated.length)} read again.`);
      dialog.close();
      added();
    } catch (error) {
      setText(wrong, error.whole || error.message);
    }
    setText(add.lastChild, 'Add');
    update();
  }
  openDialog(dialog);
  input.focus();
}

/** A run that was found; what is there already is marked. */
function line({ name, at, chart_bytes: charts, samples, backups, added: known, own }, update) {
  const facts = [
    format.time(at),
    charts ? `${format.bytes(charts)} of charts` : 'no charts',
    `${format.count(samples)} samples`,
    `${format.count(backups)} backups`,
    own && 'a run of this panel',
    known && 'added, will be read again',
  ];
  return el(
    'label',
    { class: 'og-import-line' },
    el('input', { type: 'checkbox', value: name, checked: !own, disabled: own, onchange: update }),
    el(
      'span',
      {},
      el('b', { text: name }),
      el('span', { class: 'og-muted og-small', text: ` ${facts.filter(Boolean).join(' · ')}` }),
    ),
  );
}
