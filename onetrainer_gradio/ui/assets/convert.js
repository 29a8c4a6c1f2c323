// Convert a LoRA of a run to another format: the format is chosen, the file is converted on the server and then downloaded.

import { button, el, format, icon, openDialog, setText } from './dom.js';
import { api, url } from './live.js';

/** The dialog for one file of a run; `formats` are those of the run's model type, `wanted` is the one to choose. */
export function openConvert(id, file, formats, wanted = '') {
  const select = el(
    'select',
    {},
    formats.map(({ value, label }) => el('option', { value, text: label })),
  );
  if (wanted) select.value = wanted;
  const found = el('div', { role: 'status' });
  const wrong = el('p', { class: 'bad', role: 'alert' });
  const start = el('button', { type: 'submit', class: 'og-button primary', text: 'Convert' });
  const dialog = el(
    'dialog',
    { class: 'og-dialog', 'aria-label': 'Convert LoRA' },
    el(
      'form',
      { onsubmit: convert },
      el('h3', { text: `Convert ${file.name}` }),
      el('p', { class: 'og-muted og-small', text: 'The file of the run is kept. Download the converted file below.' }),
      el('label', { class: 'og-inline' }, el('span', { text: 'Format' }), select),
      found,
      wrong,
      el('div', { class: 'og-buttons' }, start, button('Close', { onclick: () => dialog.close() })),
    ),
  );
  async function convert(event) {
    event.preventDefault();
    setText(wrong, '');
    start.disabled = true;
    found.replaceChildren(el('p', { class: 'og-muted', text: 'Converting…' }));
    const path = `api/runs/${encodeURIComponent(id)}/files/${encodeURIComponent(file.id)}/convert`;
    try {
      const done = await api('POST', path, { format: select.value });
      const link = el(
        'a',
        { class: 'og-file', href: url(done.download), download: done.name },
        icon('download'),
        el('span', { text: done.name }),
      );
      const about = `${format.bytes(done.bytes)} · ${format.count(done.tensors)} tensors`;
      found.replaceChildren(link, el('p', { class: 'og-muted og-small', text: about }));
      if (done.warning) found.append(el('p', { class: 'og-note', text: done.warning }));
    } catch (error) {
      found.replaceChildren();
      setText(wrong, error.whole || error.message);
    } finally {
      start.disabled = false;
    }
  }
  openDialog(dialog);
}
