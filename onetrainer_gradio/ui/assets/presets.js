// Presets and saved configurations: search, by family, with a preview of what opening one would change.

import { hiding, setHiding, unavailablePresets } from './available.js';
import { table } from './differences.js';
import { button, confirmed, el, openDialog, toast } from './dom.js';
import { api } from './live.js';
import { duplicate, exportDialog, rename } from './saved.js';

const MEMORIES = [8, 12, 16, 24, 32, 48];

/** @typedef {{name: string, kind: string, summary?: any}} Item */
/** @typedef {{load: (item: any) => void, again: () => Promise<Item[]>}} Doing */

/**
 * A dialog to choose from `items`; `load` opens the selected one, `again` reloads the items.
 * @param {any} settings
 * @param {Item[]} items
 * @param {Doing} doing
 */
export function openPresets(settings, items, doing) {
  const browser = new PresetBrowser(settings, items, doing);
  browser.draw();
  openDialog(browser.dialog);
  browser.search.focus();
  attempt(() => browser.readLibraries());
  attempt(async () => {
    browser.unavailable = await unavailablePresets();
    browser.draw();
  });
}

/** @param {() => Promise<void>} action */
async function attempt(action) {
  try {
    await action();
  } catch (/** @type {any} */ error) {
    toast(error.message, 'bad');
  }
}

/**
 * @param {string} label
 * @param {string} all
 * @param {[any, string][]} choices
 * @param {() => void} onchange
 */
const choice = (label, all, choices, onchange) =>
  el(
    'select',
    { 'aria-label': label, onchange },
    [['', all], ...choices].map(([value, text]) => el('option', { value, text })),
  );

/** @param {Item} item */
const textOf = ({ name, summary }) => [name, summary?.model, summary?.training_method, summary?.note].join(' ').toLowerCase();
/** @param {Item} item */
const family = (item) => (item.kind === 'saved' ? 'Saved' : item.summary?.family || 'Getting started');
/** @param {string} text */
const nothing = (text) => el('p', { class: 'og-empty', text });

class PresetBrowser {
  /**
   * @param {any} settings
   * @param {Item[]} items
   * @param {Doing} doing
   */
  constructor(settings, items, { load, again }) {
    this.settings = settings;
    this.items = items;
    this.reload = again;
    /** @type {Item | null} */
    this.chosen = null;
    /** @type {Map<string, string>} */
    this.unavailable = new Map();
    /** @type {any[]} */
    this.libraries = [];
    /** @type {Record<string, string>} */
    this.words = settings.byPath.get('training_method').schema['x-enum-labels'] || {};
    const draw = () => this.draw();
    this.search = el('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search presets', oninput: draw });
    const methods = [...new Set(items.map((item) => item.summary?.training_method).filter(Boolean))];
    this.method = choice(
      'Method',
      'Any method',
      methods.map((each) => [each, this.words[each] || each]),
      draw,
    );
    this.memory = choice(
      'VRAM',
      'Any VRAM',
      MEMORIES.map((each) => [each, `up to ${each} GB`]),
      draw,
    );
    this.hide = el('input', { type: 'checkbox', checked: hiding(), onchange: () => this.setHiding() });
    this.list = el('div', { class: 'og-preset-list' });
    const open = items.find((item) => item.name === settings.document.name);
    const hint = 'Select a preset to see what it would change.';
    this.detail = el('div', { class: 'og-preset-detail' }, nothing(open ? `“${open.name}” is open. ${hint}` : hint));
    this.openButton = button('Open', {
      kind: 'primary',
      disabled: true,
      onclick: () => {
        this.dialog.close();
        load(this.chosen);
      },
    });
    this.dialog = this.layout();
  }

  layout() {
    const title = 'Presets and saved configurations';
    const close = () => this.dialog.close();
    const hiderTitle = 'Also hides such choices in the settings, such as optimizers';
    const hider = el(
      'label',
      { class: 'og-inline og-small og-hide-unavailable', title: hiderTitle },
      this.hide,
      el('span', { text: 'Hide what can’t be trained here' }),
    );
    const add = {
      icon: 'add',
      title: 'Add presets from another folder, such as OneTrainer’s training_presets',
      'data-og-needs': 'owner',
      onclick: () => this.addLibrary(),
    };
    return el(
      'dialog',
      { class: 'og-dialog og-presets', 'aria-label': title },
      el(
        'div',
        { class: 'og-dialog-head' },
        el('h2', { class: 'og-grow', text: title }),
        button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: close }),
      ),
      el('div', { class: 'og-preset-filter' }, this.search, this.method, this.memory, hider),
      el('div', { class: 'og-preset-body' }, this.list, this.detail),
      el(
        'div',
        { class: 'og-dialog-buttons og-preset-foot' },
        button('Add folder…', add),
        el('span', { class: 'og-muted og-small og-grow', text: this.warning() }),
        button('Cancel', { onclick: close }),
        this.openButton,
      ),
    );
  }

  warning() {
    const count = this.settings.changes().length;
    if (!count) return '';
    return `You have ${count} unsaved ${count === 1 ? 'change' : 'changes'}. Undo reverts what opening changes.`;
  }

  setHiding() {
    setHiding(this.hide.checked);
    this.draw();
    for (const listener of this.settings.listeners) listener('choices');
  }

  /** @param {Item} item */
  why(item) {
    return this.unavailable.get(`${item.kind}:${item.name}`);
  }

  draw() {
    const asked = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.items.filter((item) => this.passes(item, asked));
    const families = [...new Set(['Saved', ...found.map(family)])].filter((each) => found.some((item) => family(item) === each));
    this.list.replaceChildren(
      ...families.flatMap((each) => [
        this.heading(each),
        ...found.filter((item) => family(item) === each).map((item) => this.entry(item)),
      ]),
    );
    for (const { title, folder, present, presets } of this.libraries) {
      if (asked.length || families.includes(title)) continue;
      const text = !present ? 'Folder not found.' : presets ? 'No matches.' : 'No presets in this folder.';
      this.list.append(this.heading(title), el('p', { class: 'og-muted og-small og-library-none', title: folder, text }));
    }
    if (!found.length) this.list.append(nothing('No results.'));
  }

  /**
   * @param {Item} item
   * @param {string[]} asked
   */
  passes(item, asked) {
    const { hide, method, memory } = this;
    const { training_method, memory_gb } = item.summary || {};
    return (
      asked.every((word) => textOf(item).includes(word)) &&
      (!hide.checked || !this.why(item) || item === this.chosen) &&
      (!method.value || training_method === method.value) &&
      (!memory.value || !memory_gb || memory_gb <= Number(memory.value))
    );
  }

  /**
   * The heading of a family. An added folder shows its path and can be removed from the list.
   * @param {string} title
   */
  heading(title) {
    const library = this.libraries.find((each) => each.title === title);
    if (!library) return el('h4', { text: title });
    const remove = { icon: 'close', title: `Remove ${title} from this list`, kind: 'quiet small' };
    return el(
      'div',
      { class: 'og-library-head' },
      el('h4', { text: title, title: library.folder }),
      el('span', { class: 'og-count og-muted', text: 'Read-only' }),
      library.kept ? button('', { ...remove, 'data-og-needs': 'owner', onclick: () => this.removeLibrary(library) }) : null,
    );
  }

  /** @param {Item} item */
  entry(item) {
    const family_ = item.kind !== 'saved' && item.summary?.family;
    const why = this.why(item);
    return el(
      'button',
      {
        type: 'button',
        class: 'og-preset',
        'aria-pressed': String(this.chosen?.name === item.name && this.chosen.kind === item.kind),
        dataset: { preset: item.name },
        title: item.name,
        onclick: () => this.choose(item),
        ondblclick: () => this.openButton.click(),
      },
      el('span', {
        class: why ? 'og-muted' : '',
        text: family_ ? item.name.slice(family_.length + 1).replace(/^#/, '') : item.name,
      }),
      why ? el('span', { class: 'og-count og-muted', title: why, text: 'Not trainable here' }) : null,
      item.name === this.settings.document.name ? el('span', { class: 'og-count accent', text: 'Open' }) : null,
    );
  }

  /** @param {Item} item */
  async choose(item) {
    this.chosen = item;
    for (const each of this.list.querySelectorAll('.og-preset'))
      each.setAttribute('aria-pressed', String(each.dataset.preset === item.name));
    this.openButton.disabled = false;
    const about = item.summary || {};
    const facts = [
      about.model || about.model_type,
      this.words[about.training_method] || about.training_method,
      about.memory_gb && `${about.memory_gb} GB VRAM`,
      item.kind === 'library' && 'Read-only',
    ].filter(Boolean);
    const why = this.why(item);
    const differs = el('div', { class: 'og-differs' }, el('p', { class: 'og-muted og-small', text: 'Comparing…' }));
    this.detail.replaceChildren(
      ...[
        el('h3', { text: item.name }),
        el('p', { class: 'og-muted', text: facts.join(' · ') }),
        why && el('p', { class: 'warn', text: `No available engine can train this: ${why}` }),
        about.note && el('p', { text: about.note }),
        about.source && el('p', { class: 'og-muted og-small', text: about.source }),
        this.tools(item),
        differs,
      ].filter(Boolean),
    );
    const shown = await this.differences(item);
    if (this.chosen === item) differs.replaceChildren(...shown);
  }

  /**
   * What opening an item would change.
   * @param {Item} item
   */
  async differences(item) {
    try {
      const query = new URLSearchParams({ right: `${item.kind}:${item.name}` });
      const { differences } = await api('GET', `api/config/diff?${query}`);
      if (!differences.length) return [el('p', { class: 'og-muted', text: 'Same as the settings in the form.' })];
      const count = `${differences.length} ${differences.length === 1 ? 'setting differs' : 'settings differ'} from those in the form`;
      return [el('p', { class: 'og-muted og-small', text: count }), table(this.settings, differences, ['Current', 'Preset'])];
    } catch (/** @type {any} */ error) {
      return [el('p', { class: 'bad', text: error.message })];
    }
  }

  /**
   * Actions for an item other than opening it.
   * @param {Item} item
   */
  tools(item) {
    const saved = item.kind === 'saved';
    const after = (/** @type {any} */ name) => this.show(name);
    const copy = () => duplicate(item).then(after);
    return el(
      'div',
      { class: 'og-preset-tools' },
      saved && button('Rename', { kind: 'small', onclick: () => rename(item.name).then(after) }),
      button(saved ? 'Duplicate' : 'Save a copy', { icon: 'copy', kind: 'small', onclick: copy }),
      button('Export', { icon: 'download', kind: 'small', onclick: () => exportDialog(item) }),
      saved && button('Delete', { icon: 'trash', kind: 'small', 'data-og-needs': 'owner', onclick: () => this.remove(item) }),
    );
  }

  /**
   * Select a saved configuration that was just written.
   * @param {string} [name]
   */
  async show(name) {
    if (!name) return;
    this.items = await this.reload();
    this.draw();
    const now = this.items.find((each) => each.kind === 'saved' && each.name === name);
    if (!now) return;
    this.choose(now);
    this.list.querySelector('[aria-pressed=true]')?.scrollIntoView({ block: 'nearest' });
  }

  /** @param {Item} item */
  async remove({ name }) {
    const kept = 'This deletes the saved configuration. The settings in the form don’t change.';
    if (!(await confirmed(`Delete “${name}”?`, kept, 'Delete'))) return;
    await attempt(async () => {
      await api('DELETE', `api/config/${encodeURIComponent(name)}`);
      this.items = await this.reload();
      this.chosen = null;
      this.openButton.disabled = true;
      this.detail.replaceChildren(nothing(`“${name}” deleted.`));
      this.draw();
    });
  }

  /** @param {any} answer */
  async readLibraries(answer = api('GET', 'api/config/libraries')) {
    ({ libraries: this.libraries } = await answer);
    this.draw();
  }

  async addLibrary() {
    const { choosePath } = await import('./files.js');
    const folder = await choosePath({ title: 'Folder of presets', wants: 'folder' });
    if (!folder) return;
    await attempt(async () => {
      const answer = await api('POST', 'api/config/libraries', { folder });
      this.items = await this.reload();
      await this.readLibraries(answer);
      this.list.querySelector('.og-library-head:last-of-type')?.scrollIntoView({ block: 'start' });
      const { presets, title } = this.libraries.find((each) => each.folder === folder) || this.libraries.at(-1);
      toast(presets ? `Added ${presets} presets from ${title}.` : `No presets in ${folder}.`, presets ? '' : 'bad');
    });
  }

  /** @param {{title: string, folder: string}} library */
  async removeLibrary({ title, folder }) {
    if (!(await confirmed(`Remove “${title}” from the list?`, `The presets in ${folder} are kept.`, 'Remove'))) return;
    await attempt(async () => {
      const answer = await api('DELETE', `api/config/libraries/${encodeURIComponent(title)}`);
      this.items = await this.reload();
      await this.readLibraries(answer);
    });
  }
}
