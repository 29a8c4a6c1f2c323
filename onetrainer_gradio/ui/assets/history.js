// The Runs tab: the table of all runs, the page of one run, and several runs in one chart. The address names which of them is open.

import { el } from './dom.js';
import { COMPARE, placeOf, TAB } from './run-address.js';
import { sheet } from './sheet.js';

export async function mount(place) {
  await sheet('history.css');
  const list = el('div', { class: 'og-history-list' });
  const page = el('div', { class: 'og-history-page', hidden: true });
  place.append(el('h1', { class: 'og-sr', text: 'Runs' }), list, page);
  const { mountTable } = await import('./run-table.js');
  const table = mountTable(list);
  let shown = '';
  let close = () => {};

  async function show() {
    const found = placeOf(location.hash);
    const key = found ? found.join('/') : shown;
    if (!found || key === shown) return;
    shown = key;
    close();
    close = () => {};
    const [first, second] = found;
    // the queue is above the table, not above the page of a run
    const queue = document.getElementById('og-queue');
    if (queue) queue.style.display = first ? 'none' : '';
    list.hidden = Boolean(first);
    page.hidden = !first;
    page.replaceChildren();
    if (!first) {
      table.load();
      return;
    }
    const build =
      first === COMPARE
        ? (await import('./overlay.js')).mountComparison(page, second.split(',').filter(Boolean))
        : (await import('./run-page.js')).mountRun(page, first, second);
    if (shown === key) close = build;
    else build();
    page.querySelector('h2')?.focus({ preventScroll: true });
  }
  document.addEventListener('og-runs-address', show);
  window.addEventListener('popstate', show);
  // returning to this tab shows what was open, and the address reflects it
  document.addEventListener('og-tab', (/** @type {any} */ { detail }) => {
    if (detail !== TAB) return;
    if (location.hash === `#${TAB}` && shown.replace('/', ''))
      history.replaceState(null, '', `#${TAB}/${shown}`.replace(/\/$/, ''));
    show();
  });
  await show();
}
