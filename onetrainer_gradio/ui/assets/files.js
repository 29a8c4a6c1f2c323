// The file picker for files and folders on the panel’s machine.

import { button, el, format, icon, openDialog, setText, setVisible } from './dom.js';
import { api, url } from './live.js';
import { sheet } from './sheet.js';

await sheet('manage.css');

// what a setting expects (`x-path` of its schema) -> [which files are shown, whether a folder, a file can be chosen]
/** @type {Record<string, [string, boolean, boolean]>} */
const WANTS = {
  folder: ['folder', true, false],
  file: ['any', false, true],
  model: ['model', true, true],
  output: ['model', true, false],
};
// settings whose files have a separate kind
/** @type {Record<string, string>} */
const KINDS = {
  concept_file_name: 'json',
  sample_definition_file_name: 'json',
  base_image_path: 'image',
  mask_image_path: 'image',
  prompt_path: 'text',
  model_name: 'model',
};

// output paths: the folder may have to be created first
const WITH_NEW = new Set(['folder', 'output']);
const PLAIN = { type: 'text', class: 'og-text', spellcheck: 'false', autocomplete: 'off' };

/** @typedef {{path: string, name: string, folder: boolean, bytes: number, modified_at: number}} Entry */

/**
 * Choose a path for a setting; resolves to it, or to null.
 * @param {{title: string, wants?: string, path?: string, setting?: string}} options
 * @returns {Promise<string | null>}
 */
export function choosePath(options) {
  return new Promise((resolve) => {
    const picker = new Picker(options);
    openDialog(picker.dialog, () => resolve(picker.result));
    picker.go(options.path || '', true);
  });
}

class Picker {
  /** @param {{title: string, wants?: string, path?: string, setting?: string}} options */
  constructor({ title, wants = 'folder', path = '', setting = '' }) {
    const [usual, folders, files] = WANTS[wants] || WANTS.file;
    this.wants = wants;
    this.folders = folders;
    this.files = files;
    this.kind = (wants === 'file' && KINDS[setting.split('.').pop() || '']) || usual;
    /** @type {any} */
    this.listing = null;
    /** @type {Entry | null} */
    this.chosen = null;
    /** @type {string | null} */
    this.result = null;
    this.asked = 0;
    this.typing = false; // typing a folder: the response to an earlier request does not overwrite it
    this.where = el('input', {
      ...PLAIN,
      'aria-label': 'Folder',
      oninput: () => {
        this.typing = true;
      },
      onchange: () => this.go(this.where.value),
    });
    const again = () => this.go(this.listing.path);
    this.up = button('', {
      icon: 'up',
      title: 'Parent folder',
      kind: 'quiet',
      onclick: () => this.go(this.listing.parent),
    });
    this.search = el('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter names', oninput: again });
    this.every = el('input', { type: 'checkbox', onchange: again });
    this.places = el('div', { class: 'og-places', role: 'group', 'aria-label': 'Places' });
    this.list = el('ul', { class: 'og-entries', 'aria-label': 'Contents' });
    this.note = el('p', { class: 'og-muted og-small', role: 'status' });
    this.name = el('input', { ...PLAIN, id: 'og-file-name', oninput: () => this.state() });
    this.naming = el('label', { class: 'og-file-naming' }, el('span', { class: 'og-label', text: 'File name' }), this.name);
    this.take = button('', {
      kind: 'primary',
      onclick: () => {
        this.result = this.picked();
        this.dialog.close();
      },
    });
    this.inside = new Inside();
    this.fresh = new NewFolder(this);
    this.dialog = this.layout(title);
    setVisible(this.naming, wants === 'output');
    if (wants === 'output') this.name.value = path.split(/[\\/]/).at(-1) ?? '';
    this.state();
  }

  /** @param {string} title */
  layout(title) {
    const close = () => this.dialog.close();
    const all = { class: 'og-inline og-grow', hidden: !(this.files && this.kind !== 'any') };
    return el(
      'dialog',
      { class: 'og-dialog og-browse', 'aria-label': title },
      el(
        'div',
        { class: 'og-dialog-head' },
        el('h2', { class: 'og-grow', text: title }),
        button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: close }),
      ),
      this.places,
      el('div', { class: 'og-browse-where' }, this.up, this.where, this.search),
      this.fresh.node,
      [this.list, this.note, this.inside.node, this.naming],
      el(
        'div',
        { class: 'og-dialog-buttons' },
        el('label', all, this.every, el('span', { text: 'Show all files' })),
        button('Cancel', { onclick: close }),
        this.take,
      ),
    );
  }

  /** @param {string} entry */
  within(entry) {
    const { path } = this.listing;
    return `${path.replace(/[\\/]$/, '')}${path.includes('\\') ? '\\' : '/'}${entry}`;
  }

  picked() {
    const name = this.name.value.trim();
    if (this.wants === 'output' && name) return this.within(name);
    return this.chosen ? this.chosen.path : this.listing.path;
  }

  /**
   * Read a folder and show it.
   * @param {string} to
   */
  async go(to, nearest = false) {
    this.asked += 1;
    const mine = this.asked;
    this.typing = false;
    const kind = this.every.checked ? 'any' : this.kind;
    const search = this.search.value.trim();
    try {
      const query = new URLSearchParams({ path: to, kind, search, nearest: String(nearest) });
      const answer = await api('GET', `api/files?${query}`);
      if (mine !== this.asked) return;
      const another = this.listing && answer.path !== this.listing.path;
      this.listing = answer;
      if (another && this.search.value) {
        this.search.value = '';
        this.go(answer.path);
        return;
      }
      /** @type {Entry[]} */
      const entries = answer.entries;
      this.chosen = (this.files && entries.find((entry) => entry.name === answer.file && !entry.folder)) || null;
      if (this.wants === 'output' && answer.file) this.name.value = answer.file;
      this.draw();
    } catch (/** @type {any} */ error) {
      if (mine === this.asked) this.fail(error);
    }
  }

  /** @param {Error} error */
  fail(error) {
    setText(this.note, error.message);
    this.note.className = 'bad og-small';
  }

  draw() {
    const { listing } = this;
    if (!this.typing) this.where.value = listing.path;
    this.up.disabled = !listing.parent;
    const places = /** @type {{title: string, path: string}[]} */ (listing.places).map(({ title, path }) =>
      button(title, { kind: 'small', icon: 'folder', title: path, onclick: () => this.go(path) }),
    );
    this.places.replaceChildren(...places, ...(WITH_NEW.has(this.wants) ? [this.fresh.button] : []));
    this.list.replaceChildren(.../** @type {Entry[]} */ (listing.entries).map((entry) => this.line(entry)));
    this.list.scrollTop = 0;
    this.note.className = 'og-muted og-small';
    setText(this.note, this.missing());
    setVisible(this.list, !this.inside.draw(listing, this.kind));
    this.state();
    this.list.querySelector('[aria-pressed=true]')?.scrollIntoView({ block: 'nearest' });
  }

  /** What the list lacks, and why it may be empty. */
  missing() {
    const { left_out, entries } = this.listing;
    if (left_out) return `${left_out} more. Filter by name to narrow the list.`;
    if (entries.length) return '';
    if (this.search.value) return 'No matches in this folder.';
    return this.kind === 'folder' ? 'No subfolders.' : 'No matching files.';
  }

  /** @param {Entry} entry */
  line(entry) {
    const { folder, path, name } = entry;
    const attributes = {
      type: 'button',
      class: 'og-entry',
      disabled: !(folder || this.files || this.wants === 'output'),
      title: path,
      'aria-pressed': folder ? undefined : String(this.chosen?.path === path),
      onclick: () => (folder ? this.go(path) : this.pick(entry)),
      ondblclick: () => {
        if (!folder && this.files) this.take.click();
      },
    };
    return el(
      'li',
      {},
      el(
        'button',
        attributes,
        icon(folder ? 'folder' : 'file'),
        el('span', { class: 'og-entry-name', text: name }),
        el('span', { class: 'og-muted og-small', text: folder ? '' : format.bytes(entry.bytes) }),
        el('span', { class: 'og-muted og-small og-entry-when', text: format.time(entry.modified_at) }),
      ),
    );
  }

  /** @param {Entry} entry */
  pick(entry) {
    if (this.wants === 'output') this.name.value = entry.name;
    else this.chosen = entry;
    for (const each of this.list.querySelectorAll('.og-entry[aria-pressed]'))
      each.setAttribute('aria-pressed', String(each.title === entry.path));
    this.state();
  }

  /** What the button takes, and whether there is anything to take. */
  state() {
    const output = this.wants === 'output';
    const other = this.folders ? 'Choose this folder' : 'Choose a file';
    const text = output ? 'Choose' : this.chosen ? 'Choose this file' : other;
    this.take.replaceChildren(el('span', { text }));
    this.take.disabled = !this.listing || (output ? !this.name.value.trim() : !this.chosen && !this.folders);
  }
}

/** What a folder holds that is not in the list: a folder full of images does not look empty. */
class Inside {
  constructor() {
    this.node = el('div', { class: 'og-inside', hidden: true });
  }

  /**
   * Return whether it is shown without a list.
   * @param {any} listing
   * @param {string} kind
   */
  draw({ images, other_files, entries, thumbnails }, kind) {
    const hidden = kind === 'folder' ? other_files : 0;
    const counts = [
      images && `${images} ${images === 1 ? 'image' : 'images'}`,
      hidden && `${hidden} other ${hidden === 1 ? 'file' : 'files'}`,
    ]
      .filter(Boolean)
      .join(' and ');
    setVisible(this.node, Boolean(kind === 'folder' && counts));
    const alone = Boolean(!entries.length && images);
    this.node.classList.toggle('alone', alone);
    this.node.replaceChildren(
      el('p', { class: 'og-small', role: 'status', text: `${counts} in this folder.` }),
      el('div', { class: 'og-thumbs' }, /** @type {string[]} */ (thumbnails).map(thumbnail)),
    );
    return alone;
  }
}

/** @param {string} path */
const thumbnail = (path) =>
  el('img', {
    src: url(`${path}?w=96`),
    alt: '',
    loading: 'lazy',
    width: 64,
    height: 64,
    onerror: (/** @type {any} */ event) => event.target.remove(),
  });

/** The button that creates a folder in the shown one, and the line that asks for its name. */
class NewFolder {
  /** @param {Picker} picker */
  constructor(picker) {
    this.picker = picker;
    this.button = button('New folder', {
      icon: 'add',
      kind: 'small og-new-folder',
      title: 'Create a folder here',
      onclick: () => this.ask(),
    });
    const label = 'Name of the new folder';
    this.name = el('input', {
      ...PLAIN,
      'aria-label': label,
      placeholder: label,
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    });
    this.node = el(
      'div',
      { class: 'og-file-making', hidden: true },
      icon('folder'),
      this.name,
      button('Create', { onclick: () => this.make() }),
      button('', { icon: 'close', title: 'Cancel', kind: 'quiet', onclick: () => this.done() }),
    );
  }

  ask() {
    setVisible(this.node, true);
    this.name.focus();
  }

  done() {
    setVisible(this.node, false);
    this.name.value = '';
    this.button.focus();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!['Enter', 'Escape'].includes(event.key)) return;
    event.preventDefault();
    if (event.key === 'Enter') this.make();
    else this.done();
  }

  async make() {
    try {
      const made = await api('POST', 'api/files/folder', { path: this.picker.listing.path, name: this.name.value });
      this.done();
      await this.picker.go(made.path);
    } catch (/** @type {any} */ error) {
      this.picker.fail(error);
    }
  }
}
