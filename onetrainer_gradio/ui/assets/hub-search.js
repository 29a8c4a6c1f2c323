// Search the Hugging Face Hub for a base model by name.

import { el, format, setText } from './dom.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

const MAX_SIZES = 8;

/**
 * Fill a place with a search. `chosen(model)` follows, with the row of `known(model_type)` that has the settings for its type.
 * @param {HTMLElement} place
 * @param {(type: string) => any} known
 * @param {(model: any) => void} chosen
 * @param {() => string} type only models of this type are found; '' for all
 */
export async function search(place, known, chosen, type = () => '') {
  await Promise.all([sheet('hub.css'), sheet('new-lora.css')]);
  const words = el('input', { type: 'search', class: 'og-text', maxlength: 200, 'aria-label': 'Search models by name' });
  const status = el('p', { class: 'og-small og-muted', role: 'status' });
  const list = el('div', { class: 'og-new-models', role: 'radiogroup', 'aria-label': 'Models found' });
  const form = el('form', {}, words, el('button', { type: 'submit', class: 'og-button', text: 'Search' }));
  let asked = 0;

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!words.value.trim()) return;
    asked += 1;
    const mine = asked;
    setText(status, 'Searching…');
    list.replaceChildren();
    try {
      const query = new URLSearchParams({ search: words.value.trim(), model_type: type() });
      const { models } = await api('GET', `api/hub/models?${query}`);
      if (mine !== asked) return;
      setText(status, models.length ? '' : 'No base model with this name. Check the spelling, or enter a part of it.');
      const rows = models.map((model) => row(model, known(model.model_type), chosen));
      list.replaceChildren(...rows.map(({ node }) => node));
      for (const each of rows.slice(0, MAX_SIZES)) {
        if (mine !== asked) return;
        await each.measure();
      }
    } catch (error) {
      if (mine === asked) setText(status, error.whole || error.message);
    }
  });
  place.append(el('div', { class: 'og-hub-search' }, form, status, list));
  words.focus();
}

/** Fill a place below a setting with a search for models of the current type; the chosen one becomes its value. */
export async function searchFor(place, settings, path) {
  place.replaceChildren();
  const chosen = (model) => settings.edit(path, model.base_model);
  await search(
    place,
    () => ({}),
    chosen,
    () => settings.value('model_type'),
  );
}

/** A model that was found, and the function that asks for its size. */
function row(model, settings, chosen) {
  const usable = model.trainable && settings;
  const input = el('input', { type: 'radio', name: 'og-new-model', value: model.id, disabled: !usable });
  const facts = el('span', { class: 'og-small og-muted' });
  let bytes = null;
  const draw = () =>
    setText(
      facts,
      [
        model.label,
        model.license,
        model.local ? 'on this machine' : bytes && `downloads ${format.bytes(bytes)}`,
        `${format.count(model.downloads)} downloads`,
        model.gated && 'gated: requires a Hugging Face token',
      ]
        .filter(Boolean)
        .join(' · '),
    );
  draw();
  input.addEventListener('change', () =>
    chosen({ ...settings, label: model.id, base_model: model.id, own_base: model.id, local: model.local }),
  );
  const why = usable ? '' : model.reason || 'There are no settings for this model type.';
  const node = el(
    'label',
    { class: 'og-new-option' },
    input,
    el('span', {}, el('b', { text: model.id }), facts, why && el('span', { class: 'og-small warn', text: why })),
  );
  async function measure() {
    if (model.local) return;
    try {
      bytes = (await api('GET', `api/hub/models/${model.id}?model_type=${model.model_type}`)).model.bytes;
      draw();
    } catch {
      bytes = null; // the size stays open
    }
  }
  return { node, measure };
}
