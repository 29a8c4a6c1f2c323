// What is below a setting and shows its effect. This module, its style sheet and its parts are loaded when such a
// setting, or the list of concepts, comes into view for the first time.

import { el } from './dom.js';

const BELOW = {
  base_model_name: async (settings) => (await import('./memory.js')).memory(settings),
  batch_size: async (settings) => (await import('./memory.js')).memory(settings),
  timestep_distribution: async (settings) => (await import('./timesteps.js')).timesteps(settings),
  layer_filter_preset: async (settings) => (await import('./layers.js')).layers(settings, 'training'),
  'quantization.layer_filter_preset': async (settings) => (await import('./layers.js')).layers(settings, 'quantization'),
};

/** @type {any} */
let styled = null;
/** The style sheet of the editors, once. */
export function style() {
  styled ||= new Promise((resolve) => {
    document.head.append(
      el('link', { rel: 'stylesheet', href: new URL('./editors.css', import.meta.url).href, onload: resolve, onerror: resolve }),
    );
  });
  return styled;
}

/** Fill the place below the row of a setting. */
export async function below(settings, path, place) {
  const [made] = await Promise.all([BELOW[path](settings), style()]);
  place.replaceChildren(made);
  place.update = () => made.update();
  place.update();
}

/** What the list of concepts shows in addition to its settings. */
export async function concepts(list) {
  const [made] = await Promise.all([import('./concepts.js'), style()]);
  return made.concepts(list);
}
