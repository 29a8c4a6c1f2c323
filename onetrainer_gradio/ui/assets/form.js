// The configuration form: groups by tab, search, detail levels, issues, and the rows of the selected group.

import { read } from './control.js';
import { afterPress, button, el, icon, setText, setVisible, toast } from './dom.js';
import { row } from './field.js';
import { on, store } from './live.js';
import { ask, Settings } from './settings.js';
import { engineStrip, nobodyCan, toolbar } from './toolbar.js';

const LEVELS = ['basic', 'advanced', 'expert'];
const MOST_FOUND = 40; // shown before "Show all"
const EXTRA = {
  changed: (settings) => ['Changed', `Settings that differ from ${settings.comparedTo()}.`],
  problems: () => ['Issues', 'Errors that block the start, plus warnings and notes.'],
};
const capital = (word) => word[0].toUpperCase() + word.slice(1);

const asked = ask();
asked.catch(() => {}); // said when the form comes

export async function mount(place) {
  const settings = new Settings();
  const level = localStorage.getItem('og-level') || 'basic';
  settings.levels = new Set(LEVELS.slice(0, LEVELS.indexOf(level) + 1));
  place.append(el('p', { class: 'og-empty', text: 'Loading settings…' }));
  for (let answer = asked; ; answer = ask()) {
    try {
      await settings.open(answer);
      break;
    } catch (error) {
      place.replaceChildren(el('p', { class: 'og-empty bad', text: `Couldn’t load the settings: ${error.message}` }));
      await new Promise((/** @type {(value?: void) => void} */ resolve) => {
        const off = on('connected', () => {
          off();
          resolve();
        });
      });
    }
  }
  place.replaceChildren();

  let groups = [];
  const titleOf = (key) => settings.schema['x-groups'].find((group) => group.key === key)?.title || key;
  let view = sessionStorage.getItem('og-group') || 'model';
  let pinned = '';
  const rows = el('div', { class: 'og-rows' });
  const heading = el('h2', { id: 'og-group-title' });
  const about = el('p', { class: 'og-muted' });
  const hidden = el('p', { class: 'og-muted og-small' });
  const usual = button('Load defaults', {
    icon: 'reset',
    kind: 'small',
    hidden: true,
    title: 'Reset to this optimizer’s defaults',
    onclick: () => settings.resetOptimizer().catch((error) => toast(error.message, 'bad')),
  });
  const since = el('div', { class: 'og-grow', hidden: true });
  const engines = el('div', { hidden: true });
  /** The training engine, shown if there is a choice or if no engine supports the settings. */
  function choice() {
    const some = Boolean(store.engine?.checkouts) || nobodyCan(settings.engines);
    if (some && !engines.childElementCount) engines.append(engineStrip(settings));
    setVisible(engines, some);
  }
  on('connected', choice);
  on('engine', choice);
  const scroller = el('div', { class: 'og-nav-groups' });
  const extras = el('div', {});
  const nav = el('nav', { class: 'og-nav', 'aria-label': 'Groups of settings' }, scroller, extras);
  const narrow = el('select', { id: 'og-group', 'aria-label': 'Group of settings', onchange: () => open(narrow.value) });
  const search = el('input', {
    type: 'search',
    id: 'og-search',
    placeholder: 'Search settings',
    'aria-label': 'Search settings',
    oninput: () => {
      pinned = '';
      most = MOST_FOUND;
      draw(true);
    },
  });
  let most = MOST_FOUND;
  const levels = el(
    'div',
    { class: 'og-segments', role: 'group', 'aria-label': 'Detail level' },
    LEVELS.map((name) =>
      el('button', {
        type: 'button',
        dataset: { level: name },
        'aria-pressed': String(name === level),
        text: capital(name),
        onclick: () => {
          localStorage.setItem('og-level', name);
          settings.levels = new Set(LEVELS.slice(0, LEVELS.indexOf(name) + 1));
          for (const each of levels.children) each.setAttribute('aria-pressed', String(each.dataset.level === name));
          draw(true);
        },
      }),
    ),
  );

  place.append(
    el('h1', { class: 'og-sr', text: 'Configuration' }),
    toolbar(settings),
    engines,
    el(
      'div',
      { class: 'og-form' },
      el(
        'aside',
        { class: 'og-side' },
        el('div', { class: 'og-search' }, icon('search'), search),
        el('div', { class: 'og-narrow' }, narrow),
        nav,
      ),
      el(
        'section',
        { class: 'og-card og-group-card', 'aria-labelledby': 'og-group-title' },
        el('div', { class: 'og-card-head' }, el('div', { class: 'og-grow' }, heading, about), usual, levels, since),
        rows,
        hidden,
      ),
    ),
  );

  // one listener for all controls
  rows.addEventListener('change', (/** @type {any} */ { target }) => {
    if (target.dataset.path) settings.edit(target.dataset.path, read(target));
  });
  rows.addEventListener('input', (/** @type {any} */ { target }) => {
    if (target.dataset.path && target.type !== 'checkbox' && target.tagName !== 'SELECT')
      settings.typed(target.dataset.path, read(target));
  });
  rows.addEventListener('focusout', (/** @type {any} */ { target }) => {
    // typed and typed back: nothing changed, so no change event came
    const path = target.dataset?.path;
    if (path && settings.drafts.get(path)?.state === 'typing') settings.edit(path, read(target));
  });

  let withoutUnits;
  let inGroup;
  /** @type {any} */
  let searchFor = null; // search is loaded when it is first used
  /** Make the tables of what there is to show: at the start, and when the form follows another OneTrainer. */
  function index() {
    groups = settings.schema['x-groups'].filter((group) => !group['x-of']);
    withoutUnits = settings.fields.filter((field) => !settings.units.has(field.path));
    searchFor = null;
    inGroup = new Map(groups.map((group) => [group.key, withoutUnits.filter((field) => field.group === group.key)]));
  }
  index();
  // a setting that was changed, or is wrong, is shown whatever the level
  const important = (field) =>
    settings.changed(field.path) ||
    field.path === pinned ||
    settings.errorsAt(field.path).some((error) => error.severity === 'error');
  const searching = () => Boolean(search.value.trim());

  async function loadSearch() {
    const { searcher } = await import('./search.js');
    searchFor = await searcher(settings, withoutUnits, titleOf);
    if (searching()) draw(true);
  }

  /** What a view shows: fields, and what else search found. */
  function wanted() {
    if (searching()) {
      if (!searchFor) {
        loadSearch();
        return { fields: [], loading: true };
      }
      return searchFor(search.value);
    }
    if (view === 'problems') return { fields: [] };
    if (view === 'changed') return { fields: settings.changes().filter((field) => !settings.units.has(field.path)) };
    return {
      fields: (inGroup.get(view) || []).filter(
        (field) => field.path === pinned || ((settings.levels.has(field.level) || important(field)) && settings.applies(field)),
      ),
    };
  }

  const list = el('div', {});
  list.update = async () => {
    list.update = () => {};
    const { findings } = await import('./findings.js');
    const made = findings(settings, jump);
    list.replaceChildren(made);
    list.update = made.update;
  };
  since.update = async () => {
    since.update = () => {};
    const { changedTools } = await import('./changed.js');
    const made = changedTools(settings);
    since.replaceChildren(made.node);
    since.update = made.update;
  };
  // the first view is drawn without them
  /** @type {() => any} */
  let marks = async () => {
    marks = () => {};
    const { watchChoices } = await import('./available.js');
    marks = watchChoices(settings, draw);
    marks();
  };
  let drawn = '';
  let nodes = new Map();
  const later = afterPress(place);
  /** Show the settings as they are now. While a mouse button is down it waits: a click on a replaced element is lost. */
  function draw(anew = false) {
    if (!later(anew ? 'all' : 'changes', () => drawNow(anew))) drawNow(anew);
  }
  function drawNow(anew) {
    const { fields: all, within = [], unseen = [], withinFirst = false, loading = false } = wanted();
    const fields = searching() ? all.slice(0, most) : all;
    const key = `${view} ${search.value} ${fields.map((field) => field.path)}`;
    if (anew || key !== drawn) {
      drawn = key;
      const old = nodes;
      const keep = (field) => old.get(field.path) || row(settings, field);
      nodes = new Map(fields.map((field) => [field.path, keep(field)]));
      /** @type {HTMLElement[]} */
      const parts = !searching() && view === 'problems' ? [list] : [];
      let group = '';
      for (const field of fields) {
        if ((searching() || view === 'changed') && field.group !== group) {
          group = field.group;
          parts.push(el('h3', { class: 'og-found-in', text: titleOf(group) }));
        }
        parts.push(nodes.get(field.path));
      }
      const inside = hits(within.slice(0, most), []);
      if (withinFirst) parts.unshift(...inside);
      else parts.push(...inside);
      parts.push(...hits([], unseen.slice(0, most)));
      if (searching() && Math.max(all.length, within.length, unseen.length) > most)
        parts.push(
          el('button', {
            type: 'button',
            class: 'og-more',
            text: 'Show all',
            onclick: () => {
              most = Infinity;
              draw(true);
            },
          }),
        );
      // replaceChildren would take the focus away from a row that stays
      const focused = document.activeElement;
      if (!(rows.contains(focused) && [...nodes.values()].some((node) => node.contains(focused)))) rows.replaceChildren(...parts);
      else reconcile(parts);
    }
    for (const node of nodes.values()) node.update();
    if (view !== 'model' || searching()) marks();
    if (view === 'problems') list.update();
    if (!loading) title(fields, all.length + within.length + unseen.length);
    side();
  }

  /** What search found that has no row here: settings of each element of a list, and what is not offered. */
  function hits(within, unseen) {
    const first = (path) => (settings.value(path)?.length ? `${path}.0.` : '');
    return [
      ...within.map(({ list: path, field }) =>
        el(
          'button',
          { type: 'button', class: 'og-hit', onclick: () => jump(first(path) ? first(path) + field.path : path) },
          el('span', { class: 'og-label', text: field.label }),
          el('span', {
            class: 'og-muted og-small',
            text: `in ${settings.labelOf(path)} · ${titleOf(field.group)}`,
          }),
          el('span', { class: 'og-help', text: field.help }),
        ),
      ),
      ...unseen.map(([path, why]) =>
        el(
          'div',
          { class: 'og-hit off' },
          el('span', { class: 'og-mono', text: path }),
          el('span', { class: 'og-help', text: `Not editable here: ${why}` }),
        ),
      ),
    ];
  }

  function reconcile(parts) {
    const kept = new Set(parts);
    for (const child of [...rows.children]) if (!kept.has(child)) child.remove();
    parts.forEach((part, at) => {
      if (rows.children[at] !== part) rows.insertBefore(part, rows.children[at] || null);
    });
  }

  function title(fields, total) {
    const group = groups.find((each) => each.key === view);
    const found =
      total > fields.length && fields.length === most
        ? `${total} results, showing the first ${fields.length}.`
        : `${total} ${total === 1 ? 'result' : 'results'}.`;
    const [name, text] = searching()
      ? [
          'Search results',
          total ? found : 'No results. Search covers labels, help text, config keys, and the names that kohya and diffusers use.',
        ]
      : EXTRA[view]?.(settings) || [group?.title || view, group?.about || ''];
    setText(heading, name);
    setText(about, text);
    const more =
      searching() || EXTRA[view]
        ? []
        : (inGroup.get(view) || []).filter((field) => settings.applies(field) && !fields.includes(field));
    setText(
      hidden,
      more.length
        ? `${more.length} more under ${LEVELS.filter((each) => more.some((field) => field.level === each))
            .map(capital)
            .join(' and ')}.`
        : fields.length || searching() || view === 'problems'
          ? ''
          : 'No settings to show.',
    );
    setVisible(usual, view === 'optimizer' && !searching());
    setVisible(since, view === 'changed' && !searching());
    if (!since.hidden) since.update();
  }

  /** The groups that have something to show under the present settings, by tab. */
  function shownGroups(errors) {
    return groups
      .map(({ key, title: name, 'x-tab': tab }) => {
        const fields = inGroup.get(key).filter((field) => settings.applies(field));
        const wrong = errors.filter((finding) =>
          fields.some((field) => finding.path === field.path || finding.path.startsWith(`${field.path}.`)),
        ).length;
        return {
          key,
          name,
          tab,
          count: wrong,
          tone: 'bad',
          some: fields.some((field) => settings.levels.has(field.level) || important(field)),
        };
      })
      .filter((group) => group.some || group.key === view);
  }

  function side() {
    const errors = settings.findings.filter((finding) => finding.severity === 'error');
    const changed = settings.changes();
    const shown = shownGroups(errors);
    const tabs = settings.schema['x-tabs']
      .map((tab) => ({ ...tab, groups: shown.filter((group) => group.tab === tab.key) }))
      .filter((tab) => tab.groups.length);
    const serious = settings.findings.filter((finding) => finding.severity !== 'note').length;
    const extra = [
      { key: 'changed', name: 'Changed', count: changed.length, tone: 'accent' },
      settings.findings.length || view === 'problems'
        ? { key: 'problems', name: 'Issues', count: serious, tone: errors.length ? 'bad' : 'warn' }
        : null,
    ].filter(Boolean);
    const key = JSON.stringify([view, searching(), tabs, extra]);
    if (nav.dataset.drawn === key) return;
    nav.dataset.drawn = key;
    const focused = nav.contains(document.activeElement) && document.activeElement?.dataset.group;
    const entry = (each, name = each.name, kind = '') =>
      el(
        'button',
        {
          type: 'button',
          class: kind,
          dataset: { group: each.key },
          'aria-current': each.key === view && !searching() ? 'true' : undefined,
          onclick: () => open(each.key),
        },
        el('span', { text: name }),
        each.count ? el('span', { class: `og-count ${each.tone}`, text: String(each.count) }) : null,
      );
    extras.replaceChildren(...extra.map((each) => entry(each)));
    scroller.replaceChildren(
      ...tabs.flatMap((tab) =>
        tab.groups.length === 1
          ? [entry(tab.groups[0], tab.title)]
          : [el('div', { class: 'og-nav-tab', text: tab.title }), ...tab.groups.map((group) => entry(group, group.name, 'sub'))],
      ),
    );
    if (focused) nav.querySelector(`[data-group="${focused}"]`)?.focus();
    const option = (each, name = each.name) =>
      el('option', { value: each.key, text: each.count ? `${name} (${each.count})` : name });
    narrow.replaceChildren(
      ...tabs.map((tab) =>
        tab.groups.length === 1
          ? option(tab.groups[0], tab.title)
          : el(
              'optgroup',
              { label: tab.title },
              tab.groups.map((group) => option(group)),
            ),
      ),
      ...extra.map((each) => option(each)),
    );
    narrow.value = view;
  }

  function open(key) {
    view = key;
    pinned = '';
    sessionStorage.setItem('og-group', key);
    search.value = '';
    drawNow(true);
  }

  /** Show the setting at a path, whatever the level; one that is not used now is found by search, with the reason. */
  async function jump(path) {
    if (!searchFor) await loadSearch();
    const field = settings.rowOf(path);
    if (!field) {
      search.value = path;
      drawNow(true);
      return;
    }
    pinned = field.path;
    const usable = settings.applies(field);
    view = field.group;
    search.value = usable ? '' : field.path;
    drawNow(true);
    const node = nodes.get(field.path);
    const reveal = () => (node.reveal && path !== field.path ? node.reveal(path) : node);
    let target = reveal();
    // the tab opens a moment after the click that asked for it
    const there = (tries) => {
      if (!target.isConnected) target = reveal(); // made anew meanwhile
      if (!target.checkVisibility() && tries) {
        requestAnimationFrame(() => there(tries - 1));
        return;
      }
      target.scrollIntoView({ block: 'center' });
      target.querySelector('input, select, textarea')?.focus({ preventScroll: true });
    };
    there(60);
  }

  /** Show a setting that another tab points to. */
  function find() {
    const path = sessionStorage.getItem('og-find');
    if (!path) return;
    sessionStorage.removeItem('og-find');
    jump(path);
  }
  document.addEventListener('og-find', find);
  /** Compare with a run that another tab names. */
  async function compare() {
    const run = sessionStorage.getItem('og-compare');
    if (!run) return;
    sessionStorage.removeItem('og-compare');
    const { openCompare } = await import('./compare.js');
    await openCompare(settings, `run:${run}`).catch((error) => toast(error.message, 'bad'));
  }
  document.addEventListener('og-compare', compare);
  /** Make all rows again after the declarations changed. Unfolded cards, the focus and the caret stay where they are. */
  function redeclared() {
    /** @type {any} */
    const focused = rows.contains(document.activeElement) ? document.activeElement : {};
    const { id = '', selectionStart: from, selectionEnd: to } = focused;
    const before = nodes;
    index();
    nodes = new Map();
    drawNow(true);
    for (const [path, node] of nodes) if (before.has(path)) node.unfold?.(before.get(path).unfolded());
    const input = id && document.getElementById(id);
    if (!input || input === document.activeElement) return;
    input.focus({ preventScroll: true });
    if (typeof from === 'number') input.setSelectionRange(from, to);
  }
  settings.listeners.add((what, text) => {
    if (what === 'refused') toast(text, 'bad');
    if (what === 'findings') choice();
    if (what === 'schema') {
      if (!later('declarations', redeclared)) redeclared();
      return;
    }
    draw();
  });
  on('connection', () => draw());
  if (!groups.some((group) => group.key === view) && !EXTRA[view]) view = 'model';
  draw(true);
  choice();
  find();
  compare();
}
