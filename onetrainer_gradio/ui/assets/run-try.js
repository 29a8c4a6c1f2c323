// Try it: images with the results of a run at chosen strengths, next to the base model, with the same seed.

import { button, el, format, setText } from './dom.js';
import { labeled } from './labeled.js';
import { api } from './live.js';
import { gridOf } from './run-try-grid.js';
import { sheet } from './sheet.js';

const SHOWN_PROMPTS = 2;
const MAX_IMAGES = 64;
const PAGE = 10;
const KINDS = { model: 'Final model', save: 'Save', backup: 'Backup' };
// name of a parameter of a sample -> label
const MORE = { width: 'Width', height: 'Height', diffusion_steps: 'Steps', cfg_scale: 'CFG scale' };

const numbers = (text) =>
  text
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map(Number);

/** Fill a section of the page of a run. */
export async function tryIt(place, id, { config }) {
  await sheet('run-try.css');
  const lora = config.training_method === 'LORA';
  const kinds = lora ? ['model', 'save', 'backup'] : ['model', 'save'];
  const { files } = await api('GET', `api/runs/${encodeURIComponent(id)}/files`);
  const results = files.filter(({ kind }) => kinds.includes(kind)).sort((a, b) => a.global_step - b.global_step);
  if (!results.some(({ kind }) => kind !== 'backup')) {
    place.append(el('p', { class: 'og-empty', text: 'The run has no saved result yet.' }));
    if (!results.length) return;
  }
  const grids = el('div', { class: 'og-try-grids' });
  place.append(
    form(id, config, results, lora, (grid) => grids.prepend(gridOf(grid))),
    grids,
  );
  await earlier(id, grids);
}

/** Earlier grids, in pages. */
async function earlier(id, grids) {
  const more = button('Show earlier images', { kind: 'small', onclick: load });
  grids.after(more);
  let before = '';
  async function load() {
    const query = new URLSearchParams({ run_id: id, limit: String(PAGE), before });
    const page = await api('GET', `api/generations?${query}`);
    grids.append(...page.generations.map(gridOf));
    before = page.next || '';
    more.hidden = !before;
  }
  await load();
}

function inputs(config, results, lora) {
  const samples = (config.samples || []).filter(({ enabled }) => enabled !== false);
  const prompts = el('textarea', { rows: 3, maxlength: 10000 });
  prompts.value = samples
    .slice(0, SHOWN_PROMPTS)
    .map(({ prompt }) => prompt.replaceAll('\n', ' '))
    .join('\n');
  const final = results.findLast(({ kind }) => kind === 'model') || results.at(-1);
  const files = el('select', { multiple: true, size: String(Math.min(6, Math.max(2, results.length))) });
  files.append(...results.map((file) => el('option', { value: file.id, selected: file === final, text: nameOf(file) })));
  const device = el(
    'select',
    {},
    el('option', { value: 'auto', text: 'Same as the run' }),
    el('option', { value: 'cpu', text: 'CPU' }),
  );
  const number = { type: 'number', min: '0', step: 'any', placeholder: 'As in samples' };
  return {
    prompts,
    files,
    strengths: lora && el('input', { type: 'text', value: '0.7, 1', autocomplete: 'off' }),
    seed: el('input', { type: 'number', min: '0', step: '1', placeholder: 'Random' }),
    device,
    base: el('input', { type: 'checkbox', checked: true }),
    more: Object.keys(MORE).map((name) => [name, el('input', number)]),
  };
}

const nameOf = (file) => `${KINDS[file.kind]}: step ${format.count(file.global_step)} (${file.name})`;

/** The request that the form describes. */
function requestOf(id, { prompts, files, strengths, seed, device, base, more }) {
  const set = more.filter(([, input]) => input.value !== '');
  return {
    run_id: id,
    prompts: prompts.value.split('\n').filter((line) => line.trim()),
    files: [...files.selectedOptions].map((option) => option.value),
    strengths: strengths ? numbers(strengths.value) : [1],
    base: base.checked,
    seed: seed.value === '' ? null : Number(seed.value),
    sample: Object.fromEntries(set.map(([name, input]) => [name, Number(input.value)])),
    device: device.value,
  };
}

function form(id, config, results, lora, made) {
  const parts = inputs(config, results, lora);
  const wrong = el('p', { class: 'bad', role: 'alert' });
  const count = el('span', { class: 'og-muted og-small', role: 'status' });
  const start = button('Generate', { icon: 'right', kind: 'primary', onclick: generate });
  async function generate() {
    setText(wrong, '');
    start.disabled = true;
    try {
      made(await api('POST', 'api/generations', requestOf(id, parts)));
    } catch (error) {
      setText(wrong, error.whole || error.message);
    }
    counted();
  }
  function counted() {
    const { prompts, files, strengths, base } = requestOf(id, parts);
    const total = prompts.length * ((base ? 1 : 0) + Math.max(1, files.length) * strengths.length);
    start.disabled = total > MAX_IMAGES;
    setText(count, `${format.count(total)} images${total > MAX_IMAGES ? `. At most ${MAX_IMAGES} are possible at once` : ''}`);
  }
  const node = el(
    'div',
    { 'data-og-needs': 'operator', oninput: counted },
    el('p', {
      class: 'og-muted og-small',
      text: 'All images of a grid have the same seed, so only the result and its strength differ.',
    }),
    el(
      'div',
      { class: 'og-try-form' },
      labeled('Prompts, one per line', parts.prompts),
      labeled('Results', parts.files),
      parts.strengths && labeled('Strengths', parts.strengths),
      labeled('Seed', parts.seed),
      labeled('Device', parts.device),
      el('label', { class: 'og-inline' }, parts.base, el('span', { text: 'Include the base model' })),
    ),
    el(
      'details',
      { class: 'og-try-more' },
      el('summary', { text: 'More parameters' }),
      el(
        'div',
        { class: 'og-try-form' },
        parts.more.map(([name, input]) => labeled(MORE[name], input)),
      ),
    ),
    wrong,
    el('div', { class: 'og-buttons' }, start, count),
  );
  counted();
  return node;
}
