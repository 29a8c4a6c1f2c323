// An image, and several random augmentations of it with captions. It follows the settings while they are typed.

import { by } from './dataset-statistics.js';
import { button, el, format, setText, setVisible } from './dom.js';
import { api } from './live.js';

const DRAW_AFTER_MS = 250;
// with the original a full row
const VARIANTS = 5;
// what a preview depends on, in addition to the concept itself
const OF_DRAW = ['model_type', 'resolution', 'aspect_ratio_bucketing', 'latent_caching', 'masked_training'];

export class Preview {
  /**
   * @param {any} settings
   * @param {string} path of the concept
   * @param {number} at
   * @param {HTMLElement} place
   */
  constructor(settings, path, at, place) {
    this.settings = settings;
    this.path = path;
    this.at = at;
    this.place = place;
    this.image = 0;
    this.count = 0;
    this.seed = 0;
    this.key = '';
    this.timer = 0;
    const small = { kind: 'quiet small' };
    this.name = el('span', { class: 'og-draw-file' });
    this.back = button('', { icon: 'left', ...small, title: 'Previous image', onclick: () => this.step(-1) });
    this.on = button('', { icon: 'right', ...small, title: 'Next image', onclick: () => this.step(1) });
    const again = () => {
      this.seed += 1;
      this.update(true);
    };
    const fresh = button('New preview', { icon: 'reset', kind: 'small', onclick: again });
    this.problem = el('p', { class: 'og-below-problem', hidden: true });
    this.grid = el('div', { class: 'og-draws' });
    this.notes = el('div', {});
    const head = el('div', { class: 'og-draw-head' }, this.back, this.on, this.name, fresh);
    place.replaceChildren(head, this.problem, this.grid, this.notes);
    this.listen();
  }

  listen() {
    const { place } = this;
    place.addEventListener('keydown', ({ key }) => {
      if (key === 'ArrowLeft') this.step(-1);
      if (key === 'ArrowRight') this.step(1);
    });
    const typed = (/** @type {any} */ event) => {
      if (!place.isConnected) {
        if (this.key) document.removeEventListener('input', typed);
        return;
      }
      const path = event.target.dataset?.path || '';
      if (place.offsetParent && (path.startsWith(`${this.path}.`) || OF_DRAW.includes(path))) this.update();
    };
    document.addEventListener('input', typed);
  }

  /** @param {number} by_ */
  step(by_) {
    if (!this.count) return;
    this.image = (this.image + by_ + this.count) % this.count;
    this.update(true);
  }

  update(fresh = false) {
    const values = [...OF_DRAW, this.path].map((each) => this.settings.shownValue(each));
    const now = JSON.stringify([values, this.image, this.seed]);
    if (now === this.key && !fresh) return;
    const first = !this.key;
    this.key = now;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), first || fresh ? 0 : DRAW_AFTER_MS);
  }

  /** What is typed and not saved yet; a folder is looked into when it is saved. */
  typed() {
    const { path } = this;
    const drafts = /** @type {[string, {value: any}][]} */ ([...this.settings.drafts]);
    const ours = (/** @type {string} */ each) =>
      (each.startsWith(`${path}.`) && each !== `${path}.path`) || OF_DRAW.includes(each);
    return Object.fromEntries(drafts.filter(([each]) => ours(each)).map(([each, draft]) => [each, draft.value]));
  }

  async ask() {
    const wanted = this.key;
    try {
      const answer = await api('POST', 'api/concepts/preview', {
        index: this.at,
        image_index: this.image,
        seed: this.seed,
        variants: VARIANTS,
        changes: this.typed(),
      });
      if (wanted !== this.key) return;
      setVisible(this.problem, false);
      this.put(answer);
    } catch (/** @type {any} */ error) {
      if (wanted !== this.key) return;
      if (error.status === 0) this.key = '';
      setText(this.problem, error.errors?.[0]?.message || error.message);
      setVisible(this.problem, true);
      this.grid.classList.add('stale');
    }
  }

  /** @param {any} answer */
  put(answer) {
    const { file, width, height, captions, notes } = answer;
    /** @type {any[]} */
    const variants = answer.variants;
    this.count = answer.images;
    this.grid.classList.remove('stale');
    setVisible(this.back, this.count > 1);
    setVisible(this.on, this.count > 1);
    setText(this.name, `${file} · ${answer.image_index + 1} of ${format.count(this.count)}`);
    const random = new Set(variants.map((each) => JSON.stringify(each))).size > 1;
    this.grid.replaceChildren(
      figure(file, answer.image, `Original ${by(width, height)}`, [], captions.join('\n')),
      ...variants
        .slice(0, random ? VARIANTS : 1)
        .map((each) => figure(file, each.image, by(each.width, each.height), each.changes, each.caption)),
    );
    /** @type {string[]} */
    const texts = random ? notes : ['No random augmentation is enabled, so every image looks like this.'];
    this.notes.replaceChildren(...texts.map((text) => el('p', { class: 'og-muted og-small', text })));
  }
}

/**
 * @param {string} file
 * @param {string} image
 * @param {string} title
 * @param {string[]} changes
 * @param {string} text
 */
const figure = (file, image, title, changes, text) =>
  el(
    'figure',
    { class: 'og-drawn' },
    el('img', { src: image, alt: [file, title, ...changes].join(', ') }),
    el(
      'figcaption',
      {},
      el('b', { text: title }),
      changes.length > 0 && el('span', { class: 'og-muted', text: changes.join(', ') }),
      el('p', { class: text ? '' : 'warn', text: text || 'No caption' }),
    ),
  );
