// Create a link: to the panel, the gallery or one run. The address and its QR code are shown once.

import { button, el, openDialog } from './dom.js';
import { choice, code, field, form, input, once, qr, sent } from './people-parts.js';
import { sheet } from './sheet.js';

const MAX_NAME = 80;

/** The form with the place for the new link; `created` follows. With `run`, the link opens this run. */
export function linkForm(created = () => {}, run = { id: '', name: '' }) {
  const shown = el('div', {});
  const shows = choice(['panel', 'gallery', 'run'], run.id ? 'run' : 'panel', { name: 'shows' });
  const id = input({ name: 'run_id', maxlength: 200, placeholder: 'ID of the run', value: run.id });
  const runField = field('Run', id);
  const follow = () => {
    runField.hidden = shows.value !== 'run';
  };
  shows.addEventListener('change', follow);
  follow();
  const parts = [
    field('Name', input({ name: 'name', required: true, maxlength: MAX_NAME, value: run.name.slice(0, MAX_NAME) })),
    field('Opens', shows),
    runField,
    field('Role', choice(['viewer', 'operator'], 'viewer', { name: 'role' })),
    field('Days', input({ name: 'days', type: 'number', min: 1, max: 366, value: 7 })),
  ];
  const add = form('Create link', parts, async (values) => {
    const body = { ...values, days: Number(values.days), run_id: values.shows === 'run' ? values.run_id : '' };
    const made = await sent('POST', 'api/links', body);
    if (!made) return;
    shown.replaceChildren(once('This is the link.', code(made.address), qr(made.qr)));
    await created();
  });
  return el('div', {}, shown, add);
}

/** Share a run: a dialog that creates a link to it. */
export async function share(id, name) {
  await sheet('people.css');
  const close = button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() });
  const text = 'The link opens this run without an account: its state, loss curve and samples. Revoke it under Account › Links.';
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-people', 'aria-label': 'Share run' },
    el('div', { class: 'og-dialog-head' }, el('h2', { class: 'og-grow', text: `Share “${name || id}”` }), close),
    el('p', { class: 'og-people-soft', text }),
    linkForm(undefined, { id, name: name || id }),
  );
  openDialog(dialog);
}
