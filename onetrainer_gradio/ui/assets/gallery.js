// The gallery: samples by prompt and step, a large view with keyboard control, and the form for a custom sample.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api, on, url } from './live.js';
import { sampleForm } from './sample-form.js';
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

function tile(sample, open) {
  return el(
    'li',
    {},
    el(
      'button',
      {
        type: 'button',
        class: 'og-tile',
        dataset: { id: sample.id },
        'aria-label': `Step ${sample.global_step}: ${sample.prompt}`,
        onclick: () => open(sample.id),
      },
      el('img', {
        src: url(`api/samples/${encodeURIComponent(sample.id)}/thumbnail?w=256`),
        loading: 'lazy',
        decoding: 'async',
        alt: '',
        width: 256,
        height: Math.round((256 * (sample.height || 1)) / (sample.width || 1)),
      }),
      el('span', { text: `Step ${format.count(sample.global_step)}` }),
    ),
  );
}

export function mount(place) {
  const form = sampleForm();
  const groups = el('div', { class: 'og-groups' });
  const empty = el(
    'p',
    { class: 'og-empty' },
    'No samples yet. Samples appear here as a run generates them. Edit the prompts under ',
    el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Configuration' }),
    ' › Samples.',
  );
  const more = button('Load older samples', { onclick: () => load(false) });
  const only = el('select', { id: 'og-gallery-run', onchange: () => load(true) }, el('option', { value: '', text: 'All runs' }));
  const kinds = el(
    'select',
    { id: 'og-gallery-kind', onchange: () => load(true) },
    [
      ['', 'All types'],
      ['default', 'Sample prompts'],
      ['custom', 'Custom'],
    ].map(([value, text]) => el('option', { value, text })),
  );
  const tally = el('span', { class: 'og-muted og-small', role: 'status' });
  setVisible(more, false);

  place.append(
    el('h1', { class: 'og-sr', text: 'Samples' }),
    form.node,
    el(
      'section',
      { class: 'og-card', 'aria-label': 'Samples' },
      el(
        'div',
        { class: 'og-card-head' },
        el('h2', { text: 'Samples' }),
        tally,
        el('span', { class: 'og-grow' }),
        el('label', { class: 'og-inline', for: 'og-gallery-run' }, el('span', { class: 'og-sr', text: 'Run' }), only),
        el('label', { class: 'og-inline', for: 'og-gallery-kind' }, el('span', { class: 'og-sr', text: 'Type' }), kinds),
      ),
      empty,
      groups,
      el('div', { class: 'og-center' }, more),
    ),
  );

  let samples = new Map(); // id -> sample
  const tiles = new Map(); // id -> its node
  /** @type {any} */
  let next = null;

  function draw() {
    for (const id of tiles.keys()) if (!samples.has(id)) tiles.delete(id);
    const rows = byPrompt([...samples.values()]);
    const several = new Set(rows.map(([first]) => first.run_id)).size > 1;
    const kept = (sample) => {
      if (!tiles.has(sample.id)) tiles.set(sample.id, tile(sample, open));
      return tiles.get(sample.id);
    };
    groups.replaceChildren(...rows.map((row) => group(row, several, kept)));
    setVisible(empty, samples.size === 0);
    setText(tally, samples.size ? `${format.count(samples.size)} shown` : '');
  }

  /** In the order of the page: prompt by prompt, newest first. */
  const order = () => [...groups.querySelectorAll('.og-tile')].map((node) => node.dataset.id);

  function open(id) {
    openSample(id, {
      samples: () => samples,
      order,
      reuse: form.reuse,
      closed: (last) => groups.querySelector(`[data-id="${CSS.escape(last)}"]`)?.focus(),
    });
  }

  // ---- the list

  async function load(anew) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (only.value) query.set('run_id', only.value);
    if (kinds.value) query.set('kind', kinds.value);
    if (!anew && next) query.set('before', next);
    try {
      const answer = await api('GET', `api/samples/list?${query}`);
      const found = answer.samples || answer.items || [];
      if (anew) samples = new Map();
      for (const sample of found) samples.set(sample.id, sample);
      next = answer.next_before ?? answer.next ?? null;
      setVisible(more, Boolean(next));
      draw();
      if (anew) runOptions();
      asked();
    } catch (error) {
      if (error.status !== 0) toast(error.message, 'bad');
    }
  }
  async function runOptions() {
    try {
      const answer = await api('GET', 'api/runs?limit=1000');
      const chosen = only.value;
      only.replaceChildren(
        el('option', { value: '', text: 'All runs' }),
        ...(answer.runs || answer).map((run) =>
          el('option', { value: run.id, text: `${run.name || 'run'} · ${runTime(run.id)}` }),
        ),
      );
      only.value = chosen;
    } catch {
      /* the list of runs is only a filter */
    }
  }
  function arrived(message) {
    const sample = message.sample || message;
    if ((only.value && sample.run_id !== only.value) || (kinds.value && sample.kind !== kinds.value)) return;
    samples = new Map([[sample.id, sample], ...samples]);
    draw();
  }
  /** Open the sample that was clicked on the Training tab; the gallery may not be there yet, so the choice is kept. */
  function asked() {
    const id = sessionStorage.getItem('og-sample');
    if (!id || !samples.has(id)) return;
    sessionStorage.removeItem('og-sample');
    open(id);
  }
  document.addEventListener('og-sample', asked);
  on('sample_default', arrived);
  on('sample_custom', arrived);
  on('connected', () => load(true));
  load(true);
}

/** The time in the id of a run: 2026-11-23_16-06-45-3058 -> 2026-11-23 16:06. */
function runTime(id) {
  return id
    .slice(0, 16)
    .replace('_', ' ')
    .replace(/-(\d\d)$/, ':$1');
}
