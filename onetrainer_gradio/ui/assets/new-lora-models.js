// The base models that a new LoRA can be trained on, with what each needs.

import { button, el, format, setText } from './dom.js';
import { choosePath } from './files.js';
import { api } from './live.js';

/** A list to choose from; `chosen(model)` follows. Models that can't be trained here are listed below, with the reason. */
export function models(chosen) {
  const status = el('p', { class: 'og-small og-muted', text: 'Loading…' });
  const list = el('div', { class: 'og-new-models', role: 'radiogroup', 'aria-label': 'Base model' });
  const others = el('ul', { class: 'og-small og-muted' });
  const more = el('details', { hidden: true }, el('summary', { text: 'Models that need another engine' }), others);
  const download = el('div', { 'aria-label': 'Download', role: 'group' });
  let usable = [];
  /** @type {any} */
  let current = null;
  const disk = onThisMachine(list, () => usable.find(({ preset }) => preset === current?.preset), choose);
  const hub = searchBox((type) => usable.find((model) => model.model_type === type && onHub(model)), choose);

  function choose(model) {
    current = model;
    chosen(model);
    download.replaceChildren();
    delete download.dataset.model;
    if (model.local || !onHub(model)) return;
    import('./hub-downloads.js').then(({ offer }) => offer(download, model)).catch((error) => setText(status, error.message));
  }

  async function load() {
    try {
      const found = (await api('GET', 'api/new_lora/models')).models;
      usable = found.filter((model) => model.trainable);
      const first = usable.find((model) => !model.too_small && model.gigabytes) || usable[0];
      list.replaceChildren(...usable.map((model) => row(model, model === first, choose)));
      others.replaceChildren(
        ...found.filter((model) => !model.trainable).map((model) => el('li', { text: `${model.label}: ${model.reason}` })),
      );
      more.hidden = !others.childElementCount;
      setText(status, '');
      if (first) choose(first);
    } catch (error) {
      setText(status, error.message);
    }
  }
  return { node: el('div', { class: 'og-new-body' }, status, list, disk, hub, download, more), load };
}

/** Whether the base model is a repository of the Hugging Face Hub, not a folder. */
const onHub = (model) => /^[\w.-]+\/[\w.-]+$/.test(model.base_model);

/** A button that adds a folder or file of this machine to the list, to be trained like the model `like()` that is chosen there. */
function onThisMachine(list, like, chosen) {
  let added = el('span');
  return button('Folder or file on this machine…', {
    icon: 'folder',
    onclick: async () => {
      const model = like();
      const path = model && (await choosePath({ title: `Base model of type ${model.label}`, wants: 'model' }));
      if (!path) return;
      const label = path.split(/[\\/]/).filter(Boolean).pop();
      const own = {
        ...model,
        label,
        base_model: path,
        own_base: path,
        license: `type ${model.label}`,
        local: true,
        gated: false,
      };
      added.remove();
      added = row(own, true, chosen);
      added.title = path;
      list.prepend(added);
      added.scrollIntoView({ block: 'nearest' });
      chosen(own);
    },
  });
}

/** The search of the Hugging Face Hub, which loads when it is unfolded. */
function searchBox(known, chosen) {
  const place = el('div');
  const node = el('details', {}, el('summary', { text: 'Search the Hugging Face Hub' }), place);
  node.addEventListener('toggle', () => {
    if (!node.open || place.childElementCount) return;
    place.append(el('span'));
    import('./hub-search.js').then(({ search }) => {
      place.replaceChildren();
      search(place, known, chosen);
    });
  });
  return node;
}

function row(model, checked, chosen) {
  const input = el('input', { type: 'radio', name: 'og-new-model', value: model.preset, checked });
  input.addEventListener('change', () => chosen(model));
  const download = model.local
    ? 'on this machine'
    : model.gigabytes
      ? `downloads ${format.number?.(model.gigabytes) ?? model.gigabytes} GB first`
      : 'downloaded first';
  const facts = [
    model.license,
    download,
    model.memory_gb ? `${model.memory_gb} GB of VRAM` : '',
    model.gated ? 'requires a Hugging Face token' : '',
  ];
  return el(
    'label',
    { class: 'og-new-option' },
    input,
    el(
      'span',
      {},
      el('b', { text: model.label }),
      !model.local && el('span', { class: 'og-small', text: model.base_model }),
      el('span', { class: 'og-small og-muted', text: facts.filter(Boolean).join(' · ') }),
      model.too_small && el('span', { class: 'og-small warn', text: 'This machine has too little GPU memory for it.' }),
    ),
  );
}
