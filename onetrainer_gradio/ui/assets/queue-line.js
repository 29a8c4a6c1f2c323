// One line of the queue: what the run is, what it waits for, and its buttons.

import { button, el, format } from './dom.js';
import { view } from './live.js';
import { ENDS, methodName } from './words.js';

/** @type {Record<string, [string, string]>} */
const STATES = {
  waiting: ['Waiting', 'idle'],
  starting: ['Starting', 'busy'],
  running: ['Running', 'busy'],
  suspending: ['Suspending', 'warn'],
  completed: [ENDS.completed || 'Finished', 'good'],
  stopped: [ENDS.stopped || 'Stopped', 'idle'],
  failed: [ENDS.failed || 'Failed', 'bad'],
};
// Why a run waits, where its owner has to do something about it.
const ASKS = ['trouble', 'memory_not_freed', 'quota'];
const MAX_TAGS = 6;

/** The line of a run in the queue; `count` is the number of waiting ones. */
export function itemLine(item, count, actions) {
  const [label, tone] = item.held && item.state === 'waiting' ? ['Held', 'warn'] : STATES[item.state];
  const name = item.name || item.id;
  const moves = item.place !== null;
  return el(
    'li',
    {
      class: 'og-queue-item',
      tabindex: 0,
      dataset: { item: item.id, ...(moves ? { place: item.place } : {}) },
      'aria-label': moves ? `${name}, place ${item.place} of ${count}, ${label}` : `${name}, ${label}`,
    },
    moves && el('span', { class: 'og-queue-handle', 'aria-hidden': 'true', title: 'Drag to move', text: '⠿' }),
    el('span', { class: 'og-queue-place', 'aria-hidden': 'true', text: moves ? String(item.place) : '' }),
    el(
      'div',
      { class: 'og-queue-what' },
      el(
        'div',
        { class: 'og-queue-title' },
        el('span', { class: 'og-badge', dataset: { tone }, text: label }),
        el('span', { class: 'og-queue-name', text: name }),
      ),
      el('p', { class: 'og-muted og-small', text: facts(item) }),
      reason(item),
      item.notes && el('p', { class: 'og-small og-queue-notes', text: item.notes }),
      tags(item),
    ),
    el('div', { class: 'og-queue-buttons' }, moves ? waitingButtons(item, count, actions) : runningButtons(item, actions)),
  );
}

function facts(item) {
  return [
    [item.model, methodName(item.training_method)].filter(Boolean).join(' '),
    item.devices.join(', '),
    item.priority ? `priority ${item.priority}` : '',
    item.max_steps ? `${format.count(item.max_steps)} steps at most` : '',
    item.not_before > Date.now() / 1000 ? `not before ${format.time(item.not_before)}` : '',
    item.order_reason,
    item.resumes_run ? 'resumes from a backup' : '',
    item.attempts ? `attempt ${item.attempts + 1}` : '',
  ]
    .filter(Boolean)
    .join(' · ');
}

function reason(item) {
  const text =
    (item.held && item.hold_reason) || (ASKS.includes(item.wait?.code) || item.wait?.code === 'after' ? item.wait.text : '');
  return text && el('p', { class: `og-small og-queue-reason ${item.error ? 'bad' : ''}`, text });
}

function tags(item) {
  if (!item.tags.length) return '';
  const shown = item.tags.slice(0, MAX_TAGS);
  const rest = item.tags.length - shown.length;
  return el(
    'p',
    { class: 'og-queue-tags' },
    shown.map((text) => el('span', { class: 'og-queue-tag', text })),
    rest > 0 && el('span', { class: 'og-muted og-small', text: `+${rest}` }),
  );
}

/** Buttons with an icon alone: their titles name the run as well, since a list reader hears them one by one. */
function waitingButtons(item, count, actions) {
  const name = item.name || item.id;
  const small = (title, icon, action, more = {}) =>
    button('', { icon, kind: 'quiet', title: `${title} “${name}”`, onclick: () => action(item), ...more });
  return [
    small('Move up', 'up', actions.up, { disabled: item.place === 1 }),
    small('Move down', 'down', actions.down, { disabled: item.place === count }),
    small('Duplicate', 'copy', actions.duplicate),
    button('Edit', { kind: 'small', 'aria-label': `Edit “${name}”`, onclick: () => actions.edit(item) }),
    button(item.held ? 'Release' : 'Hold', {
      kind: 'small',
      'aria-label': `${item.held ? 'Release' : 'Hold'} “${name}”`,
      onclick: () => actions.hold(item),
    }),
    small('Remove', 'trash', actions.remove),
  ];
}

function runningButtons(item, actions) {
  const name = item.name || item.id;
  return [
    item.run_id &&
      button('Show chart', {
        icon: 'chart',
        kind: 'small',
        dataset: { ogTab: 'training', ogNeeds: 'viewer' },
        onclick: () => view(item.run_id),
      }),
    item.state === 'running' &&
      button('Suspend', {
        kind: 'small',
        title: `Back up “${name}”, end it, and resume it later`,
        onclick: () => actions.suspend(item),
      }),
  ];
}

/** The line of a run that has ended. */
export function endedLine(item, forget) {
  const [label, tone] = STATES[item.state];
  const name = item.name || item.id;
  return el(
    'li',
    {},
    el('span', { class: 'og-badge', dataset: { tone }, text: label }),
    el('span', { class: 'og-queue-name', text: name }),
    el('span', { class: 'og-muted og-small og-grow', text: item.error?.message || format.time(item.ended_at) }),
    item.run_id &&
      button('Show chart', {
        icon: 'chart',
        kind: 'small',
        dataset: { ogTab: 'training', ogNeeds: 'viewer' },
        onclick: () => view(item.run_id),
      }),
    button('', { icon: 'close', kind: 'quiet', title: `Remove “${name}” from this list`, onclick: forget }),
  );
}
