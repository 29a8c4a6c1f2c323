// The status card: status, phase, progress and metrics; what comes next when no run is active.

import { allow, fallBack } from './controls.js';
import { button, causeLink, el, format, setText, setVisible } from './dom.js';
import { api, may, on, store, viewed } from './live.js';
import { Outcome } from './outcome.js';
import { progress } from './progress.js';
import { fileLine } from './run-file-list.js';
import { engineLine } from './toolbar.js';
import { describe, engineName, methodName, phaseName, STOP_STAGES } from './words.js';

// command -> its name within a sentence
/** @type {Record<string, string>} */
const WAITING = {
  sample_default: 'sample',
  sample_custom: 'custom sample',
  backup_now: 'backup',
  save_now: 'save',
  pause: 'pause',
  resume: 'resume',
};

const SILENT_S = 15;

/** @type {[string, string, (state: any) => string][]} */
const TILES = [
  ['loss', 'Loss', (s) => format.number(s.loss)],
  ['smooth', 'Smooth loss', (s) => format.number(s.smooth_loss)],
  ['rate', 'Learning rate', (s) => format.number(Object.values(s.learning_rates || {})[0])],
  ['speed', 'Steps/s', (s) => format.number(s.speed)],
  ['samples', 'Images/s', (s) => format.number(s.samples_per_second)],
  ['eta', 'Time left', (s) => format.span(s.is_training ? s.eta_s : null)],
  ['elapsed', 'Elapsed', (s) => format.span(elapsed(s))],
];

/** @param {any} state */
function elapsed(state) {
  if (!state.started_at) return null;
  return (state.ended_at || Date.now() / 1000) - state.started_at;
}

/** @param {HTMLElement} place */
export function mount(place) {
  const card = new StatusCard();
  const next = new Next(() => card.draw());
  card.next = next;
  place.append(el('h1', { class: 'og-sr', text: 'Training' }), card.node);
  fallBack(() => card.stopStreaming());
  const allowed = () => store.state && card.allow(store.state);
  on('connection', allowed);
  setInterval(() => {
    if (!document.hidden && store.state?.is_training) card.draw();
  }, 1000);
  // the buttons are Gradio's: they may come after this widget
  new MutationObserver(allowed).observe(document.getElementById('og-controls') || place, { childList: true });
  const ask = () => next.ask();
  on('training_state', () => card.draw());
  on('view', () => card.draw());
  on('connected', ask);
  on('config', () => {
    card.outcome.forget();
    ask();
  });
  on('engine', ask);
  ask();
  card.draw();
}

/** The head of the card: which run, its engine, and what it is doing. */
class Head {
  /** @param {HTMLElement} outcome */
  constructor(outcome) {
    this.badge = el('span', { class: 'og-badge' });
    this.name = el('span', { class: 'og-run-name' });
    this.engine = el('span', {});
    this.by = el(
      'span',
      { class: 'og-muted og-small og-run-engine', title: 'Training engine' },
      el('span', { class: 'og-sr', text: 'Training engine: ' }),
      this.engine,
    );
    this.detail = el('span', { class: 'og-muted og-grow' });
    this.cause = causeLink();
    const parts = [this.badge, this.name, this.by, this.cause, this.detail, outcome];
    this.node = el('div', { class: 'og-status-head' }, parts);
  }

  /**
   * @param {any} now
   * @param {any} words
   */
  draw(now, words) {
    this.badge.dataset.tone = words.tone;
    setText(this.badge, words.label);
    setText(this.name, now.name || '');
    setText(this.engine, engineName(now));
    setVisible(this.by, Boolean(now.run_id && this.engine.textContent));
    setText(this.detail, detailOf(now, words));
    // the full cause is shown once: among the warnings and errors of the displayed run
    setVisible(this.cause, Boolean(now.error) && !words.active && viewed() === now.run_id);
  }
}

/**
 * @param {any} now
 * @param {any} words
 * @returns {string}
 */
function detailOf(now, words) {
  if (now.is_training && now.heartbeat_age_s > SILENT_S)
    return `No heartbeat for ${format.span(now.heartbeat_age_s)}. The training process may have hung, or the machine is overloaded.`;
  if (now.error && !words.active) return '';
  return now.phase_detail || (now.stop ? '' : now.detail || '');
}

class StatusCard {
  constructor() {
    /** @type {Next | null} */
    this.next = null;
    this.failed = '';
    this.outcome = new Outcome(() => this.draw());
    this.head = new Head(this.outcome.line);
    this.why = el('p', { class: 'og-why', id: 'og-why' });
    this.escalation = el('p', { class: 'og-escalation', hidden: true });
    this.waits = el('p', { class: 'og-why', hidden: true });
    this.given = el('p', { class: 'og-why og-waiting', hidden: true });
    this.steps = progress('Steps');
    this.epoch = progress('Epoch');
    this.phase = progress('Phase');
    this.ready = el('p', { class: 'og-ready' });
    this.engines = el('div', { hidden: true });
    this.model = new FinalModel();
    /** @type {Record<string, HTMLElement>} */
    this.tiles = Object.fromEntries(TILES.map(([key]) => [key, el('dd', {})]));
    const tiles = TILES.map(([key, label]) => el('div', {}, el('dt', { text: label }), this.tiles[key]));
    this.grid = el('dl', { class: 'og-tiles' }, tiles);
    this.node = el(
      'section',
      { class: 'og-card og-status', 'aria-label': 'Run status' },
      [this.why, this.escalation, this.waits, this.given, this.head.node, this.outcome.errors],
      el('div', { class: 'og-bars' }, this.phase.node, this.steps.node, this.epoch.node),
      [this.grid, this.model.node, this.engines, this.ready],
    );
  }

  draw() {
    const now = store.state;
    if (!now) return;
    const words = describe(now);
    this.head.draw(now, words);
    this.bars(now, words);
    setVisible(this.grid, Boolean(now.run_id));
    this.next?.put(this.ready, this.engines);
    setVisible(this.ready, !words.active && !this.outcome.listed && Boolean(this.ready.textContent));
    setVisible(this.engines, !words.active && this.engines.childElementCount > 0);
    for (const [key, , text] of TILES) setText(this.tiles[key], text(now));
    this.stopStage(now);
    this.queue(now);
    this.accepted(now);
    this.allow(now);
    this.model.draw(now);
    this.resume(now);
  }

  /**
   * What follows the end of a run that failed.
   * @param {any} now
   */
  resume(now) {
    const failed = !now.is_training && ['failed', 'lost'].includes(now.end_reason) ? now.run_id : '';
    if (failed || this.failed) import('./auto-resume.js').then((its) => its.show(this.node, failed));
    this.failed = failed;
  }

  /**
   * @param {any} now
   * @param {any} words
   */
  bars(now, words) {
    const progressed = now.progress || {};
    this.phase.set(now.phase_done, words.active ? now.phase_total : 0, phaseName(now.phase));
    this.steps.set(progressed.global_step, now.total_steps);
    const perEpoch = now.steps_per_epoch || now.max_step;
    const current = Math.min((progressed.epoch || 0) + 1, now.max_epoch || 1);
    this.epoch.set(progressed.epoch_step, words.active && perEpoch, `Epoch ${current} of ${now.max_epoch || '–'}`);
  }

  /**
   * The commands that the run has received and will execute.
   * @param {any} now
   */
  accepted(now) {
    const commands = /** @type {{command: string}[]} */ (now.waiting_commands || []);
    const names = [...new Set(commands.map(({ command }) => WAITING[command]).filter(Boolean))];
    setVisible(this.given, names.length > 0);
    if (names.length) setText(this.given, `Requested: ${names.join(', ')}.`);
  }

  /**
   * A run that was started while this one is stopping.
   * @param {any} now
   */
  queue(now) {
    const id = now.queued_run_id || '';
    setVisible(this.waits, Boolean(id));
    if (!id || this.waits.dataset.run === id) return;
    this.waits.dataset.run = id;
    const cancel = () =>
      api('POST', `api/training/stop?run_id=${encodeURIComponent(id)}`, {}).catch((/** @type {any} */ error) =>
        setText(this.outcome.line, error.message),
      );
    this.waits.replaceChildren(
      'Another run is queued. ',
      button('Cancel queued run', { kind: 'small', 'data-og-needs': 'operator', onclick: cancel }),
    );
  }

  /** @param {any} now */
  stopStage(now) {
    const stop = now.is_training && now.stop;
    setVisible(this.escalation, Boolean(stop));
    if (!stop) return;
    const { text: does, next } = STOP_STAGES[stop.stage] || { text: stop.stage, next: '' };
    const left = stop.deadline ? Math.max(0, Math.round(stop.deadline - Date.now() / 1000)) : 0;
    const soon = next && left ? `; ${next} in ${left} s` : '';
    setText(this.escalation, `${does}${soon}.${next ? ' Press Stop again to do it now.' : ''}`);
  }

  /** @param {any} now */
  allow(now) {
    const reason = allow(now);
    setText(this.why, reason ? `Can’t start: ${reason}` : '');
    setVisible(this.why, Boolean(reason));
  }

  /** Whether a button's stream was open; it isn't any more, since the connection is lost. */
  stopStreaming() {
    const was = this.outcome.streaming;
    this.outcome.streaming = false;
    return was;
  }
}

/** The final model of an ended run, to download. */
class FinalModel {
  constructor() {
    this.node = el('ul', { class: 'og-files', hidden: true, 'aria-label': 'Output file' });
    this.of = '';
  }

  /** @param {any} now */
  async draw(now) {
    const key = !now.is_training && now.final_model ? now.run_id : '';
    if (key === this.of) return;
    this.of = key;
    setVisible(this.node, false);
    if (!key) return;
    try {
      const answer = await api('GET', `api/runs/${encodeURIComponent(key)}/files`);
      const models = /** @type {any[]} */ (answer.files).filter((file) => file.kind === 'model');
      this.node.setAttribute('aria-label', now.final_model_title || 'Output file');
      const link = el('a', { class: 'og-button small', href: `#runs/${encodeURIComponent(key)}/try`, text: 'Try it' });
      this.node.replaceChildren(...models.map((file) => fileLine(key, file, now.final_model_title)), el('li', {}, link));
      setVisible(this.node, models.length > 0);
    } catch (/** @type {any} */ error) {
      if (error.status !== 0 && error.status !== 404) throw error;
      this.of = '';
    }
  }
}

/** What Start would do: a summary of the settings, and the training engine if there is a choice. */
class Next {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {HTMLElement | null} */
    this.summary = null;
    /** @type {any} */
    this.engine = null;
  }

  async ask() {
    if (!may('operator')) return;
    let now;
    try {
      now = await api('GET', 'api/config/current');
    } catch (/** @type {any} */ error) {
      if (error.status === 0) return;
      throw error;
    }
    const found = await api('POST', 'api/config/validate', {}).catch(() => ({ errors: [] }));
    if (store.engine?.checkouts && found.engines) {
      this.engine ||= engineLine('og-engine-run');
      this.engine.put(found);
    }
    const [first, ...rest] = found.errors;
    this.summary = first ? refused(first, rest) : el('span', { text: summary(now) });
    this.changed();
  }

  /**
   * @param {HTMLElement} ready
   * @param {HTMLElement} engines
   */
  put(ready, engines) {
    if (this.summary && ready.firstChild !== this.summary) ready.replaceChildren(this.summary);
    if (this.engine && engines.firstChild !== this.engine.node) engines.replaceChildren(this.engine.node);
  }
}

/**
 * @param {any} first
 * @param {any[]} rest
 */
function refused(first, rest) {
  return el(
    'span',
    { class: 'bad' },
    `Can’t start yet: ${first.message}${rest.length ? ` (and ${rest.length} more)` : ''}. `,
    el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Go to settings' }),
  );
}

/** @param {any} now */
function summary({ name, config }) {
  const concepts = /** @type {any[]} */ (config.concepts || []).filter((concept) => concept.enabled).length;
  return (
    `Ready to train ${name ? `“${name}”` : 'the current settings'}: ${methodName(config.training_method)}, ` +
    `${format.count(config.epochs)} epochs, ${concepts} ${concepts === 1 ? 'concept' : 'concepts'}, ` +
    `learning rate ${format.number(config.learning_rate)}.`
  );
}
