// The layers that a filter matches: counted at once, listed on demand.

import { asking } from './asking.js';
import { button, el, format, setText, setVisible } from './dom.js';
import { api } from './live.js';

/** @type {Record<string, string>} */
const PREFIX = { training: '', quantization: 'quantization.' };

/**
 * @param {any} settings
 * @param {string} of which filter
 */
export function layers(settings, of) {
  const card = new Layers(settings);
  const paths = ['model_type', ...['layer_filter', 'layer_filter_regex', 'layer_filter_preset'].map((name) => PREFIX[of] + name)];
  card.head.after(
    asking(
      settings,
      card.node,
      () => paths,
      (/** @type {any} */ changes) => api('POST', 'api/config/layers', { changes, of }),
      (/** @type {any} */ answer) => {
        card.found = answer;
        card.put();
      },
    ),
  );
  return card.node;
}

class Layers {
  /** @param {any} settings */
  constructor(settings) {
    this.settings = settings;
    this.listed = false;
    /** @type {any} */
    this.found = null;
    this.fill = el('i', {});
    this.bar = el('div', { class: 'og-share', 'aria-hidden': 'true' }, this.fill);
    this.count = el('p', { class: 'og-layer-count', role: 'status' });
    this.parts = el('ul', { class: 'og-layer-patterns' });
    this.note = el('p', { class: 'og-note', hidden: true });
    this.table = el('div', { class: 'og-layer-list', hidden: true, tabindex: 0, role: 'region', 'aria-label': 'Layers' });
    this.more = button('Show layers', {
      icon: 'down',
      kind: 'small',
      'aria-expanded': 'false',
      onclick: () => {
        this.listed = !this.listed;
        this.put();
      },
    });
    this.head = el('div', { class: 'og-layer-head' }, this.count, this.bar, this.more);
    const label = 'Layers matched by the filter';
    const content = [this.head, this.parts, this.note, this.table];
    this.node = el('section', { class: 'og-figure og-layers', 'aria-label': label }, content);
  }

  put() {
    const { found, parts, note, more } = this;
    const known = found?.known;
    setVisible(this.bar, Boolean(known));
    setVisible(more, Boolean(known));
    if (!found) return;
    if (!known) {
      setText(this.count, 'Layer names for this model type aren’t available until the model is loaded.');
      for (const each of [parts, note, this.table]) setVisible(each, false);
      return;
    }
    setText(this.count, this.summary());
    this.fill.style.width = `${found.total ? (100 * found.taken) / found.total : 0}%`;
    this.node.classList.toggle('none', found.taken === 0);
    const plain = found.patterns.length === 1 && found.patterns[0].pattern === '';
    setVisible(parts, !plain);
    parts.replaceChildren(...(plain ? [] : found.patterns.map(pattern)));
    setVisible(note, !found.exact);
    setText(note, `${found.model} comes in several sizes. The number of blocks may differ; the layer names don’t.`);
    more.setAttribute('aria-expanded', String(this.listed));
    setText(more.querySelector('span'), this.listed ? 'Hide layers' : 'Show layers');
    setVisible(this.table, this.listed);
    if (this.listed) this.list();
  }

  summary() {
    const { found } = this;
    const part = named(this.settings.schema.properties[found.part]?.title || found.part);
    const total = format.count(found.total);
    const taken = found.taken === found.total ? `All ${total}` : `${format.count(found.taken)} of ${total}`;
    return `${taken} layers of the ${part}`;
  }

  list() {
    /** @type {any[]} */
    const kinds = this.found.kinds;
    const block = (/** @type {string} */ title, /** @type {any[]} */ some) =>
      some.length ? [el('h5', { text: title }), el('ul', {}, some.map(line))] : [];
    this.table.replaceChildren(
      ...block(
        'Matched',
        kinds.filter((kind) => kind.taken),
      ),
      ...block(
        'Not matched',
        kinds.filter((kind) => !kind.taken),
      ),
    );
  }
}

/** @param {{pattern: string, taken: number, late: boolean}} pattern */
function pattern({ pattern: text, taken, late }) {
  const none = late ? 'none (already matched by an earlier pattern)' : 'no match';
  const why = taken ? `${format.count(taken)} ${taken === 1 ? 'layer' : 'layers'}` : none;
  return el(
    'li',
    { class: taken ? '' : 'bad' },
    el('code', { text: text || '(everything else)' }),
    el('span', { class: 'og-muted', text: why }),
  );
}

/** @param {{name: string, taken: number, total: number}} kind */
function line({ name, taken, total }) {
  const text = taken === total ? format.count(total) : `${taken} of ${total}`;
  return el('li', { class: taken ? '' : 'off' }, el('code', {}, ...parted(name)), el('span', { text }));
}

/** @param {string} part */
const named = (part) => (/^[A-Z][a-z]/.test(part) ? part.toLowerCase() : part);

/**
 * Name parts that may be broken at the dots.
 * @param {string} name
 */
function parted(name) {
  return name.split('.').flatMap((part, at) => (at ? [el('wbr', {}), `.${part}`] : [part]));
}
