// The status card: status, phase, progress and metrics; and which of the native buttons are enabled.

import { button, causeLink, el, format, setText, setVisible } from './dom.js';
import { api, on, store, viewed } from './live.js';
import { fileLine } from './runs.js';
import { engineLine } from './toolbar.js';
import { COMMANDS, describe, engineName, methodName, phaseName, requested, STOP_STAGES, sentence } from './words.js';

// command -> its name within a sentence
const WAITING = {
  sample_default: 'sample',
  sample_custom: 'custom sample',
  backup_now: 'backup',
  save_now: 'save',
  pause: 'pause',
  resume: 'resume',
};
// button -> the REST call that does the same, and the text of its outcome
const ACTIONS = {
  start: ['api/training/start', 'Started'],
  pause: ['api/training/pause', COMMANDS.pause.done],
  resume: ['api/training/resume', COMMANDS.resume.done],
  stop: ['api/training/stop', phaseName('stopping')],
  sample: ['api/samples/default', COMMANDS.sample_default.done],
  backup: ['api/training/backup', COMMANDS.backup_now.done],
  save: ['api/training/save', COMMANDS.save_now.done],
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

function elapsed(state) {
  if (!state.started_at) return null;
  return (state.ended_at || Date.now() / 1000) - state.started_at;
}

export function mount(place) {
  const badge = el('span', { class: 'og-badge' });
  const name = el('span', { class: 'og-run-name' });
  const engine = el('span', {});
  const by = el(
    'span',
    { class: 'og-muted og-small og-run-engine', title: 'Training engine' },
    el('span', { class: 'og-sr', text: 'Training engine: ' }),
    engine,
  );
  const detail = el('span', { class: 'og-muted og-grow' });
  const cause = causeLink();
  const why = el('p', { class: 'og-why', id: 'og-why' });
  const ready = el('p', { class: 'og-ready' });
  const files = el('ul', { class: 'og-files', hidden: true, 'aria-label': 'Output file' });
  const outcome = el('p', { class: 'og-outcome', role: 'status', 'aria-live': 'polite' });
  const engines = el('div', { hidden: true });
  const waits = el('p', { class: 'og-why', hidden: true });
  const given = el('p', { class: 'og-why og-waiting', hidden: true });
  const errors = el('ul', { class: 'og-outcome-errors', hidden: true, 'aria-live': 'polite' });
  let listed = false; // what a refused command names setting by setting
  const escalation = el('p', { class: 'og-escalation', hidden: true });
  const steps = progress('Steps');
  const epoch = progress('Epoch');
  const phase = progress('Phase');
  const tiles = {};
  const grid = el(
    'dl',
    { class: 'og-tiles' },
    TILES.map(([key, label]) => {
      tiles[key] = el('dd', {});
      return el('div', {}, el('dt', { text: label }), tiles[key]);
    }),
  );

  place.append(
    el('h1', { class: 'og-sr', text: 'Training' }),
    el(
      'section',
      { class: 'og-card og-status', 'aria-label': 'Run status' },
      why,
      escalation,
      waits,
      given,
      el('div', { class: 'og-status-head' }, badge, name, by, cause, detail, outcome),
      errors,
      el('div', { class: 'og-bars' }, phase.node, steps.node, epoch.node),
      grid,
      files,
      engines,
      ready,
    ),
  );

  function state() {
    const now = store.state;
    if (!now) return;
    const words = describe(now);
    badge.dataset.tone = words.tone;
    setText(badge, words.label);
    setText(name, now.name || '');
    setText(engine, engineName(now));
    setVisible(by, Boolean(now.run_id && engine.textContent));
    const silent = now.is_training && now.heartbeat_age_s > SILENT_S;
    setText(
      detail,
      silent
        ? `No heartbeat for ${format.span(now.heartbeat_age_s)}. The training process may have hung, or the machine is overloaded.`
        : now.error && !words.active
          ? ''
          : now.phase_detail || (now.stop ? '' : now.detail || ''),
    );
    // the full cause is shown once: among the warnings and errors of the displayed run
    setVisible(cause, Boolean(now.error) && !words.active && viewed() === now.run_id);
    const progressed = now.progress || {};
    phase.set(now.phase_done, words.active ? now.phase_total : 0, phaseName(now.phase));
    steps.set(progressed.global_step, now.total_steps);
    const perEpoch = now.steps_per_epoch || now.max_step;
    epoch.set(
      progressed.epoch_step,
      words.active && perEpoch,
      `Epoch ${Math.min((progressed.epoch || 0) + 1, now.max_epoch || 1)} of ${now.max_epoch || '–'}`,
    );
    setVisible(grid, Boolean(now.run_id));
    setVisible(ready, !words.active && !listed && Boolean(ready.textContent));
    setVisible(engines, !words.active && engines.childElementCount > 0);
    for (const [key, , text] of TILES) setText(tiles[key], text(now));
    stopStage(now);
    queue(now);
    accepted(now);
    allow(now);
    finished(now);
  }

  /** The commands that the run has received and will execute. */
  function accepted(now) {
    const names = [...new Set((now.waiting_commands || []).map(({ command }) => WAITING[command]).filter(Boolean))];
    setVisible(given, names.length > 0);
    if (names.length) setText(given, `Requested: ${names.join(', ')}.`);
  }

  /** A run that was started while this one is stopping. */
  function queue(now) {
    const id = now.queued_run_id || '';
    setVisible(waits, Boolean(id));
    if (!id || waits.dataset.run === id) return;
    waits.dataset.run = id;
    waits.replaceChildren(
      'Another run is queued. ',
      button('Cancel queued run', {
        kind: 'small',
        onclick: () =>
          api('POST', `api/training/stop?run_id=${encodeURIComponent(id)}`, {}).catch((error) => setText(outcome, error.message)),
      }),
    );
  }

  /** The final model, to download. */
  let filesOf = '';
  async function finished(now) {
    const key = !now.is_training && now.final_model ? now.run_id : '';
    if (key === filesOf) return;
    filesOf = key;
    setVisible(files, false);
    if (!key) return;
    try {
      const answer = await api('GET', `api/runs/${encodeURIComponent(key)}/files`);
      const models = answer.files.filter((file) => file.kind === 'model');
      files.setAttribute('aria-label', now.final_model_title || 'Output file');
      files.replaceChildren(...models.map((file) => fileLine(key, file, now.final_model_title)));
      setVisible(files, models.length > 0);
    } catch (error) {
      if (error.status !== 0 && error.status !== 404) throw error;
      filesOf = '';
    }
  }

  function stopStage(now) {
    const stop = now.is_training && now.stop;
    setVisible(escalation, Boolean(stop));
    if (!stop) return;
    const { text: does, next } = STOP_STAGES[stop.stage] || { text: stop.stage, next: '' };
    const left = stop.deadline ? Math.max(0, Math.round(stop.deadline - Date.now() / 1000)) : 0;
    setText(
      escalation,
      `${does}${next && left ? `; ${next} in ${left} s` : ''}.${next ? ' Press Stop again to do it now.' : ''}`,
    );
  }

  function allow(now) {
    const offline = store.connection !== 'live';
    for (const key of Object.keys(ACTIONS)) {
      const node = document.getElementById(`og-${key}`);
      if (!node) continue;
      const may = Boolean(now.can?.[key]) && !offline;
      if (node.disabled === may) node.disabled = !may;
      const reason = offline ? 'Disconnected from the panel.' : now.why?.[key] || '';
      if (node.title !== reason) node.title = reason;
    }
    document.getElementById('og-controls')?.toggleAttribute('data-active', Boolean(now.is_training));
    const pauseShown = !now.paused;
    setVisible(document.getElementById('og-pause') || el('i'), pauseShown);
    setVisible(document.getElementById('og-resume') || el('i'), !pauseShown);
    document.getElementById('og-start')?.setAttribute('aria-describedby', 'og-why');
    const reason = !offline && !now.is_training && !now.can?.start ? now.why?.start : '';
    setText(why, reason ? `Can’t start: ${reason}` : '');
    setVisible(why, Boolean(reason));
    const label = document.getElementById('og-stop');
    if (label) setText(label, now.stop ? 'Stop now' : 'Stop');
  }

  /** A summary of the settings that Start would use. */
  async function next() {
    let now;
    try {
      now = await api('GET', 'api/config/current');
    } catch (error) {
      if (error.status === 0) return;
      throw error;
    }
    const { config } = now;
    const concepts = (config.concepts || []).filter((concept) => concept.enabled).length;
    const found = await api('POST', 'api/config/validate', {}).catch(() => ({ errors: [] }));
    const [first, ...rest] = found.errors;
    who(found);
    ready.replaceChildren(
      first
        ? el(
            'span',
            { class: 'bad' },
            `Can’t start yet: ${first.message}${rest.length ? ` (and ${rest.length} more)` : ''}. `,
            el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Go to settings' }),
          )
        : el('span', {
            text:
              `Ready to train ${now.name ? `“${now.name}”` : 'the current settings'}: ${methodName(config.training_method)}, ${format.count(config.epochs)} epochs, ` +
              `${concepts} ${concepts === 1 ? 'concept' : 'concepts'}, learning rate ${format.number(config.learning_rate)}.`,
          }),
    );
    state();
  }

  /** The training engine, shown if there is a choice. */
  /** @type {any} */
  let line = null;
  function who(found) {
    if (!store.engine?.checkouts || !found.engines) return;
    line ||= engineLine('og-engine-run');
    line.put(found);
    engines.replaceChildren(line.node);
  }

  let hide = 0;
  let streaming = false;
  document.addEventListener('og-outcome', (/** @type {any} */ { detail: said }) => {
    if (!said) return;
    streaming = !said.done;
    clearTimeout(hide);
    outcome.dataset.tone = said.ok ? '' : 'bad';
    const rest = said.errors || [];
    listed = rest.some((error) => error.path);
    // don’t repeat the list below or the cause of the run’s end
    setText(
      outcome,
      listed ? said.text.split(`: ${rest[0].message}`)[0] : said.error ? said.text.replace(`: ${said.error}`, '') : said.text,
    );
    errors.replaceChildren(
      ...rest.map((error) =>
        el(
          'li',
          {},
          error.path &&
            el('a', { class: 'og-setting', href: '#configuration', dataset: { ogSetting: error.path }, text: error.path }),
          el('span', { text: `${after(error)}. ` }),
          el('span', { class: 'og-muted', text: error.suggestion ? sentence(error.suggestion) : '' }),
        ),
      ),
    );
    setVisible(errors, listed);
    state();
    if (said.done && said.ok) hide = setTimeout(() => setText(outcome, ''), 8000);
  });

  // A panel that was restarted while a button's stream was open leaves Gradio's side of this page without an answer for
  // good. From then on the buttons go through REST, which does the same; the outcome comes as an event.
  let byRest = false;
  const asked = new Map(); // command id -> what its outcome is called
  const tell = (outcome_) => document.dispatchEvent(new CustomEvent('og-outcome', { detail: outcome_ }));
  on('connection', (now) => {
    if (now === 'lost' && streaming) {
      byRest = true;
      streaming = false;
    }
    if (store.state) allow(store.state);
  });
  on('event', ({ event }) => {
    const done = event.type === 'command_completed' && asked.get(event.command_id);
    if (done)
      tell({
        ok: event.outcome === 'done',
        done: true,
        text: event.outcome === 'done' ? done : `Couldn’t complete: ${event.reason}`,
      });
  });
  document.addEventListener(
    'click',
    async (/** @type {any} */ event) => {
      const key = event.target.closest?.('.og-action')?.id?.slice(3);
      if (!byRest || !ACTIONS[key]) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      const [path, done] = ACTIONS[key];
      try {
        const answer = await api('POST', key === 'stop' && store.state?.stop ? `${path}?now=true` : path, {});
        if (answer.command_id) asked.set(answer.command_id, done);
        tell({
          ok: true,
          done: true,
          text: answer.command_id ? requested(store.state?.phase) : done,
        });
      } catch (error) {
        tell({ ok: false, done: true, text: error.message, errors: error.errors });
      }
    },
    true,
  );

  setInterval(() => {
    if (!document.hidden && store.state?.is_training) state();
  }, 1000);
  // the buttons are Gradio's: they may come after this widget
  new MutationObserver(() => {
    if (store.state) allow(store.state);
  }).observe(document.getElementById('og-controls') || place, { childList: true });
  on('training_state', state);
  on('view', state);
  on('connected', next);
  on('config', () => {
    if (listed) {
      listed = false;
      setVisible(errors, false);
      setText(outcome, '');
    }
    next();
  });
  on('engine', next);
  next();
  state();
}

/** What follows the name of a setting that stands before its message: the message often begins with it. */
function after({ path, message }) {
  const plain = message.replace(/\.$/, '');
  return path && plain.startsWith(path) ? plain.slice(path.length) : ` ${plain}`;
}

function progress(label) {
  const fill = el('span', { class: 'og-fill' });
  const text = el('span', { class: 'og-bar-text' });
  const title = el('span', { class: 'og-bar-label', text: label });
  const track = el('span', { class: 'og-track', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0 }, fill);
  const node = el('div', { class: 'og-bar', hidden: true }, title, track, text);
  return {
    node,
    set(done, total, name) {
      setVisible(node, Boolean(total));
      if (!total) return;
      const part = Math.min(1, (done || 0) / total);
      fill.style.width = `${part * 100}%`;
      track.setAttribute('aria-valuenow', done || 0);
      track.setAttribute('aria-valuemax', total);
      if (name) {
        setText(title, name);
        track.setAttribute('aria-label', name);
      }
      setText(text, `${format.count(done || 0)} / ${format.count(total)}`);
    },
  };
}
