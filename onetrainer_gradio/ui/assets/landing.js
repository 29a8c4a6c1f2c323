// The three ways to begin, above the form of a panel that nobody has used yet.

import { el, toast } from './dom.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

/** Start the demo: a tiny model that comes with the panel. */
export async function tryDemo() {
  try {
    await api('POST', 'api/training/start', { config: 'Demo LoRA', options: { name: 'Demo' } });
    location.hash = '#training';
  } catch (/** @type {any} */ error) {
    toast(error.whole || error.message, 'bad');
  }
}

/** The tool that imports a file is that of the toolbar. */
const chooseFile = () => /** @type {HTMLElement | null} */ (document.querySelector('.og-toolbar input[type=file]'))?.click();

/**
 * @param {string} title
 * @param {string} about
 * @param {string} kind
 * @param {(event: Event) => any} onclick
 */
const way = (title, about, kind, onclick) =>
  el(
    'button',
    {
      type: 'button',
      class: `og-begin-way ${kind}`,
      onclick,
      'aria-label': title,
      'aria-describedby': `og-begin-${title.replaceAll(' ', '-')}`,
    },
    el('b', { text: title }),
    el('span', { id: `og-begin-${title.replaceAll(' ', '-')}`, text: about }),
  );

/**
 * Fill the container, unless this panel has runs. Resolves to whether it must be shown.
 * @param {HTMLElement} place
 */
export async function wanted(place) {
  const runs = await api('GET', 'api/runs?limit=1').catch(() => ({ total: 1 }));
  if (runs.total) return false;
  if (place.firstChild) return true;
  await sheet('landing.css');
  place.replaceChildren(
    el(
      'div',
      { class: 'og-begin-ways' },
      way('New LoRA', 'From your photos to a tested LoRA in four questions.', 'primary', () => {
        location.hash = '#new-lora';
      }),
      way('Open OneTrainer settings', 'A configuration file of OneTrainer, from this computer.', '', chooseFile),
      way('Try the demo', 'Train a tiny model that comes with the panel. Takes about two minutes.', '', async (event) => {
        const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
        button.disabled = true;
        await tryDemo();
        button.disabled = false;
      }),
    ),
    el('p', { class: 'og-muted og-small', text: 'All settings are below.' }),
  );
  return true;
}
