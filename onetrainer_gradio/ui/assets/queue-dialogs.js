// Dialogs of the queue: add the current settings, edit a queued run, and add a sweep. Loaded when one is first opened.

import { button, el, openDialog, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

const FAILURES = [
  ['continue', 'Continue with the next run'],
  ['hold', 'Hold the queue'],
  ['retry', 'Retry the run'],
];

function field(label, input, help = '') {
  return el(
    'label',
    { class: 'og-field' },
    el('span', { class: 'og-label', text: label }),
    input,
    help && el('span', { class: 'og-muted og-small', text: help }),
  );
}

const text = (value = '', more = {}) => el('input', { type: 'text', value, autocomplete: 'off', ...more });
const number = (value, more = {}) => el('input', { type: 'number', step: 1, value, ...more });
const select = (options, value) =>
  el(
    'select',
    {},
    options.map(([key, label]) => el('option', { value: key, text: label, selected: key === value })),
  );

/** Seconds since the epoch as what a datetime-local input takes, and back. */
export function localTime(seconds) {
  if (!seconds) return '';
  const at = new Date(seconds * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
const secondsOf = (value) => (value ? new Date(value).getTime() / 1000 : 0);

/** The fields that adding and editing share; `read()` gives the choices for REST. */
function choices(item, others) {
  const name = text(item.name || '', { maxlength: 500 });
  const notes = el('textarea', { rows: 2, value: item.notes || '', maxlength: 20000 });
  const tags = text((item.tags || []).join(', '));
  const priority = number(item.priority || 0, { min: -100, max: 100 });
  const device = text(item.device || '', { placeholder: 'As in the settings', pattern: '(cpu|mps|cuda(:[0-9]{1,3})?)?' });
  const notBefore = el('input', { type: 'datetime-local', value: localTime(item.not_before) });
  const known = others.filter((other) => other.id !== item.id).map((other) => [other.id, other.name || other.id]);
  if (item.after && !known.some(([id]) => id === item.after)) known.push([item.after, item.after]);
  const after = select([['', 'None'], ...known], item.after || '');
  const steps = number(item.max_steps || '', { min: 0, placeholder: 'No limit' });
  const failure = select(FAILURES, item.on_failure || 'continue');
  const retries = number(item.retries || 1, { min: 1, max: 20 });
  const tries = field('Retries', retries);
  const shown = () => setVisible(tries, failure.value === 'retry');
  failure.addEventListener('change', shown);
  shown();
  const grid = el(
    'div',
    { class: 'og-queue-fields' },
    field('Priority', priority, 'A higher number starts first.'),
    field('Device', device, 'Such as cuda:1.'),
    field('Not before', notBefore),
    field('After', after, 'Waits until this run has finished.'),
    field('Step limit', steps),
    field('If it fails', failure),
    tries,
  );
  const read = () => ({
    name: name.value.trim(),
    notes: notes.value,
    tags: tags.value
      .split(',')
      .map((tag) => tag.trim())
      .filter(Boolean),
    priority: Number(priority.value) || 0,
    ...(device.value.trim() || item.device ? { device: device.value.trim() } : {}),
    not_before: secondsOf(notBefore.value),
    after: after.value,
    max_steps: Number(steps.value) || 0,
    on_failure: failure.value,
    retries: failure.value === 'retry' ? Number(retries.value) || 1 : 0,
  });
  return { nodes: [field('Name', name), grid, field('Tags', tags, 'Separated by commas.'), field('Notes', notes)], read };
}

/** A dialog with a form; `send()` does it and resolves when it is done. What REST rejects stays in the dialog. */
export async function formDialog(title, verb, nodes, send, kind = '') {
  await sheet('queue.css');
  const wrong = el('p', { class: 'og-queue-wrong', role: 'alert', hidden: true });
  const submit = button(verb, { kind: 'primary', type: 'submit' });
  const cancel = button('Cancel', { onclick: () => dialog.close() });
  const form = el(
    'form',
    { method: 'dialog' },
    el('h2', { text: title }),
    ...nodes,
    wrong,
    el('div', { class: 'og-dialog-buttons' }, cancel, submit),
  );
  const dialog = el('dialog', { class: `og-dialog og-queue-dialog ${kind}`, 'aria-label': title }, form);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await send();
      dialog.close();
    } catch (error) {
      const reason = error.whole || error.message;
      setText(wrong, reason);
      setVisible(wrong, Boolean(reason));
    }
    submit.disabled = false;
  });
  openDialog(dialog);
  return { dialog, submit, wrong };
}

/** Add the current settings to the queue. */
export async function addDialog(others, done) {
  const own = choices({}, others);
  const held = el('input', { type: 'checkbox' });
  const hold = el('label', { class: 'og-queue-check' }, held, 'Hold until it is released');
  const about = el('p', {
    text: 'Adds the current settings with their concepts and samples. Later changes don’t affect the run.',
  });
  await formDialog('Add to queue', 'Add', [about, ...own.nodes, hold], async () => {
    const { name, ...rest } = own.read();
    const item = await api('POST', 'api/queue', { item: { ...rest, ...(name ? { name } : {}), held: held.checked } });
    toast(`Added to the queue at place ${item.place}.`);
    await done();
  });
}

/** Edit a waiting run: its choices, and its frozen settings. */
export async function editDialog(item, others, done) {
  const own = choices(item, others);
  const current = el('input', { type: 'checkbox' });
  const replace = el('label', { class: 'og-queue-check' }, current, 'Replace its settings with the current ones');
  const open = button('Open its settings', {
    kind: 'small',
    title: 'Open a copy of its settings on the Configuration tab',
    dataset: { ogTab: 'configuration' },
    onclick: async () => {
      const { config, name } = await api('GET', `api/queue/${encodeURIComponent(item.id)}`);
      await api('PUT', 'api/config/current', { config, name: name || null });
      toast('Settings opened.');
      dialog.close();
    },
  });
  const settings = el(
    'fieldset',
    { class: 'og-queue-settings' },
    el('legend', { text: 'Settings' }),
    el('p', { text: 'This run keeps the settings that it was added with.' }),
    replace,
    open,
  );
  const { dialog } = await formDialog('Edit queued run', 'Save', [...own.nodes, settings], async () => {
    const body = { ...own.read(), ...(current.checked ? { config: null } : {}), revision: item.revision };
    await api('PATCH', `api/queue/${encodeURIComponent(item.id)}`, body);
    toast('Queued run changed.');
    await done();
  });
}

/** The paths of all settings that are one value. */
function paths(value, prefix = '') {
  return Object.entries(value || {}).flatMap(([key, inner]) => {
    if (Array.isArray(inner)) return [];
    return inner !== null && typeof inner === 'object' ? paths(inner, `${prefix}${key}.`) : [`${prefix}${key}`];
  });
}

/** Add one run for each combination of the values of several settings, after showing them. */
export async function sweepDialog(done) {
  const name = text('', { placeholder: 'Name of the settings' });
  const rows = el('div', { class: 'og-queue-sweep' });
  const options = el('datalist', { id: 'og-queue-paths' });
  const addRow = () => {
    const setting = text('', {
      list: 'og-queue-paths',
      placeholder: 'learning_rate',
      'aria-label': 'Setting',
      spellcheck: 'false',
    });
    const values = text('', { placeholder: '1e-4, 3e-4', 'aria-label': 'Values' });
    const row = el(
      'div',
      {},
      setting,
      values,
      button('', { icon: 'close', kind: 'quiet', title: 'Remove', onclick: () => row.remove() }),
    );
    rows.append(row);
    return setting;
  };
  const more = button('Add setting', { icon: 'add', kind: 'small', onclick: () => addRow().focus() });
  const shown = el('div', { class: 'og-queue-grid', role: 'status', 'aria-live': 'polite' });
  const request = () => ({
    values: Object.fromEntries(
      [...rows.children]
        .map((row) => [...row.querySelectorAll('input')].map((input) => input.value.trim()))
        .filter(([path]) => path),
    ),
    item: name.value.trim() ? { name: name.value.trim() } : {},
  });
  let previewed = '';
  addRow();
  const about = el('p', { text: 'Adds one run of the current settings for each combination of the values, at most 100.' });
  const { submit, wrong } = await formDialog(
    'Add a sweep',
    'Show runs',
    [about, field('Name', name), rows, more, options, shown],
    async () => {
      const body = request();
      if (JSON.stringify(body) === previewed) {
        const added = await api('POST', 'api/queue/sweep', body);
        toast(`Added ${added.count} ${added.count === 1 ? 'run' : 'runs'} to the queue.`);
        await done();
        return;
      }
      const found = await api('POST', 'api/queue/sweep/preview', body);
      setVisible(wrong, false);
      shown.replaceChildren(...preview(found));
      previewed = found.valid ? JSON.stringify(body) : '';
      setText(submit.lastChild, found.valid ? `Add ${found.count} ${found.count === 1 ? 'run' : 'runs'}` : 'Show runs');
      throw new Stay();
    },
    'wide',
  );
  rows.addEventListener('input', () => {
    previewed = '';
    setText(submit.lastChild, 'Show runs');
  });
  const { config } = await api('GET', 'api/config/current');
  options.replaceChildren(...paths(config).map((value) => el('option', { value })));
}

/** Keeps the dialog open without a message. */
class Stay extends Error {
  get whole() {
    return '';
  }
}

function preview({ count, runs, notes }) {
  const lines = runs.map((run) =>
    el(
      'li',
      {},
      el('span', { text: run.name }),
      run.errors.length > 0 && el('span', { class: 'bad', text: ` ${run.errors.map(({ message }) => message).join(' ')}` }),
    ),
  );
  return [
    el('p', { text: `${count} ${count === 1 ? 'run' : 'runs'}:` }),
    el('ol', {}, lines),
    ...notes.map((note) => el('p', { class: 'og-small', text: note })),
  ];
}
