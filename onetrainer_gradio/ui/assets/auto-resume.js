// What follows the end of a run that failed: when it resumes by itself, and the buttons to do so now or not at all.

import { button, el, setVisible, toast } from './dom.js';
import { api, on } from './live.js';

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false });
const WHY = { exhausted: 'All automatic resumes are used up.', cancelled: 'The automatic resume was cancelled.' };

/** The plan as a sentence; empty if there is none. */
export function planned({ state, attempt, of, at, reason }) {
  const which = `attempt ${attempt} of ${of}`;
  if (state === 'waiting') return at ? `Resumes at ${CLOCK.format(new Date(at * 1000))}, ${which}.` : `Resumes next, ${which}.`;
  return WHY[state] || (reason ? `Isn’t resumed by itself. ${reason}` : '');
}

const makePlace = () => el('p', { class: 'og-why og-auto-resume', hidden: true, role: 'status' });
/** @type {any} */
let place = null;
let run = '';

async function ask(method, path) {
  try {
    draw(await api(method, path));
  } catch (error) {
    if (error.status !== 0 && error.status !== 404) toast(error.message, 'bad');
  }
}

function draw(plan) {
  const text = planned(plan);
  const path = `api/runs/${encodeURIComponent(run)}/auto-resume`;
  const buttons =
    plan.state === 'waiting'
      ? [
          button('Resume now', {
            kind: 'small',
            'data-og-needs': 'operator',
            disabled: !plan.at,
            onclick: () => ask('POST', path),
          }),
          button('Cancel resume', { kind: 'small', 'data-og-needs': 'operator', onclick: () => ask('DELETE', path) }),
        ]
      : [];
  place.replaceChildren(`${text} `, ...buttons.flatMap((each) => [each, ' ']));
  setVisible(place, Boolean(text));
}

const refresh = () => run && ask('GET', `api/runs/${encodeURIComponent(run)}/auto-resume`);
on('queue_changed', refresh);
// the plan is made when the end is reported
on('notification', ({ notification }) => notification.run_id === run && refresh());

/** Show what is planned for an ended run below `node`; an empty ID hides it. */
export function show(node, id) {
  place ||= makePlace();
  if (!place.isConnected) node.append(place);
  if (id === run) return;
  run = id;
  setVisible(place, false);
  refresh();
}
