// The status card: state, phase, progress, numbers; and what the native buttons may do at the moment.

import { api, on, store } from './live.js';
import { el, format, say, show } from './dom.js';
import { fileLine } from './runs.js';
import { describe, phaseName, RUNGS } from './words.js';

// button -> what it is allowed by in the state, and the REST call that does the same
const ACTIONS = {
  start: ['start', 'api/training/start'],
  pause: ['pause', 'api/training/pause'],
  resume: ['resume', 'api/training/resume'],
  stop: ['stop', 'api/training/stop'],
  sample: ['sample', 'api/samples/default'],
  backup: ['backup', 'api/training/backup'],
  save: ['save', 'api/training/save'],
};

const TILES = [
  ['loss', 'Loss', (s) => format.number(s.loss)],
  ['smooth', 'Smoothed', (s) => format.number(s.smooth_loss)],
  ['rate', 'Learning rate', (s) => format.number(Object.values(s.learning_rates || {})[0])],
  ['speed', 'Steps / s', (s) => format.number(s.speed)],
  ['samples', 'Pictures / s', (s) => format.number(s.samples_per_second)],
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
  const detail = el('span', { class: 'og-muted og-grow' });
  const why = el('p', { class: 'og-why', id: 'og-why' });
  const ready = el('p', { class: 'og-ready' });
  const files = el('ul', { class: 'og-files', hidden: true, 'aria-label': 'Finished model' });
  const outcome = el('p', { class: 'og-outcome', role: 'status', 'aria-live': 'polite' });
  const errors = el('ul', { class: 'og-outcome-errors', hidden: true });
  const ladder = el('p', { class: 'og-ladder', hidden: true });
  const steps = progress('Steps');
  const epoch = progress('Epoch');
  const phase = progress('Phase');
  const tiles = {};
  const grid = el('dl', { class: 'og-tiles' }, TILES.map(([key, label]) => {
    tiles[key] = el('dd', {});
    return el('div', {}, el('dt', { text: label }), tiles[key]);
  }));

  place.append(el('section', { class: 'og-card og-status', 'aria-label': 'State of the run' },
    why, ladder,
    el('div', { class: 'og-status-head' }, badge, name, detail, outcome), errors,
    el('div', { class: 'og-bars' }, phase.node, steps.node, epoch.node), grid, files, ready));

  function state() {
    const now = store.state;
    if (!now) return;
    const words = describe(now);
    badge.dataset.tone = words.tone;
    say(badge, words.label);
    say(name, now.name || '');
    say(detail, now.error && !words.active ? now.error : now.phase_detail || (now.stop ? '' : now.detail || ''));
    const progressed = now.progress || {};
    phase.set(now.phase_done, words.active ? now.phase_total : 0, phaseName(now.phase));
    steps.set(progressed.global_step, now.total_steps);
    const perEpoch = now.steps_per_epoch || now.max_step;
    epoch.set(progressed.epoch_step, words.active && perEpoch, `Epoch ${Math.min((progressed.epoch || 0) + 1, now.max_epoch || 1)} of ${now.max_epoch || '–'}`);
    show(grid, Boolean(now.run_id));
    show(ready, !words.active && Boolean(ready.textContent));
    for (const [key, , text] of TILES) say(tiles[key], text(now));
    rung(now);
    allow(now);
    finished(now);
  }

  /** The finished model, to take away. */
  let filesOf = '';
  async function finished(now) {
    const key = !now.is_training && now.final_model ? now.run_id : '';
    if (key === filesOf) return;
    filesOf = key;
    show(files, false);
    if (!key) return;
    try {
      const answer = await api('GET', `api/runs/${encodeURIComponent(key)}/files`);
      const models = answer.files.filter((file) => file.kind === 'model');
      files.replaceChildren(...models.map((file) => fileLine(key, file)));
      show(files, models.length > 0);
    } catch (error) {
      if (error.status !== 0 && error.status !== 404) throw error;
      filesOf = '';
    }
  }

  function rung(now) {
    const stop = now.is_training && now.stop;
    show(ladder, Boolean(stop));
    if (!stop) return;
    const [does, next] = RUNGS[stop.rung] || [stop.rung, ''];
    const left = stop.deadline ? Math.max(0, Math.round(stop.deadline - Date.now() / 1000)) : 0;
    say(ladder, `${does}${next && left ? ` – ${next} in ${left} s` : ''}${next ? '. Press Stop again to do it now.' : ''}`);
  }

  function allow(now) {
    const offline = store.connection !== 'live';
    for (const [key, [can]] of Object.entries(ACTIONS)) {
      const node = document.getElementById(`og-${key}`);
      if (!node) continue;
      const may = Boolean(now.can?.[can]) && !offline;
      if (node.disabled === may) node.disabled = !may;
      const reason = offline ? 'The connection to the panel is lost.' : now.why?.[can] || '';
      if (node.title !== reason) node.title = reason;
    }
    const pauseShown = !now.paused;
    show(document.getElementById('og-pause') || el('i'), pauseShown);
    show(document.getElementById('og-resume') || el('i'), !pauseShown);
    document.getElementById('og-start')?.setAttribute('aria-describedby', 'og-why');
    const reason = !offline && !now.is_training && !now.can?.start ? now.why?.start : '';
    say(why, reason ? `Start is not possible: ${reason}` : '');
    show(why, Boolean(reason));
    const label = document.getElementById('og-stop');
    if (label) say(label, now.stop ? 'Stop now' : 'Stop');
  }

  /** What Start would start: the settings in a sentence. */
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
    say(ready, `Start trains ${now.name ? `“${now.name}”` : 'the current settings'}: ${config.training_method}, ${format.count(config.epochs)} epochs, `
      + `${concepts} ${concepts === 1 ? 'concept' : 'concepts'}, learning rate ${format.number(config.learning_rate)}.`);
    state();
  }

  let hide = 0;
  document.addEventListener('og-outcome', ({ detail: said }) => {
    if (!said) return;
    clearTimeout(hide);
    outcome.dataset.tone = said.ok ? '' : 'bad';
    say(outcome, said.text);
    const rest = said.errors || [];
    errors.replaceChildren(...rest.map((error) => el('li', {},
      el('b', { text: error.path }), el('span', { text: ` ${error.message}. ` }), el('span', { class: 'og-muted', text: error.change ? `To change: ${error.change}.` : '' }))));
    show(errors, rest.some((error) => error.path));
    if (said.done && said.ok) hide = setTimeout(() => say(outcome, ''), 8000);
  });

  // A panel that was restarted while a button's stream was open leaves Gradio's side of this page without an answer for
  // good. From then on the buttons go through REST, which says and does the same.
  let byRest = false;
  let boot = store.snapshot?.boot_id;
  on('connection', (now) => { if (now === 'lost') byRest = true; if (store.state) allow(store.state); });
  on('connected', (message) => { if (message.boot_id && boot === message.boot_id) byRest = false; boot = message.boot_id; });
  document.addEventListener('click', async (event) => {
    const key = event.target.closest?.('.og-action')?.id?.slice(3);
    if (!byRest || !ACTIONS[key]) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    try {
      const stopping = key === 'stop' && store.state?.stop;
      await api('POST', stopping ? 'api/training/stop?now=true' : ACTIONS[key][1], {});
      document.dispatchEvent(new CustomEvent('og-outcome', { detail: { ok: true, done: true, text: 'Asked' } }));
    } catch (error) {
      document.dispatchEvent(new CustomEvent('og-outcome', { detail: { ok: false, done: true, text: error.message, errors: error.errors } }));
    }
  }, true);

  setInterval(() => { if (!document.hidden && store.state?.is_training) state(); }, 1000);
  // the buttons are Gradio's: they may come after this widget
  new MutationObserver(() => { if (store.state) allow(store.state); })
    .observe(document.getElementById('og-controls') || place, { childList: true });
  on('training_state', state);
  on('connected', next);
  on('config', next);
  next();
  state();
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
      show(node, Boolean(total));
      if (!total) return;
      const part = Math.min(1, (done || 0) / total);
      fill.style.width = `${part * 100}%`;
      track.setAttribute('aria-valuenow', done || 0);
      track.setAttribute('aria-valuemax', total);
      if (name) { say(title, name); track.setAttribute('aria-label', name); }
      say(text, `${format.count(done || 0)} / ${format.count(total)}`);
    },
  };
}
