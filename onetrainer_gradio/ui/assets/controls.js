// Gradio's buttons that control the run: which are enabled, and their way through REST once Gradio's is gone.

import { allowQueue } from './add-to-queue.js';
import { el, setText, setVisible } from './dom.js';
import { api, on, store } from './live.js';
import { COMMANDS, phaseName, requested } from './words.js';

// button -> the REST call that does the same, and the text of its outcome
/** @type {Record<string, [string, string]>} */
const ACTIONS = {
  start: ['api/training/start', 'Started'],
  pause: ['api/training/pause', COMMANDS.pause.done],
  resume: ['api/training/resume', COMMANDS.resume.done],
  stop: ['api/training/stop', phaseName('stopping')],
  sample: ['api/samples/default', COMMANDS.sample_default.done],
  backup: ['api/training/backup', COMMANDS.backup_now.done],
  save: ['api/training/save', COMMANDS.save_now.done],
};

/**
 * Enable the buttons that the state allows; each other one gets the reason as its title. Returns why Start is disabled.
 * @param {any} now
 * @returns {string}
 */
export function allow(now) {
  allowQueue();
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
  setVisible(document.getElementById('og-pause') || el('i'), !now.paused);
  setVisible(document.getElementById('og-resume') || el('i'), Boolean(now.paused));
  document.getElementById('og-start')?.setAttribute('aria-describedby', 'og-why');
  const stop = document.getElementById('og-stop');
  if (stop) setText(stop, now.stop ? 'Stop now' : 'Stop');
  return !offline && !now.is_training && !now.can?.start ? now.why?.start || '' : '';
}

/** @param {any} outcome */
const tell = (outcome) => document.dispatchEvent(new CustomEvent('og-outcome', { detail: outcome }));

/**
 * A panel that was restarted while a button's stream was open leaves Gradio's side of this page without an answer for good.
 * From then on the buttons go through REST, which does the same; the outcome comes as an event.
 * @param {() => boolean} streaming whether a stream was open; not any more afterwards
 */
export function fallBack(streaming) {
  let byRest = false;
  const asked = new Map(); // command id -> what its outcome is called
  on('connection', (/** @type {string} */ now) => {
    if (now === 'lost' && streaming()) byRest = true;
  });
  on('event', (/** @type {any} */ { event }) => {
    const text = event.type === 'command_completed' && asked.get(event.command_id);
    if (!text) return;
    const ok = event.outcome === 'done';
    tell({ ok, done: true, text: ok ? text : `Couldn’t complete: ${event.reason}` });
  });
  document.addEventListener(
    'click',
    async (/** @type {any} */ event) => {
      const key = event.target.closest?.('#og-controls button')?.id?.slice(3);
      if (!byRest || !ACTIONS[key]) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      await send(key, asked);
    },
    true,
  );
}

/**
 * @param {string} key
 * @param {Map<string, string>} asked
 */
async function send(key, asked) {
  const [path, done] = ACTIONS[key];
  try {
    const answer = await api('POST', key === 'stop' && store.state?.stop ? `${path}?now=true` : path, {});
    if (answer.command_id) asked.set(answer.command_id, done);
    tell({ ok: true, done: true, text: answer.command_id ? requested(store.state?.phase) : done });
  } catch (/** @type {any} */ error) {
    tell({ ok: false, done: true, text: error.message, errors: error.errors });
  }
}
