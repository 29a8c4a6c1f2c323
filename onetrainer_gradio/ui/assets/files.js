// The file picker for files and folders on the panel’s machine.

import { button, el, format, icon, openDialog, setText, setVisible } from './dom.js';
import { api, url } from './live.js';
import { sheet } from './sheet.js';

await sheet('manage.css');

// what a setting expects (`x-path` of its schema) -> [which files are shown, whether a folder, a file can be chosen]
const WANTS = {
  folder: ['folder', true, false],
  file: ['any', false, true],
  model: ['model', true, true],
  output: ['model', true, false],
};
// settings whose files have a kind of their own
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

/** Choose a path for a setting; resolves to it, or to null. */
export function choosePath({ title, wants = 'folder', path = '', setting = '' }) {
  const [usual, folders, files] = WANTS[wants] || WANTS.file;
  const kind = (wants === 'file' && KINDS[setting.split('.').pop()]) || usual;
  return new Promise((resolve) => {
    /** @type {any} */
    let listing = null;
    /** @type {any} */
    let chosen = null;
    /** @type {any} */
    let result = null;
    const where = el('input', {
      type: 'text',
      class: 'og-text',
      'aria-label': 'Folder',
      spellcheck: 'false',
      autocomplete: 'off',
      oninput: () => {
        typing = true;
      },
      onchange: () => go(where.value),
    });
    const up = button('', { icon: 'up', title: 'Parent folder', kind: 'quiet', onclick: () => go(listing.parent) });
    const search = el('input', {
      type: 'search',
      placeholder: 'Filter',
      'aria-label': 'Filter names',
      oninput: () => go(listing.path),
    });
    const every = el('input', { type: 'checkbox', onchange: () => go(listing.path) });
    const places = el('div', { class: 'og-places', role: 'group', 'aria-label': 'Places' });
    const list = el('ul', { class: 'og-entries', 'aria-label': 'Contents' });
    const note = el('p', { class: 'og-muted og-small', role: 'status' });
    const inside = el('div', { class: 'og-inside', hidden: true });
    const name = el('input', {
      type: 'text',
      class: 'og-text',
      id: 'og-file-name',
      spellcheck: 'false',
      autocomplete: 'off',
      oninput: state,
    });
    const naming = el('label', { class: 'og-file-naming' }, el('span', { class: 'og-label', text: 'File name' }), name);
    const take = button('', {
      kind: 'primary',
      onclick: () => {
        result = picked();
        dialog.close();
      },
    });
    const fresh = button('New folder', {
      icon: 'add',
      kind: 'small og-new-folder',
      title: 'Create a folder here',
      onclick: ask,
    });
    const freshName = el('input', {
      type: 'text',
      class: 'og-text',
      'aria-label': 'Name of the new folder',
      placeholder: 'Name of the new folder',
      spellcheck: 'false',
      autocomplete: 'off',
      onkeydown: keys,
    });
    const making = el(
      'div',
      { class: 'og-file-making', hidden: true },
      icon('folder'),
      freshName,
      button('Create', { onclick: make }),
      button('', { icon: 'close', title: 'Cancel', kind: 'quiet', onclick: done }),
    );
    const dialog = el(
      'dialog',
      { class: 'og-dialog og-browse', 'aria-label': title },
      el(
        'div',
        { class: 'og-dialog-head' },
        el('h2', { class: 'og-grow', text: title }),
        button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() }),
      ),
      places,
      el('div', { class: 'og-browse-where' }, up, where, search),
      making,
      list,
      note,
      inside,
      naming,
      el(
        'div',
        { class: 'og-dialog-buttons' },
        el(
          'label',
          { class: 'og-inline og-grow', hidden: !(files && kind !== 'any') },
          every,
          el('span', { text: 'Show all files' }),
        ),
        button('Cancel', { onclick: () => dialog.close() }),
        take,
      ),
    );

    const within = (entry) => `${listing.path.replace(/[\\/]$/, '')}${listing.path.includes('\\') ? '\\' : '/'}${entry}`;
    const picked = () =>
      wants === 'output' && name.value.trim() ? within(name.value.trim()) : chosen ? chosen.path : listing.path;

    let asked = 0;
    let typing = false; // a folder by hand: the answer to an earlier question does not write over it
    async function go(to, nearest = false) {
      asked += 1;
      const mine = asked;
      typing = false;
      try {
        const query = new URLSearchParams({
          path: to,
          kind: every.checked ? 'any' : kind,
          search: search.value.trim(),
          nearest: String(nearest),
        });
        const answer = await api('GET', `api/files?${query}`);
        if (mine !== asked) return;
        if (listing && answer.path !== listing.path && search.value) {
          search.value = '';
          listing = answer;
          go(answer.path);
          return;
        }
        listing = answer;
        chosen = files ? answer.entries.find((entry) => entry.name === answer.file && !entry.folder) || null : null;
        if (wants === 'output' && answer.file) name.value = answer.file;
        draw();
      } catch (error) {
        if (mine === asked) {
          setText(note, error.message);
          note.className = 'bad og-small';
        }
      }
    }

    function ask() {
      setVisible(making, true);
      freshName.focus();
    }
    function done() {
      setVisible(making, false);
      freshName.value = '';
      fresh.focus();
    }
    function keys(event) {
      const does = { Enter: make, Escape: done }[event.key];
      if (does) {
        event.preventDefault();
        does();
      }
    }
    async function make() {
      try {
        const made = await api('POST', 'api/files/folder', { path: listing.path, name: freshName.value });
        done();
        await go(made.path);
      } catch (error) {
        setText(note, error.message);
        note.className = 'bad og-small';
      }
    }

    function draw() {
      if (!typing) where.value = listing.path;
      up.disabled = !listing.parent;
      places.replaceChildren(
        ...listing.places.map((place) =>
          button(place.title, { kind: 'small', icon: 'folder', title: place.path, onclick: () => go(place.path) }),
        ),
        ...(WITH_NEW.has(wants) ? [fresh] : []),
      );
      list.replaceChildren(...listing.entries.map(line));
      list.scrollTop = 0;
      note.className = 'og-muted og-small';
      setText(
        note,
        listing.left_out
          ? `${listing.left_out} more. Filter by name to narrow the list.`
          : listing.entries.length
            ? ''
            : search.value
              ? 'No matches in this folder.'
              : kind === 'folder'
                ? 'No subfolders.'
                : 'No matching files.',
      );
      contents();
      state();
      list.querySelector('[aria-pressed=true]')?.scrollIntoView({ block: 'nearest' });
    }
    /** What the folder holds that is not in the list: a folder full of images does not look empty. */
    function contents() {
      const hidden = kind === 'folder' ? listing.other_files : 0;
      const counts = [
        listing.images && `${listing.images} ${listing.images === 1 ? 'image' : 'images'}`,
        hidden && `${hidden} other ${hidden === 1 ? 'file' : 'files'}`,
      ]
        .filter(Boolean)
        .join(' and ');
      setVisible(inside, Boolean(kind === 'folder' && counts));
      const alone = Boolean(!listing.entries.length && listing.images);
      inside.classList.toggle('alone', alone);
      setVisible(list, !alone);
      inside.replaceChildren(
        el('p', { class: 'og-small', role: 'status', text: `${counts} in this folder.` }),
        el(
          'div',
          { class: 'og-thumbs' },
          listing.thumbnails.map((each) =>
            el('img', {
              src: url(`${each}?w=96`),
              alt: '',
              loading: 'lazy',
              width: 64,
              height: 64,
              onerror: (event) => event.target.remove(),
            }),
          ),
        ),
      );
    }
    function line(entry) {
      const usable = entry.folder || files || wants === 'output';
      return el(
        'li',
        {},
        el(
          'button',
          {
            type: 'button',
            class: 'og-entry',
            disabled: !usable,
            title: entry.path,
            'aria-pressed': entry.folder ? undefined : String(chosen?.path === entry.path),
            onclick: () => {
              if (entry.folder) go(entry.path);
              else pick(entry);
            },
            ondblclick: () => {
              if (!entry.folder && files) take.click();
            },
          },
          icon(entry.folder ? 'folder' : 'file'),
          el('span', { class: 'og-entry-name', text: entry.name }),
          el('span', { class: 'og-muted og-small', text: entry.folder ? '' : format.bytes(entry.bytes) }),
          el('span', { class: 'og-muted og-small og-entry-when', text: format.time(entry.modified_at) }),
        ),
      );
    }
    function pick(entry) {
      if (wants === 'output') name.value = entry.name;
      else chosen = entry;
      for (const each of list.querySelectorAll('.og-entry[aria-pressed]'))
        each.setAttribute('aria-pressed', String(each.title === entry.path));
      state();
    }
    function state() {
      const text = wants === 'output' ? 'Choose' : chosen ? 'Choose this file' : folders ? 'Choose this folder' : 'Choose a file';
      take.replaceChildren(el('span', { text }));
      take.disabled = !listing || (wants === 'output' ? !name.value.trim() : !chosen && !folders);
    }

    setVisible(naming, wants === 'output');
    if (wants === 'output') name.value = path.split(/[\\/]/).at(-1) ?? '';
    state();
    openDialog(dialog, () => resolve(result));
    go(path, true);
  });
}
