// Presets and saved configurations: searched, by family, with what opening one would change.

import { api } from './live.js';
import { button, el, openDialog, say, show } from './dom.js';
import { shownAs } from './settings.js';

const MEMORIES = [8, 12, 16, 24, 32, 48];
const MOST_SHOWN = 60;

/** A dialog to choose from `items`; `load` opens the chosen one. */
export function openPresets(settings, items, load) {
  const search = el('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search presets', oninput: draw });
  const methods = [...new Set(items.map((item) => item.summary?.training_method).filter(Boolean))];
  const words = settings.byPath.get('training_method').schema['x-enum-labels'] || {};
  const method = el('select', { 'aria-label': 'Method', onchange: draw }, el('option', { value: '', text: 'Any method' }), methods.map((each) => el('option', { value: each, text: words[each] || each })));
  const memory = el('select', { 'aria-label': 'Graphics memory', onchange: draw }, el('option', { value: '', text: 'Any memory' }), MEMORIES.map((each) => el('option', { value: each, text: `up to ${each} GB` })));
  const list = el('div', { class: 'og-preset-list' });
  const detail = el('div', { class: 'og-preset-detail' });
  const openButton = button('Open', { kind: 'primary', disabled: true, onclick: () => { dialog.close(); load(chosen.name); } });
  const warning = el('span', { class: 'og-muted og-small og-grow' });
  const dialog = el('dialog', { class: 'og-dialog og-presets', 'aria-label': 'Presets and saved configurations' },
    el('div', { class: 'og-dialog-head' }, el('h2', { class: 'og-grow', text: 'Presets and saved configurations' }), button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() })),
    el('div', { class: 'og-preset-filter' }, search, method, memory),
    el('div', { class: 'og-preset-body' }, list, detail),
    el('div', { class: 'og-dialog-buttons' }, warning, button('Cancel', { onclick: () => dialog.close() }), openButton));
  let chosen = null;

  const textOf = (item) => [item.name, item.summary?.model, item.summary?.training_method, item.summary?.note].join(' ').toLowerCase();
  const family = (item) => (item.kind === 'saved' ? 'Saved' : item.summary?.family || 'To begin with');

  function draw() {
    const asked = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = items.filter((item) => asked.every((word) => textOf(item).includes(word))
      && (!method.value || item.summary?.training_method === method.value)
      && (!memory.value || !item.summary?.memory_gb || item.summary.memory_gb <= Number(memory.value)));
    const families = [...new Set(['Saved', ...found.map(family)])].filter((each) => found.some((item) => family(item) === each));
    list.replaceChildren(...families.flatMap((each) => [el('h4', { text: each }), ...found.filter((item) => family(item) === each).map(entry)]));
    if (!found.length) list.append(el('p', { class: 'og-empty', text: 'Nothing found.' }));
  }

  function entry(item) {
    const short = item.kind === 'preset' && item.summary?.family ? item.name.slice(item.summary.family.length + 1) : item.name;
    return el('button', { type: 'button', class: 'og-preset', 'aria-pressed': String(chosen?.name === item.name && chosen.kind === item.kind), dataset: { preset: item.name }, title: item.name, onclick: () => choose(item), ondblclick: () => openButton.click() },
      el('span', { text: short }), item.name === settings.document.name ? el('span', { class: 'og-count accent', text: 'open' }) : null);
  }

  async function choose(item) {
    chosen = item;
    for (const each of list.querySelectorAll('.og-preset')) each.setAttribute('aria-pressed', String(each.dataset.preset === item.name));
    openButton.disabled = false;
    const about = item.summary || {};
    const facts = [about.model || about.model_type, words[about.training_method] || about.training_method, about.memory_gb && `${about.memory_gb} GB graphics memory`].filter(Boolean);
    const differs = el('div', { class: 'og-differs' }, el('p', { class: 'og-muted og-small', text: 'Comparing …' }));
    detail.replaceChildren(el('h3', { text: item.name }), el('p', { class: 'og-muted', text: facts.join(' · ') }),
      about.note && el('p', { text: about.note }), about.source && el('p', { class: 'og-muted og-small', text: about.source }), differs);
    try {
      const { differences } = await api('GET', `api/config/diff?${new URLSearchParams({ name: item.name })}`);
      if (chosen === item) differs.replaceChildren(...compared(settings, differences));
    } catch (error) {
      if (chosen === item) differs.replaceChildren(el('p', { class: 'bad', text: error.message }));
    }
  }

  const count = settings.changes().length;
  say(warning, count ? `Opening replaces the settings; you changed ${count} and did not save them.` : '');
  show(warning, true);
  draw();
  openDialog(dialog);
  search.focus();
  const present = items.find((item) => item.name === settings.document.name);
  detail.replaceChildren(el('p', { class: 'og-empty', text: present ? `“${present.name}” is open. Choose one to see what it would change.` : 'Choose one to see what it would change.' }));
}

/** Differences as a table: the setting, what it is now, what it would be. */
function compared(settings, differences) {
  if (!differences.length) return [el('p', { class: 'og-muted', text: 'No difference to the settings in the form.' })];
  const [known, rest] = [[], []];
  for (const each of differences) (settings.fieldAt(each.path) ? known : rest).push(each);
  const lines = known.slice(0, MOST_SHOWN).map(({ path, before, after }) => {
    const { schema } = settings.fieldAt(path);
    return el('tr', {}, el('td', { text: settings.labelOf(path), title: path }), el('td', { class: 'og-muted', text: shownAs(before, schema) }), el('td', { text: shownAs(after, schema) }));
  });
  const more = known.length - lines.length + rest.length;
  return [el('p', { class: 'og-muted og-small', text: `${differences.length} ${differences.length === 1 ? 'setting differs' : 'settings differ'} from those in the form` }),
    el('table', { class: 'og-table' }, el('thead', {}, el('tr', {}, ['Setting', 'Now', 'Then'].map((text) => el('th', { text })))), el('tbody', {}, lines)),
    more ? el('p', { class: 'og-muted og-small', text: `and ${more} more` }) : ''];
}
