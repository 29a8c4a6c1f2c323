// The form for a custom sample: it begins with the values of the first sample prompt, and shows when and why it can't be used.

import { button, el, setText } from './dom.js';
import { api, on, store } from './live.js';

// what the form takes from the first sample prompt, or the model
const BEGINS = ['negative_prompt', 'width', 'height', 'diffusion_steps', 'cfg_scale', 'seed', 'noise_scheduler'];
const ID = 'og-custom-';

const number = (value, min, max, step = 1) => el('input', { type: 'number', value, min, max, step, inputmode: 'decimal' });

/** The fields: an input by the name of each parameter. */
function fields() {
  const inputs = {};
  const field = (name, label, node, wide = false) => {
    inputs[name] = node;
    node.id = ID + name;
    return el(
      'label',
      { class: `og-field${wide ? ' wide' : ''}`, for: node.id },
      el('span', { class: 'og-label', text: label }),
      node,
    );
  };
  inputs.random_seed = el('input', { type: 'checkbox', id: `${ID}random_seed` });
  const node = el(
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
  );
  return { inputs, node };
}

const entered = (input) =>
  input.type === 'checkbox' ? input.checked : input.type === 'number' ? Number(input.value) : input.value;

async function samplers(select) {
  const schema = await api('GET', 'api/config/schema');
  const names = schema.properties.samples.items.properties.noise_scheduler.enum;
  select.replaceChildren(...names.map((value) => el('option', { value, text: value })));
}

/** The values of the first sample prompt, or the defaults of the model: of the active run, or of the settings. */
async function beginning() {
  const run = store.state?.is_training && store.state.run_id;
  const [{ config }, usual] = await Promise.all([
    api('GET', run ? `api/runs/${encodeURIComponent(run)}` : 'api/config/current'),
    api('GET', 'api/samples/parameters'),
  ]);
  const [first] = config.samples || [];
  return first ? { ...usual, ...first, negative_prompt: '' } : usual;
}

/** Ask for a sample, and say in `why` what becomes of it; `allow` follows what the run allows. */
function request(inputs, go, why) {
  let waiting = '';
  const done = (text) => {
    waiting = '';
    setText(why, text);
  };
  function allow() {
    const now = store.state;
    const may = Boolean(now?.can?.sample) && store.connection === 'live';
    go.disabled = !may;
    if (!may && !waiting) setText(why, now?.why?.sample || '');
    else if (may && why.textContent === now?.why?.sample) setText(why, '');
  }
  async function ask() {
    const params = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, entered(input)]));
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
  on('training_state', allow);
  on('connection', allow);
  on('sample_custom', () => {
    if (waiting) done('Sample generated.');
  });
  on('event', ({ event }) => {
    if (event?.type !== 'command_completed' || !waiting || event.command_id !== waiting) return;
    done(event.outcome === 'done' ? 'Sample generated.' : `Sampling failed: ${event.reason}`);
  });
  go.addEventListener('click', ask);
  allow();
}

/** `{node, reuse}`: the form, and how it takes the settings of a sample. */
export function sampleForm() {
  const own = new Set(); // the inputs that were edited or reused from a sample: they stay
  const { inputs, node: body } = fields();
  const go = button('Generate', { kind: 'primary' });
  const why = el('span', { class: 'og-muted og-small', role: 'status' });
  const node = el(
    'details',
    { class: 'og-card og-fold', 'data-og-needs': 'operator' },
    el('summary', { text: 'Generate a sample' }),
    body,
    el('div', { class: 'og-buttons' }, go, why),
  );
  request(inputs, go, why);
  node.addEventListener('input', (/** @type {any} */ { target }) => own.add(target.id.slice(ID.length)));

  async function begin() {
    const values = await beginning();
    for (const name of BEGINS) if (!own.has(name)) inputs[name].value = values[name];
  }
  const offline = (error) => {
    if (error.status !== 0) throw error;
  };
  const again = () => {
    if (node.open) begin().catch(offline);
  };
  samplers(inputs.noise_scheduler).then(begin).catch(offline);
  node.addEventListener('toggle', again);
  on('config', again);
  let run = store.state?.run_id;
  on('training_state', () => {
    if (run !== store.state?.run_id) {
      run = store.state?.run_id;
      again();
    }
  });

  function reuse(sample) {
    for (const [name, input] of Object.entries(inputs)) {
      if (input.type === 'checkbox' || sample[name] === undefined) continue;
      input.value = sample[name];
      own.add(name);
    }
    node.open = true;
    inputs.prompt.focus();
    inputs.prompt.scrollIntoView({ block: 'center' });
  }
  return { node, reuse };
}
