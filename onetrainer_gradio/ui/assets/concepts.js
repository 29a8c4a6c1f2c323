// What concept cards show in addition to their settings: a thumbnail, dataset statistics, and an augmentation preview.
//
// One request covers all folders. It is sent when the list comes into view and when something it depends on changes.

import { Preview } from './augmentation-preview.js';
import { by, plural, statistics } from './dataset-statistics.js';
import { button, el, format, icon, setText, setVisible } from './dom.js';
import { api, on, url } from './live.js';

const LOOK_AFTER_MS = 300;
const GO_ON_AFTER_MS = 400;
const MAX_LOOKS = 50;
const TOOLS_FROM = 3;
// settings of a concept that its statistics depend on
const OF_CONCEPT = ['path', 'include_subdirectories', 'enabled', 'type', 'balancing', 'balancing_strategy'];
const OF_RUN = [
  'model_type',
  'resolution',
  'batch_size',
  'aspect_ratio_bucketing',
  'epochs',
  'multi_gpu',
  'device_indexes',
  'frames',
];

/** @type {Record<string, [string, (item: any, scanned?: any) => any]>} */
const SORTS = {
  name: ['Name', (item) => (item.name || item.path).toLowerCase()],
  path: ['Folder', (item) => item.path.toLowerCase()],
  type: ['Type', (item) => item.type],
  enabled: ['Enabled first', (item) => Number(!item.enabled)],
  images: ['Most images first', (_item, scanned) => -(scanned?.images ?? -1)],
};

/**
 * The head of the list of concepts, and a part for each card.
 * @param {any} list
 */
export function concepts(list) {
  const made = new Concepts(list);
  const { head } = made.tools;
  return {
    head,
    card: (/** @type {number} */ at) => new Card(made, at),
    passes: (/** @type {any} */ item) => made.tools.passes(item),
    update: () => made.update(),
  };
}

/** The statistics of all folders. */
class Concepts {
  /** @param {any} list */
  constructor(list) {
    this.list = list;
    this.settings = list.settings;
    /** @type {Map<number, any>} */
    this.scanned = new Map();
    this.unfolded = new Set(['look']);
    /** @type {any} */
    this.total = null;
    this.key = '';
    this.timer = 0;
    this.failed = '';
    this.looks = 0;
    this.tools = new Tools(this);
  }

  /** @returns {any[]} */
  items() {
    return this.list.items();
  }

  /**
   * The statistics of a card’s folder, even if the card was moved since the scan.
   * @param {number} at
   */
  known(at) {
    const folder = this.items()[at]?.path;
    const mine = this.scanned.get(at);
    return mine?.folder === folder ? mine : [...this.scanned.values()].find((each) => each.folder === folder);
  }

  async look(fresh = false) {
    clearTimeout(this.timer);
    if (fresh) this.looks = 0;
    const wanted = this.key;
    const { again, head } = this.tools;
    again.disabled = true;
    try {
      const answer = await api('POST', 'api/concepts/statistics', {});
      if (wanted !== this.key) return;
      this.scanned.clear();
      for (const each of answer.concepts) this.scanned.set(each.index, each);
      this.total = answer.total;
      this.failed = '';
      this.looks += 1;
      if (!answer.complete && this.looks < MAX_LOOKS && head.isConnected)
        this.timer = setTimeout(() => this.look(), GO_ON_AFTER_MS);
    } catch (/** @type {any} */ error) {
      this.failed = error.message;
      const off = on('connected', () => {
        off();
        if (head.isConnected) this.look(true);
      });
    }
    again.disabled = false;
    this.list.update();
  }

  /** Rescan when something that the statistics depend on changes. */
  keep() {
    /** @type {any[]} */
    const saved = this.settings.value(this.list.path) || [];
    const now = JSON.stringify([
      OF_RUN.map((name) => this.settings.value(name)),
      saved.map((item) => [
        ...OF_CONCEPT.map((name) => item[name]),
        item.text.prompt_source,
        item.text.prompt_path,
        item.image.enable_resolution_override && item.image.resolution_override,
      ]),
    ]);
    if (now === this.key) return;
    const first = !this.key;
    this.key = now;
    this.looks = 0;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), first ? 0 : LOOK_AFTER_MS);
  }

  update() {
    this.keep();
    this.tools.update();
  }
}

/** The head of the list: sums over all folders, filters, and what is done to all concepts. */
class Tools {
  /** @param {Concepts} of */
  constructor(of) {
    this.of = of;
    this.sums = el('p', { class: 'og-concept-sums', role: 'status' });
    this.lost = el('p', { class: 'og-note', hidden: true });
    const scan = { icon: 'reset', kind: 'small', title: 'Rescan the dataset folders', onclick: () => of.look(true) };
    this.again = button('Rescan', scan);
    const onchange = () => of.list.update();
    this.type = el('select', { 'aria-label': 'Filter by type', onchange });
    this.used = el(
      'select',
      { 'aria-label': 'Filter by enabled', onchange },
      el('option', { value: '', text: 'Enabled and disabled' }),
      el('option', { value: 'on', text: 'Enabled' }),
      el('option', { value: 'off', text: 'Disabled' }),
    );
    this.sort = el(
      'select',
      { 'aria-label': 'Sort concepts', onchange: () => this.sorted() },
      el('option', { value: '', text: 'Sort by…' }),
      Object.entries(SORTS).map(([name, [words]]) => el('option', { value: name, text: words })),
    );
    this.all = button('Enable all', { kind: 'small', onclick: () => this.useAll() });
    const group = { class: 'og-concept-tools', role: 'group', 'aria-label': 'Filter and sort' };
    this.node = el('div', group, this.type, this.used, this.sort, this.all);
    const words = el('div', { class: 'og-grow' }, this.sums, this.lost);
    this.head = el('div', { class: 'og-concept-head' }, words, this.node, this.again);
  }

  sorted() {
    const [, of] = SORTS[this.sort.value];
    this.sort.value = '';
    const now = this.of.items();
    const ranks = now.map((item, at) => of(item, this.of.known(at)));
    const order = [...now.keys()].sort((a, b) => (ranks[a] < ranks[b] ? -1 : ranks[a] > ranks[b] ? 1 : a - b));
    this.of.list.arrange(
      order.map((at) => now[at]),
      order,
    );
  }

  useAll() {
    const now = this.of.items();
    const enabled = now.some((item) => !item.enabled);
    this.of.list.change(now.map((item) => ({ ...item, enabled })));
  }

  /** @param {any} item */
  passes(item) {
    const { type, used } = this;
    return (!type.value || item.type === type.value) && (!used.value || item.enabled === (used.value === 'on'));
  }

  update() {
    const now = this.of.items();
    setVisible(this.head, now.length > 0);
    setVisible(this.node, now.length >= TOOLS_FROM);
    this.types([...new Set(now.map((item) => item.type))]);
    setText(this.all.querySelector('span'), now.some((item) => !item.enabled) ? 'Enable all' : 'Disable all');
    const { failed, total } = this.of;
    const short = /** @type {any[]} */ ((!failed && total?.buckets) || []).filter((bucket) => bucket.left);
    if (failed) setText(this.sums, `Couldn’t scan the folders: ${failed}`);
    else if (total) setText(this.sums, sumsOf(total));
    else setText(this.sums, now.length ? 'Scanning folders…' : '');
    setVisible(this.lost, short.length > 0);
    if (short.length) setText(this.lost, droppedOf(total, short));
  }

  /**
   * The types that the concepts have, to filter by.
   * @param {string[]} types
   */
  types(types) {
    const { type, of } = this;
    if (type.dataset.types !== types.join()) {
      type.dataset.types = types.join();
      const held = type.value;
      /** @type {any[]} */
      const fields = of.settings.inner.get(of.list.path);
      const words = fields.find((field) => field.path === 'type').schema['x-enum-labels'] || {};
      type.replaceChildren(
        el('option', { value: '', text: 'All types' }),
        ...types.map((each) => el('option', { value: each, text: words[each] || each })),
      );
      type.value = types.includes(held) ? held : '';
    }
    setVisible(type, types.length > 1 || Boolean(type.value));
  }
}

/** @param {any} total */
function sumsOf(total) {
  if (!total.concepts) return 'No concepts enabled.';
  const steps = total.steps_per_epoch === null ? '' : ` in ${plural(total.steps_per_epoch, 'step')}`;
  const parts = [
    `${plural(total.images, 'image')} in ${plural(total.concepts, 'enabled concept')}`,
    `${format.count(total.per_epoch)} per epoch${steps}`,
  ];
  if (steps) parts.push(`${plural(total.steps, 'step')} in ${plural(total.epochs, 'epoch')}`);
  return parts.join(' · ');
}

/**
 * The images that are dropped because their bucket doesn't fill a batch.
 * @param {any} total
 * @param {any[]} short
 */
function droppedOf({ left, batch }, short) {
  const [are, their] = left === 1 ? ['is', 'its'] : ['are', 'their'];
  const buckets = short.length === 1 ? 'bucket doesn’t' : 'buckets don’t';
  const some = short.slice(0, 3).map((bucket) => `${bucket.left} in ${by(bucket.width, bucket.height)}`);
  const list = `${some.join(', ')}${short.length > 3 ? '…' : ''}`;
  return `${plural(left, 'image')} per epoch ${are} dropped because ${their} ${buckets} fill a batch of ${batch}: ${list}.`;
}

/** What a card shows: `thumb` and `line` in its head, `body` above its settings. */
class Card {
  /**
   * @param {Concepts} of
   * @param {number} at
   */
  constructor(of, at) {
    this.of = of;
    this.at = at;
    this.thumb = el('span', { class: 'og-concept-thumb' }, icon('folder'));
    this.line = el('span', { class: 'og-concept-line' });
    this.facts = el('div', { class: 'og-section-body og-folder' });
    const stage = el('div', { class: 'og-section-body' });
    this.looked = this.fold('look', 'Dataset statistics', this.facts);
    this.drawing = this.fold('draw', 'Augmentation preview', stage);
    this.body = el('div', { class: 'og-concept' }, this.looked, this.drawing);
    this.preview = new Preview(of.settings, `${of.list.path}.${at}`, at, stage);
    this.shown = '';
    this.filled = '';
  }

  /**
   * @param {string} part
   * @param {string} title
   * @param {HTMLElement} body
   */
  fold(part, title, body) {
    const { unfolded } = this.of;
    const summary = el('summary', {}, el('span', { text: title }));
    const details = el('details', { class: 'og-section', open: unfolded.has(part), dataset: { part } }, summary, body);
    details.addEventListener('toggle', () => {
      if (details.open) unfolded.add(part);
      else unfolded.delete(part);
      if (details.isConnected) this.opened();
    });
    return details;
  }

  opened() {
    if (this.looked.open) this.fill();
    if (this.drawing.open) this.preview.update();
  }

  fill() {
    const mine = this.of.known(this.at);
    const now = JSON.stringify([mine, this.of.total?.batch]);
    if (now === this.filled) return;
    this.filled = now;
    const scanning = el('p', { class: 'og-muted', text: 'Scanning the folder…' });
    this.facts.replaceChildren(...(mine ? statistics(mine) : [scanning]));
  }

  update() {
    const mine = this.of.known(this.at);
    const now = mine?.thumbnail || '';
    if (now !== this.shown) {
      this.shown = now;
      const onerror = () => this.thumb.replaceChildren(icon('folder'));
      const image = { src: url(`${now}?w=192`), alt: '', width: 56, height: 56, onerror };
      this.thumb.replaceChildren(now ? el('img', image) : icon('folder'));
    }
    this.line.replaceChildren(...words(mine, this.of.items()[this.at]));
    if (this.body.isConnected) this.opened();
  }
}

/**
 * The line below the name of a concept.
 * @param {any} mine
 * @param {any} item
 */
function words(mine, item) {
  if (!mine) return [el('span', { class: 'og-muted', text: '…' })];
  if (mine.problem) return [el('span', { class: 'bad', text: mine.problem })];
  const parts = [[plural(mine.images + mine.videos, mine.videos ? 'file' : 'image') + (mine.complete ? '' : ' so far')]];
  if (item?.enabled && mine.per_epoch !== mine.images + mine.videos && item.type !== 'VALIDATION')
    parts.push([`${format.count(mine.per_epoch)} per epoch`]);
  if (mine.captions.missing) parts.push([`${format.count(mine.captions.missing)} without caption`, 'warn']);
  if (mine.captions.unreadable.length) parts.push(['unreadable captions', 'bad']);
  if (mine.broken.count) parts.push([`${format.count(mine.broken.count)} broken`, 'bad']);
  if (mine.masks) parts.push([plural(mine.masks, 'mask')]);
  return parts.map(([text, tone]) => el('span', { class: tone || 'og-muted', text }));
}
