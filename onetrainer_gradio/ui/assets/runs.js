// All runs: how each ended, its progress, its files, and buttons to resume or delete it.

import { button, causeLink, confirmed, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { api, on, store, view, viewed } from './live.js';
import { filesOf } from './run-file-list.js';
import { ending, engineName } from './words.js';

const AT_FIRST = 8;
const MORE = 50;
const MAX_PER_PAGE = 1000;

/** @param {HTMLElement} place */
export function mount(place) {
  const runs = new Runs();
  place.append(runs.node);
  on('connected', () => runs.load());
  on('training_state', () => runs.follow(store.state || {}));
  on('event', (/** @type {any} */ { run_id: id, event }) => {
    if (!['model_saved', 'backup_created'].includes(event?.type)) return;
    runs.rendered.delete(id); // it has more files now
    runs.load();
  });
  on('view', () => runs.draw());
  runs.load();
}

class Runs {
  constructor() {
    /** @type {any[]} */
    this.runs = [];
    this.wanted = AT_FIRST;
    /** @type {string | null} */
    this.next = null;
    this.total = 0;
    /** @type {Set<string>} */
    this.opened = new Set();
    /** @type {Map<string, {of: string, node: HTMLElement}>} */
    this.rendered = new Map(); // run -> what its line was made of, and the line
    this.known = '';
    this.list = el('div', { class: 'og-runs' });
    this.empty = el(
      'p',
      { class: 'og-empty' },
      'No runs yet. Choose a preset under ',
      el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Configuration' }),
      ', then press Start.',
    );
    const more = () => {
      this.wanted += MORE;
      this.load();
    };
    this.more = button('Show more', { kind: 'small', hidden: true, onclick: more });
    const every = el('a', { class: 'og-small', href: '#runs', dataset: { ogTab: 'runs' }, text: 'All runs' });
    const below = el('div', { class: 'og-buttons' }, this.more, every);
    const content = [el('h2', { text: 'Runs' }), this.empty, this.list, below];
    this.node = el('section', { class: 'og-card', 'aria-label': 'Runs' }, content);
  }

  draw() {
    const { runs, list } = this;
    setVisible(this.empty, runs.length === 0);
    setVisible(this.more, Boolean(this.next));
    this.more.title = `${format.count(runs.length)} of ${format.count(this.total)} runs shown`;
    // what did not change stays as it is, with what was unfolded and ticked in it
    this.rendered = new Map(
      runs.map((run) => {
        const of = JSON.stringify([run, Boolean(run.error) && viewed() === run.id]);
        const before = this.rendered.get(run.id);
        return [run.id, before?.of === of ? before : { of, node: this.line(run) }];
      }),
    );
    const nodes = [...this.rendered.values()].map(({ node }) => node);
    if (list.children.length !== nodes.length || nodes.some((node, at) => node !== list.children[at]))
      list.replaceChildren(...nodes);
  }

  /** @param {any} run */
  line(run) {
    const body = el('div', { class: 'og-run-body' });
    const node = el('details', { class: 'og-run', open: this.opened.has(run.id) }, summary(run), body);
    const fill = () => {
      this.opened.add(run.id);
      contents(body, run, () => remove(run, () => this.load()));
    };
    node.addEventListener('toggle', () => {
      if (node.open) fill();
      else this.opened.delete(run.id);
    });
    if (node.open) fill();
    return node;
  }

  /** @param {any} state */
  follow({ run_id: id, status, phase, progress, total_steps: total }) {
    const going = this.list.querySelector(`[data-steps="${id}"]`);
    if (going) setText(going, steps({ ...progress, total_steps: total }));
    const now = `${id} ${status} ${phase}`;
    if (now === this.known) return;
    this.known = now;
    this.load();
  }

  async load() {
    try {
      const found = [];
      /** @type {any} */
      let cursor = null;
      let page;
      do {
        const after = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
        page = await api('GET', `api/runs?limit=${Math.min(this.wanted - found.length, MAX_PER_PAGE)}${after}`);
        found.push(...page.runs);
        cursor = page.next_cursor;
      } while (cursor && found.length < this.wanted);
      this.runs = found;
      this.next = cursor;
      this.total = page.total;
      this.draw();
    } catch (/** @type {any} */ error) {
      if (error.status !== 0) setText(this.empty, error.message);
    }
  }
}

/** @param {any} run */
function steps(run) {
  const done = run.global_step || 0;
  return run.total_steps ? `${format.count(done)} of ${format.count(run.total_steps)} steps` : `${format.count(done)} steps`;
}

/** @param {any} run */
function summary(run) {
  const [label, tone] = ending(run);
  const engine = el(
    'span',
    { class: 'og-run-engine', title: 'Training engine' },
    el('span', { class: 'og-sr', text: 'Training engine: ' }),
    engineName(run),
  );
  return el(
    'summary',
    {},
    el('span', { class: 'og-badge', dataset: { tone }, text: label }),
    run.damaged && el('span', { class: 'og-badge', dataset: { tone: 'bad' }, title: run.damaged, text: 'Damaged' }),
    el('span', { class: 'og-run-name', text: run.name || run.id }),
    el(
      'span',
      { class: 'og-muted og-small og-run-facts' },
      engine,
      el('span', { dataset: { steps: run.id }, text: steps(run) }),
      el('span', { class: 'og-run-when', text: format.time(run.created_at ?? run.started_at) }),
    ),
  );
}

/** @param {any} run */
const pathOf = (run) => `api/runs/${encodeURIComponent(run.id)}`;

/**
 * @param {HTMLElement} body
 * @param {any} run
 * @param {() => void} onremove
 */
async function contents(body, run, onremove) {
  const cause = run.end?.error?.message || run.error || '';
  const files = el('div', { class: 'og-run-files' }, el('p', { class: 'og-muted og-small', text: 'Loading files…' }));
  const goOn =
    !run.active &&
    button('Resume from last backup', { icon: 'right', kind: 'small', 'data-og-needs': 'operator', onclick: () => resume(run) });
  const why = viewed() === run.id ? el('p', {}, causeLink()) : el('p', { class: 'og-cause', text: cause });
  const damaged = el('p', { class: 'og-cause', text: `Files of this run are damaged. ${run.damaged}` });
  body.replaceChildren(
    el('p', { class: 'og-muted og-mono og-small', text: run.id }),
    ...(cause ? [why] : []),
    ...(run.damaged ? [damaged] : []),
    files,
    buttons(run, goOn, onremove),
  );
  try {
    const answer = await api('GET', `${pathOf(run)}/files`);
    /** @type {any[]} */
    const found = answer.files || [];
    // a run that was itself resumed can be resumed from the same backup
    if (goOn) setVisible(goOn, Boolean(run.resumes_run) || found.some((file) => file.kind === 'backup'));
    files.replaceChildren(...filesOf(run, found, answer.missing || []));
  } catch (/** @type {any} */ error) {
    files.replaceChildren(el('p', { class: 'og-muted', text: error.message }));
  }
}

/**
 * @param {any} run
 * @param {HTMLElement | false} goOn
 * @param {() => void} onremove
 */
function buttons(run, goOn, onremove) {
  const chart = () => {
    view(run.id);
    document.getElementById('og-chart')?.scrollIntoView({ block: 'center' });
  };
  const compare = () => {
    // the form may not be there yet: it looks here when it comes
    sessionStorage.setItem('og-compare', run.id);
    document.dispatchEvent(new CustomEvent('og-compare'));
  };
  const record = { icon: 'trash', kind: 'small', title: 'Delete this run’s record', 'data-og-needs': 'owner', onclick: onremove };
  return el(
    'div',
    { class: 'og-buttons' },
    button('Show chart', { icon: 'chart', kind: 'small', onclick: chart }),
    button('Open page', {
      kind: 'small',
      title: 'Charts, replay, files and backups of this run',
      onclick: () => {
        location.hash = `#runs/${encodeURIComponent(run.id)}`;
      },
    }),
    button('Compare settings', {
      icon: 'swap',
      kind: 'small',
      title: 'Compare this run’s settings with the form',
      dataset: { ogTab: 'configuration' },
      onclick: compare,
    }),
    goOn,
    !run.active && button('Delete', record),
  );
}

/**
 * @param {any} run
 * @param {number | null} [epochs]
 */
async function resume(run, epochs) {
  try {
    const body = { ...(epochs ? { epochs } : {}), ...(store.state?.is_training ? { queue: true } : {}) };
    const { run_id: id, place } = await api('POST', `${pathOf(run)}/resume`, body);
    toast(id ? 'Run resumed.' : `Added to the queue at place ${place}.`);
  } catch (/** @type {any} */ error) {
    /** @type {any[]} */
    const errors = error.errors || [];
    const over = errors.find(({ code, path }) => code === 'nothing-left-to-train' && path === 'epochs');
    const more = over && (await moreEpochs(over));
    if (more) resume(run, more);
    else if (!over) toast(error.message, 'bad');
  }
}

/**
 * Ask for more epochs of a finished run; resolves to the total number, or null.
 * @param {{message: string, value?: number}} over
 * @returns {Promise<number | null>}
 */
function moreEpochs({ message, value }) {
  return new Promise((resolve) => {
    const input = el('input', { type: 'number', min: 1, step: 1, value: 2 * (value || 1), required: true });
    const form = el(
      'form',
      { method: 'dialog' },
      el('h2', { text: 'Resume with more epochs?' }),
      el('p', { text: message }),
      el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: 'Total epochs' }), input),
      el(
        'div',
        { class: 'og-dialog-buttons' },
        button('Cancel', { type: 'button', onclick: () => dialog.close() }),
        button('Resume', { kind: 'primary', type: 'submit' }),
      ),
    );
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Resume with more epochs' }, form);
    form.addEventListener('submit', () => resolve(Number(input.value)));
    openDialog(dialog, () => resolve(null));
  });
}

/**
 * @param {any} run
 * @param {() => Promise<void>} removed
 */
async function remove(run, removed) {
  let frees = '';
  try {
    const { freed_bytes: freed, only_here_bytes: only } = await api('GET', `${pathOf(run)}/files`);
    frees = ` This frees ${format.bytes(freed)}.${only ? ` ${format.bytes(only)} of that are models and saves that exist only here.` : ''}`;
  } catch (/** @type {any} */ error) {
    if (error.status !== 404) {
      toast(error.message, 'bad');
      return;
    }
  }
  const text = `Deletes the settings, metrics and log of this run, and its copies of models and saves.${frees} The output file and the workspace are kept.`;
  if (!(await confirmed(`Delete “${run.name || run.id}”?`, text, 'Delete'))) return;
  try {
    await api('DELETE', pathOf(run));
    if (viewed() === run.id) view(null);
    await removed();
  } catch (/** @type {any} */ error) {
    toast(error.message, 'bad');
  }
}
