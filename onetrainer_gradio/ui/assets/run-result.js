// Make a save or backup of a run its result, and undo that.

import { button, confirmed, el, setText, toast } from './dom.js';
import { api } from './live.js';
import { pathLine } from './path-line.js';

const pathOf = (id) => `api/runs/${encodeURIComponent(id)}/result`;

/** Update everything on the page that shows the result of a run. */
const changed = (id, result) => document.dispatchEvent(new CustomEvent('og-result', { detail: { id, result } }));

/** Ask, and make a file of a run its result. */
export async function makeResult(id, { id: file, name }) {
  const text = 'It is copied to the output path. The earlier result is kept next to it, and you can undo this.';
  if (!(await confirmed(`Make “${name}” the result?`, text, 'Make it the result'))) return;
  try {
    const result = await api('POST', pathOf(id), { file });
    toast('Result changed.');
    for (const warning of [result.changes.at(-1)?.warning].filter(Boolean)) toast(warning, 'warn');
    changed(id, result);
  } catch (error) {
    toast(error.whole || error.message, 'bad');
  }
}

/** Where the result is, what it was made from, and a button that undoes a change. `results` are the models, saves and backups of the run. */
export async function resultOf(id, results, ready) {
  const place = el('div', { class: 'og-result' });
  const what = el('p', { role: 'status' });
  async function undo() {
    try {
      changed(id, await api('DELETE', pathOf(id)));
      toast('Earlier result restored.');
    } catch (error) {
      toast(error.whole || error.message, 'bad');
    }
  }
  function draw(result) {
    const current = results.find((file) => file.id === result.file);
    const { earlier = '' } = result.changes.at(-1) || {};
    setText(what, current ? `The result is ${nameOf(current)}.` : 'The file at the output path isn’t from this run.');
    place.replaceChildren(
      ...[
        what,
        pathLine(result.path),
        earlier && el('span', { class: 'og-muted og-small', text: 'The earlier result:' }),
        earlier && pathLine(earlier),
        result.changes.length && button('Undo', { icon: 'undo', kind: 'small', 'data-og-needs': 'operator', onclick: undo }),
      ].filter(Boolean),
    );
    ready(result);
  }
  document.addEventListener('og-result', (/** @type {any} */ { detail }) => {
    if (detail.id === id && place.isConnected) draw(detail.result);
  });
  draw(await api('GET', pathOf(id)));
  return place;
}

/** A model, save or backup in a list. */
export const nameOf = (file) =>
  `${{ model: 'the final model', save: 'the save', backup: 'the backup' }[file.kind]} ${file.name} (step ${file.global_step})`;
