// The newest samples of the displayed run, next to its chart.

import { el, format, setText, setVisible } from './dom.js';
import { api, on, url, viewed } from './live.js';

const MOST = 12;

/** @param {HTMLElement} place */
export function mount(place) {
  const newest = new Newest();
  place.append(newest.node);
  const load = () => newest.load();
  const arrived = (/** @type {any} */ message) => newest.add(message.sample || message);
  on('sample_default', arrived);
  on('sample_custom', arrived);
  on('connected', load);
  on('training_state', () => {
    if (viewed() !== newest.runId) load();
  });
  on('view', load);
  load();
}

class Newest {
  constructor() {
    /** @type {string | null} */
    this.runId = null;
    /** @type {any[]} */
    this.samples = [];
    this.total = 0;
    this.list = el('ul', { class: 'og-newest' });
    this.count = el('span', { class: 'og-muted og-small' });
    const all = { class: 'og-small', href: '#samples', dataset: { ogTab: 'samples' }, text: 'Show all samples' };
    const title = 'Newest samples';
    const head = [el('h2', { text: title }), this.count, el('span', { class: 'og-grow' }), el('a', all)];
    this.node = el(
      'section',
      { class: 'og-card', 'aria-label': title, hidden: true },
      el('div', { class: 'og-card-head' }, head),
      this.list,
    );
  }

  draw() {
    const shown = this.samples.length;
    setVisible(this.node, shown > 0);
    setText(this.count, this.total > shown ? `${format.count(shown)} of ${format.count(this.total)}` : '');
    this.list.replaceChildren(...this.samples.map(tile));
  }

  async load() {
    const id = viewed();
    this.runId = id;
    this.samples = [];
    this.total = 0;
    if (!id) {
      this.draw();
      return;
    }
    try {
      const answer = await api('GET', `api/samples/list?${new URLSearchParams({ run_id: id, limit: String(MOST) })}`);
      if (this.runId !== id) return;
      this.samples = answer.samples;
      this.total = answer.total;
      this.draw();
    } catch (/** @type {any} */ error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    }
  }

  /** @param {any} sample */
  add(sample) {
    if (sample.run_id !== this.runId || this.samples.some((each) => each.id === sample.id)) return;
    this.samples = [sample, ...this.samples].slice(0, MOST);
    this.total += 1;
    this.draw();
  }
}

/** @param {any} sample */
function tile(sample) {
  const step = `Step ${format.count(sample.global_step)}`;
  const what = `${step}: ${sample.prompt || 'Empty prompt'}`;
  const open = () => {
    // the gallery may not be there yet: it looks here when it comes
    sessionStorage.setItem('og-sample', sample.id);
    document.dispatchEvent(new CustomEvent('og-sample'));
  };
  return el(
    'li',
    {},
    el(
      'button',
      { type: 'button', class: 'og-new', dataset: { ogTab: 'samples' }, title: what, 'aria-label': what, onclick: open },
      el('img', {
        src: url(`api/samples/${encodeURIComponent(sample.id)}/thumbnail?w=256`),
        loading: 'lazy',
        decoding: 'async',
        alt: '',
        width: 256,
        height: Math.round((256 * (sample.height || 1)) / (sample.width || 1)),
      }),
      el('span', { text: step }),
    ),
  );
}
