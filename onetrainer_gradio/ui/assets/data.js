// The Data tab: choose or make a dataset, upload into it, look through its images, edit captions and masks.

import { imagePanel } from './data-caption.js';
import { filters, folders, LAST, newDataset } from './data-choice.js';
import { uploading } from './data-drop.js';
import { dataGrid } from './data-grid.js';
import { Images, Selection } from './data-model.js';
import { button, confirmed, el, format, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

const VIEWS = { images: 'Images', tags: 'Tags', problems: 'Problems', buckets: 'Buckets', trash: 'Trash' };
// what is asked before several images are changed, and the notice afterwards
const ACTIONS = {
  trash: ['Delete', 'They move to the trash of the dataset, and can be restored.', 'moved to the trash'],
  exclude: ['', '', 'excluded from training'],
  include: ['', '', 'used for training again'],
};

/** The bar for the selected images. */
function selectionBar({ images, selection, act, bulk, annotate, move, undo, masks }) {
  const text = el('span', { role: 'status', class: 'og-muted' });
  const all = button('Select all', { onclick: () => act('all') });
  const none = button('Clear selection', { onclick: () => act('none') });
  const tools = [
    button('Edit captions…', { onclick: () => bulk() }),
    button('Caption automatically…', { onclick: () => annotate('caption') }),
    button('Make masks…', { onclick: () => annotate('mask') }),
  ];
  const exclude = button('Exclude', { onclick: () => act(images.filter.excluded ? 'include' : 'exclude') });
  const selected = [
    exclude,
    button('Move…', { onclick: move }),
    button('Delete', { kind: 'danger', onclick: () => act('trash') }),
  ];
  const back = button('Undo caption change', { icon: 'undo', onclick: undo });
  const over = button('Show masks', {
    'aria-pressed': 'false',
    onclick: () => {
      const shown = over.getAttribute('aria-pressed') !== 'true';
      over.setAttribute('aria-pressed', String(shown));
      masks(shown);
    },
  });
  const node = el('div', { class: 'og-data-bar' }, text, all, none, tools, selected, back);
  function draw() {
    const count = selection.count(images);
    const reading = images.complete ? '' : ' Reading captions and sizes…';
    const found =
      images.matches === images.total
        ? format.count(images.total)
        : `${format.count(images.matches)} of ${format.count(images.total)}`;
    setText(
      text,
      `${found} images${count ? `, ${format.count(count)} selected` : ''}.${images.writable ? '' : ' This folder is read-only.'}${reading}`,
    );
    setVisible(none, count > 0);
    setText(exclude.firstElementChild, images.filter.excluded ? 'Include' : 'Exclude');
    for (const each of tools) each.disabled = !images.matches || !images.writable || Boolean(images.filter.excluded);
    for (const each of selected) each.disabled = !count || !images.writable;
    back.disabled = !images.writable;
  }
  return { node, draw, over };
}

class DataTab {
  view = 'images';
  selection = new Selection();
  images = new Images(() => this.draw());

  constructor(place) {
    const { images, selection } = this;
    const act = (what, paths) => this.act(what, paths);
    const changed = () => this.refresh();
    this.chooser = el('select', { 'aria-label': 'Dataset', onchange: () => this.open(this.chooser.value) });
    this.filter = filters(() => this.look());
    this.other = el('div', { class: 'og-card og-data-other', hidden: true });
    this.empty = el('p', { class: 'og-empty' });
    this.panel = imagePanel({ images, changed, saved: (path, text, version) => this.saved(path, text, version), act });
    this.grid = dataGrid({
      images,
      selection,
      picked: () => this.draw(),
      opened: () => this.panel.focus(),
      removed: () => act('trash'),
    });
    this.bar = selectionBar({
      images,
      selection,
      act,
      bulk: () => this.bulk(),
      annotate: (task) => this.annotate(task),
      move: () => this.move(),
      undo: () => this.undo(),
      masks: (shown) => {
        this.grid.node.classList.toggle('og-masks', shown);
        this.grid.draw();
      },
    });
    this.filter.node.append(this.bar.over);
    this.upload = uploading(place, { folder: () => this.chooser.value, finished: changed });
    this.views = Object.entries(VIEWS).map(([key, title]) =>
      button(title, {
        kind: 'quiet',
        'aria-pressed': String(key === 'images'),
        dataset: { view: key },
        onclick: () => this.show(key),
      }),
    );
    this.browse = el(
      'div',
      { class: 'og-data-browse' },
      this.filter.node,
      this.bar.node,
      el(
        'div',
        { class: 'og-data-columns' },
        el('div', { class: 'og-card og-data-main' }, this.empty, this.grid.node),
        this.panel.node,
      ),
    );
    place.append(el('h1', { class: 'og-sr', text: 'Data' }), this.head(), this.upload.node, this.browse, this.other);
  }

  head() {
    return el(
      'div',
      { class: 'og-card og-data-head' },
      this.chooser,
      button('Choose folder…', { icon: 'folder', onclick: () => this.chooseFolder() }),
      button('New dataset', { icon: 'add', onclick: () => this.create() }),
      this.upload.buttons,
      el('span', { class: 'og-grow' }),
      el('div', { role: 'group', 'aria-label': 'View', class: 'og-data-views' }, this.views),
    );
  }

  /** Show the dataset of the last visit at once; which others there are comes later. */
  async begin() {
    const last = localStorage.getItem(LAST) || undefined;
    if (last) this.chooser.append(el('option', { value: last, text: last }));
    const shown = last && this.look();
    await this.listFolders(last);
    if (!shown) await this.look();
  }

  // ---- what is shown

  draw() {
    const { images, selection } = this;
    setVisible(this.grid.node, images.matches > 0);
    setVisible(this.empty, images.loaded && images.matches === 0);
    setText(this.empty, images.problem || this.emptyText());
    this.grid.draw();
    this.bar.draw();
    const image = selection.active >= 0 ? images.at(selection.active) : null;
    this.panel.show(image && selection.has(image) ? image : null);
  }

  emptyText() {
    if (!this.chooser.value) return 'No dataset yet. Create one and upload images, or choose a folder.';
    return this.images.total ? 'No image matches the filter.' : 'No images yet. Drop images, folders or a zip file here.';
  }

  async listFolders(wanted) {
    const found = await folders();
    if (wanted && !found.has(wanted)) found.set(wanted, wanted);
    if (!found.size) found.set('', 'No dataset');
    this.chooser.replaceChildren(...[...found].map(([value, text]) => el('option', { value, text })));
    this.chooser.value = wanted ?? [...found.keys()][0];
  }

  async open(folder) {
    localStorage.setItem(LAST, folder);
    this.chooser.value = folder;
    await this.look();
    if (this.view !== 'images') await this.show(this.view);
  }

  look() {
    this.selection.clear();
    this.selection.active = -1;
    this.grid.node.scrollTop = 0;
    return this.images.open(this.chooser.value, this.filter.read());
  }

  /** Show what is there after a change of files; the image that was edited stays selected, as far as it is there. */
  async refresh() {
    const { images, selection } = this;
    await images.reload();
    if (selection.active >= images.matches) selection.active = images.matches - 1;
    if (selection.active >= 0 && !selection.all) {
      const image = images.at(selection.active);
      selection.paths = new Set(image ? [image.path] : []);
    } else if (!selection.all) selection.clear();
    this.draw();
    await this.listFolders(this.chooser.value);
  }

  saved(path, caption, version) {
    this.images.update(path, { caption, caption_version: version });
    this.grid.draw();
  }

  async show(key) {
    this.view = key;
    for (const each of this.views) each.setAttribute('aria-pressed', String(each.dataset.view === key));
    setVisible(this.browse, key === 'images');
    setVisible(this.other, key !== 'images');
    if (key === 'images') {
      this.draw();
      return;
    }
    const { tagsView, problemsView, bucketsView, trashView } = await import('./data-views.js');
    const views = { tags: tagsView, problems: problemsView, buckets: bucketsView, trash: trashView };
    const options = {
      images: this.images,
      changed: () => this.refresh(),
      bulk: (preset) => this.bulk(preset),
      filterTag: (tag) => this.filterTag(tag),
    };
    this.other.replaceChildren();
    try {
      await views[key](this.other, options);
    } catch (error) {
      this.other.replaceChildren(el('p', { class: 'og-empty bad', text: error.message }));
    }
  }

  filterTag(tag) {
    this.filter.tag.value = tag;
    this.show('images');
    this.look();
  }

  // ---- what is done

  /** Request a change; errors are shown as a notice. Resolves to the response, or to null. */
  async ask(path, body, describe) {
    await this.panel.save();
    try {
      const answer = await api('POST', path, body);
      toast(describe(answer));
      for (const [name, why] of answer.skipped || []) toast(`${name}: ${why}`, 'bad');
      await this.refresh();
      return answer;
    } catch (error) {
      toast(error.message, 'bad');
      return null;
    }
  }

  async act(what, paths) {
    const { images, selection } = this;
    if (what === 'all' || what === 'none') {
      selection.clear();
      selection.all = what === 'all';
      this.draw();
      return;
    }
    const count = paths ? paths.length : selection.count(images);
    if (!count || !images.writable) return;
    const [verb, text, participle] = ACTIONS[what];
    if (verb && count > 1 && !(await confirmed(`${verb} ${format.count(count)} images?`, text, verb))) return;
    const body = paths ? { folder: images.folder, filter: images.filter, images: paths } : selection.body(images);
    await this.ask(
      `api/datasets/images/${what}`,
      body,
      () => `${format.count(count)} ${count === 1 ? 'image' : 'images'} ${participle}.`,
    );
    this.grid.node.focus();
  }

  targets() {
    const { images, selection } = this;
    const changed = () => this.refresh();
    return { body: selection.body(images), count: selection.count(images) || images.matches, changed };
  }

  async bulk(preset) {
    await this.panel.save();
    const { openBulk } = await import('./data-bulk.js');
    openBulk({ ...this.targets(), preset });
  }

  async annotate(task) {
    await this.panel.save();
    const { openAnnotate } = await import('./data-annotate.js');
    openAnnotate({ task, ...this.targets() });
  }

  undo() {
    const body = { folder: this.images.folder };
    return this.ask('api/datasets/captions/undo', body, (answer) => `Undone: ${answer.title}.`);
  }

  async move() {
    const { choosePath } = await import('./files.js');
    const to = await choosePath({ title: 'Move images to', wants: 'folder', path: this.chooser.value });
    const body = { ...this.selection.body(this.images), to };
    if (to) await this.ask('api/datasets/images/move', body, (answer) => `${format.count(answer.moved)} files moved.`);
  }

  async chooseFolder() {
    const { choosePath } = await import('./files.js');
    await this.opened(await choosePath({ title: 'Choose a folder with images', wants: 'folder', path: this.chooser.value }));
  }

  async create() {
    await this.opened(await newDataset());
  }

  async opened(folder) {
    if (!folder) return;
    await this.listFolders(folder);
    await this.open(folder);
  }
}

export async function mount(place) {
  const styled = sheet('data.css');
  const tab = new DataTab(place);
  const begun = tab.begin();
  await styled;
  tab.draw(); // sizes are known now
  await begun;
}
