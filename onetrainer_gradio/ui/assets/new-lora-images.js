// The images of a new LoRA: files and folders are uploaded into a dataset of the panel, or a folder of this machine is chosen.

import { chosenFiles, droppedFiles, uploadFiles } from './data-upload.js';
import { button, el, format, setText, setVisible, toast } from './dom.js';
import { choosePath } from './files.js';
import { api, url } from './live.js';

const SHOWN = 12;
const JOB_WAIT_S = 30;
const KINDS = {
  exact: ['the same image twice', 'Move the copies to the trash'],
  similar: ['almost the same image', 'Move the copies to the trash'],
  broken: ['unreadable', 'Move to the trash'],
  small: ['smaller than the model needs', 'Exclude'],
  rotated: ['rotated by its metadata only', 'Rotate'],
  format: ['in a format that the engine may not read', 'Convert'],
};

/** The dataset that images go into: the one of the folder, or a new one with a free name. */
async function datasetOf(folder, name) {
  if (folder.startsWith('datasets/')) return folder.slice('datasets/'.length);
  for (let number = 1; ; number++) {
    const wanted = number > 1 ? `${name} ${number}` : name;
    try {
      return (await api('POST', 'api/datasets', { name: wanted })).dataset.name;
    } catch (error) {
      if (error.status !== 409 || number > 99) throw error;
    }
  }
}

/** A button that lets the person choose files, and its field. */
function upload(more, label, add) {
  const field = el('input', { type: 'file', multiple: true, hidden: true, 'aria-label': label, ...more });
  field.addEventListener('change', () => {
    const files = chosenFiles(field.files).map((each) => ({ ...each, name: each.file.webkitRelativePath || each.name }));
    field.value = '';
    add(files);
  });
  return [button(label, { icon: 'upload', onclick: () => field.click() }), field];
}

/** Where files are dropped or pasted, and the buttons that choose them. */
const dropZone = (content, add, choose) =>
  el(
    'div',
    {
      class: 'og-new-drop',
      ondragover: (event) => event.preventDefault(),
      ondrop: async (event) => {
        event.preventDefault();
        add(await droppedFiles(event.dataTransfer));
      },
    },
    content,
    el(
      'div',
      { class: 'og-new-end' },
      ...upload({}, 'Upload files', add),
      ...upload({ webkitdirectory: true }, 'Upload folder', add),
      button('Folder on this machine', { icon: 'folder', onclick: choose }),
    ),
  );

/** Whatever has the focus, a pasted image is taken; a closed tab takes nothing. */
const pasted = (zone, add) =>
  document.addEventListener('paste', ({ clipboardData }) => {
    if (clipboardData?.files.length && zone.checkVisibility()) add(chosenFiles(clipboardData.files));
  });

/**
 * Returns the function that uploads files into the dataset, or a new one. Those that are added during an upload follow it.
 * `arrived()` is called after each upload, `ended(problems)` after the last one.
 */
function uploads(state, name, { bar, status, arrived, ended }) {
  /** @type {any[][]} */
  const waiting = [];
  function waitingWords() {
    const count = waiting.reduce((sum, files) => sum + files.length, 0);
    return count && `${format.count(count)} more ${count === 1 ? 'file is' : 'files are'} waiting.`;
  }

  async function send(files) {
    const into = await datasetOf(state.folder, name());
    const sending = uploadFiles(into, files, (now) => {
      bar.value = now.bytes ? now.sent / now.bytes : 0;
      const doing = now.doing || `Uploading ${Math.min(now.done + 1, now.files)} of ${now.files}`;
      setText(status, waiting.length ? `${doing}. ${waitingWords()}` : doing);
    });
    const sent = await sending.finished;
    state.folder = `datasets/${into}`;
    await arrived();
    return sent.problems;
  }

  return async function add(files) {
    if (!files.length) {
      toast('There are no images, captions or zip files in it.', 'bad');
      return;
    }
    waiting.push(files);
    if (state.busy) {
      setText(status, waitingWords());
      return;
    }
    state.busy = true;
    setVisible(bar, true);
    const problems = [];
    try {
      for (let next = waiting.shift(); next; next = waiting.shift()) problems.push(...(await send(next)));
      await ended(problems);
    } catch (error) {
      waiting.length = 0;
      toast(error.message, 'bad');
    }
    state.busy = false;
    setVisible(bar, false);
  };
}

/** `name()` names the dataset, `changed(folder)` follows each change of the images. */
export function images({ name, changed }) {
  const status = el('p', {
    role: 'status',
    class: 'og-small og-muted',
    text: 'Drop 10 to 50 images, a folder or a zip file here.',
  });
  const bar = el('progress', { max: '1', value: 0, 'aria-label': 'Upload', hidden: true });
  const grid = el('div', { class: 'og-new-thumbs' });
  const problems = el('div', { class: 'og-new-problems' });
  const state = { folder: '', busy: false, resolution: '' };
  const add = uploads(state, name, { bar, status, arrived: show, ended: inspect });

  async function show() {
    const page = await api('POST', 'api/datasets/images', { folder: state.folder, limit: SHOWN });
    setText(status, `${format.count(page.total)} ${page.total === 1 ? 'image' : 'images'} in ${state.folder}.`);
    grid.replaceChildren(
      ...page.images.map((image) =>
        image.thumbnail
          ? el('img', { src: url(image.thumbnail), alt: image.path, title: image.path, loading: 'lazy' })
          : el('span', { class: 'og-small og-muted', text: image.path }),
      ),
    );
    changed(state.folder);
  }

  async function again() {
    await show();
    if (!state.busy) await inspect();
  }

  async function inspect(wrong = []) {
    const lines = await inspected(state, again);
    if (wrong.length) lines.unshift(el('p', { class: 'og-small warn', text: wrong.slice(0, 5).join(' ') }));
    problems.replaceChildren(...lines);
  }

  /** What is too small depends on the model. */
  async function inspectAt(resolution) {
    if (resolution === state.resolution) return;
    state.resolution = resolution;
    if (state.folder && !state.busy) await inspect();
  }

  async function choose() {
    const path = await choosePath({ title: 'Folder of images' });
    if (!path) return;
    state.folder = path;
    await again().catch((error) => toast(error.message, 'bad'));
  }
  const drop = dropZone([status, bar], add, choose);
  pasted(drop, add);
  return { node: el('div', { class: 'og-new-images' }, drop, grid, problems), inspectAt };
}

/** A line for each kind of problem, with the one click that deals with it, and one for all of them. */
async function inspected({ folder, resolution }, again) {
  try {
    const started = await api('POST', 'api/datasets/inspection', { folder, resolution });
    await api('GET', `api/datasets/jobs/${started.job.id}?wait=${JOB_WAIT_S}`);
    const { counts } = await api('GET', `api/datasets/inspection?folder=${encodeURIComponent(folder)}`);
    const found = Object.entries(counts).filter(([kind, count]) => count && KINDS[kind]);
    const all = button('Fix all', { kind: 'small primary', onclick: () => fix(folder, Object.keys(KINDS), again) });
    return [...found.map(([kind, count]) => problem(folder, kind, count, again)), ...(found.length > 1 ? [all] : [])];
  } catch (error) {
    return [el('p', { class: 'og-small og-muted', text: error.message })];
  }
}

/** Deal with problems of some kinds; kinds without any are left as they are. */
async function fix(folder, kinds, again) {
  try {
    for (const kind of kinds) await api('POST', 'api/datasets/inspection/fix', { folder, kind });
  } catch (error) {
    toast(error.message, 'bad');
  }
  await again();
}

function problem(folder, kind, count, again) {
  const [what, deal] = KINDS[kind];
  return el(
    'p',
    { class: 'og-new-problem og-small' },
    el('span', { text: `${format.count(count)} ${count === 1 ? 'image is' : 'images are'} ${what}.` }),
    button(deal, { kind: 'small', onclick: () => fix(folder, [kind], again) }),
  );
}
