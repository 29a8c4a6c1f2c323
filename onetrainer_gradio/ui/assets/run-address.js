// Addresses of the Runs tab: the table, the page of a run, a comparison.

import { el } from './dom.js';

export const TAB = 'runs';
export const COMPARE = 'compare';
export const TRY = 'try';

/** What an address of this tab names: `['']` the table, `['ID']` a run (`['ID', 'try']`: its section Try it), `['compare', 'ID,ID']` a comparison. */
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
