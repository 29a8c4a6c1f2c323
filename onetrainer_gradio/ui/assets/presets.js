// Presets and saved configurations: search, by family, with a preview of what opening one would change.

import { hiding, setHiding, unavailablePresets } from './available.js';
import { table } from './differences.js';
import { button, confirmed, el, openDialog, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';
import { duplicate, exportDialog, rename } from './saved.js';

const MEMORIES = [8, 12, 16, 24, 32, 48];

/** A dialog to choose from `items`; `load` opens the selected one, `again` reloads the items. */
export function openPresets(settings, items, { load, again }) {
  const search = el('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search presets', oninput: draw });
  const methods = [...new Set(items.map((item) => item.summary?.training_method).filter(Boolean))];
  const words = settings.byPath.get('training_method').schema['x-enum-labels'] || {};
  const method = el(
    'select',
    { 'aria-label': 'Method', onchange: draw },
    el('option', { value: '', text: 'Any method' }),
    methods.map((each) => el('option', { value: each, text: words[each] || each })),
  );
  const memory = el(
    'select',
    { 'aria-label': 'VRAM', onchange: draw },
    el('option', { value: '', text: 'Any VRAM' }),
    MEMORIES.map((each) => el('option', { value: each, text: `up to ${each} GB` })),
  );
  const hide = el('input', {
    type: 'checkbox',
    checked: hiding(),
    onchange: () => {
      setHiding(hide.checked);
      draw();
      for (const listener of settings.listeners) listener('choices');
    },
  });
  const hider = el(
    'label',
    { class: 'og-inline og-small og-hide-unavailable', title: 'Also hides such choices in the settings, such as optimizers' },
    hide,
    el('span', { text: 'Hide what can’t be trained here' }),
  );
  let unavailable = new Map();
  const why = (item) => unavailable.get(`${item.kind}:${item.name}`);
  const list = el('div', { class: 'og-preset-list' });
  const detail = el('div', { class: 'og-preset-detail' });
  const openButton = button('Open', {
    kind: 'primary',
    disabled: true,
    onclick: () => {
      dialog.close();
      load(chosen);
    },
  });
  const warning = el('span', { class: 'og-muted og-small og-grow' });
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-presets', 'aria-label': 'Presets and saved configurations' },
    el(
      'div',
      { class: 'og-dialog-head' },
      el('h2', { class: 'og-grow', text: 'Presets and saved configurations' }),
      button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() }),
    ),
    el('div', { class: 'og-preset-filter' }, search, method, memory, hider),
    el('div', { class: 'og-preset-body' }, list, detail),
    el(
      'div',
      { class: 'og-dialog-buttons og-preset-foot' },
      button('Add folder…', {
        icon: 'add',
        title: 'Add presets from another folder, such as OneTrainer’s training_presets',
        onclick: addLibrary,
      }),
      warning,
      button('Cancel', { onclick: () => dialog.close() }),
      openButton,
    ),
  );
  /** @type {any} */
  let chosen = null;
  const textOf = (item) =>
    [item.name, item.summary?.model, item.summary?.training_method, item.summary?.note].join(' ').toLowerCase();
  const family = (item) => (item.kind === 'saved' ? 'Saved' : item.summary?.family || 'Getting started');

  function draw() {
    const asked = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = items.filter(
      (item) =>
        asked.every((word) => textOf(item).includes(word)) &&
        (!hide.checked || !why(item) || item === chosen) &&
        (!method.value || item.summary?.training_method === method.value) &&
        (!memory.value || !item.summary?.memory_gb || item.summary.memory_gb <= Number(memory.value)),
    );
    const families = [...new Set(['Saved', ...found.map(family)])].filter((each) => found.some((item) => family(item) === each));
    list.replaceChildren(
      ...families.flatMap((each) => [heading(each), ...found.filter((item) => family(item) === each).map(entry)]),
    );
    for (const { title, folder, present, presets } of libraries) {
      if (!asked.length && !families.includes(title))
        list.append(
          heading(title),
          el('p', {
            class: 'og-muted og-small og-library-none',
            title: folder,
            text: !present ? 'Folder not found.' : presets ? 'No matches.' : 'No presets in this folder.',
          }),
        );
    }
    if (!found.length) list.append(el('p', { class: 'og-empty', text: 'No results.' }));
  }

  /** The heading of a family. An added folder shows its path and can be removed from the list. */
  function heading(title) {
    const library = libraries.find((each) => each.title === title);
    if (!library) return el('h4', { text: title });
    return el(
      'div',
      { class: 'og-library-head' },
      el('h4', { text: title, title: library.folder }),
      el('span', { class: 'og-count og-muted', text: 'Read-only' }),
      library.kept
        ? button('', {
            icon: 'close',
            title: `Remove ${title} from this list`,
            kind: 'quiet small',
            onclick: () => removeLibrary(library),
          })
        : null,
    );
  }

  let libraries = [];
  async function readLibraries(answer = api('GET', 'api/config/libraries')) {
    ({ libraries } = await answer);
    draw();
  }
  async function addLibrary() {
    const { choosePath } = await import('./files.js');
    const folder = await choosePath({ title: 'Folder of presets', wants: 'folder' });
    if (!folder) return;
    await attempt(async () => {
      const answer = await api('POST', 'api/config/libraries', { folder });
      items = await again();
      await readLibraries(answer);
      list.querySelector('.og-library-head:last-of-type')?.scrollIntoView({ block: 'start' });
      const added = libraries.find((each) => each.folder === folder) || libraries.at(-1);
      toast(
        added.presets ? `Added ${added.presets} presets from ${added.title}.` : `No presets in ${folder}.`,
        added.presets ? '' : 'bad',
      );
    });
  }
  async function removeLibrary({ title, folder }) {
    if (!(await confirmed(`Remove “${title}” from the list?`, `The presets in ${folder} are kept.`, 'Remove'))) return;
    await attempt(async () => {
      const answer = await api('DELETE', `api/config/libraries/${encodeURIComponent(title)}`);
      items = await again();
      await readLibraries(answer);
    });
  }
  async function attempt(action) {
    try {
      await action();
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  /** Actions for an item other than opening it. */
  function tools(item) {
    const after = async (name) => {
      if (!name) return;
      items = await again();
      draw();
      const now = items.find((each) => each.kind === 'saved' && each.name === name);
      if (now) {
        choose(now);
        list.querySelector('[aria-pressed=true]')?.scrollIntoView({ block: 'nearest' });
      }
    };
    const remove = async () => {
      if (
        !(await confirmed(
          `Delete “${item.name}”?`,
          'This deletes the saved configuration. The settings in the form don’t change.',
          'Delete',
        ))
      )
        return;
      await attempt(async () => {
        await api('DELETE', `api/config/${encodeURIComponent(item.name)}`);
        items = await again();
        chosen = null;
        openButton.disabled = true;
        detail.replaceChildren(el('p', { class: 'og-empty', text: `“${item.name}” deleted.` }));
        draw();
      });
    };
    const saved = item.kind === 'saved';
    return el(
      'div',
      { class: 'og-preset-tools' },
      saved && button('Rename', { kind: 'small', onclick: () => rename(item.name).then(after) }),
      button(saved ? 'Duplicate' : 'Save a copy', { icon: 'copy', kind: 'small', onclick: () => duplicate(item).then(after) }),
      button('Export', { icon: 'download', kind: 'small', onclick: () => exportDialog(item) }),
      saved && button('Delete', { icon: 'trash', kind: 'small', onclick: remove }),
    );
  }

  function entry(item) {
    const short =
      item.kind !== 'saved' && item.summary?.family
        ? item.name.slice(item.summary.family.length + 1).replace(/^#/, '')
        : item.name;
    return el(
      'button',
      {
        type: 'button',
        class: 'og-preset',
        'aria-pressed': String(chosen?.name === item.name && chosen.kind === item.kind),
        dataset: { preset: item.name },
        title: item.name,
        onclick: () => choose(item),
        ondblclick: () => openButton.click(),
      },
      el('span', { class: why(item) ? 'og-muted' : '', text: short }),
      why(item) ? el('span', { class: 'og-count og-muted', title: why(item), text: 'Not trainable here' }) : null,
      item.name === settings.document.name ? el('span', { class: 'og-count accent', text: 'Open' }) : null,
    );
  }

  async function choose(item) {
    chosen = item;
    for (const each of list.querySelectorAll('.og-preset'))
      each.setAttribute('aria-pressed', String(each.dataset.preset === item.name));
    openButton.disabled = false;
    const about = item.summary || {};
    const facts = [
      about.model || about.model_type,
      words[about.training_method] || about.training_method,
      about.memory_gb && `${about.memory_gb} GB VRAM`,
    ].filter(Boolean);
    const differs = el('div', { class: 'og-differs' }, el('p', { class: 'og-muted og-small', text: 'Comparing…' }));
    detail.replaceChildren(
      ...[
        el('h3', { text: item.name }),
        el('p', { class: 'og-muted', text: [...facts, item.kind === 'library' && 'Read-only'].filter(Boolean).join(' · ') }),
        why(item) && el('p', { class: 'warn', text: `No available engine can train this: ${why(item)}` }),
        about.note && el('p', { text: about.note }),
        about.source && el('p', { class: 'og-muted og-small', text: about.source }),
        tools(item),
        differs,
      ].filter(Boolean),
    );
    try {
      const { differences } = await api('GET', `api/config/diff?${new URLSearchParams({ right: `${item.kind}:${item.name}` })}`);
      const count_ = `${differences.length} ${differences.length === 1 ? 'setting differs' : 'settings differ'} from those in the form`;
      if (chosen === item)
        differs.replaceChildren(
          ...(differences.length
            ? [el('p', { class: 'og-muted og-small', text: count_ }), table(settings, differences, ['Current', 'Preset'])]
            : [el('p', { class: 'og-muted', text: 'Same as the settings in the form.' })]),
        );
    } catch (error) {
      if (chosen === item) differs.replaceChildren(el('p', { class: 'bad', text: error.message }));
    }
  }

  const count = settings.changes().length;
  setText(
    warning,
    count ? `You have ${count} unsaved ${count === 1 ? 'change' : 'changes'}. Undo reverts what opening changes.` : '',
  );
  setVisible(warning, true);
  draw();
  attempt(readLibraries);
  attempt(async () => {
    unavailable = await unavailablePresets();
    draw();
  });
  openDialog(dialog);
  search.focus();
  const present = items.find((item) => item.name === settings.document.name);
  detail.replaceChildren(
    el('p', {
      class: 'og-empty',
      text: present
        ? `“${present.name}” is open. Select a preset to see what it would change.`
        : 'Select a preset to see what it would change.',
    }),
  );
}
