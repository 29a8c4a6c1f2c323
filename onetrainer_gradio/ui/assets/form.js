// The configuration: what is opened and saved, the groups, search, levels, and the rows of the group in view.

import { api, on, url } from './live.js';
import { button, confirmed, el, icon, openDialog, say, show, toast } from './dom.js';
import { read, row } from './field.js';
import { Settings } from './settings.js';

const LEVELS = ['basic', 'advanced', 'expert'];
const MOST_FOUND = 60;

export async function mount(place) {
  const settings = new Settings();
  const level = localStorage.getItem('og-level') || 'basic';
  settings.levels = new Set(LEVELS.slice(0, LEVELS.indexOf(level) + 1));
  place.append(el('p', { class: 'og-empty', text: 'Reading the settings …' }));
  for (;;) {
    try {
      await settings.open();
      break;
    } catch (error) {
      place.replaceChildren(el('p', { class: 'og-empty bad', text: `The settings cannot be read: ${error.message}` }));
      await new Promise((resolve) => { const off = on('connected', () => { off(); resolve(); }); });
    }
  }
  place.replaceChildren();

  let view = sessionStorage.getItem('og-group') || 'model';
  const rows = el('div', { class: 'og-rows' });
  const heading = el('h3', {});
  const about = el('p', { class: 'og-muted' });
  const hidden = el('p', { class: 'og-muted og-small' });
  const nav = el('nav', { class: 'og-nav', 'aria-label': 'Groups of settings' });
  const narrow = el('select', { id: 'og-group', 'aria-label': 'Group of settings', onchange: () => open(narrow.value) });
  const search = el('input', { type: 'search', id: 'og-search', placeholder: 'Search settings', 'aria-label': 'Search settings', oninput: () => draw(true) });
  const levels = el('div', { class: 'og-segments', role: 'group', 'aria-label': 'How many settings are shown' }, LEVELS.map((name) => el('button', {
    type: 'button', dataset: { level: name }, 'aria-pressed': String(name === level), text: name[0].toUpperCase() + name.slice(1),
    onclick: () => {
      localStorage.setItem('og-level', name);
      settings.levels = new Set(LEVELS.slice(0, LEVELS.indexOf(name) + 1));
      for (const each of levels.children) each.setAttribute('aria-pressed', String(each.dataset.level === name));
      draw(true);
    },
  })));

  place.append(
    toolbar(settings),
    el('div', { class: 'og-form' },
      el('aside', { class: 'og-side' }, el('div', { class: 'og-search' }, icon('search'), search), el('div', { class: 'og-narrow' }, narrow), nav),
      el('section', { class: 'og-card og-group-card', 'aria-labelledby': 'og-group-title' },
        el('div', { class: 'og-card-head' }, el('div', { class: 'og-grow' }, heading, about), levels), rows, hidden)));
  heading.id = 'og-group-title';

  // one listener for all controls
  rows.addEventListener('change', ({ target }) => { if (target.dataset.path) settings.edit(target.dataset.path, read(target)); });
  rows.addEventListener('input', ({ target }) => {
    if (target.dataset.path && target.type !== 'checkbox' && target.tagName !== 'SELECT') settings.typed(target.dataset.path, read(target));
  });
  rows.addEventListener('focusout', ({ target }) => {
    // typed and typed back: nothing changed, so no change event came
    const path = target.dataset?.path;
    if (path && settings.drafts.get(path)?.state === 'typing') settings.edit(path, read(target));
  });

  const withoutUnits = settings.fields.filter((field) => !settings.units.has(field.path));

  /** Which fields a view shows. */
  function wanted() {
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) {
      return withoutUnits.filter((field) => {
        const text = `${field.label} ${field.help} ${field.path} ${(field.schema.enum || []).join(' ')}`.toLowerCase();
        return words.every((word) => text.includes(word));
      }).slice(0, MOST_FOUND);
    }
    if (view === 'changed') return settings.changes().filter((field) => !settings.units.has(field.path));
    if (view === 'problems') return withoutUnits.filter((field) => problemsAt(field).length);
    return inGroup(view).filter((field) => (settings.levels.has(field.level) || important(field)) && settings.applies(field));
  }
  const inGroup = (key) => withoutUnits.filter((field) => field.group === key);
  // a setting that was changed, or is wrong, is shown whatever the level
  const important = (field) => settings.changed(field.path) || settings.errorsAt(field.path).some((error) => error.severity === 'error');
  const problemsAt = (field) => [...settings.errorsAt(field.path), ...settings.findings.filter((finding) => finding.path.startsWith(`${field.path}.`))];

  let drawn = '';
  let nodes = new Map();
  function draw(anew = false) {
    const fields = wanted();
    const key = `${view} ${search.value} ${fields.map((field) => field.path)}`;
    if (anew || key !== drawn) {
      drawn = key;
      const old = nodes;
      const keep = (field) => old.get(field.path) || row(settings, field);
      nodes = new Map(fields.map((field) => [field.path, keep(field)]));
      const parts = [];
      let group = '';
      for (const field of fields) {
        if ((search.value.trim() || view === 'changed' || view === 'problems') && field.group !== group) {
          group = field.group;
          parts.push(el('h4', { class: 'og-found-in', text: settings.schema['x-groups'].find((each) => each.key === group)?.title || group }));
        }
        parts.push(nodes.get(field.path));
      }
      // replaceChildren would take the focus away from a row that stays
      const focused = document.activeElement;
      if (!(rows.contains(focused) && [...nodes.values()].some((node) => node.contains(focused)))) rows.replaceChildren(...parts);
      else reconcile(parts);
    }
    for (const node of nodes.values()) node.update();
    title(fields);
    side();
  }

  function reconcile(parts) {
    const kept = new Set(parts);
    for (const child of [...rows.children]) if (!kept.has(child)) child.remove();
    parts.forEach((part, at) => { if (rows.children[at] !== part) rows.insertBefore(part, rows.children[at] || null); });
  }

  function title(fields) {
    const group = settings.schema['x-groups'].find((each) => each.key === view);
    const searching = Boolean(search.value.trim());
    const titles = {
      changed: ['Changed', `What differs from ${settings.document.name || 'the defaults'}.`],
      problems: ['To fix', 'What has to change before a run can start, and what you should know.'],
    };
    const [name, text] = searching ? ['Found', fields.length ? `${fields.length} ${fields.length === 1 ? 'setting' : 'settings'}` : 'Nothing found. Search looks at labels, help texts and names.']
      : titles[view] || [group?.title || view, group?.about || ''];
    say(heading, name);
    say(about, text);
    const more = searching || titles[view] ? [] : inGroup(view).filter((field) => settings.applies(field) && !fields.includes(field));
    say(hidden, more.length ? `${more.length} more under ${LEVELS.filter((name) => more.some((field) => field.level === name)).map((name) => name[0].toUpperCase() + name.slice(1)).join(' and ')}.` : fields.length || searching ? '' : 'Nothing here.');
    if (view === 'problems' && !searching) {
      const known = new Set(withoutUnits.map((field) => field.path));
      const rest = settings.findings.filter((finding) => ![...known].some((path) => finding.path === path || finding.path.startsWith(`${path}.`)));
      say(hidden, rest.map((finding) => [finding.path, finding.message, finding.change].filter(Boolean).join(': ')).join(' · '));
    }
  }

  function side() {
    const errors = settings.findings.filter((finding) => finding.severity === 'error');
    const changed = settings.changes();
    const groups = settings.schema['x-groups'].map(({ key, title: name }) => {
      const fields = inGroup(key).filter((field) => settings.applies(field));
      const wrong = fields.filter((field) => errors.some((finding) => finding.path === field.path || finding.path.startsWith(`${field.path}.`))).length;
      return { key, name, count: wrong, tone: 'bad', some: fields.some((field) => settings.levels.has(field.level) || important(field)) };
    }).filter((group) => group.some || group.key === view);
    const extra = [
      changed.length || view === 'changed' ? { key: 'changed', name: 'Changed', count: changed.length, tone: 'accent' } : null,
      settings.findings.length || view === 'problems' ? { key: 'problems', name: 'To fix', count: settings.findings.length, tone: errors.length ? 'bad' : 'warn' } : null,
    ].filter(Boolean);
    const all = [...groups, ...extra];
    const key = JSON.stringify([view, search.value.trim() === '', all]);
    if (nav.dataset.drawn === key) return;
    nav.dataset.drawn = key;
    const focused = nav.contains(document.activeElement) && document.activeElement.dataset.group;
    const entry = (each) => el('button', { type: 'button', class: each.key === 'changed' || each.key === 'problems' ? 'extra' : '', dataset: { group: each.key }, 'aria-current': each.key === view && !search.value.trim() ? 'true' : undefined, onclick: () => open(each.key) },
      el('span', { text: each.name }), each.count ? el('span', { class: `og-count ${each.tone}`, text: String(each.count) }) : null);
    nav.replaceChildren(...all.map(entry));
    if (focused) nav.querySelector(`[data-group="${focused}"]`)?.focus();
    narrow.replaceChildren(...all.map((each) => el('option', { value: each.key, text: each.count ? `${each.name} (${each.count})` : each.name })));
    narrow.value = view;
  }

  function open(key) {
    view = key;
    sessionStorage.setItem('og-group', key);
    search.value = '';
    draw(true);
  }

  /** Show a setting that another tab points to. */
  function find() {
    const path = sessionStorage.getItem('og-find');
    if (!path) return;
    sessionStorage.removeItem('og-find');
    const field = withoutUnits.find((each) => path === each.path || path.startsWith(`${each.path}.`));
    if (!field) return;
    view = field.group;
    search.value = settings.levels.has(field.level) ? '' : field.path;
    draw(true);
    const row_ = nodes.get(field.path);
    // the tab opens a moment after the click that asked for it
    const there = (tries) => {
      if (!row_.checkVisibility() && tries) { requestAnimationFrame(() => there(tries - 1)); return; }
      row_.scrollIntoView({ block: 'center' });
      row_.querySelector('input, select, textarea')?.focus({ preventScroll: true });
    };
    there(60);
  }
  document.addEventListener('og-find', find);
  settings.listeners.add(() => draw());
  on('connection', () => draw());
  if (!settings.schema['x-groups'].some((group) => group.key === view) && !['changed', 'problems'].includes(view)) view = settings.schema['x-groups'][0].key;
  draw(true);
  find();
}

/** Open, save, import, export, reset. */
function toolbar(settings) {
  const pick = el('select', { id: 'og-config', onchange: () => load(pick.value) });
  const changes = el('span', { class: 'og-muted og-small', role: 'status' });
  const file = el('input', { type: 'file', accept: '.json,application/json', hidden: true, 'aria-label': 'Settings file', onchange: () => importFile(file.files[0]) });
  const saveButton = button('Save', { kind: 'small', onclick: () => save(settings.document.name) });
  const removeButton = button('', { icon: 'trash', title: 'Delete this saved configuration', kind: 'small quiet', onclick: remove });
  let items = [];

  async function fill() {
    try {
      items = (await api('GET', 'api/config/list')).configs;
    } catch (error) {
      if (error.status !== 0) throw error;
      return;
    }
    const section = (kind, label) => {
      const found = items.filter((item) => item.kind === kind);
      return found.length ? el('optgroup', { label }, found.map((item) => el('option', { value: item.name, text: item.name, title: item.summary?.note }))) : null;
    };
    const parts = [section('saved', 'Saved'), section('preset', 'Presets')].filter(Boolean);
    pick.replaceChildren(el('option', { value: '', text: items.some((item) => item.name === settings.document.name) ? 'Open …' : settings.document.name || 'Open a preset …', disabled: true }), ...parts);
    state();
  }
  const current = () => items.find((item) => item.name === settings.document.name);

  function state() {
    pick.value = current() ? settings.document.name : '';
    const count = settings.changes().length;
    say(changes, count ? `${count} changed` : current() ? 'unchanged' : '');
    saveButton.disabled = current()?.kind !== 'saved' || !count;
    show(removeButton, current()?.kind === 'saved');
  }

  async function attempt(action, done) {
    try {
      await action();
      if (done) toast(done);
      await fill();
    } catch (error) {
      toast([error.message, ...error.errors.map((each) => `${each.path}: ${each.message}`).filter((text) => !error.message.includes(text)).slice(0, 3)].join(' '), 'bad');
      state();
    }
  }

  async function load(name) {
    if (settings.changes().length && !await confirmed(`Open “${name}”?`, 'The settings you changed are replaced. Save them first if you want to keep them.', 'Open')) { state(); return; }
    await attempt(() => settings.whole('GET', `api/config/load/${name.split('/').map(encodeURIComponent).join('/')}`), `Opened ${name}.`);
  }
  async function save(name) {
    await attempt(() => settings.whole('POST', 'api/config/save', { name }), `Saved as ${name}.`);
  }
  function saveAs() {
    const input = el('input', { type: 'text', value: current()?.kind === 'saved' ? settings.document.name : '', required: true, maxlength: 120, id: 'og-save-name' });
    const form = el('form', { method: 'dialog', onsubmit: () => { const name = input.value.trim(); if (name) save(name); } },
      el('h2', { text: 'Save as' }), el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: 'Name' }), input),
      el('div', { class: 'og-dialog-buttons' }, button('Cancel', { onclick: () => dialog.close() }), el('button', { class: 'og-button primary', type: 'submit', text: 'Save' })));
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Save as' }, form);
    openDialog(dialog);
    input.focus();
  }
  async function importFile(chosen) {
    if (!chosen) return;
    const text = await chosen.text();
    file.value = '';
    await attempt(() => settings.whole('POST', 'api/config/import', text, { raw: true }), `Imported ${chosen.name}.`);
  }
  async function reset() {
    const name = current() ? settings.document.name : '';
    if (!await confirmed('Reset all settings?', `Everything goes back to ${name ? `“${name}”` : 'the defaults'}.`, 'Reset')) return;
    await attempt(() => (name ? settings.whole('GET', `api/config/load/${name.split('/').map(encodeURIComponent).join('/')}`)
      : settings.whole('PUT', 'api/config/current', { config: { model_type: settings.value('model_type'), training_method: settings.value('training_method') }, name: null })));
  }
  async function remove() {
    const { name } = settings.document;
    if (!await confirmed(`Delete “${name}”?`, 'The saved configuration is removed; the settings in the form stay.', 'Delete')) return;
    await attempt(() => api('DELETE', `api/config/${encodeURIComponent(name)}`), `Deleted ${name}.`);
  }

  settings.listeners.add((what) => { if (what === 'document') state(); });
  on('connected', fill);
  fill();
  return el('div', { class: 'og-toolbar', role: 'group', 'aria-label': 'Open and save settings' },
    el('label', { class: 'og-inline og-open', for: 'og-config' }, icon('file'), el('span', { class: 'og-sr', text: 'Preset or saved configuration' }), pick), changes, removeButton, el('span', { class: 'og-grow' }),
    saveButton, button('Save as …', { kind: 'small', onclick: saveAs }),
    button('Import', { icon: 'upload', kind: 'small', onclick: () => file.click() }), file,
    el('a', { class: 'og-button small', href: url('api/config/export'), download: 'onetrainer_config.json' }, icon('download'), el('span', { text: 'Export' })),
    button('Reset', { icon: 'reset', kind: 'small', onclick: reset }));
}
