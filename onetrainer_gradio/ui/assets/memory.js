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
/** @type {Record<string, [string, string]>} */
const CATEGORIES = {
  weights: ['Weights', '--og-accent'],
  gradients: ['Gradients', '--og-bad'],
  optimizer: ['Optimizer state', '--og-second'],
  ema: ['EMA', '--og-muted'],
  activations: ['Activations', '--og-warn'],
  temporary: ['Temporary', '--og-line-strong'],
};
/** @type {Record<string, string>} */
const PHASES = {
  caching_image: 'Caching images',
  caching_text: 'Caching captions',
  training: 'Training',
  sampling: 'Sampling',
  saving: 'Backup and save',
};

/**
 * @param {number} bytes
 * @param {number} most
 */
const share = (bytes, most) => `${((100 * bytes) / most).toFixed(2)}%`;

/** @param {any} settings */
export function memory(settings) {
  const meter = new MemoryMeter();
  const problem = asking(
    settings,
    meter.node,
    () => DEPENDS.filter((path) => path === 'samples' || settings.fieldAt(path)),
    (/** @type {any} */ changes) => {
      meter.asked = changes;
      return api('POST', 'api/config/memory', { changes });
    },
    (/** @type {any} */ answer) => meter.put(answer),
    { after: 600 },
  );
  meter.bar.after(problem);
  return meter.node;
}

class MemoryMeter {
  constructor() {
    this.asked = {};
    const title = 'Estimated VRAM';
    this.total = el('span', { role: 'status', text: 'Estimating…' });
    this.bar = el('div', { class: 'og-memory', role: 'img' });
    this.keys = el('ul', { class: 'og-draw-keys' });
    this.phases = el('p', { class: 'og-help' });
    this.note = el('p', { class: 'og-note', text: 'Estimate, not yet calibrated' });
    this.steps = el('ol', { class: 'og-memory-steps', hidden: true });
    this.more = button('Show what makes it fit', { kind: 'small', hidden: true, onclick: () => this.fit() });
    const caption = el('figcaption', {}, el('b', { text: title }), this.total);
    const content = [caption, this.bar, this.keys, this.phases, this.steps, this.more, this.note];
    this.node = el('figure', { class: 'og-figure', 'aria-label': title }, content);
  }

  /** @param {any} found */
  put(found) {
    setVisible(this.steps, false);
    /** @type {any[]} */
    const phases = found.phases;
    const { bytes } = phases.find((one) => one.phase === found.peak);
    const over = Boolean(found.gpu_bytes) && found.peak_bytes > found.gpu_bytes;
    const of = found.gpu_bytes ? ` of ${format.bytes(found.gpu_bytes)}` : '';
    const during = PHASES[found.peak].toLowerCase();
    this.total.textContent = `${format.bytes(found.peak_bytes)}${of} while ${during}${over ? ': doesn’t fit' : ''}`;
    this.parts(bytes, found, over);
    this.phases.textContent = phases.map((one) => `${PHASES[one.phase]} ${format.bytes(one.total)}`).join(' · ');
    this.note.textContent = [found.note, ...found.assumptions].join('. ');
    setVisible(this.more, over);
  }

  /**
   * The parts of the memory at its peak.
   * @param {Record<string, number>} bytes
   * @param {any} found
   * @param {boolean} over
   */
  parts(bytes, found, over) {
    const most = Math.max(found.gpu_bytes || 0, found.peak_bytes);
    const parts = Object.entries(CATEGORIES)
      .filter(([name]) => bytes[name])
      .map(([name, [label, tone]]) => ({
        text: `${label} ${format.bytes(bytes[name])}`,
        tone: `background: var(${tone})`,
        width: `width: ${share(bytes[name], most)}`,
      }));
    this.bar.classList.toggle('over', over);
    this.bar.replaceChildren(
      ...parts.map(({ width, tone }) => el('i', { style: `${width}; ${tone}` })),
      ...(over ? [el('b', { style: `left: ${share(found.gpu_bytes, most)}`, title: 'Memory of the GPU' })] : []),
    );
    this.bar.setAttribute('aria-label', `${this.total.textContent}. ${parts.map(({ text }) => text).join(', ')}`);
    this.keys.replaceChildren(...parts.map(({ text, tone }) => el('li', {}, el('i', { style: tone }), el('span', { text }))));
  }

  async fit() {
    const changes = this.asked;
    this.more.disabled = true;
    try {
      const answer = await api('POST', 'api/config/memory', { changes, fit: true });
      if (changes !== this.asked) return;
      /** @type {any[]} */
      const steps = answer.steps;
      const text = (/** @type {any} */ step) => `${step.label}: ${format.bytes(step.peak_bytes)}${step.fits ? ', fits' : ''}`;
      this.steps.replaceChildren(...steps.map((step) => el('li', { text: text(step) })));
      if (!steps.some((step) => step.fits)) this.steps.append(el('li', { text: 'Nothing else makes it fit into this GPU.' }));
      setVisible(this.steps, true);
      setVisible(this.more, false);
    } finally {
      this.more.disabled = false;
    }
  }
}
