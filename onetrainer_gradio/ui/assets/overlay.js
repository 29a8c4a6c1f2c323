// Several runs in one chart, and next to it the settings in which they differ, sortable by result.

import { button, el, format } from './dom.js';
import { api } from './live.js';
import { addressOf, comparisonOf, go, pageLink } from './run-address.js';
import { RunCharts } from './run-charts.js';
import { toneOf } from './run-plot.js';
import { settingText } from './table.js';
import { ending } from './words.js';

const RESULTS = {
  name: { title: 'Run', value: (run) => run.name || run.id },
  state: { title: 'Status', value: (run) => ending(run)[0] },
  loss: { title: 'Final loss', number: true, value: (run) => run.smooth_loss ?? run.loss, text: format.number },
  best: { title: 'Best loss', number: true, value: (run) => run.best_loss, text: format.number },
  steps: { title: 'Steps', number: true, value: (run) => run.global_step, text: format.count },
  time: { title: 'Time', number: true, value: (run) => run.elapsed_s, text: format.span },
};

/** Order two values of a column: numbers by size, text by letters, what is missing last in both directions. */
export function ordered(one, two, down = false) {
  const lacking = (value) => value === null || value === undefined;
  if (lacking(one) || lacking(two)) return Number(lacking(one)) - Number(lacking(two));
  const sign = down ? -1 : 1;
  if (typeof one === 'number' && typeof two === 'number') return sign * (one - two);
  return sign * String(one).localeCompare(String(two), 'en', { numeric: true });
}

/**
 * How many settings differ, and how many of them are shown.
 * @param {number} total
 * @param {number} shown
 */
function differing(total, shown) {
  if (!total) return 'The settings of these runs are the same.';
  const differ = total === 1 ? 'setting differs' : 'settings differ';
  return `${format.count(total)} ${differ}${total > shown ? `, the first ${shown} are shown` : ''}.`;
}

/** The results and the differing settings of runs as a table; each column can order it. */
function comparison({ runs, settings, total }, ids) {
  const columns = [
    ...Object.entries(RESULTS).map(([key, column]) => ({ key, ...column })),
    ...settings.map(({ path, title, values }) => ({
      key: path,
      title,
      value: (run) => values[runs.indexOf(run)],
      text: (value) => settingText(path, value),
    })),
  ];
  let [by, down] = ['best', false];
  const head = el('tr');
  const body = el('tbody');
  function draw() {
    const column = columns.find(({ key }) => key === by);
    const focused = document.activeElement?.closest('th')?.dataset.key;
    const lines = [...runs].sort((a, b) => ordered(column?.value(a), column?.value(b), down));
    head.replaceChildren(
      ...columns.map(({ key, title, number }) => {
        const sort = () => {
          [by, down] = [key, by === key && !down];
          draw();
        };
        const order = down ? 'descending' : 'ascending';
        return el(
          'th',
          {
            scope: 'col',
            class: number ? 'og-figure' : undefined,
            dataset: { key },
            'aria-sort': key === by ? order : undefined,
          },
          el('button', { type: 'button', class: 'og-sort', title: key, text: title, onclick: sort }),
        );
      }),
    );
    if (focused) head.querySelector(`[data-key="${CSS.escape(focused)}"] button`)?.focus();
    body.replaceChildren(
      ...lines.map((run) =>
        el(
          'tr',
          {},
          columns.map(({ key, value, text = String, number }) =>
            el(
              'td',
              { class: number ? 'og-figure' : undefined },
              key === 'name'
                ? [
                    el('span', { class: 'og-swatch', style: `background: ${toneOf(ids.indexOf(run.id))}` }),
                    ' ',
                    pageLink(addressOf(run.id), value(run)),
                  ]
                : el('span', { text: text(value(run)) }),
            ),
          ),
        ),
      ),
    );
  }
  draw();
  return [
    el('p', { class: 'og-muted og-small', text: differing(total, settings.length) }),
    el(
      'div',
      { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Table of results and settings' },
      el('table', { class: 'og-table og-compare-table' }, el('thead', {}, head), body),
    ),
  ];
}

/** The page that compares runs; returns what to do when it is left. */
export function mountComparison(place, ids) {
  const chart = el('section', { class: 'og-card', 'aria-label': 'Charts' });
  const table = el(
    'section',
    { class: 'og-card', 'aria-label': 'Results and settings' },
    el('h3', { text: 'Results and settings' }),
  );
  place.append(
    el(
      'div',
      { class: 'og-card-head' },
      button('All runs', { icon: 'left', kind: 'small', onclick: () => go('#runs') }),
      el('h2', { tabindex: -1, text: `Compare ${format.count(ids.length)} ${ids.length === 1 ? 'run' : 'runs'}` }),
    ),
    chart,
    table,
  );
  const charts = new RunCharts(chart, ids);
  charts.load();
  api('GET', `api/runs/compare?ids=${encodeURIComponent(ids.join(','))}`)
    .then((answer) => {
      const found = answer.runs.map(({ id }) => id);
      table.append(...comparison(answer, ids));
      if (found.length < ids.length) history.replaceState(null, '', comparisonOf(found));
    })
    .catch((error) => table.append(el('p', { class: 'og-empty bad', text: error.message })));
  return () => charts.leave();
}
