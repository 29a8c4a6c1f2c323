// The VRAM that a run is expected to need: a bar of its parts against the GPU's memory, and what would make it fit.

import { asking } from './asking.js';
import { button, el, format, setVisible } from './dom.js';
import { api } from './live.js';

const PARTS = ['unet', 'prior', 'transformer', 'text_encoder', 'text_encoder_2', 'text_encoder_3', 'text_encoder_4', 'vae'];
const OF_PARTS = ['train', 'include', 'weight_dtype', 'gradient_checkpointing', 'offload_fraction', 'activation_offloading'];
const DEPENDS = [
  'model_type',
  'base_model_name',
  'training_method',
  'peft_type',
  'lora_rank',
  'lora_decompose',
  'lora_weight_dtype',
  'layer_filter',
  'layer_filter_regex',
  'batch_size',
  'gradient_accumulation_steps',
  'resolution',
  'text_encoder_sequence_length',
  'text_encoder_2_sequence_length',
  'train_dtype',
  'latent_caching',
  'masked_training',
  'ema',
  'optimizer.optimizer',
  'optimizer.fused_back_pass',
  'optimizer.foreach',
  'samples',
  'sample_after_unit',
  ...PARTS.flatMap((part) => OF_PARTS.map((name) => `${part}.${name}`)),
];
const CATEGORIES = {
  weights: ['Weights', '--og-accent'],
  gradients: ['Gradients', '--og-bad'],
  optimizer: ['Optimizer state', '--og-second'],
  ema: ['EMA', '--og-muted'],
  activations: ['Activations', '--og-warn'],
  temporary: ['Temporary', '--og-line-strong'],
};
const PHASES = {
  caching_image: 'Caching images',
  caching_text: 'Caching captions',
  training: 'Training',
  sampling: 'Sampling',
  saving: 'Backup and save',
};

const share = (bytes, most) => `${((100 * bytes) / most).toFixed(2)}%`;

export function memory(settings) {
  const title = el('b', { text: 'Estimated VRAM' });
  const total = el('span', { role: 'status' });
  const bar = el('div', { class: 'og-memory', role: 'img' });
  const keys = el('ul', { class: 'og-draw-keys' });
  const phases = el('p', { class: 'og-help' });
  const note = el('p', { class: 'og-note', text: 'Estimate, not yet calibrated' });
  const steps = el('ol', { class: 'og-memory-steps', hidden: true });
  const more = button('Show what makes it fit', { kind: 'small', onclick: fit });
  const node = el(
    'figure',
    { class: 'og-figure', 'aria-label': 'Estimated VRAM' },
    el('figcaption', {}, title, total),
    bar,
    keys,
    phases,
    steps,
    more,
    note,
  );
  /** @type {any} */
  let found = null;
  let asked = {};
  setVisible(more, false);
  total.textContent = 'Estimating…';

  const depends = () => DEPENDS.filter((path) => path === 'samples' || settings.fieldAt(path));
  const problem = asking(
    settings,
    node,
    depends,
    (changes) => {
      asked = changes;
      return api('POST', 'api/config/memory', { changes });
    },
    (answer) => {
      found = answer;
      setVisible(steps, false);
      draw();
    },
    { after: 600 },
  );
  bar.after(problem);

  function draw() {
    const peak = found.phases.find((one) => one.phase === found.peak);
    const most = Math.max(found.gpu_bytes || 0, found.peak_bytes);
    const parts = Object.entries(CATEGORIES).filter(([name]) => peak.bytes[name]);
    const over = Boolean(found.gpu_bytes) && found.peak_bytes > found.gpu_bytes;
    const of = found.gpu_bytes ? ` of ${format.bytes(found.gpu_bytes)}` : '';
    total.textContent = `${format.bytes(found.peak_bytes)}${of} while ${PHASES[found.peak].toLowerCase()}${over ? ': doesn’t fit' : ''}`;
    bar.classList.toggle('over', over);
    bar.replaceChildren(
      ...parts.map(([name, [, tone]]) => el('i', { style: `width: ${share(peak.bytes[name], most)}; background: var(${tone})` })),
      ...(over ? [el('b', { style: `left: ${share(found.gpu_bytes, most)}`, title: 'Memory of the GPU' })] : []),
    );
    bar.setAttribute(
      'aria-label',
      `${total.textContent}. ${parts.map(([name, [label]]) => `${label} ${format.bytes(peak.bytes[name])}`).join(', ')}`,
    );
    keys.replaceChildren(
      ...parts.map(([name, [label, tone]]) =>
        el(
          'li',
          {},
          el('i', { style: `background: var(${tone})` }),
          el('span', { text: `${label} ${format.bytes(peak.bytes[name])}` }),
        ),
      ),
    );
    phases.textContent = found.phases.map((one) => `${PHASES[one.phase]} ${format.bytes(one.total)}`).join(' · ');
    note.textContent = [found.note, ...found.assumptions].join('. ');
    setVisible(more, over);
  }

  async function fit() {
    const changes = asked;
    more.disabled = true;
    try {
      const answer = await api('POST', 'api/config/memory', { changes, fit: true });
      if (changes !== asked) return;
      steps.replaceChildren(
        ...answer.steps.map((step) =>
          el('li', { text: `${step.label}: ${format.bytes(step.peak_bytes)}${step.fits ? ', fits' : ''}` }),
        ),
        ...(answer.steps.some((step) => step.fits) ? [] : [el('li', { text: 'Nothing else makes it fit into this GPU.' })]),
      );
      setVisible(steps, true);
      setVisible(more, false);
    } finally {
      more.disabled = false;
    }
  }
  return node;
}
