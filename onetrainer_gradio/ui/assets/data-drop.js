// Uploads on the Data tab: buttons for files and folders, drops and pastes, and the progress.

import { chosenFiles, droppedFiles, uploadFiles } from './data-upload.js';
import { button, el, format, setText, setVisible, toast } from './dom.js';

/** The buttons and the progress. `folder()` is the dataset that is shown, `finished()` follows an upload. */
export function uploading(place, { folder, finished }) {
  const text = el('span', { role: 'status' });
  const bar = el('progress', { max: '1', value: 0, 'aria-label': 'Upload' });
  const stop = button('Stop', { onclick: () => running?.stop() });
  const lines = el('ul', { class: 'og-data-list og-small' });
  const node = el('div', { class: 'og-data-upload', hidden: true }, text, bar, stop, lines);
  /** @type {any} */
  let running = null;

  function show(state) {
    const bytes = state.bytes ? ` · ${format.bytes(state.sent)} of ${format.bytes(state.bytes)}` : '';
    setText(text, state.doing || `Uploading ${Math.min(state.done + 1, state.files)} of ${state.files}${bytes}`);
    bar.value = state.bytes ? state.sent / state.bytes : 0;
  }
  async function start(files) {
    const name = folder().startsWith('datasets/') ? folder().slice('datasets/'.length) : '';
    if (!files.length || running) {
      toast(running ? 'Another upload is running.' : 'There are no images, captions or zip files in it.', 'bad');
      return;
    }
    if (!name) {
      toast('Images are uploaded into a dataset of the panel. Create or choose one first.', 'bad');
      return;
    }
    setVisible(node, true);
    lines.replaceChildren();
    running = uploadFiles(name, files, show);
    const state = await running.finished;
    running = null;
    setVisible(bar, false);
    setVisible(stop, false);
    setText(text, `${format.count(state.added)} ${state.added === 1 ? 'file' : 'files'} added.`);
    lines.replaceChildren(...state.problems.slice(0, 50).map((line) => el('li', { text: line })));
    finished();
  }
  const begin = (files) => {
    setVisible(bar, true);
    setVisible(stop, true);
    return start(files);
  };
  const input = (more, label) => {
    const field = el('input', { type: 'file', multiple: true, hidden: true, ...more, onchange: () => take(field) });
    return [button(label, { icon: 'upload', onclick: () => field.click() }), field];
  };
  function take(field) {
    const chosen = chosenFiles(field.files).map((each) => ({ ...each, name: each.file.webkitRelativePath || each.name }));
    field.value = '';
    begin(chosen);
  }
  place.addEventListener('dragover', (event) => event.preventDefault());
  place.addEventListener('drop', async (event) => {
    event.preventDefault();
    begin(await droppedFiles(event.dataTransfer));
  });
  place.addEventListener('paste', (event) => event.clipboardData.files.length && begin(chosenFiles(event.clipboardData.files)));
  return {
    node,
    buttons: [
      ...input({ 'aria-label': 'Files to upload' }, 'Upload files'),
      ...input({ webkitdirectory: true, 'aria-label': 'Folder to upload' }, 'Upload folder'),
    ],
  };
}
