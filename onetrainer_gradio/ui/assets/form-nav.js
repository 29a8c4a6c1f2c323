// The groups of the form: a list beside it, and a select where the window is narrow.

import { el } from './dom.js';

/** `{nav, narrow, update}` for a view; `open` takes the key of a group. */
export function navigation(view, open) {
  const scroller = el('div', { class: 'og-nav-groups' });
  const extras = el('div', {});
  const nav = el('nav', { class: 'og-nav', 'aria-label': 'Groups of settings' }, scroller, extras);
  const narrow = el('select', { id: 'og-group', 'aria-label': 'Group of settings', onchange: () => open(narrow.value) });

  const entry = (each, name = each.name, kind = '') =>
    el(
      'button',
      {
        type: 'button',
        class: kind,
        dataset: { group: each.key },
        'aria-current': each.key === view.group && !view.searching ? 'true' : undefined,
        onclick: () => open(each.key),
      },
      el('span', { text: name }),
      each.count ? el('span', { class: `og-count ${each.tone}`, text: String(each.count) }) : null,
    );
  const entries = (tab) =>
    tab.groups.length === 1
      ? [entry(tab.groups[0], tab.title)]
      : [el('div', { class: 'og-nav-tab', text: tab.title }), ...tab.groups.map((group) => entry(group, group.name, 'sub'))];
  const option = (each, name = each.name) =>
    el('option', { value: each.key, text: each.count ? `${name} (${each.count})` : name });
  const options = (tab) =>
    tab.groups.length === 1
      ? option(tab.groups[0], tab.title)
      : el(
          'optgroup',
          { label: tab.title },
          tab.groups.map((group) => option(group)),
        );

  function update() {
    const { tabs, extra } = view.navigation();
    const key = JSON.stringify([view.group, view.searching, tabs, extra]);
    if (nav.dataset.drawn === key) return;
    nav.dataset.drawn = key;
    const focused = nav.contains(document.activeElement) && document.activeElement?.dataset.group;
    extras.replaceChildren(...extra.map((each) => entry(each)));
    scroller.replaceChildren(...tabs.flatMap(entries));
    if (focused) nav.querySelector(`[data-group="${focused}"]`)?.focus();
    narrow.replaceChildren(...tabs.map(options), ...extra.map((each) => option(each)));
    narrow.value = view.group;
  }
  return { nav, narrow, update };
}
