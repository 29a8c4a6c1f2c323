// The gallery: samples by prompt and step, a large view with keyboard control, and the form for a custom sample.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api, on } from './live.js';
import { sampleForm } from './sample-form.js';
import { sampleTile } from './sample-tile.js';
import { openSample } from './sample-view.js';

const PAGE = 60;

/** Samples as rows: one per prompt (of a run), the newest step first; the newest run first, within it custom samples, then the prompts. */
export function byPrompt(samples) {
  const rows = new Map();
  for (const sample of samples) {
    const key = JSON.stringify([sample.run_id, sample.kind, sample.prompt, sample.index ?? 0]);
    if (!rows.has(key)) rows.set(key, []);
    rows.get(key).push(sample);
  }
  for (const row of rows.values()) row.sort((a, b) => b.global_step - a.global_step || (b.at || 0) - (a.at || 0));
  const place = (sample) => (sample.kind === 'custom' ? -1 : sample.index || 0);
  return [...rows.values()].sort(([a], [b]) => {
    if (a.run_id !== b.run_id) return a.run_id < b.run_id ? 1 : -1;
    return place(a) - place(b) || (b.at || 0) - (a.at || 0);
  });
}

/** A row of the gallery; `kept` gives the tile of a sample, which stays as long as the sample does. */
function group(row, several, kept) {
  const [first] = row;
  const facts = [
    several && `run ${runTime(first.run_id)}`,
    first.kind === 'custom' && 'custom',
    `${row.length} ${row.length === 1 ? 'image' : 'images'}`,
  ];
  return el(
    'section',
    { class: 'og-group' },
    el(
      'h4',
      { 'aria-level': 3 },
      el('span', { class: 'og-prompt', text: first.prompt || 'Empty prompt' }),
      el('span', { class: 'og-muted og-small', text: facts.filter(Boolean).join(' · ') }),
    ),
    el('ul', { class: 'og-strip' }, row.map(kept)),
  );
}

const tile = (sample, open) => el('li', {}, sampleTile(sample, open));

/** @param {HTMLElement} place */
export function mount(place) {
  const gallery = new Gallery();
  place.append(el('h1', { class: 'og-sr', text: 'Samples' }), gallery.form.node, gallery.node);
  document.addEventListener('og-sample', () => gallery.openAsked());
  const arrived = (/** @type {any} */ message) => gallery.add(message.sample || message);
  on('sample_default', arrived);
  on('sample_custom', arrived);
  on('connected', () => gallery.load(true));
  gallery.load(true);
}

const TYPES = [
  ['', 'All types'],
  ['default', 'Sample prompts'],
  ['custom', 'Custom'],
];

class Gallery {
  constructor() {
    /** @type {Map<string, any>} */
    this.samples = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.tiles = new Map(); // of each sample
    /** @type {string | null} */
    this.next = null;
    this.form = sampleForm();
    this.groups = el('div', { class: 'og-groups' });
    this.empty = el(
      'p',
      { class: 'og-empty' },
      'No samples yet. Samples appear here as a run generates them. Edit the prompts under ',
      el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Configuration' }),
      ' › Samples.',
    );
    this.more = button('Load older samples', { onclick: () => this.load(false) });
    const fresh = () => this.load(true);
    this.only = el('select', { id: 'og-gallery-run', onchange: fresh }, el('option', { value: '', text: 'All runs' }));
    const types = TYPES.map(([value, text]) => el('option', { value, text }));
    this.kinds = el('select', { id: 'og-gallery-kind', onchange: fresh }, types);
    this.tally = el('span', { class: 'og-muted og-small', role: 'status' });
    setVisible(this.more, false);
    this.node = this.layout();
  }

  layout() {
    return el(
      'section',
      { class: 'og-card', 'aria-label': 'Samples' },
      el(
        'div',
        { class: 'og-card-head' },
        el('h2', { text: 'Samples' }),
        this.tally,
        el('span', { class: 'og-grow' }),
        el('label', { class: 'og-inline', for: this.only.id }, el('span', { class: 'og-sr', text: 'Run' }), this.only),
        el('label', { class: 'og-inline', for: this.kinds.id }, el('span', { class: 'og-sr', text: 'Type' }), this.kinds),
      ),
      this.empty,
      this.groups,
      el('div', { class: 'og-center' }, this.more),
    );
  }

  draw() {
    const { samples, tiles } = this;
    for (const id of tiles.keys()) if (!samples.has(id)) tiles.delete(id);
    const rows = byPrompt([...samples.values()]);
    const several = new Set(rows.map(([first]) => first.run_id)).size > 1;
    const kept = (/** @type {any} */ sample) => {
      if (!tiles.has(sample.id))
        tiles.set(
          sample.id,
          tile(sample, (/** @type {string} */ id) => this.open(id)),
        );
      return tiles.get(sample.id);
    };
    this.groups.replaceChildren(...rows.map((row) => group(row, several, kept)));
    setVisible(this.empty, samples.size === 0);
    setText(this.tally, samples.size ? `${format.count(samples.size)} shown` : '');
  }

  /** @param {string} id */
  open(id) {
    openSample(id, {
      samples: () => this.samples,
      // in the order of the page: prompt by prompt, newest first
      order: () => [...this.groups.querySelectorAll('.og-tile')].map((node) => node.dataset.id),
      reuse: this.form.reuse,
      closed: (/** @type {string} */ last) => this.groups.querySelector(`[data-id="${CSS.escape(last)}"]`)?.focus(),
    });
  }

  /** @param {boolean} fresh */
  async load(fresh) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this.only.value) query.set('run_id', this.only.value);
    if (this.kinds.value) query.set('kind', this.kinds.value);
    if (!fresh && this.next) query.set('before', this.next);
    try {
      const answer = await api('GET', `api/samples/list?${query}`);
      if (fresh) this.samples = new Map();
      for (const sample of answer.samples || answer.items || []) this.samples.set(sample.id, sample);
      this.next = answer.next_before ?? answer.next ?? null;
      setVisible(this.more, Boolean(this.next));
      this.draw();
      if (fresh) this.runOptions();
      this.openAsked();
    } catch (/** @type {any} */ error) {
      if (error.status !== 0) toast(error.message, 'bad');
    }
  }

  async runOptions() {
    try {
      const answer = await api('GET', 'api/runs?limit=1000');
      const chosen = this.only.value;
      const option = (/** @type {any} */ run) =>
        el('option', { value: run.id, text: `${run.name || 'run'} · ${runTime(run.id)}` });
      this.only.replaceChildren(el('option', { value: '', text: 'All runs' }), ...(answer.runs || answer).map(option));
      this.only.value = chosen;
    } catch {
      /* the list of runs is only a filter */
    }
  }

  /** @param {any} sample */
  add(sample) {
    const { only, kinds } = this;
    if ((only.value && sample.run_id !== only.value) || (kinds.value && sample.kind !== kinds.value)) return;
    this.samples = new Map([[sample.id, sample], ...this.samples]);
    this.draw();
  }

  /** Open the sample that was clicked on the Training tab; the gallery may not be there yet, so the choice is kept. */
  openAsked() {
    const id = sessionStorage.getItem('og-sample');
    if (!id || !this.samples.has(id)) return;
    sessionStorage.removeItem('og-sample');
    this.open(id);
  }
}

/** The time in the id of a run: 2026-11-23_16-06-45-3058 -> 2026-11-23 16:06. */
function runTime(id) {
  return id
    .slice(0, 16)
    .replace('_', ' ')
    .replace(/-(\d\d)$/, ':$1');
}
