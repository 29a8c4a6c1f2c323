// The image that is edited on the Data tab: large view, caption with autosave and undo, and what can be done with its file.

import { button, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { api, url } from './live.js';

const SAVE_AFTER_MS = 700;

/** Both texts of a caption that another program changed; resolves to the one to keep, or null. */
function conflict(name, { yours, theirs }) {
  return new Promise((resolve) => {
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Caption changed elsewhere' });
    const answer = (value) => () => {
      dialog.close();
      resolve(value);
    };
    dialog.append(
      el('h2', { text: 'Caption changed elsewhere' }),
      el('p', { text: `Another program changed the caption of ${name} since you opened it.` }),
      el('h3', { text: 'In the file' }),
      el('p', { class: 'og-data-text', text: theirs || 'Empty' }),
      el('h3', { text: 'Yours' }),
      el('p', { class: 'og-data-text', text: yours || 'Empty' }),
      el(
        'div',
        { class: 'og-dialog-buttons' },
        button('Keep the file', { onclick: answer(theirs) }),
        button('Save yours', { kind: 'primary', onclick: answer(yours) }),
      ),
    );
    openDialog(dialog, () => resolve(null));
  });
}

/** The caption of an image in a text field; `saved(path, text, version)` follows each save. */
function captionField(images, saved) {
  const field = el('textarea', {
    id: 'og-data-caption',
    rows: '6',
    spellcheck: 'true',
    placeholder: 'No caption',
    oninput: () => later(),
    onblur: () => save(),
  });
  const state = el('span', { class: 'og-muted og-small', role: 'status' });
  /** @type {any} */
  let shown = null;
  let timer = 0;
  /** @type {Promise<void>} */
  let running = Promise.resolve();

  function later() {
    setText(state, 'Not saved yet');
    clearTimeout(timer);
    timer = setTimeout(save, SAVE_AFTER_MS);
  }

  async function write(image, text) {
    try {
      const body = { folder: images.folder, image: image.path, text, version: image.caption_version };
      const answer = await api('PUT', 'api/datasets/captions', body);
      saved(image.path, text, answer.version);
      if (shown === image) setText(state, 'Saved');
    } catch (error) {
      const value = error.status === 409 && error.errors?.[0]?.value;
      if (!value) {
        setText(state, error.message);
        return;
      }
      const kept = await conflict(image.path, value);
      saved(image.path, value.theirs, value.version);
      if (shown === image) field.value = kept ?? value.theirs;
      if (kept !== null && kept !== value.theirs) await write(image, kept);
    }
  }

  /** Save what was typed; several saves follow each other. */
  function save() {
    clearTimeout(timer);
    const image = shown;
    const text = field.value;
    if (!image || text === (image.caption ?? '') || field.readOnly) return running;
    setText(state, 'Saving…');
    running = running.then(() => write(image, text));
    return running;
  }

  async function show(image) {
    save();
    shown = image;
    setText(state, '');
    field.value = image?.caption || '';
    field.readOnly = !images.writable || Boolean(images.filter.excluded || image?.caption_problem);
    if (!image?.caption_cut) return;
    const whole = await api('GET', `api/datasets/captions?${new URLSearchParams({ folder: images.folder, image: image.path })}`);
    if (shown !== image) return;
    Object.assign(image, { caption: whole.text, caption_version: whole.version, caption_cut: false });
    field.value = whole.text;
  }
  return { field, state, show, save };
}

/** The panel next to the grid. `changed()` is called after a change of files, `saved()` after one of a caption. */
export function imagePanel({ images, changed, saved, act }) {
  const caption = captionField(images, saved);
  const preview = el('img', { class: 'og-data-large', alt: '' });
  const title = el('h2', { class: 'og-data-name' });
  const facts = el('p', { class: 'og-muted og-small' });
  const tool = (label, task, more = {}) => button(label, { onclick: task, ...more });
  /** @type {any} */
  let shown = null;

  async function edit(body) {
    await caption.save();
    try {
      await api('POST', 'api/datasets/images/edit', { folder: images.folder, image: shown.path, ...body });
      toast('Image changed. The original is in the trash.');
      changed();
    } catch (error) {
      toast(error.message, 'bad');
    }
  }
  const target = () => ({ images, image: shown, changed, edit });
  const tools = el(
    'div',
    { class: 'og-buttons' },
    tool('Rotate left', () => edit({ rotate: 270 })),
    tool('Rotate right', () => edit({ rotate: 90 })),
    tool('Crop…', async () => (await import('./data-draw.js')).openCrop(target())),
    tool('Draw mask…', async () => (await import('./data-draw.js')).openMask(target())),
    tool('Exclude', () => act('exclude', [shown.path])),
    tool('Delete', () => act('trash', [shown.path]), { kind: 'danger' }),
  );
  const body = el(
    'div',
    { class: 'og-data-edit' },
    preview,
    title,
    facts,
    el('label', { for: 'og-data-caption', text: 'Caption' }),
    caption.field,
    caption.state,
    tools,
  );
  const empty = el('p', { class: 'og-empty', text: 'Select an image to see it large and edit its caption.' });
  const node = el('aside', { class: 'og-card og-data-side', 'aria-label': 'Selected image' }, empty, body);

  function show(image) {
    setVisible(empty, !image);
    setVisible(body, Boolean(image));
    const same = shown?.path === image?.path && shown?.thumbnail === image?.thumbnail;
    shown = image;
    if (same && document.activeElement === caption.field) return;
    caption.show(image);
    if (!image) return;
    setText(title, image.path);
    const size = image.width ? `${image.width} × ${image.height}, ` : '';
    setText(facts, image.problem || `${size}${format.bytes(image.bytes)}${image.masked ? ', with mask' : ''}`);
    preview.src = image.thumbnail && !image.problem ? url(`${image.thumbnail}?w=1024`) : '';
    setVisible(preview, Boolean(image.thumbnail && !image.problem));
    for (const each of tools.children) Object.assign(each, { disabled: !images.writable || images.filter.excluded });
  }
  show(null);
  return { node, show, focus: () => caption.field.focus(), save: caption.save };
}
