// The images of a dataset as the Data tab sees them: pages that are loaded when they are needed, and the selection.

import { api } from './live.js';

const PAGE = 100;
const MAX_PAGES = 30; // 3,000 images in memory, however many there are
const AT_ONCE = 3;
const AGAIN_MS = 400;

/** The images that match a filter; `changed()` is called when there is something new to show. */
export class Images {
  folder = '';
  /** @type {any} */
  filter = {};
  path = '';
  /** @type {Map<number, any[]>} pages by number; the one used last is at the end */
  pages = new Map();
  /** @type {Map<number, any[]> | undefined} what is shown while pages are loaded again */
  stale;
  waiting = new Set();
  /** @type {number[]} */
  asked = [];
  generation = 0;
  matches = 0;
  total = 0;
  writable = true;
  complete = true;
  loaded = false;
  problem = '';

  constructor(changed) {
    this.changed = changed;
  }

  clear() {
    this.forget();
    this.stale = undefined;
    Object.assign(this, { matches: 0, total: 0, writable: true, complete: true, loaded: !this.folder, problem: '' });
  }

  /** Answers to what was asked before don't count any more. */
  forget() {
    this.generation += 1;
    this.pages = new Map();
    this.waiting = new Set();
    this.asked = [];
  }

  /** Show another folder, or the same one with another filter. Resolves with the first page. */
  open(folder, filter) {
    this.folder = folder;
    this.filter = filter;
    this.clear();
    if (folder) return this.load(0);
    this.changed();
    return Promise.resolve();
  }

  /** Load again what is shown, after a change; what is there stays until the answer comes. */
  reload() {
    this.stale = this.pages;
    this.forget();
    return this.load(0);
  }

  /** The image at a position, or undefined while its page is loaded. */
  at(index) {
    const number = Math.floor(index / PAGE);
    const page = this.pages.get(number);
    if (!page) {
      this.ask(number);
      return this.stale?.get(number)?.[index - number * PAGE];
    }
    this.pages.delete(number);
    this.pages.set(number, page);
    return page[index - number * PAGE];
  }

  ask(number) {
    if (this.waiting.has(number)) return;
    this.asked = [...this.asked.filter((each) => each !== number), number].slice(-AT_ONCE);
    this.next();
  }

  next() {
    while (this.asked.length && this.waiting.size < AT_ONCE) this.load(this.asked.pop());
  }

  async load(number) {
    const { generation } = this;
    this.waiting.add(number);
    try {
      const answer = await api('POST', 'api/datasets/images', {
        folder: this.folder,
        filter: this.filter,
        offset: number * PAGE,
        limit: PAGE,
      });
      if (generation !== this.generation) return;
      this.take(number, answer);
    } catch (error) {
      if (generation !== this.generation) return;
      this.problem = error.message;
      this.matches = 0;
    }
    this.waiting.delete(number);
    this.loaded = true;
    this.changed();
    this.next();
  }

  take(number, answer) {
    this.problem = '';
    this.matches = answer.matches;
    this.total = answer.total;
    this.writable = answer.writable;
    this.path = answer.path;
    this.complete = answer.complete;
    this.pages.set(number, answer.images);
    if (number === 0) this.stale = undefined;
    for (const old of [...this.pages.keys()].slice(0, Math.max(0, this.pages.size - MAX_PAGES))) this.pages.delete(old);
    if (answer.complete) return;
    const { generation } = this; // captions or sizes are still being read
    setTimeout(() => generation === this.generation && this.reload(), AGAIN_MS);
  }

  /** Change what is known of an image without asking again. */
  update(path, change) {
    for (const page of this.pages.values()) for (const image of page) if (image.path === path) Object.assign(image, change);
  }

  /** The images that are loaded, by position. */
  *known() {
    for (const [number, page] of this.pages) for (const [at, image] of page.entries()) yield [number * PAGE + at, image];
  }
}

/** Which images are selected: some by path, or all that match. */
export class Selection {
  constructor() {
    this.paths = new Set();
    this.all = false;
    this.anchor = -1;
    this.active = -1;
  }

  clear() {
    this.paths.clear();
    this.all = false;
  }

  has(image) {
    return this.all || Boolean(image && this.paths.has(image.path));
  }

  count(images) {
    return this.all ? images.matches : this.paths.size;
  }

  /** The body of a request about the selected images; without a selection, about all that match. */
  body(images) {
    const common = { folder: images.folder, filter: images.filter };
    return this.all || !this.paths.size ? common : { ...common, images: [...this.paths] };
  }
}
