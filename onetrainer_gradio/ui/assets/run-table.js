// All runs as a table: searched, filtered, sorted and paged by the server, so that 20,000 runs are as fast as 20.

import { button, confirmed, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { labeled } from './labeled.js';
import { api, on, store, url } from './live.js';
import { addressOf, comparisonOf, go, pageLink } from './run-address.js';
import { ending, engineName, methodName } from './words.js';

const PER_PAGE = 50;
const SEARCH_MS = 250;
const KEPT = 'og-run-columns';
const MAX_COMPARED = 30;
const STATUSES = {
  '': 'All states',
  active: 'Active',
  completed: 'Finished',
  stopped: 'Stopped',
  failed: 'Failed',
  lost: 'Crashed',
};
const ARCHIVED = { no: 'Without archived', all: 'With archived', yes: 'Only archived' };

/** @typedef {{ title: string, sort?: string, first?: string, usual?: boolean, number?: boolean, cell: (run: any) => any }} Column */
/** @type {Record<string, Column>} */
const COLUMNS = {
  status: { title: 'Status', sort: 'status', usual: true, cell: badge },
  name: { title: 'Name', sort: 'name', usual: true, cell: nameOf },
  model: { title: 'Model', sort: 'model', usual: true, cell: (run) => run.model_title || run.model_type },
  method: { title: 'Method', sort: 'method', usual: true, cell: (run) => methodName(run.training_method) },
  steps: { title: 'Steps', sort: 'steps', first: '-', usual: true, number: true, cell: steps },
  duration: { title: 'Time', sort: 'duration', first: '-', usual: true, number: true, cell: (run) => format.span(run.elapsed_s) },
  loss: {
    title: 'Final loss',
    sort: 'loss',
    usual: true,
    number: true,
    cell: (run) => format.number(run.smooth_loss ?? run.loss),
  },
  best: { title: 'Best loss', sort: 'best', usual: true, number: true, cell: best },
  sample: { title: 'Last sample', usual: true, cell: sampleOf },
  tags: { title: 'Tags', usual: true, cell: (run) => run.tags.map((tag) => el('span', { class: 'og-tag', text: tag })) },
  resumes: {
    title: 'Continues',
    usual: true,
    cell: (run) => run.resumes_run && pageLink(addressOf(run.resumes_run), run.resumes_run),
  },
  created: { title: 'Started', sort: 'created', first: '-', usual: true, cell: (run) => format.time(run.created_at) },
  size: { title: 'Size', sort: 'size', first: '-', number: true, cell: (run) => format.bytes(run.size_bytes) },
  engine: { title: 'Engine', cell: (run) => engineName(run) },
  note: { title: 'Note', cell: (run) => run.note },
};

export function badge(run) {
  const [text, tone] = ending(run);
  return el('span', { class: 'og-badge', dataset: { tone }, text });
}
function nameOf(run) {
  return [
    pageLink(addressOf(run.id), run.name || run.id, { class: 'og-run-link' }),
    run.imported && el('span', { class: 'og-tag', title: run.workspace, text: 'Imported' }),
    run.archived && el('span', { class: 'og-tag', text: 'Archived' }),
    run.damaged && el('span', { class: 'og-tag bad', title: run.damaged, text: 'Damaged' }),
  ];
}
function steps(run) {
  const done = format.count(run.global_step || 0);
  return run.total_steps && run.total_steps !== run.global_step ? `${done} of ${format.count(run.total_steps)}` : done;
}
function best(run) {
  return el('span', {
    title: run.best_step ? `at step ${format.count(run.best_step)}` : undefined,
    text: format.number(run.best_loss),
  });
}
function sampleOf(run) {
  if (!run.last_sample) return '';
  return el('img', {
    src: url(`api/samples/${encodeURIComponent(run.last_sample)}/thumbnail?w=128`),
    alt: 'Last sample',
    width: 44,
    height: 44,
    loading: 'lazy',
    decoding: 'async',
  });
}

/** Ask for tags; resolves to a list, or null. */
export function askTags(title, value, yes, known = []) {
  return new Promise((resolve) => {
    const input = el('input', { type: 'text', value, list: 'og-known-tags', maxlength: 2000, autocomplete: 'off' });
    const form = el(
      'form',
      {
        method: 'dialog',
        onsubmit: () =>
          resolve(
            input.value
              .split(',')
              .map((tag) => tag.trim())
              .filter(Boolean),
          ),
      },
      el('h2', { text: title }),
      labeled('Tags, separated by commas', input),
      el(
        'datalist',
        { id: 'og-known-tags' },
        known.map((tag) => el('option', { value: tag })),
      ),
      el(
        'div',
        { class: 'og-dialog-buttons' },
        button('Cancel', { onclick: () => dialog.close() }),
        el('button', { class: 'og-button primary', type: 'submit', text: yes }),
      ),
    );
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': title }, form);
    openDialog(dialog, () => resolve(null));
    input.focus();
  });
}

/** Delete runs after a question that shows what is freed; resolves to whether it was done. */
export async function deleteRuns(ids, name = '') {
  const found = await api('POST', 'api/runs/bulk', { ids, action: 'delete', preview: true });
  const { deletable, active, continued_by: later } = found;
  if (!deletable.length) {
    toast(active.length ? 'A run that is active can’t be deleted. Stop it first.' : 'The runs no longer exist.', 'bad');
    return false;
  }
  const text = [
    `Deletes settings, metrics and log, and the run folder’s copies of models and saves. This frees ${format.bytes(found.freed_bytes)}.`,
    found.only_here_bytes && `${format.bytes(found.only_here_bytes)} of that are models and saves that exist only here.`,
    later.length &&
      `The curves of ${later.map((run) => `“${run.name || run.id}”`).join(', ')} lose what came before their resume.`,
    active.length && `${format.count(active.length)} active ${active.length === 1 ? 'run is' : 'runs are'} kept.`,
    'The output file and the workspace are kept.',
  ];
  const what = deletable.length === 1 ? `“${name || deletable[0]}”` : `${format.count(deletable.length)} runs`;
  if (!(await confirmed(`Delete ${what}?`, text.filter(Boolean).join(' '), 'Delete'))) return false;
  return bulk(deletable, 'delete');
}

async function bulk(ids, action, tags = []) {
  try {
    const { done, failed, freed_bytes: freed } = await api('POST', 'api/runs/bulk', { ids, action, tags });
    if (failed.length) toast(`${failed[0].error}${failed.length > 1 ? ` And ${failed.length - 1} more.` : ''}`, 'bad');
    else if (action === 'delete') toast(`${format.count(done.length)} deleted, ${format.bytes(freed)} freed.`);
    return done.length > 0;
  } catch (error) {
    toast(error.whole || error.message, 'bad');
    return false;
  }
}

const options = (values) => Object.entries(values).map(([value, text]) => el('option', { value, text }));
const select = (label, change, values = {}) => el('select', { 'aria-label': label, onchange: change }, options(values));

/** The table and its controls. */
class RunTable {
  constructor(place) {
    this.query = { search: '', status: '', model: '', method: '', tag: '', archived: 'no', sort: '-created' };
    this.cursors = [''];
    /** @type {{ runs: any[], next_cursor: string | null, total: number, matches: number, unread: number }} */
    this.page = { runs: [], next_cursor: null, total: 0, matches: 0, unread: 0 };
    /** @type {Map<string, any>} */
    this.ticked = new Map();
    this.last = -1;
    this.asked = 0;
    /** @type {any} */
    this.search = null;
    /** @type {any} */
    this.filters = null;
    /** @type {any} */
    this.order = null;
    /** @type {any} */
    this.head = null;
    /** @type {any} */
    this.body = null;
    /** @type {any} */
    this.count = null;
    /** @type {any} */
    this.before = null;
    /** @type {any} */
    this.after = null;
    /** @type {any} */
    this.empty = null;
    /** @type {any} */
    this.table = null;
    /** @type {any} */
    this.selection = null;
    this.visible = this.remembered();
    this.build(place);
  }

  remembered() {
    const kept = JSON.parse(localStorage.getItem(KEPT) || 'null');
    const usual = Object.keys(COLUMNS).filter((key) => COLUMNS[key].usual);
    return new Set(Array.isArray(kept) ? kept.filter((key) => COLUMNS[key]) : usual);
  }

  build(place) {
    let timer = 0;
    this.search = el('input', {
      type: 'search',
      'aria-label': 'Search runs',
      placeholder: 'Search runs',
      oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(() => this.set('search', this.search.value.trim()), SEARCH_MS);
      },
    });
    this.filters = {
      status: select('Status', () => this.set('status', this.filters.status.value), STATUSES),
      model: select('Model', () => this.set('model', this.filters.model.value)),
      method: select('Method', () => this.set('method', this.filters.method.value)),
      tag: select('Tag', () => this.set('tag', this.filters.tag.value)),
      archived: select('Archived runs', () => this.set('archived', this.filters.archived.value), ARCHIVED),
    };
    const sorts = Object.values(COLUMNS).flatMap(({ title, sort }) =>
      sort
        ? [
            [sort, `${title}, ascending`],
            [`-${sort}`, `${title}, descending`],
          ]
        : [],
    );
    this.order = select('Order', () => this.set('sort', this.order.value), Object.fromEntries(sorts));
    this.head = el('tr');
    this.body = el('tbody');
    this.count = el('p', { class: 'og-muted og-small og-grow', role: 'status' });
    this.before = button('Previous', { icon: 'left', kind: 'small', onclick: () => this.turn(-1) });
    this.after = button('Next', { icon: 'right', kind: 'small', onclick: () => this.turn(1) });
    this.empty = el('p', { class: 'og-empty', hidden: true });
    this.table = el('table', { class: 'og-table og-run-table' }, el('thead', {}, this.head), this.body);
    this.selection = this.actions();
    place.append(
      el(
        'section',
        { class: 'og-card', 'aria-label': 'All runs' },
        el(
          'div',
          { class: 'og-run-filters' },
          this.search,
          Object.values(this.filters),
          el('label', { class: 'og-inline' }, el('span', { text: 'Order' }), this.order),
          this.columns(),
          button('Add OneTrainer runs…', { icon: 'add', kind: 'small', 'data-og-needs': 'operator', onclick: () => this.add() }),
        ),
        this.selection.node,
        el('div', { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Table of runs' }, this.table),
        this.empty,
        el('div', { class: 'og-buttons' }, this.count, this.before, this.after),
      ),
    );
  }

  columns() {
    const boxes = Object.entries(COLUMNS).map(([key, { title }]) =>
      el(
        'label',
        { class: 'og-inline' },
        el('input', {
          type: 'checkbox',
          checked: this.visible.has(key),
          disabled: key === 'name',
          onchange: ({ target }) => {
            if (target.checked) this.visible.add(key);
            else this.visible.delete(key);
            localStorage.setItem(KEPT, JSON.stringify([...this.visible]));
            this.draw();
          },
        }),
        el('span', { text: title }),
      ),
    );
    return el(
      'details',
      { class: 'og-columns' },
      el('summary', { class: 'og-button small', text: 'Columns' }),
      el('div', { class: 'og-columns-list' }, boxes),
    );
  }

  actions() {
    const count = el('span', { class: 'og-grow', role: 'status' });
    const ids = () => [...this.ticked.keys()];
    const does = (action) => async () => {
      if (await bulk(ids(), action)) this.done();
    };
    const tag = (title, yes, action) => async () => {
      const tags = await askTags(title, '', yes, this.known || []);
      if (tags?.length && (await bulk(ids(), action, tags))) this.done();
    };
    const small = (text, onclick, icon, needs = 'operator') =>
      button(text, { kind: 'small', icon, 'data-og-needs': needs, onclick });
    const compare = small('Compare', () => go(comparisonOf(ids())), 'chart', 'viewer');
    const node = el(
      'div',
      { class: 'og-run-selection', hidden: true },
      count,
      compare,
      small('Add tags…', tag('Add tags', 'Add', 'add_tags')),
      small('Remove tags…', tag('Remove tags', 'Remove', 'remove_tags')),
      small('Archive', does('archive')),
      small('Unarchive', does('unarchive')),
      small(
        'Delete…',
        async () => {
          const [first] = this.ticked.values();
          if (await deleteRuns(ids(), first?.name)) this.done();
        },
        'trash',
        'owner',
      ),
      small('Clear selection', () => this.done(false), undefined, 'viewer'),
    );
    return { node, count, compare };
  }

  done(reload = true) {
    this.ticked.clear();
    if (reload) this.load();
    this.draw();
  }

  set(name, value) {
    this.query[name] = value;
    this.cursors = [''];
    this.load();
  }

  turn(by) {
    if (by > 0) this.cursors.push(String(this.page.next_cursor));
    else this.cursors.pop();
    this.load();
  }

  async load() {
    this.asked += 1;
    const mine = this.asked;
    const cursor = this.cursors[this.cursors.length - 1];
    const query = new URLSearchParams({ limit: String(PER_PAGE), ...this.query, ...(cursor ? { cursor } : {}) });
    try {
      const [page, facets] = await Promise.all([api('GET', `api/runs?${query}`), api('GET', 'api/runs/facets')]);
      if (mine !== this.asked) return;
      this.page = page;
      this.offer(facets);
      this.draw();
    } catch (error) {
      if (error.status === 422 && cursor) {
        this.cursors = [''];
        this.load();
      } else if (error.status !== 0) toast(error.message, 'bad');
    }
  }

  offer({ models, methods, tags, titles }) {
    this.known = tags.map(([tag]) => tag);
    const lists = {
      model: ['All models', models, (text) => titles[text] || text],
      method: ['All methods', methods, methodName],
      tag: ['All tags', tags, (text) => text],
    };
    for (const [name, [all, found, title]] of Object.entries(lists)) {
      const node = this.filters[name];
      const key = JSON.stringify(found);
      if (node.dataset.of === key) continue;
      node.dataset.of = key;
      node.replaceChildren(
        el('option', { value: '', text: all }),
        ...found.map(([value, count]) => el('option', { value, text: `${title(value)} (${format.count(count)})` })),
      );
      node.value = this.query[name];
    }
  }

  draw() {
    const { runs, next_cursor: next, matches, total, unread } = this.page;
    const shown = Object.entries(COLUMNS).filter(([key]) => key === 'name' || this.visible.has(key));
    const focused = document.activeElement?.closest('th')?.dataset.key;
    this.head.replaceChildren(this.all(), ...shown.map(([key, column]) => this.heading(key, column)));
    if (focused) this.head.querySelector(`[data-key="${focused}"] button`)?.focus();
    this.body.replaceChildren(...runs.map((run, at) => this.row(run, at, shown)));
    const start = (this.cursors.length - 1) * PER_PAGE;
    const place = runs.length
      ? `${format.count(start + 1)}–${format.count(start + runs.length)} of ${format.count(matches)} runs`
      : '';
    setText(this.count, [place, unread && `${format.count(unread)} are still being read`].filter(Boolean).join(' · '));
    setText(
      this.empty,
      total ? 'No run matches. Change the search or the filters.' : 'No runs yet. Start one on the Training tab.',
    );
    setVisible(this.empty, !runs.length);
    setVisible(this.table, runs.length > 0);
    this.before.disabled = this.cursors.length < 2;
    this.after.disabled = !next;
    this.order.value = this.query.sort;
    this.mark();
  }

  mark() {
    const count = this.ticked.size;
    setVisible(this.selection.node, count > 0);
    setText(this.selection.count, `${format.count(count)} selected`);
    this.selection.compare.disabled = count > MAX_COMPARED;
    this.selection.compare.title = count > MAX_COMPARED ? `At most ${MAX_COMPARED} runs can be compared.` : '';
  }

  all() {
    const { runs } = this.page;
    const box = el('input', {
      type: 'checkbox',
      'aria-label': 'Select all runs on this page',
      checked: runs.length > 0 && runs.every((run) => this.ticked.has(run.id)),
      onchange: () => {
        for (const run of runs)
          if (box.checked) this.ticked.set(run.id, run);
          else this.ticked.delete(run.id);
        this.draw();
      },
    });
    return el('th', { scope: 'col', class: 'og-tick' }, box);
  }

  /** @param {string} key @param {Column} column */
  heading(key, { title, sort, first = '', number }) {
    const [by, down] = [this.query.sort.replace('-', ''), this.query.sort.startsWith('-')];
    const mine = Boolean(sort) && by === sort;
    const next = mine ? (down ? sort : `-${sort}`) : `${first}${sort}`;
    return el(
      'th',
      {
        scope: 'col',
        class: number ? 'og-figure' : undefined,
        dataset: { key },
        'aria-sort': mine ? (down ? 'descending' : 'ascending') : undefined,
      },
      sort
        ? el('button', { type: 'button', class: 'og-sort', onclick: () => this.set('sort', next), text: title })
        : el('span', { text: title }),
    );
  }

  row(run, at, shown) {
    const box = el('input', {
      type: 'checkbox',
      'aria-label': `Select ${run.name || run.id}`,
      checked: this.ticked.has(run.id),
      onclick: (event) => this.tick(at, box.checked, event.shiftKey),
    });
    return el(
      'tr',
      { dataset: { run: run.id } },
      el('td', { class: 'og-tick' }, box),
      shown.map(([key, { title, number, cell }]) => {
        const content = cell(run);
        return el(
          'td',
          { class: number ? 'og-figure' : undefined, dataset: { key, title } },
          ...[content].flat().map((part) => part || ''),
        );
      }),
    );
  }

  tick(at, on, range) {
    const [from, to] = range && this.last >= 0 ? [Math.min(at, this.last), Math.max(at, this.last)] : [at, at];
    for (const run of this.page.runs.slice(from, to + 1))
      if (on) this.ticked.set(run.id, run);
      else this.ticked.delete(run.id);
    this.last = at;
    if (range) this.draw();
    else this.mark();
  }

  async add() {
    const { openImport } = await import('./run-import.js');
    openImport(() => this.load());
  }
}

export function mountTable(place) {
  const table = new RunTable(place);
  let known = '';
  on('training_state', () => {
    const { run_id: id, status, phase } = store.state || {};
    const now = `${id} ${status} ${phase}`;
    if (now === known) return;
    known = now;
    table.load();
  });
  on('runs', () => table.load());
  on('connected', () => table.load());
  return table;
}
