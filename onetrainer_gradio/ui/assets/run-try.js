// Try it: images with the results of a run at chosen strengths, next to the base model, with the same seed.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api, url } from './live.js';
import { sheet } from './sheet.js';

const POLL_MS = 700;
const SHOWN_PROMPTS = 2;
const numbers = (text) =>
  text
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map(Number);

const field = (label, input) => el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: label }), input);

/** Fill a section of the page of a run. */
export async function tryIt(place, id, { config }) {
  await sheet('run-try.css');
  const results = (await api('GET', `api/runs/${encodeURIComponent(id)}/files`)).files.filter(({ kind }) =>
    ['model', 'save'].includes(kind),
  );
  if (!results.length) {
    place.append(el('p', { class: 'og-empty', text: 'The run has no saved result yet.' }));
    return;
  }
  const lora = config.training_method === 'LORA';
  const prompts = el('textarea', { rows: 3, maxlength: 10000 });
  prompts.value = (config.samples || [])
    .filter(({ enabled }) => enabled !== false)
    .slice(0, SHOWN_PROMPTS)
    .map(({ prompt }) => prompt)
    .join('\n');
  const strengths = el('input', { type: 'text', value: '0.7, 1', autocomplete: 'off' });
  const seed = el('input', { type: 'number', min: '0', step: '1', placeholder: 'Random' });
  const device = el(
    'select',
    {},
    el('option', { value: 'auto', text: 'That of the run' }),
    el('option', { value: 'cpu', text: 'CPU' }),
  );
  const files = el('select', { multiple: true, size: String(Math.min(4, results.length)) });
  files.append(
    ...results.map((file, at) => el('option', { value: file.id, selected: at === results.length - 1, text: nameOf(file) })),
  );
  const wrong = el('p', { class: 'bad', role: 'alert' });
  const grids = el('div', { class: 'og-try-grids' });
  const start = button('Generate', { icon: 'right', kind: 'primary', onclick: generate });

  async function generate() {
    setText(wrong, '');
    start.disabled = true;
    try {
      const grid = await api('POST', 'api/generations', {
        run_id: id,
        prompts: prompts.value.split('\n').filter((line) => line.trim()),
        files: [...files.selectedOptions].map((option) => option.value),
        strengths: lora ? numbers(strengths.value) : [1],
        seed: seed.value === '' ? null : Number(seed.value),
        device: device.value,
      });
      grids.prepend(gridOf(grid));
    } catch (error) {
      setText(wrong, error.whole || error.message);
    }
    start.disabled = false;
  }
  place.append(
    el('p', { class: 'og-muted og-small', text: 'All images of a grid have the same seed, so only the LoRA differs.' }),
    el(
      'div',
      { class: 'og-try-form' },
      field('Prompts, one per line', prompts),
      field('Results', files),
      lora && field('Strengths', strengths),
      field('Seed', seed),
      field('Device', device),
    ),
    wrong,
    el('div', { class: 'og-buttons' }, start),
    grids,
  );
  const known = (await api('GET', `api/generations?run_id=${encodeURIComponent(id)}`)).generations;
  grids.append(...known.map(gridOf));
}

const nameOf = (file) => `${file.name}${file.global_step ? ` (step ${format.count(file.global_step)})` : ''}`;

/** A grid that follows its state until it has ended: a row for each prompt. */
function gridOf(first) {
  const status = el('p', { role: 'status', class: 'og-small og-muted' });
  const rows = el('div', { class: 'og-try-rows' });
  const stop = button('Stop', { onclick: () => act('POST', '/stop') });
  const remove = button('Delete', { icon: 'trash', onclick: () => act('DELETE', '').then(() => node.remove()) });
  const node = el('article', { class: 'og-try-grid' }, el('div', { class: 'og-try-head' }, status, stop, remove), rows);
  const address = `api/generations/${first.id}`;
  const act = (method, path) => api(method, `${address}${path}`).catch((error) => toast(error.message, 'bad'));
  const cells = new Map();

  function draw(grid) {
    const done = grid.cells.filter((cell) => cell.done).length;
    const running = grid.state === 'running';
    const text = running
      ? `${grid.doing || 'Starting'}… ${done} of ${grid.cells.length}`
      : `${done} of ${grid.cells.length} images`;
    setText(status, [grid.error || text, grid.suggestion, `seed ${grid.seed}`].filter(Boolean).join(' · '));
    setVisible(stop, running);
    setVisible(remove, !running);
    for (const cell of grid.cells) {
      if (cell.done && !cells.has(cell.number)) cells.set(cell.number, figureOf(grid, cell));
    }
    const byPrompt = grouped(grid.cells);
    rows.replaceChildren(
      ...[...byPrompt].map(([prompt, found]) =>
        el(
          'div',
          { class: 'og-try-row' },
          el('p', { class: 'og-small', text: prompt }),
          el(
            'div',
            { class: 'og-try-cells' },
            ...found.map((cell) => cells.get(cell.number) || el('span', { class: 'og-try-wait' })),
          ),
        ),
      ),
    );
  }
  async function follow(grid) {
    draw(grid);
    if (grid.state !== 'running') return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (!node.isConnected) return;
    follow(await api('GET', address).catch(() => grid));
  }
  queueMicrotask(() => follow(first));
  return node;
}

function grouped(cells) {
  const found = new Map();
  for (const cell of cells) found.set(cell.prompt, [...(found.get(cell.prompt) || []), cell]);
  return found;
}

function figureOf(grid, cell) {
  const address = url(`api/generations/${grid.id}/images/${cell.number}`);
  const label = cell.file
    ? `${cell.name}${cell.step ? `, step ${format.count(cell.step)}` : ''}, strength ${cell.strength}`
    : 'Base model';
  return el(
    'figure',
    {},
    el(
      'a',
      { href: address, target: '_blank', rel: 'noopener' },
      el('img', { src: address, alt: `${cell.prompt}: ${label}`, loading: 'lazy' }),
    ),
    el('figcaption', { class: 'og-small og-muted', text: label }),
  );
}
