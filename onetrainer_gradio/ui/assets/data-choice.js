// What the Data tab chooses from: datasets, and filters of their images.

import { button, el, format, openDialog, setText } from './dom.js';
import { api } from './live.js';

export const LAST = 'og-dataset';
const TYPING_MS = 250;

const choice = (label, options, changed) => {
  const select = el(
    'select',
    { 'aria-label': label, onchange: changed },
    options.map(([value, text]) => el('option', { value, text })),
  );
  return select;
};

// name of a filter -> its label and choices
const CHOICES = {
  caption: [
    'Caption',
    [
      ['', 'Any caption'],
      ['missing', 'No caption'],
      ['present', 'With caption'],
    ],
  ],
  masked: [
    'Mask',
    [
      ['', 'Any mask'],
      ['yes', 'With mask'],
      ['no', 'No mask'],
    ],
  ],
  aspect: [
    'Shape',
    [
      ['', 'Any shape'],
      ['portrait', 'Portrait'],
      ['landscape', 'Landscape'],
      ['square', 'Square'],
    ],
  ],
  state: [
    'State',
    [
      ['', 'All'],
      ['duplicates', 'Duplicates'],
      ['broken', 'Broken'],
      ['excluded', 'Excluded'],
    ],
  ],
  sort: [
    'Sort',
    [
      ['name', 'Name'],
      ['-modified', 'Newest'],
      ['-pixels', 'Largest'],
      ['pixels', 'Smallest'],
      ['caption', 'Caption'],
      ['-words', 'Longest caption'],
    ],
  ],
};

/** The controls that filter and sort; `read()` gives the filter for the server. */
export function filters(changed) {
  let timer = 0;
  const typed = () => {
    clearTimeout(timer);
    timer = setTimeout(changed, TYPING_MS);
  };
  const search = el('input', {
    type: 'search',
    class: 'og-text',
    placeholder: 'Search captions and names',
    'aria-label': 'Search',
    oninput: typed,
  });
  const tag = el('input', { type: 'search', class: 'og-text', placeholder: 'Tag', 'aria-label': 'Tag', oninput: typed });
  const small = el('input', {
    type: 'number',
    class: 'og-text',
    min: '0',
    placeholder: 'Smaller than (px)',
    'aria-label': 'Shorter side smaller than, in pixels',
    oninput: typed,
  });
  const [caption, masked, aspect, state, sort] = Object.values(CHOICES).map(([label, options]) =>
    choice(label, options, changed),
  );
  const read = () => ({
    search: search.value,
    tag: tag.value.trim(),
    caption: caption.value,
    masked: masked.value,
    aspect: aspect.value,
    smaller_than: Math.min(100000, Math.max(0, Number(small.value) || 0)),
    ...(state.value ? { [state.value]: true } : {}),
    sort: sort.value,
  });
  return { node: el('div', { class: 'og-data-filters' }, search, tag, caption, masked, aspect, state, small, sort), read, tag };
}

/** The datasets to choose from: those of the panel, the folders of the concepts, and a folder that was opened by its path. */
export async function folders() {
  const [own, current] = await Promise.all([api('GET', 'api/datasets'), api('GET', 'api/config/current').catch(() => null)]);
  const found = new Map(own.datasets.map((each) => [each.folder, `${each.name} (${format.count(each.images)})`]));
  for (const concept of current?.config.concepts || [])
    if (concept.path && !found.has(concept.path)) found.set(concept.path, concept.name || concept.path);
  const last = localStorage.getItem(LAST);
  if (last && !found.has(last)) found.set(last, last);
  return found;
}

/** Ask for the name of a new dataset; resolves to its folder, or to null. */
export async function newDataset() {
  return new Promise((resolve) => {
    const name = el('input', { type: 'text', id: 'og-data-new', class: 'og-text', autocomplete: 'off' });
    const problem = el('p', { class: 'og-below-problem', role: 'status' });
    let made = null;
    async function create(event) {
      event.preventDefault();
      try {
        made = (await api('POST', 'api/datasets', { name: name.value })).dataset.folder;
        dialog.close();
      } catch (error) {
        setText(problem, error.message);
      }
    }
    const dialog = el(
      'dialog',
      { class: 'og-dialog', 'aria-label': 'New dataset' },
      el('h2', { text: 'New dataset' }),
      el(
        'form',
        { onsubmit: create },
        el('div', { class: 'og-data-field' }, el('label', { for: 'og-data-new', text: 'Name' }), name),
        problem,
        el(
          'div',
          { class: 'og-dialog-buttons' },
          button('Cancel', { onclick: () => dialog.close() }),
          button('Create', { kind: 'primary', type: 'submit' }),
        ),
      ),
    );
    openDialog(dialog, () => resolve(made));
  });
}
