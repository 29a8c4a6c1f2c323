// Compare any two configurations side by side: the form, the opened one, a saved one, a preset, a run.

import { table } from './differences.js';
import { button, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';

const MOST_RUNS = 50;
const TITLES = { current: 'Current form', opened: 'As opened', defaults: 'Defaults' };

/** Open the comparison; `left` is the source that the form is first compared with, in the server’s notation. */
export async function openCompare(settings, left = '') {
  const [{ configs }, runs] = await Promise.all([
    api('GET', 'api/config/list'),
    api('GET', 'api/runs?limit=1000').then((answer) => answer.runs || answer),
  ]);
  const sides = [pick('Left side'), pick('Right side')];
  const count = el('p', { class: 'og-muted og-small og-grow', role: 'status' });
  const body = el('div', { class: 'og-diff-body', tabindex: 0, role: 'region', 'aria-label': 'Differences' });
  const mark = el('input', { type: 'checkbox', onchange: () => settings.compareWith(mark.checked ? other() : '') });
  const marking = el('label', { class: 'og-inline' }, mark, el('span', { text: 'Highlight these differences in the form' }));
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-compare', 'aria-label': 'Compare settings' },
    el(
      'div',
      { class: 'og-dialog-head' },
      el('h2', { class: 'og-grow', text: 'Compare settings' }),
      button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() }),
    ),
    el(
      'div',
      { class: 'og-compare-sides' },
      sides[0],
      button('', { icon: 'swap', title: 'Swap sides', kind: 'quiet', onclick: swap }),
      sides[1],
    ),
    body,
    el('div', { class: 'og-dialog-buttons' }, count, marking),
  );

  function pick(label) {
    const option = (value, text) => el('option', { value, text });
    const groups = new Map();
    for (const { name, kind, summary } of configs) {
      const family = kind === 'saved' ? 'Saved' : summary?.family || 'Presets';
      if (!groups.has(family)) groups.set(family, []);
      const short = kind !== 'saved' && summary?.family ? name.slice(summary.family.length + 1).replace(/^#/, '') : name;
      groups.get(family).push(option(`${kind}:${name}`, short));
    }
    const saved = groups.get('Saved');
    groups.delete('Saved');
    const optgroup = (title, options) => options?.length && el('optgroup', { label: title }, options);
    return el(
      'select',
      { 'aria-label': label, onchange: draw },
      option('current', 'Current form'),
      option('opened', settings.document.name ? `As opened: ${settings.document.name}` : 'As opened'),
      option('defaults', 'Defaults for this model and method'),
      optgroup(
        'Runs',
        runs
          .slice(0, MOST_RUNS)
          .map((run, at) =>
            option(
              at ? `run:${run.id}` : 'run:latest',
              `${at ? '' : 'Last run: '}${run.name || run.id}, ${format.time(run.created_at)}`,
            ),
          ),
      ),
      optgroup('Saved', saved),
      [...groups].map(([title, options]) => optgroup(title, options)),
    );
  }
  const other = () => (sides[0].value === 'current' ? sides[1].value : sides[0].value);

  function swap() {
    [sides[0].value, sides[1].value] = [sides[1].value, sides[0].value];
    draw();
  }

  let asked = 0;
  async function draw() {
    asked += 1;
    const mine = asked;
    const [one, two] = sides.map((side) => side.value);
    const markable = (one === 'current') !== (two === 'current');
    mark.checked = markable && settings.against === other();
    setVisible(marking, markable);
    try {
      const answer = await api('GET', `api/config/diff?${new URLSearchParams({ left: one, right: two })}`);
      if (mine !== asked) return;
      const title_ = (side) => TITLES[side.kind] || side.title;
      /** @type {[string, string]} */
      const titles = [title_(answer.left), title_(answer.right)];
      if (titles[0] === titles[1]) for (const at of [0, 1]) titles[at] = `${titles[at]} (${at ? 'right' : 'left'})`;
      const { differences } = answer;
      setText(
        count,
        differences.length ? `${differences.length} ${differences.length === 1 ? 'difference' : 'differences'}` : '',
      );
      const take = ({ path, before, after }) => settings.edit(path, (one === 'current' ? after : before) ?? null, {});
      const scrolled = body.scrollTop;
      body.replaceChildren(
        one === two
          ? el('p', { class: 'og-empty', text: 'Both sides are the same. Choose something else to compare.' })
          : table(settings, differences, titles, markable ? take : undefined),
      );
      body.scrollTop = scrolled;
    } catch (error) {
      if (mine === asked) body.replaceChildren(el('p', { class: 'og-empty bad', text: error.message }));
    }
  }

  const has = (value) => [...sides[0].options].some((option) => option.value === value);
  const wanted = left === `run:${runs[0]?.id}` ? 'run:latest' : left;
  sides[0].value = has(wanted) ? wanted : runs.length ? 'run:latest' : 'opened';
  sides[1].value = 'current';
  if (wanted && !has(wanted)) toast('That run no longer exists.', 'bad');
  const follow = (what) => {
    if (what === 'document') draw();
  };
  settings.listeners.add(follow);
  openDialog(dialog, () => settings.listeners.delete(follow));
  sides[0].focus();
  draw();
}
