// A table of the differences between two configurations, by group, with the form’s labels.

import { button, el } from './dom.js';
import { same, shownAs } from './settings.js';
import { sheet } from './sheet.js';
import { tableHead } from './table.js';

await sheet('manage.css');

const MAX_SHOWN = 300;
const ELEMENT = { concepts: 'Concept', samples: 'Sample', additional_embeddings: 'Embedding', scheduler_params: 'Argument' };
const NOWHERE = 'Not editable here';

/** The differences with lists of different length taken apart: an entry for each element that only one side has. */
function apart(differences) {
  return differences.flatMap(({ path, before, after }) => {
    if (!ELEMENT[path] || !(Array.isArray(before) || Array.isArray(after))) return [{ path, before, after }];
    const [one, two] = [before || [], after || []];
    return Array.from({ length: Math.max(one.length, two.length) }, (_, at) => [`${path}.${at}`, one[at], two[at]])
      .filter(([, left, right]) => !same(left, right))
      .flatMap(([place, left, right]) => (left && right ? within(place, left, right) : [[place, left, right]]))
      .map(([place, left, right]) => ({ path: place, before: left, after: right, whole: path }));
  });
}

/** Where two objects differ, down to single values. */
function within(path, left, right) {
  const nested = (value) => value && typeof value === 'object' && !Array.isArray(value);
  if (!nested(left) || !nested(right)) return same(left, right) ? [] : [[path, left, right]];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].flatMap((key) =>
    within(`${path}.${key}`, left[key], right[key]),
  );
}

/** What to call a path: its label, in a list with the number of the element. */
function called(settings, path) {
  const [, list, at, rest] = /^(\w+)\.(\d+)(?:\.(.+))?$/.exec(path) || [];
  if (!list || !ELEMENT[list]) return settings.labelOf(path);
  return [`${ELEMENT[list]} ${Number(at) + 1}`, rest && settings.labelOf(path) !== path ? settings.labelOf(path) : rest]
    .filter(Boolean)
    .join(' · ');
}

function shown(settings, path, value) {
  if (value === undefined) return 'not set';
  if (value && typeof value === 'object' && !Array.isArray(value))
    return value.name || value.prompt || value.path || value.placeholder || 'custom values';
  return shownAs(value, settings.fieldAt(path)?.schema);
}

/** Differences as a table with a heading for each group; `use(difference)`, where given, is offered at each of them. */
export function table(settings, differences, [left, right], use) {
  if (!differences.length) return el('p', { class: 'og-empty', text: 'No differences.' });
  const titles = new Map(settings.schema['x-groups'].map((group) => [group.key, group.title]));
  const groupOf = (path) =>
    titles.get((settings.byPath.get(path) || settings.byPath.get(path.split('.')[0]) || settings.rowOf(path))?.group) || NOWHERE;
  const order = [...titles.values(), NOWHERE];
  const all = apart(differences)
    .map((each) => ({ ...each, group: groupOf(each.path) }))
    .sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
  let group = '';
  const lines = all.slice(0, MAX_SHOWN).flatMap((each) => {
    const head =
      each.group === group
        ? []
        : [el('tr', { class: 'og-diff-group' }, el('th', { colspan: use ? 4 : 3, scope: 'rowgroup', text: each.group }))];
    group = each.group;
    return [
      ...head,
      el(
        'tr',
        {},
        el('th', {
          scope: 'row',
          title: each.path,
          class: each.group === NOWHERE ? 'og-mono' : undefined,
          text: called(settings, each.path),
        }),
        el('td', { dataset: { side: left }, text: shown(settings, each.path, each.before) }),
        el('td', { dataset: { side: right }, text: shown(settings, each.path, each.after) }),
        use &&
          el(
            'td',
            {},
            each.whole || each.group === NOWHERE
              ? ''
              : button('Use', {
                  kind: 'small',
                  title: `Use this value of ${called(settings, each.path)} in the form`,
                  onclick: () => use(each),
                }),
          ),
      ),
    ];
  });
  return el(
    'div',
    { class: 'og-diff' },
    el('table', { class: 'og-table' }, tableHead(['Setting', left, right, ...(use ? [''] : [])]), el('tbody', {}, lines)),
    all.length > lines.length && all.length > MAX_SHOWN
      ? el('p', { class: 'og-muted og-small', text: `and ${all.length - MAX_SHOWN} more` })
      : '',
  );
}
