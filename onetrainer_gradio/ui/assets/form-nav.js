// The groups of the form: a list next to it, and a select in a narrow window.

import { el, setText, setVisible } from './dom.js';

/** `{nav, narrow, update}` for a view; `open` takes the key of a group. */
export function navigation(view, open) {
  const scroller = el('div', { class: 'og-nav-groups' });
  const extras = el('div', {});
  const nav = el('nav', { class: 'og-nav', 'aria-label': 'Groups of settings' }, scroller, extras);
  const narrow = el('select', { id: 'og-group', 'aria-label': 'Group of settings', onchange: () => open(narrow.value) });

  // an entry stays the same node while its count changes: a click on a replaced node would be lost
  const made = new Map();
  function entry(each, name = each.name, kind = '') {
    const key = JSON.stringify([each.key, name, kind]);
    const attributes = { type: 'button', class: kind, dataset: { group: each.key }, onclick: () => open(each.key) };
    if (!made.has(key)) made.set(key, el('button', attributes, el('span', { text: name }), el('span', {})));
    const node = made.get(key);
    if (each.key === view.group && !view.searching) node.setAttribute('aria-current', 'true');
    else node.removeAttribute('aria-current');
    const count = node.lastElementChild;
    count.className = each.count ? `og-count ${each.tone}` : '';
    setText(count, each.count ? String(each.count) : '');
    setVisible(count, each.count > 0);
    return node;
  }
  const put = (place, nodes) => {
    if (nodes.length !== place.children.length || nodes.some((node, at) => node !== place.children[at]))
      place.replaceChildren(...nodes);
  };
  const heads = new Map();
  const headOf = (tab) => {
    if (!heads.has(tab.title)) heads.set(tab.title, el('div', { class: 'og-nav-tab', text: tab.title }));
    return heads.get(tab.title);
  };
  const entries = (tab) =>
    tab.groups.length === 1
      ? [entry(tab.groups[0], tab.title)]
      : [headOf(tab), ...tab.groups.map((group) => entry(group, group.name, 'sub'))];
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
    if (nav.dataset.rendered === key) return;
    nav.dataset.rendered = key;
    const focused = nav.contains(document.activeElement) && document.activeElement?.dataset.group;
    put(
      extras,
      extra.map((each) => entry(each)),
    );
    put(scroller, tabs.flatMap(entries));
    if (focused) nav.querySelector(`[data-group="${focused}"]`)?.focus();
    narrow.replaceChildren(...tabs.map(options), ...extra.map((each) => option(each)));
    narrow.value = view.group;
  }
  return { nav, narrow, update };
}
