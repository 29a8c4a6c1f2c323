// The gallery: samples by prompt and step, a large view with keyboard control, and the form for a custom sample.

import { button, el, format, icon, openDialog, setText, setVisible, toast } from './dom.js';
import { api, on, store, url } from './live.js';

const PAGE = 60;
const MOST_ENLARGED = 4;
// what the form for a custom sample takes from the first sample prompt, or the model
const BEGINS = ['negative_prompt', 'width', 'height', 'diffusion_steps', 'cfg_scale', 'seed', 'noise_scheduler'];

export function mount(place) {
  const inputs = {};
  const own = new Set(); // the inputs that were edited or reused from a sample: they stay
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
    customForm(),
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

  const keyOf = (sample) => JSON.stringify([sample.run_id, sample.kind, sample.prompt, sample.index ?? 0]);

  /** One row per prompt (of a run), the newest step first. Nodes of samples that stay are kept. */
  function draw() {
    const rows = new Map();
    for (const sample of samples.values()) {
      const key = keyOf(sample);
      if (!rows.has(key)) rows.set(key, []);
      rows.get(key).push(sample);
    }
    for (const id of tiles.keys()) if (!samples.has(id)) tiles.delete(id);
    for (const row of rows.values()) row.sort((a, b) => b.global_step - a.global_step || (b.at || 0) - (a.at || 0));
    // the newest run first; within it custom samples, then the prompts in their order
    const place_ = (sample) => (sample.kind === 'custom' ? -1 : sample.index || 0);
    const sorted = [...rows.values()].sort(([a], [b]) => {
      if (a.run_id !== b.run_id) return a.run_id < b.run_id ? 1 : -1;
      return place_(a) - place_(b) || (b.at || 0) - (a.at || 0);
    });
    const several = new Set(sorted.map(([first]) => first.run_id)).size > 1;
    groups.replaceChildren(
      ...sorted.map((row) =>
        el(
          'section',
          { class: 'og-group' },
          el(
            'h4',
            { 'aria-level': 3 },
            el('span', { class: 'og-prompt', text: row[0].prompt || 'Empty prompt' }),
            el('span', {
              class: 'og-muted og-small',
              text: [
                several && `run ${runTime(row[0].run_id)}`,
                row[0].kind === 'custom' && 'custom',
                `${row.length} ${row.length === 1 ? 'image' : 'images'}`,
              ]
                .filter(Boolean)
                .join(' · '),
            }),
          ),
          el(
            'ul',
            { class: 'og-strip' },
            row.map((sample) => {
              if (!tiles.has(sample.id)) tiles.set(sample.id, tile(sample));
              return tiles.get(sample.id);
            }),
          ),
        ),
      ),
    );
    setVisible(empty, samples.size === 0);
    setText(tally, samples.size ? `${format.count(samples.size)} shown` : '');
  }

  function tile(sample) {
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
        el('span', { text: `step ${format.count(sample.global_step)}` }),
      ),
    );
  }

  /** In the order of the page: prompt by prompt, newest first. */
  const order = () => [...groups.querySelectorAll('.og-tile')].map((node) => node.dataset.id);

  function open(id) {
    const image = el('img', { alt: '' });
    const facts = el('dl', { class: 'og-facts' });
    const title = el('p', { class: 'og-view-prompt' });
    const save = el('a', { class: 'og-button' }, icon('download'), el('span', { text: 'Download' }));
    const again = button('Reuse these settings', {
      icon: 'copy',
      onclick: () => {
        dialog.close();
        reuse(samples.get(at));
      },
    });
    const dialog = el(
      'dialog',
      { class: 'og-viewer', 'aria-label': 'Sample' },
      el(
        'div',
        { class: 'og-view-stage' },
        button('', { icon: 'left', title: 'Previous (arrow left)', kind: 'quiet og-view-move', onclick: () => move(-1) }),
        image,
        button('', { icon: 'right', title: 'Next (arrow right)', kind: 'quiet og-view-move', onclick: () => move(1) }),
      ),
      el(
        'div',
        { class: 'og-view-side' },
        el(
          'div',
          { class: 'og-card-head' },
          el('h2', { text: 'Sample' }),
          el('span', { class: 'og-grow' }),
          button('', { icon: 'close', title: 'Close (Esc)', kind: 'quiet', onclick: () => dialog.close() }),
        ),
        title,
        facts,
        el('div', { class: 'og-buttons' }, save, again),
      ),
    );
    let at = id;
    function showOne(which) {
      const sample = samples.get(which);
      if (!sample) return;
      at = which;
      const source = url(`api/samples/${encodeURIComponent(which)}/image`);
      image.src = source;
      image.alt = sample.prompt || 'Sample image';
      // a small image stays small enough to be sharp
      image.style.maxWidth = `${(sample.width || 512) * MOST_ENLARGED}px`;
      image.style.maxHeight = `min(100%, ${(sample.height || 512) * MOST_ENLARGED}px)`;
      save.href = source;
      save.download = `step-${sample.global_step}-${sample.kind}-${sample.index ?? 0}.png`;
      setText(title, sample.prompt || 'Empty prompt');
      facts.replaceChildren(
        ...[
          ['Step', format.count(sample.global_step)],
          ['Epoch', `${sample.epoch}, step ${sample.epoch_step}`],
          ['Negative prompt', sample.negative_prompt],
          ['Size', `${sample.width} × ${sample.height}`],
          ['Seed', String(sample.seed)],
          ['Steps', sample.diffusion_steps],
          ['CFG scale', sample.cfg_scale],
          ['Sampler', sample.noise_scheduler],
          ['Weights', sample.ema ? 'EMA' : null],
          ['Generation time', sample.seconds && `${sample.seconds.toFixed(1)} s`],
          ['Created', format.time(sample.at ?? sample.created_at)],
          ['Run', sample.run_id],
        ]
          .filter(([, value]) => value !== undefined && value !== null && value !== '')
          .map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))),
      );
    }
    function move(by) {
      const ids = order();
      const to = ids[(ids.indexOf(at) + by + ids.length) % ids.length];
      showOne(to);
    }
    dialog.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) {
        event.preventDefault();
        move(by);
      }
    });
    showOne(id);
    openDialog(dialog, () => groups.querySelector(`[data-id="${CSS.escape(at)}"]`)?.focus());
  }

  // ---- a custom sample

  function customForm() {
    const field = (name, label, node, wide) => {
      inputs[name] = node;
      node.id = `og-custom-${name}`;
      return el(
        'label',
        { class: `og-field${wide ? ' wide' : ''}`, for: node.id },
        el('span', { class: 'og-label', text: label }),
        node,
      );
    };
    const number = (value, min, max, step = 1) => el('input', { type: 'number', value, min, max, step, inputmode: 'decimal' });
    inputs.random_seed = el('input', { type: 'checkbox', id: 'og-custom-random_seed' });
    const go = button('Generate', { kind: 'primary', onclick: paint });
    const why = el('span', { class: 'og-muted og-small', role: 'status' });
    const node = el(
      'details',
      { class: 'og-card og-fold' },
      el('summary', { text: 'Generate a sample' }),
      el(
        'div',
        { class: 'og-custom' },
        field('prompt', 'Prompt', el('textarea', { rows: 2 }), true),
        field('negative_prompt', 'Negative prompt', el('textarea', { rows: 1 }), true),
        field('width', 'Width', number(512, 8, 8192, 8)),
        field('height', 'Height', number(512, 8, 8192, 8)),
        field('diffusion_steps', 'Steps', number(20, 1, 1000)),
        field('cfg_scale', 'CFG scale', number(7, 0, 50, 0.5)),
        field('seed', 'Seed', number(42, -1, 2 ** 32 - 1)),
        field('noise_scheduler', 'Sampler', el('select', {}, el('option', { value: 'DDIM', text: 'DDIM' }))),
        el('label', { class: 'og-inline og-end' }, inputs.random_seed, el('span', { text: 'Random seed' })),
      ),
      el('div', { class: 'og-buttons' }, go, why),
    );

    async function paint() {
      const params = Object.fromEntries(
        Object.entries(inputs).map(([name, input]) => [
          name,
          input.type === 'checkbox' ? input.checked : input.type === 'number' ? Number(input.value) : input.value,
        ]),
      );
      for (const input of Object.values(inputs)) input.removeAttribute('aria-invalid');
      go.disabled = true;
      try {
        const answer = await api('POST', 'api/samples/custom', params);
        waiting = answer.command_id || '';
        setText(why, 'Queued. The sample will be generated after the current step.');
      } catch (error) {
        setText(why, error.errors[0]?.message || error.message);
        for (const { path } of error.errors) inputs[path]?.setAttribute('aria-invalid', 'true');
      }
      allow();
    }
    let waiting = '';
    function allow() {
      const now = store.state;
      const may = Boolean(now?.can?.sample) && store.connection === 'live';
      go.disabled = !may;
      if (!may && !waiting) setText(why, now?.why?.sample || '');
      else if (may && why.textContent === now?.why?.sample) setText(why, '');
    }
    node.addEventListener('input', (/** @type {any} */ { target }) => own.add(target.id.slice('og-custom-'.length)));
    async function samplers() {
      const schema = await api('GET', 'api/config/schema');
      const names = schema.properties.samples.items.properties.noise_scheduler.enum;
      inputs.noise_scheduler.replaceChildren(...names.map((value) => el('option', { value, text: value })));
    }
    /** The values of the first sample prompt, or the defaults of the model: of the active run, or of the settings. */
    async function begin() {
      const run = store.state?.is_training && store.state.run_id;
      const [{ config }, usual] = await Promise.all([
        api('GET', run ? `api/runs/${encodeURIComponent(run)}` : 'api/config/current'),
        api('GET', 'api/samples/parameters'),
      ]);
      const [first] = config.samples || [];
      const values = first ? { ...usual, ...first, negative_prompt: '' } : usual;
      for (const name of BEGINS) if (!own.has(name)) inputs[name].value = values[name];
    }
    const offline = (error) => {
      if (error.status !== 0) throw error;
    };
    const again = () => {
      if (node.open) begin().catch(offline);
    };
    samplers().then(begin).catch(offline);
    node.addEventListener('toggle', again);
    on('config', again);
    let run = store.state?.run_id;
    on('training_state', () => {
      if (run !== store.state?.run_id) {
        run = store.state?.run_id;
        again();
      }
    });
    on('training_state', allow);
    on('connection', allow);
    on('sample_custom', () => {
      if (waiting) {
        waiting = '';
        setText(why, 'Sample generated.');
      }
    });
    on('event', ({ event }) => {
      if (event?.type !== 'command_completed' || !waiting || event.command_id !== waiting) return;
      waiting = '';
      setText(why, event.outcome === 'done' ? 'Sample generated.' : `Sampling failed: ${event.reason}`);
    });
    allow();
    return node;
  }
  function reuse(sample) {
    for (const [name, input] of Object.entries(inputs)) {
      if (input.type === 'checkbox' || sample[name] === undefined) continue;
      input.value = sample[name];
      own.add(name);
    }
    place.querySelector('.og-fold').open = true;
    inputs.prompt.focus();
    inputs.prompt.scrollIntoView({ block: 'center' });
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
