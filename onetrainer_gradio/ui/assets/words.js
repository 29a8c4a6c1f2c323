// The state of a run in words: what the top line, the status card and the run list say.

import { format } from './dom.js';

const PHASES = {
  queued: 'Queued',
  starting: 'Starting',
  loading: 'Loading model',
  caching: 'Caching',
  training: 'Training',
  sampling: 'Sampling',
  validating: 'Validating',
  backing_up: 'Backing up',
  saving: 'Saving',
  paused: 'Paused',
  stopping: 'Stopping',
};

const STATUSES = {
  idle: ['Ready', 'idle'],
  initialized: ['Ready', 'idle'],
  starting: ['Starting', 'busy'],
  running: ['Training', 'busy'],
  stopping: ['Stopping', 'warn'],
  completed: ['Finished', 'good'],
  error: ['Failed', 'bad'],
};

const ENDS = { completed: ['Finished', 'good'], stopped: ['Stopped', 'idle'], failed: ['Failed', 'bad'], lost: ['Lost', 'bad'] };

export const STOP_STAGES = {
  finish_step: ['Finishing the step, then saving', 'interrupting the process'],
  interrupt: ['Interrupting the process', 'terminating it'],
  terminate: ['Terminating the process', 'killing it'],
  kill: ['Killing the process', ''],
};

/** The text with a capital letter at its start and a period at its end. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

/** Label and tone of a run in the list, by how it ended or what it does. */
export function ending(run) {
  const [label, tone] = STATUSES[run.status] || [run.status || 'Unknown', 'idle'];
  return ENDS[run.end_reason] || [(run.status !== 'stopping' && PHASES[run.phase]) || label, tone];
}

const ENGINES = { builtin: 'Built-in', onetrainer: 'OneTrainer' };

/** Who carries out a run: of a state object, or of a run in the list. */
export function engineName({ backend, checkout }) {
  return checkout || ENGINES[backend] || backend || '';
}

export function phaseName(phase) {
  return PHASES[phase] || phase || '';
}

/** `{label, tone, active, fraction, percent, short}` of a state object. */
export function describe(state) {
  const active = Boolean(state.is_training);
  let [label, tone] = STATUSES[state.status] || [state.status, 'idle'];
  if (state.status === 'completed' && state.end_reason === 'stopped') [label, tone] = ENDS.stopped;
  if (active && state.phase) label = PHASES[state.phase] || state.phase;
  if (active && state.paused) [label, tone] = ['Paused', 'warn'];
  if (active && state.stop) [label, tone] = ['Stopping', 'warn'];
  const step = state.progress?.global_step || 0;
  const fraction = state.total_steps ? Math.min(1, step / state.total_steps) : 0;
  const percent = `${Math.floor(fraction * 100)} %`;
  const parts = [];
  if (active && state.phase_total) parts.push(`${format.count(state.phase_done || 0)}/${format.count(state.phase_total)}`);
  if (active && state.total_steps) {
    parts.push(percent);
    if (state.eta_s) parts.push(`${format.span(state.eta_s)} left`);
    if (state.smooth_loss ?? state.loss) parts.push(`loss ${format.number(state.smooth_loss ?? state.loss)}`);
  }
  return { label, tone, active, fraction, percent, short: parts.join(' · ') };
}
