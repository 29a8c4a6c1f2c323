// The button next to Start that adds the current settings to the queue. It is there while a run trains.

import { button, setVisible, toast } from './dom.js';
import { api, store } from './live.js';

/** Its outcome is a toast: the line below the buttons shows what the run does that was started before. */
async function add() {
  try {
    const { place } = await api('POST', 'api/queue', {});
    toast(`Added to the queue at place ${place}.`);
  } catch (error) {
    document.dispatchEvent(
      new CustomEvent('og-outcome', { detail: { ok: false, done: true, text: error.message, errors: error.errors } }),
    );
    toast(error.whole || error.message, 'bad');
  }
}

/** Put the button behind Start, and show it where it is of use. */
export function allowQueue() {
  const start = document.getElementById('og-start');
  let node = /** @type {HTMLButtonElement | null} */ (document.getElementById('og-add-to-queue'));
  if (!node && start) {
    node = button('Add to queue', { id: 'og-add-to-queue', kind: 'og-add-to-queue', 'data-og-needs': 'operator', onclick: add });
    start.after(node);
  }
  if (!node) return;
  setVisible(node, Boolean(store.state?.is_training));
  node.disabled = store.connection !== 'live';
}
