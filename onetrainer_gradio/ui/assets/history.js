// The Runs tab: the table of all runs, the page of one run, and several runs in one chart. The address names which of them is open.

import { el } from './dom.js';
import { sheet } from './sheet.js';

const TAB = 'runs';
const COMPARE = 'compare';

/** What an address of this tab names: `['']` the table, `['ID']` a run, `['compare', 'ID,ID']` a comparison. */
export const placeOf = (hash) => {
  const [tab, ...rest] = hash.slice(1).split('/').map(decodeURIComponent);
  return tab === TAB ? [rest[0] || '', rest[1] || ''] : null;
};

export const addressOf = (runId) => `#${TAB}/${encodeURIComponent(runId)}`;
export const comparisonOf = (ids) => `#${TAB}/${COMPARE}/${encodeURIComponent(ids.join(','))}`;

/** Go to an address of this tab, as a link does. */
export function go(address) {
  if (location.hash !== address) history.pushState(null, '', address);
  document.dispatchEvent(new CustomEvent('og-runs-address'));
}

/** A link to a page of this tab. */
export function pageLink(address, text, attributes = {}) {
  return el('a', {
    href: address,
    text,
    ...attributes,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      go(address);
    },
  });
}

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
        : (await import('./run-page.js')).mountRun(page, first);
    if (shown === key) close = build;
    else build();
    page.querySelector('h2')?.focus({ preventScroll: true });
  }
  document.addEventListener('og-runs-address', show);
  window.addEventListener('popstate', show);
  // who comes back to this tab finds what was open, and the address says so
  document.addEventListener('og-tab', (/** @type {any} */ { detail }) => {
    if (detail !== TAB) return;
    if (location.hash === `#${TAB}` && shown.replace('/', ''))
      history.replaceState(null, '', `#${TAB}/${shown}`.replace(/\/$/, ''));
    show();
  });
  await show();
}
