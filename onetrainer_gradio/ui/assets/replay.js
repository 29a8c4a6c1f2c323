// One slider through a run: values, samples, settings and events as they were at any step.

import { button, el, format, setText } from './dom.js';
import { api } from './live.js';
import { addressOf, pageLink } from './run-address.js';
import { metricTitle } from './run-charts.js';
import { openAmong } from './run-samples.js';
import { sampleTile } from './sample-tile.js';
import { COMMANDS, ENDS, phaseName } from './words.js';

const ASK_MS = 120;
const PLAY_MS = 400;
const PARTS = 60; // a replay from the first to the last step takes this many moves
const SHOWN = ['loss', 'smooth_loss', 'grad_norm'];
const HIDDEN = ['run_planned'];

/** An event as a sentence. */
export function eventText(event) {
  const at = event.global_step === undefined ? '' : ` at step ${format.count(event.global_step)}`;
  const texts = {
    phase_changed: () => phaseName(event.phase),
    sample_generated: () => `Sample generated${at}: ${event.prompt || 'empty prompt'}`,
    backup_created: () => `Backup created${at}`,
    model_saved: () => `${event.final ? 'Final model' : 'Model'} saved${at}`,
    validation_completed: () => `Validation loss ${format.number(event.total)}${at}`,
    warning_issued: () => event.message,
    resumed: () => `Resumed from a backup${at}`,
    command_received: () => `${COMMANDS[event.command]?.label || event.command} requested${event.by ? ` by ${event.by}` : ''}`,
    run_ended: () => `Run ended: ${ENDS[event.reason] || event.reason}`,
  };
  return texts[event.type]?.() || '';
}

/** Values of a moment as name and value. */
function valuesOf(moment) {
  const rates = Object.keys(moment.values).filter((name) => name.startsWith('lr/'));
  return [
    [
      'Step',
      moment.total_steps ? `${format.count(moment.step)} of ${format.count(moment.total_steps)}` : format.count(moment.step),
    ],
    ['Epoch', format.count(moment.epoch)],
    ['Time', format.span(moment.elapsed_s)],
    ['Phase', moment.phase ? phaseName(moment.phase) : '–'],
    ...[...SHOWN, ...rates].flatMap((name) =>
      name in moment.values ? [[metricTitle(name), format.number(moment.values[name])]] : [],
    ),
  ];
}

/** Where a step is on the axis of the charts. */
function placeOf(moment, charts) {
  if (!charts || charts.axis === 'step') return moment.step;
  const [run] = charts.answer?.runs || [];
  const [first, last] = charts.whole || [0, 0];
  if (!run || moment.last_step === moment.first_step) return null;
  return first + ((last - first) * (moment.step - moment.first_step)) / (moment.last_step - moment.first_step);
}

const samplesOf = ({ samples }) =>
  samples.map((sample) =>
    el(
      'li',
      {},
      sampleTile(sample, (at) => openAmong(samples, at)),
    ),
  );

/** The events until a moment, the newest first. */
const eventsOf = ({ events }) =>
  events
    .filter(({ type }) => !HIDDEN.includes(type))
    .reverse()
    .map((event) =>
      el('li', {}, el('time', { class: 'og-muted', text: format.clock(event.at) }), el('span', { text: eventText(event) })),
    );

/** Whose settings applied: a run may continue another one. */
const settingsOf = ({ run_id: of, name }, id) =>
  of === id
    ? ['The settings of this run applied.']
    : ['The settings of ', pageLink(addressOf(of), name || of), ' applied, which this run continues.'];

export async function replay(place, id, charts) {
  const slider = el('input', { type: 'range', class: 'og-replay-slider', 'aria-label': 'Step', oninput: () => ask() });
  const facts = el('dl', { class: 'og-facts og-run-facts-list' });
  const samples = el('ul', { class: 'og-strip og-replay-samples' });
  const events = el('ul', { class: 'og-run-events og-replay-events', tabindex: 0, 'aria-label': 'Events until this step' });
  const settings = el('p', { class: 'og-small' });
  const play = button('Play', { icon: 'right', kind: 'small', onclick: () => toggle() });
  let timer = 0;
  let playing = 0;
  let asked = 0;

  async function load(step) {
    asked += 1;
    const mine = asked;
    const query = step === null ? '' : `?step=${step}`;
    const moment = await api('GET', `api/runs/${encodeURIComponent(id)}/replay${query}`);
    if (mine !== asked || !place.isConnected) return moment;
    facts.replaceChildren(
      ...valuesOf(moment).map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))),
    );
    slider.setAttribute('aria-valuetext', `Step ${format.count(moment.step)}`);
    samples.replaceChildren(...samplesOf(moment));
    events.replaceChildren(...eventsOf(moment));
    settings.replaceChildren(...settingsOf(moment, id));
    charts()?.at(placeOf(moment, charts()));
    return moment;
  }
  function ask() {
    clearTimeout(timer);
    timer = setTimeout(() => load(Number(slider.value)).catch(() => {}), ASK_MS);
  }
  function toggle(on = !playing) {
    clearInterval(playing);
    playing = 0;
    setText(play.lastChild, on ? 'Stop' : 'Play');
    if (!on) return;
    if (slider.value === slider.max) slider.value = slider.min;
    playing = setInterval(() => {
      const step = Math.max(1, Math.round((Number(slider.max) - Number(slider.min)) / PARTS));
      slider.value = String(Math.min(Number(slider.max), Number(slider.value) + step));
      ask();
      if (slider.value === slider.max || !place.isConnected) toggle(false);
    }, PLAY_MS);
  }

  const last = await load(null);
  if (last.first_step === null) {
    place.append(el('p', { class: 'og-empty', text: 'No steps yet.' }), events);
    return;
  }
  for (const [name, value] of [
    ['min', last.first_step],
    ['max', last.last_step],
    ['step', 1],
  ])
    slider.setAttribute(name, String(value));
  slider.value = String(last.step);
  place.append(
    el('div', { class: 'og-replay-head' }, play, slider),
    facts,
    settings,
    el('h4', { text: 'Samples at this step' }),
    samples,
    el('h4', { text: 'Events' }),
    events,
  );
}
