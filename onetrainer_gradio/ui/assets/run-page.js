// The page of one run: its curve with everything before its resume, replay, samples, log, settings, files and backups.

import { button, el, format, openDialog, setText, setVisible } from './dom.js';
import { labeled } from './labeled.js';
import { api, may, on, store } from './live.js';
import { refusal } from './permitted.js';
import { formDialog } from './queue-dialogs.js';
import { replay } from './replay.js';
import { addressOf, go, pageLink, TRY } from './run-address.js';
import { backups } from './run-backups.js';
import { RunCharts } from './run-charts.js';
import { filesOfRun } from './run-files.js';
import { logOf, warningsOf } from './run-log.js';
import { samplesOf } from './run-samples.js';
import { differencesOf } from './run-settings.js';
import { badge, deleteRuns } from './run-table.js';
import { queueable, startOrQueue } from './start-or-queue.js';
import { engineName, methodName } from './words.js';

const apiOf = (id) => `api/runs/${encodeURIComponent(id)}`;

/** A card with a heading that fills itself when it is first unfolded. */
function section(title, fill, open = false, needs = 'viewer') {
  const body = el('div', { class: 'og-run-section' });
  const node = el('details', { class: 'og-card og-run-fold', open }, el('summary', {}, el('h3', { text: title })), body);
  let filled = false;
  const once = () => {
    if (!node.open || filled) return;
    filled = true;
    if (!may(needs)) body.append(el('p', { class: 'og-empty', text: refusal(needs) }));
    else Promise.resolve(fill(body)).catch((error) => body.append(el('p', { class: 'og-empty bad', text: error.message })));
  };
  node.addEventListener('toggle', once);
  if (open) once();
  return node;
}

/** Ask for name, tags and note of a run; resolves to the changed line, or null. */
function edit(id, labels) {
  return new Promise((resolve) => {
    const name = el('input', { type: 'text', value: labels.name, maxlength: 200, autocomplete: 'off' });
    const tags = el('input', { type: 'text', value: labels.tags.join(', '), maxlength: 4000, autocomplete: 'off' });
    const note = el('textarea', { rows: 5, maxlength: 10000, value: labels.note });
    const wrong = el('p', { class: 'bad', role: 'alert' });
    const form = el(
      'form',
      { method: 'dialog' },
      el('h2', { text: 'Edit run' }),
      labeled('Name', name),
      labeled('Tags, separated by commas', tags),
      labeled('Note', note),
      wrong,
      el(
        'div',
        { class: 'og-dialog-buttons' },
        button('Cancel', { onclick: () => dialog.close() }),
        el('button', { class: 'og-button primary', type: 'submit', text: 'Save' }),
      ),
    );
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Edit run' }, form);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const changes = { name: name.value, tags: tags.value.split(',').map((tag) => tag.trim()), note: note.value };
      try {
        resolve(await api('PATCH', apiOf(id), changes));
        dialog.close();
      } catch (error) {
        setText(wrong, error.whole || error.message);
      }
    });
    openDialog(dialog, () => resolve(null));
    name.focus();
  });
}

/** Facts of a run as name and value; unknown ones are omitted. */
function factsOf({ record, state, config, model_title: title }) {
  return [
    ['Model', title || config.model_type],
    ['Method', config.training_method && methodName(config.training_method)],
    ['Base model', config.base_model_name],
    ['Steps', `${format.count(state.progress.global_step)}${state.total_steps ? ` of ${format.count(state.total_steps)}` : ''}`],
    ['Time', format.span(state.elapsed_s)],
    [state.end_reason ? 'Final loss' : 'Loss', format.number(state.smooth_loss ?? state.loss)],
    ['Samples', format.count(state.samples)],
    ['Engine', engineName(state)],
    ['Started', format.time(record.created_at)],
    ['Started by', record.started_by],
    ['Hardware', Object.values(record.hardware || {}).join(', ')],
    ['Workspace', record.workspace],
    ['ID', record.id],
  ].filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== '–');
}

/** Where a run comes from, and which runs continue it. */
async function relatives({ record }, id) {
  const earlier = record.options?.resumes_run;
  const { runs } = await api('GET', `api/runs?limit=20&archived=all&resumes=${encodeURIComponent(id)}`);
  const links = (found) => found.flatMap((run, at) => [at ? ', ' : '', pageLink(addressOf(run.id), run.name || run.id)]);
  const parts = [];
  if (earlier) parts.push('Continues ', pageLink(addressOf(earlier), earlier), '. ');
  if (runs.length) parts.push('Continued by ', ...links(runs), '.');
  return parts;
}

class RunPage {
  constructor(place, id, open) {
    this.place = place;
    this.id = id;
    this.trying = open === TRY; // whoever comes to try the result finds that section open
    /** @type {RunCharts | null} */
    this.charts = null;
    /** @type {any} */
    this.run = null;
    this.leaving = [];
  }

  async open() {
    try {
      this.run = await api('GET', apiOf(this.id));
    } catch (error) {
      this.place.append(
        button('All runs', { icon: 'left', kind: 'small', onclick: () => go('#runs') }),
        el('h2', { tabindex: -1, text: 'Run not found' }),
        el('p', { class: 'og-empty bad', text: error.message }),
      );
      return;
    }
    this.build();
    this.leaving.push(
      on('training_state', () => store.state?.run_id === this.id && this.refresh()),
      on('runs', ({ ids }) => ids.includes(this.id) && this.refresh(true)),
    );
  }

  leave() {
    this.charts?.leave();
    for (const each of this.leaving) each();
  }

  build() {
    this.title = el('h2', { tabindex: -1, class: 'og-run-title' });
    this.badges = el('span', { class: 'og-run-badges' });
    this.tags = el('span', { class: 'og-run-badges' });
    this.note = el('p', { class: 'og-run-note' });
    this.cause = el('p', { class: 'og-cause' });
    this.facts = el('dl', { class: 'og-facts og-run-facts-list' });
    this.family = el('p', { class: 'og-muted og-small' });
    this.buttons = el('div', { class: 'og-buttons' });
    const chart = el('section', { class: 'og-card', 'aria-label': 'Charts' }, el('h3', { text: 'Charts' }));
    const tryIt = async (body) => (await import('./run-try.js')).tryIt(body, this.id, this.run);
    const trying = section('Try it', tryIt, this.trying);
    this.place.append(
      el(
        'section',
        { class: 'og-card', 'aria-label': 'Run' },
        el(
          'div',
          { class: 'og-card-head' },
          button('All runs', { icon: 'left', kind: 'small', onclick: () => go('#runs') }),
          this.title,
          this.badges,
          this.tags,
        ),
        this.note,
        this.cause,
        this.family,
        this.facts,
        this.buttons,
      ),
      chart,
      section('Replay', (body) => replay(body, this.id, () => this.charts)),
      section('Samples', (body) => samplesOf(body, this.id), true),
      trying,
      section('Use in other programs', async (body) => (await import('./run-use.js')).useIt(body, this.id)),
      section('Publish', async (body) => (await import('./hub-publish.js')).publishing(body, this.id), false, 'owner'),
      section('Warnings and errors', (body) => warningsOf(body, this.id)),
      section('Log', (body) => logOf(body, this.id)),
      section('Settings', (body) => differencesOf(body, this.id)),
      section('Files', (body) => filesOfRun(body, this.run)),
      section('Backups', (body) => backups(body, this.id, () => this.run)),
    );
    this.charts = new RunCharts(chart, [this.id]);
    this.charts.load();
    this.draw();
    if (this.trying) trying.scrollIntoView();
    relatives(this.run, this.id).then((parts) => this.family?.replaceChildren(...parts));
  }

  async refresh(labels = false) {
    if (!labels && Date.now() - (this.read || 0) < 2000) return;
    this.read = Date.now();
    try {
      this.run = await api('GET', apiOf(this.id));
      this.draw();
      if (!labels && this.charts?.from === null) this.charts.load();
    } catch (error) {
      if (error.status === 404) go('#runs');
    }
  }

  draw() {
    const { labels, state, record } = this.run;
    setText(this.title, labels.name || this.id);
    const extra = (on_, text) => on_ && el('span', { class: 'og-tag', text });
    this.badges?.replaceChildren(
      ...[badge(state), extra(record.imported?.workspace, 'Imported'), extra(labels.archived, 'Archived')].filter(Boolean),
    );
    this.tags?.replaceChildren(...labels.tags.map((tag) => el('span', { class: 'og-tag', text: tag })));
    setText(this.note, labels.note);
    setVisible(this.note, Boolean(labels.note));
    setText(this.cause, state.error || '');
    setVisible(this.cause, Boolean(state.error));
    this.facts?.replaceChildren(
      ...factsOf(this.run).map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))),
    );
    const key = JSON.stringify([state.is_training, labels.archived]);
    if (this.buttons && this.buttons.dataset.of !== key) {
      this.buttons.dataset.of = key;
      this.buttons.replaceChildren(...this.actions());
    }
  }

  actions() {
    const { labels, state } = this.run;
    const small = (text, onclick, icon, needs = 'operator') =>
      button(text, { kind: 'small', icon, 'data-og-needs': needs, onclick });
    const archive = async () => {
      await api('PATCH', apiOf(this.id), { archived: !labels.archived });
      this.refresh(true);
    };
    return [
      small('Edit…', async () => (await edit(this.id, this.run.labels)) && this.refresh(true)),
      small('Start again…', () => this.again(), 'right'),
      ...this.sharing(),
      small(labels.archived ? 'Unarchive' : 'Archive', archive),
      ...(state.is_training
        ? []
        : [small('Delete…', async () => (await deleteRuns([this.id], this.run.labels.name)) && go('#runs'), 'trash', 'owner')]),
    ];
  }

  /** Links need a panel that requires signing in. */
  sharing() {
    if (!document.querySelector('meta[name=og-protected]')) return [];
    const open = async () => (await import('./people-link.js')).share(this.id, this.run.labels.name);
    return [button('Share…', { kind: 'small', 'data-og-needs': 'owner', onclick: open })];
  }

  async again() {
    const { name } = this.run.labels;
    const text = 'Starts a new run from the beginning with the settings of this run. The pre-flight check runs first.';
    const note = el('div');
    const { submit } = await formDialog(`Start “${name || this.id}” again?`, 'Start', [el('p', { text }), note], () =>
      startOrQueue(`${apiOf(this.id)}/start`, {}, 'Run started.'),
    );
    note.append(queueable(submit, 'Start'));
  }
}

/** The page of a run, with the section to open; returns a function to call when it is left. */
export function mountRun(place, id, open = '') {
  const page = new RunPage(place, id, open);
  page.open();
  return () => page.leave();
}
