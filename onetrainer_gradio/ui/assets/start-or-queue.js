// Start a run from a dialog, or add it to the queue while another run trains.

import { el, setText, setVisible, toast } from './dom.js';
import { api, on, store } from './live.js';
import { addressOf, go } from './run-address.js';

const busy = () => Boolean(store.state?.is_training);

/**
 * Let the submit button of a dialog read “Add to queue” while a run trains; returns the note that explains it.
 * @param {HTMLElement} submit
 * @param {string} verb
 */
export function queueable(submit, verb) {
  const note = el('p', { class: 'og-muted og-small', role: 'status' });
  const draw = () => {
    setText(submit, busy() ? 'Add to queue' : verb);
    setText(note, busy() ? 'Another run is training, so the new run waits in the queue.' : '');
    setVisible(note, busy());
  };
  draw();
  const off = on('training_state', () => {
    draw();
    if (!submit.isConnected) off();
  });
  return note;
}

/**
 * Start a run, or add it to the queue while another one trains. Rejects with the error of the server.
 * @param {string} path
 * @param {object} body
 * @param {string} done
 */
export async function startOrQueue(path, body, done) {
  const { run_id: id, place } = await api('POST', path, busy() ? { ...body, queue: true } : body);
  toast(id ? done : `Added to the queue at place ${place}.`);
  if (id) go(addressOf(id));
}
