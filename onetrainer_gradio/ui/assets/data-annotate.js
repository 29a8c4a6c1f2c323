// Caption or mask images automatically: choose a model, try it on five images, then follow the job.

import { button, el, format, openDialog, setText, setVisible } from './dom.js';
import { api, url } from './live.js';

const POLL_S = 2;

const TASKS = {
  caption: { title: 'Caption automatically', run: 'Caption', missing: 'Only images without a caption' },
  mask: { title: 'Make masks', run: 'Make masks', missing: 'Only images without a mask' },
};
// kind of a model -> its options: [name, label, type, value]
const OPTIONS = {
  transformers: [
    ['prompt', 'Prompt', 'text', ''],
    ['max_tokens', 'Longest caption in tokens', 'number', '128'],
  ],
  tagger: [
    ['threshold', 'Threshold', 'number', '0.35'],
    ['character_threshold', 'Threshold of characters', 'number', '0.85'],
  ],
  text: [
    ['prompts', 'What to keep, separated by commas', 'text', 'person'],
    ['threshold', 'Threshold', 'number', '0.4'],
    ['grow', 'Grow in pixels', 'number', '0'],
    ['invert', 'Invert', 'checkbox', ''],
  ],
  background: [
    ['threshold', 'Threshold', 'number', '0.4'],
    ['grow', 'Grow in pixels', 'number', '0'],
    ['invert', 'Invert', 'checkbox', ''],
  ],
};

function field(label, input) {
  const id = `og-annotate-${label.toLowerCase().replace(/\W+/g, '-')}`;
  input.id = id;
  const node = el('label', { for: id, text: label });
  const switched = input.type === 'checkbox';
  return el('div', { class: switched ? 'og-inline' : 'og-data-field' }, switched ? [input, node] : [node, input]);
}

function optionInputs(kind) {
  return OPTIONS[kind].map(([name, label, type, value]) => {
    const input = el('input', { type, value, class: 'og-text', step: 'any', 'aria-label': label });
    const read = () => {
      if (type === 'checkbox') return input.checked;
      if (name === 'prompts') return input.value.split(',').map((text) => text.trim());
      return type === 'number' ? Number(input.value) : input.value;
    };
    return { name, read, node: field(label, input) };
  });
}

/** What became of an image: its caption before and after, or its mask. */
export function example(each) {
  const shown =
    each.preview && el('img', { src: url(`api/datasets/mask-previews/${each.preview}`), alt: `Mask of ${each.path}` });
  const share = each.coverage === undefined ? '' : `: ${format.percent(each.coverage * 100)} white`;
  return el(
    'li',
    {},
    el('span', { class: 'og-muted og-small', text: each.path + share }),
    shown,
    each.after !== undefined && el('del', { text: each.before || 'No caption' }),
    each.after !== undefined && el('ins', { text: each.after }),
  );
}

/** Follow a job until it has ended; `show(job, result)` for each step. */
export async function follow(job, result, show, gone = () => false) {
  let latest = { job, result };
  show(latest.job, latest.result);
  while (latest.job.state === 'running' && !gone()) {
    latest = await api('GET', `api/datasets/jobs/${latest.job.id}?wait=${latest.job.total ? 0.5 : POLL_S}`);
    show(latest.job, latest.result);
  }
  return latest;
}

/** What a job does, or how it ended. */
export function wordsOf(job) {
  if (job.state === 'running') return `${job.doing}… ${job.total ? `${job.done} of ${job.total}` : ''}`;
  if (job.state === 'done') return `Finished: ${job.done} of ${job.total} images.`;
  if (job.state === 'stopped') return `Stopped after ${job.done} of ${job.total} images.`;
  return `${job.error} ${job.suggestion}`.trim();
}

const OTHER = 'A name of the Hugging Face Hub, or a folder.';

/** The first model for which nothing has to be downloaded, or else the first one. */
export const firstLocal = (models) =>
  Math.max(
    0,
    models.findIndex((each) => each.local),
  );

const modelChoice = (models, onchange) =>
  el(
    'select',
    { onchange },
    models.map((each, at) => el('option', { value: String(at), text: each.title, selected: at === firstLocal(models) })),
    el('option', { value: 'other', text: 'Other…' }),
  );

/** What the dialog asks and shows, besides the model. */
const controls = (title) => ({
  name: el('input', { type: 'text', class: 'og-text', placeholder: 'Hugging Face name or folder' }),
  about: el('p', { class: 'og-muted og-small' }),
  before: el('input', { type: 'text', class: 'og-text', placeholder: 'Trigger word' }),
  missing: el('input', { type: 'checkbox', checked: true }),
  cpu: el('input', { type: 'checkbox' }),
  options: el('div', { class: 'og-data-options' }),
  progress: el('progress', { hidden: true, 'aria-label': title }),
  statusLine: el('p', { role: 'status' }),
  examples: el('ul', { class: 'og-data-examples' }),
});

/** The labeled controls from top to bottom. */
const fields = ({ task, count, model, name, about, options, before, missing, cpu }) => [
  el('h2', { text: `${TASKS[task].title}: ${format.count(count)} ${count === 1 ? 'image' : 'images'}` }),
  field('Model', model),
  field('Model name', name),
  about,
  options,
  task === 'caption' && field('Text before each caption', before),
  field(TASKS[task].missing, missing),
  field('Use the CPU', cpu),
];

/** Open the dialog for a task; `body` selects the images. `changed()` is called after writing. */
export async function openAnnotate({ task, body, count, changed }) {
  const words = TASKS[task];
  const { models } = await api('GET', `api/datasets/models?task=${task}`);
  const model = modelChoice(models, pick);
  const { name, about, before, missing, cpu, options, progress, statusLine, examples } = controls(words.title);
  const stop = button('Stop', { hidden: true, onclick: () => api('POST', `api/datasets/jobs/${running}/stop`) });
  const buttons = [
    button('Try on five images', { onclick: () => start(true) }),
    button(words.run, { kind: 'primary', onclick: () => start(false) }),
  ];
  /** @type {any[]} */
  let inputs = [];
  let running = '';
  let resume = '';
  let closed = false;

  const chosen = () => models[Number(model.value)] || { kind: models[0].kind, name: name.value, about: OTHER };
  function pick() {
    setVisible(/** @type {HTMLElement} */ (name.parentElement), model.value === 'other');
    setText(about, chosen().about);
    inputs = optionInputs(chosen().kind);
    options.replaceChildren(...inputs.map(({ node }) => node));
    resume = '';
  }
  const asked = (preview) => ({
    ...body,
    task,
    kind: chosen().kind,
    model: chosen().name,
    device: cpu.checked ? 'cpu' : 'auto',
    replace: !missing.checked,
    options: Object.fromEntries(inputs.map((each) => [each.name, each.read()])),
    before: before.value,
    preview,
    resume: preview ? '' : resume,
  });
  function show(job, result) {
    const active = job.state === 'running';
    setVisible(progress, active);
    setVisible(stop, active);
    for (const each of buttons) each.disabled = active;
    if (job.total) Object.assign(progress, { max: job.total, value: job.done });
    setText(statusLine, wordsOf(job));
    examples.replaceChildren(...(result.examples || []).slice(0, 20).map(example));
  }
  async function start(preview) {
    try {
      const { job, result } = await api('POST', 'api/datasets/annotate', asked(preview));
      running = job.id;
      const end = await follow(job, result, show, () => closed);
      resume = !preview && end.job.state === 'stopped' ? job.id : '';
      if (!preview) changed();
    } catch (error) {
      setText(statusLine, error.message);
    }
  }
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-data-bulk', 'aria-label': words.title },
    fields({ task, count, model, name, about, options, before, missing, cpu }),
    [statusLine, progress, examples],
    el('div', { class: 'og-dialog-buttons' }, button('Close', { onclick: () => dialog.close() }), stop, buttons),
  );
  pick();
  openDialog(dialog, () => {
    closed = true; // the job continues; its result is in the dataset
    if (running) changed();
  });
}
