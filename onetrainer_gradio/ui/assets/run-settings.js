// The settings of a run and how they differ from those of any other run, of the form, or of the defaults.

import { el, format, setText } from './dom.js';
import { api } from './live.js';
import { settingText } from './overlay.js';

const RUNS = 100;
const MOST_SHOWN = 300;

/** Rows of differences between two sources; `right` has the title of the second. */
export function differenceTable(differences, left, right) {
  return el(
    'div',
    { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Differences' },
    el(
      'table',
      { class: 'og-table og-difference-table' },
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          ['Setting', left, right].map((text) => el('th', { scope: 'col', text })),
        ),
      ),
      el(
        'tbody',
        {},
        differences
          .slice(0, MOST_SHOWN)
          .map(({ path, title, before, after }) =>
            el(
              'tr',
              {},
              el('th', { scope: 'row', title: path, text: title || path }),
              el('td', { text: settingText(path, before) }),
              el('td', { text: settingText(path, after) }),
            ),
          ),
      ),
    ),
    differences.length > MOST_SHOWN
      ? el('p', { class: 'og-muted og-small', text: `and ${differences.length - MOST_SHOWN} more` })
      : '',
  );
}

export async function differencesOf(place, id) {
  const { runs } = await api('GET', `api/runs?limit=${RUNS}&archived=all`);
  const option = (value, text) => el('option', { value, text });
  const against = el(
    'select',
    { onchange: draw },
    option('current', 'the form'),
    option('defaults', 'the defaults'),
    el(
      'optgroup',
      { label: 'Runs' },
      runs
        .filter((run) => run.id !== id)
        .map((run) => option(`run:${run.id}`, `${run.name || run.id}, ${format.time(run.created_at)}`)),
    ),
  );
  const count = el('p', { class: 'og-muted og-small', role: 'status' });
  const body = el('div');
  place.append(el('label', { class: 'og-inline' }, el('span', { text: 'Compare with' }), against), count, body);
  let asked = 0;
  async function draw() {
    asked += 1;
    const mine = asked;
    const query = new URLSearchParams({ left: `run:${id}`, right: against.value });
    try {
      const { differences } = await api('GET', `api/config/diff?${query}`);
      if (mine !== asked) return;
      const { length } = differences;
      setText(
        count,
        length ? `${format.count(length)} ${length === 1 ? 'setting differs' : 'settings differ'}.` : 'No differences.',
      );
      const title = against.selectedOptions[0].textContent || '';
      body.replaceChildren(length ? differenceTable(differences, 'This run', title) : '');
    } catch (error) {
      if (mine === asked) setText(count, error.message);
    }
  }
  await draw();
}
