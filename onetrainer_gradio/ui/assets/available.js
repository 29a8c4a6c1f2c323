// Mark presets and choices that no available engine can train, and hide them on request.

import { api, on } from './live.js';

const HIDE = 'og-hide-unavailable';
// settings whose choices are checked when one of them is first shown
export const MARKED = [
  'optimizer.optimizer',
  'peft_type',
  'learning_rate_scheduler',
  'attention_mechanism',
  'loss_weight_fn',
  'training_method',
];

export const hiding = () => localStorage.getItem(HIDE) === 'yes';
export const setHiding = (hide) => localStorage.setItem(HIDE, hide ? 'yes' : 'no');

/** Reasons by `kind:name` of the presets that can't be trained here. */
export async function unavailablePresets() {
  const { presets } = await api('GET', 'api/engines/unavailable/presets');
  return new Map(presets.map(({ kind, name, why }) => [`${kind}:${name}`, why]));
}

/** Keep `settings.unavailable` (path -> choice -> reason) up to date, and redraw when it changes. */
export function watchChoices(settings, draw) {
  let asked = '';
  let engine = 0;
  on('engine', () => {
    engine += 1;
    refresh();
  });
  async function refresh() {
    // what engines support depends mainly on these
    const key = JSON.stringify([engine, settings.value('model_type'), settings.value('training_method')]);
    if (key === asked) return;
    asked = key;
    try {
      const { choices } = await api(
        'GET',
        `api/engines/unavailable/choices?${new URLSearchParams(MARKED.map((path) => ['path', path]))}`,
      );
      if (key !== asked) return;
      settings.unavailable = choices;
      draw();
    } catch {
      asked = ''; // without an answer, nothing is marked; the next draw asks again
    }
  }
  return refresh;
}
