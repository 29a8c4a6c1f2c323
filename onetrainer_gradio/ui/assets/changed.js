// Above the list of changed settings: what they are compared with, and a button to revert them all.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

await sheet('manage.css');

/** The controls of the view "Changed"; `{node, update}`. */
export function changedTools(settings) {
  const select = el('select', { 'aria-label': 'Compared with', onchange: () => choose(select.value) });
  const back = button('Revert all', {
    icon: 'reset',
    kind: 'small',
    title: 'Reset these settings to the values they are compared with',
    'data-og-needs': 'operator',
    onclick: all,
  });
  const node = el(
    'div',
    { class: 'og-since' },
    el('label', { class: 'og-inline' }, el('span', { text: 'Compared with' }), select),
    button('Compare side by side', {
      kind: 'small',
      onclick: async () =>
        (await import('./compare.js'))
          .openCompare(settings, settings.against || 'opened')
          .catch((error) => toast(error.message, 'bad')),
    }),
    back,
  );
  /** @type {any} */
  let last = null;

  async function choose(source) {
    await settings.compareWith(source);
  }

  /** A single change, which one undo reverts. */
  function all() {
    const was = Object.entries(settings.document.was || {}).filter(
      ([path]) => settings.rowOf(path) && settings.value(path) !== undefined,
    );
    if (was.length) settings.editTogether(Object.fromEntries(was), 'reset');
  }

  function update() {
    const options = [
      ['', settings.document.name ? `the opened configuration: ${settings.document.name}` : 'the opened configuration'],
    ];
    if (last) options.push(['run:latest', `the last run: ${last.name || last.id}, ${format.time(last.created_at)}`]);
    if (settings.against && !options.some(([value]) => value === settings.against))
      options.push([settings.against, settings.againstTitle || settings.against]);
    const key = JSON.stringify(options);
    if (select.dataset.rendered !== key) {
      select.dataset.rendered = key;
      select.replaceChildren(...options.map(([value, text]) => el('option', { value, text })));
    }
    if (select.value !== settings.against) select.value = settings.against;
    setVisible(back, settings.changes().length > 0);
  }

  api('GET', 'api/runs?limit=1')
    .then((answer) => {
      [last = null] = answer.runs || answer;
      update();
    })
    .catch((error) => {
      if (error.status) setText(node, error.message);
    });
  update();
  return { node, update };
}
