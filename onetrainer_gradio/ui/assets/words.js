// The state of a run as text, for the top bar, the status card and the run list.

import { format } from './dom.js';

// The same words as in the terminal and on the buttons: vocabulary.json, which the page embeds.
const WORDS = JSON.parse(document.getElementById('og-vocabulary')?.textContent || '{}');
/** @type {Record<string, string>} */
const STATUSES = WORDS.statuses || {};
/** @type {Record<string, string>} */
export const ENDS = WORDS.ends || {};
/** @type {Record<string, {text: string, next: string}>} */
export const STOP_STAGES = WORDS.stop_stages || {};
/** @type {Record<string, {label: string, done: string}>} */
export const COMMANDS = WORDS.commands || {};

/** @type {Record<string, string>} */
const STATUS_TONES = {
  idle: 'idle',
  initialized: 'idle',
  starting: 'busy',
  running: 'busy',
  stopping: 'warn',
  completed: 'good',
  error: 'bad',
};
/** @type {Record<string, string>} */
const END_TONES = { completed: 'good', stopped: 'idle', failed: 'bad', lost: 'bad' };
const BEFORE_TRAINING = ['queued', 'starting', 'loading', 'caching'];

/** When an accepted command runs, by the phase of the run. */
export const requested = (phase) => WORDS.requested?.[BEFORE_TRAINING.includes(phase) ? 'before_training' : 'training'] || '';

/** The text with a capital letter at its start and a period at its end. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

/** Label and tone of a run in the list, by how it ended or its phase. */
export function ending(run) {
  if (ENDS[run.end_reason]) return [ENDS[run.end_reason], END_TONES[run.end_reason]];
  const label = STATUSES[run.status] || run.status || 'Unknown';
  return [run.status !== 'stopping' && run.phase ? phaseName(run.phase) : label, STATUS_TONES[run.status] || 'idle'];
}

const ENGINES = { builtin: 'Built-in', onetrainer: 'OneTrainer' };

/** The training engine of a state object or of a run in the list. */
export function engineName({ backend, checkout }) {
  return checkout || ENGINES[backend] || backend || '';
}

/** The label of a training method. */
export const methodName = (method) => WORDS.methods?.[method] || method;

export function phaseName(phase) {
  return WORDS.phases?.[phase]?.label || phase || '';
}

/** `{label, tone, active, fraction, percent, short}` of a state object. */
export function describe(state) {
  const active = Boolean(state.is_training);
  let label = STATUSES[state.status] || state.status;
  let tone = STATUS_TONES[state.status] || 'idle';
  if (!active && ENDS[state.end_reason]) [label, tone] = [ENDS[state.end_reason], END_TONES[state.end_reason]];
  if (active && state.phase) label = phaseName(state.phase);
  if (active && state.paused) [label, tone] = [phaseName('paused'), 'warn'];
  if (active && state.stop) [label, tone] = [phaseName('stopping'), 'warn'];
  const step = state.progress?.global_step || 0;
  const fraction = state.total_steps ? Math.min(1, step / state.total_steps) : 0;
  const percent = `${Math.floor(fraction * 100)}%`;
  const parts = [];
  if (active && state.phase_total) parts.push(`${format.count(state.phase_done || 0)}/${format.count(state.phase_total)}`);
  if (active && state.total_steps) {
    parts.push(percent);
    if (state.eta_s) parts.push(`${format.span(state.eta_s)} left`);
    if (state.smooth_loss ?? state.loss) parts.push(`loss ${format.number(state.smooth_loss ?? state.loss)}`);
  }
  return { label, tone, active, fraction, percent, short: parts.join(' · ') };
}
