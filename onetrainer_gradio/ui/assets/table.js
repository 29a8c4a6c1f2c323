// Tables: the head with its columns, and differences between two configurations.

import { el, format } from './dom.js';
import { methodName } from './words.js';

const MAX_SHOWN = 300;
const MAX_CHARACTERS = 160; // of a value; its tooltip has all of it

/** The head of a table. @param {string[]} titles */
export const tableHead = (titles) =>
  el(
    'thead',
    {},
    el(
      'tr',
      {},
      titles.map((text) => el('th', { scope: 'col', text })),
    ),
  );

/** A value of a setting as text. */
export function settingText(path, value) {
  if (value === null || value === undefined) return '–';
  if (path === 'training_method') return methodName(value);
  if (typeof value === 'boolean') return value ? 'On' : 'Off';
  if (typeof value === 'number') return format.number(value);
  return typeof value === 'string' ? value || '(empty)' : JSON.stringify(value);
}

function valueCell(path, value) {
  const text = settingText(path, value);
  const cut = text.length > MAX_CHARACTERS;
  return el('td', cut ? { title: text, text: `${text.slice(0, MAX_CHARACTERS)}…` } : { text });
}

/** Rows of differences between two sources with the titles `left` and `right`. */
export function differenceTable(differences, left, right) {
  const more = differences.length - MAX_SHOWN;
  return el(
    'div',
    { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Differences' },
    el(
      'table',
      { class: 'og-table og-difference-table' },
      tableHead(['Setting', left, right]),
      el(
        'tbody',
        {},
        differences
          .slice(0, MAX_SHOWN)
          .map(({ path, title, before, after }) =>
            el(
              'tr',
              {},
              el('th', { scope: 'row', title: path, text: title || path }),
              valueCell(path, before),
              valueCell(path, after),
            ),
          ),
      ),
    ),
    more > 0 ? el('p', { class: 'og-muted og-small', text: `and ${more} more` }) : '',
  );
}
