// How often each timestep is sampled: a live plot of the distribution under the settings, also while they are being typed.

import { asking } from './asking.js';
import { el, format, setVisible } from './dom.js';
import { api } from './live.js';

const DEPENDS = [
  'model_type',
  'timestep_distribution',
  'noising_weight',
  'noising_bias',
  'min_noising_strength',
  'max_noising_strength',
  'timestep_shift',
  'dynamic_timestep_shifting',
  'resolution',
  'concepts',
];
const TONES = ['--og-accent', '--og-second', '--og-warn', '--og-muted'];
const HIGHEST = 8;
const [LEFT, RIGHT, ABOVE, BELOW] = [40, 10, 10, 36];

/** @typedef {{width?: number, height?: number, shift: number, mean: number, quantiles: number[], density: number[]}} Curve */
/** @typedef {{curves: Curve[], timesteps: number, dynamic: boolean, notes: string[]}} Answer */

/** @param {any} settings */
export function timesteps(settings) {
  const plot = new Plot();
  const problem = asking(
    settings,
    plot.node,
    () => DEPENDS,
    (/** @type {any} */ changes) => {
      // of the concepts only what they say of sizes counts
      const { concepts: _, ...rest } = changes;
      return api('POST', 'api/config/timesteps', { changes: rest });
    },
    (/** @type {Answer} */ answer) => plot.put(answer),
  );
  plot.wrap.after(problem);
  return plot.node;
}

/** @param {Curve} curve */
const nameOf = (curve) => (curve.width ? `${curve.width} × ${curve.height}` : '');

class Plot {
  constructor() {
    /** @type {Answer | null} */
    this.answer = null;
    /** @type {number | null} */
    this.pointed = null; // as a part of all timesteps
    this.canvas = el('canvas', { class: 'og-canvas', role: 'img', tabindex: 0 });
    this.readout = el('div', { class: 'og-readout', hidden: true });
    this.wrap = el('div', { class: 'og-canvas-wrap og-draw' }, this.canvas, this.readout);
    this.keys = el('ul', { class: 'og-draw-keys' });
    this.notes = el('div', { class: 'og-draw-notes' });
    const title = 'Timestep sampling density';
    this.node = el(
      'figure',
      { class: 'og-figure', 'aria-label': title },
      el(
        'figcaption',
        {},
        el('b', { text: title }),
        el('span', { class: 'og-muted', text: 'Relative sampling frequency of each timestep (1 = uniform)' }),
      ),
      [this.wrap, this.keys, this.notes],
    );
    this.listen();
    new ResizeObserver(() => this.render()).observe(this.wrap);
    document.addEventListener('og-theme', () => this.render());
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener('pointermove', (event) =>
      this.point((event.offsetX - LEFT) / (this.wrap.clientWidth - LEFT - RIGHT)),
    );
    canvas.addEventListener('pointerleave', () => this.point(null));
    canvas.addEventListener('blur', () => this.point(null));
    canvas.addEventListener('keydown', ({ key }) => {
      const by = key === 'ArrowLeft' ? -0.01 : key === 'ArrowRight' ? 0.01 : 0;
      if (by && this.answer) this.point((this.pointed ?? 0.5) + by);
      if (key === 'Escape') this.point(null);
    });
  }

  /** @param {number | null} part */
  point(part) {
    this.pointed = part === null ? null : Math.min(1, Math.max(0, part));
    this.render();
  }

  /** @param {Answer} answer */
  put(answer) {
    this.answer = answer;
    const { curves, dynamic, notes, timesteps: all } = answer;
    this.keys.replaceChildren(...curves.map((curve, at) => key(curve, at, dynamic)));
    this.notes.replaceChildren(...notes.map((text) => el('p', { class: 'og-note', text })));
    const words = curves.map((curve) => {
      const mean = `mean timestep ${format.count(curve.mean)} of ${all}`;
      return `${nameOf(curve)} ${mean}, median ${curve.quantiles[1]}`;
    });
    this.canvas.setAttribute('aria-label', words.join('; '));
    this.render();
  }

  render() {
    if (!this.answer || !this.wrap.clientWidth) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [this.wrap.clientWidth, this.wrap.clientHeight];
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const brush = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d'));
    brush.scale(ratio, ratio);
    const drawing = new Drawing(brush, getComputedStyle(this.wrap), width, height, this.answer.curves);
    drawing.grid(this.answer.timesteps);
    drawing.curves(this.answer.curves, this.pointed);
    this.showReadout(drawing);
  }

  /** @param {Drawing} drawing */
  showReadout(drawing) {
    const { pointed, readout, answer } = this;
    setVisible(readout, pointed !== null);
    if (pointed === null || !answer) return;
    const rows = [
      ['Timestep', format.count(pointed * answer.timesteps)],
      ...answer.curves.map((curve) => {
        const bin = Math.min(curve.density.length - 1, Math.floor(pointed * curve.density.length));
        return [nameOf(curve) || 'Sampled', `× ${curve.density[bin].toFixed(2)}`];
      }),
    ];
    readout.replaceChildren(...rows.map(([name, value]) => el('div', {}, el('span', { text: name }), el('b', { text: value }))));
    const x = drawing.x(pointed);
    const side = pointed > 0.5 ? x - readout.offsetWidth - 12 : x + 12;
    readout.style.transform = `translate(${Math.round(side)}px, 14px)`;
  }
}

/**
 * @param {Curve} curve
 * @param {number} at
 * @param {boolean} dynamic
 */
function key(curve, at, dynamic) {
  const [least, middle, most] = curve.quantiles;
  return el(
    'li',
    {},
    el('i', { style: `background: var(${TONES[at % TONES.length]})` }),
    el(
      'span',
      {},
      nameOf(curve) && el('b', { text: `${nameOf(curve)} ` }),
      dynamic && el('span', { class: 'og-muted', text: `shift ${curve.shift.toFixed(2)} · ` }),
      el('span', { text: `median ${middle}, 80% between ${least} and ${most}` }),
    ),
  );
}

/** One drawing of the curves. */
class Drawing {
  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {CSSStyleDeclaration} looks
   * @param {number} width
   * @param {number} height
   * @param {Curve[]} curves
   */
  constructor(brush, looks, width, height, curves) {
    this.brush = brush;
    this.looks = looks;
    this.width = width;
    this.height = height;
    this.top = Math.min(HIGHEST, Math.max(1.6, ...curves.map((curve) => Math.max(...curve.density) * 1.08)));
  }

  /** @param {string} name */
  color(name) {
    return this.looks.getPropertyValue(name).trim();
  }

  /** @param {number} part */
  x(part) {
    return LEFT + part * (this.width - LEFT - RIGHT);
  }

  /** @param {number} value */
  y(value) {
    return ABOVE + (1 - Math.min(value, this.top * 1.1) / this.top) * (this.height - ABOVE - BELOW);
  }

  /** @param {number} y */
  across(y) {
    this.brush.beginPath();
    this.brush.moveTo(LEFT, y);
    this.brush.lineTo(this.width - RIGHT, y);
    this.brush.stroke();
  }

  /** @param {number} timesteps_ */
  grid(timesteps_) {
    const { brush, top, width, height } = this;
    brush.font = `11.5px ${this.looks.fontFamily}`;
    brush.lineWidth = 1;
    brush.textBaseline = 'middle';
    brush.textAlign = 'right';
    const step = top > 4 ? 2 : top > 2 ? 1 : 0.5;
    for (let value = 0; value <= top; value += step) {
      const y = Math.round(this.y(value)) + 0.5;
      brush.strokeStyle = this.color('--og-line');
      this.across(y);
      brush.fillStyle = this.color('--og-muted');
      brush.fillText(`× ${value}`, LEFT - 7, y);
    }
    brush.textBaseline = 'top';
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      brush.textAlign = part === 0 ? 'left' : part === 1 ? 'right' : 'center';
      brush.fillText(String(Math.round(part * timesteps_)), this.x(part), height - BELOW + 6);
    }
    brush.textAlign = 'left';
    brush.fillText('low noise: details', LEFT, height - 14);
    brush.textAlign = 'right';
    brush.fillText('high noise: composition', width - RIGHT, height - 14);
  }

  /**
   * @param {Curve[]} curves
   * @param {number | null} pointed
   */
  curves(curves, pointed) {
    const { brush, width, height } = this;
    brush.save();
    brush.beginPath();
    brush.rect(LEFT, ABOVE - 2, width - LEFT - RIGHT, height - ABOVE - BELOW + 3);
    brush.clip();
    brush.setLineDash([4, 4]);
    brush.strokeStyle = this.color('--og-line-strong');
    this.across(Math.round(this.y(1)) + 0.5);
    brush.setLineDash([]);
    curves.forEach(({ density }, at) => {
      this.curve(density, this.color(TONES[at % TONES.length]));
    });
    if (pointed !== null) {
      brush.strokeStyle = this.color('--og-muted');
      brush.lineWidth = 1;
      const x = Math.round(this.x(pointed)) + 0.5;
      brush.beginPath();
      brush.moveTo(x, ABOVE);
      brush.lineTo(x, height - BELOW);
      brush.stroke();
    }
    brush.restore();
  }

  /**
   * @param {number[]} density
   * @param {string} tone
   */
  curve(density, tone) {
    const { brush } = this;
    const last = density.length - 1;
    const trace = () => {
      for (const [bin, value] of density.entries())
        brush.lineTo(this.x(bin === 0 ? 0 : bin === last ? 1 : (bin + 0.5) / density.length), this.y(value));
    };
    brush.beginPath();
    brush.moveTo(this.x(0), this.y(0));
    trace();
    brush.lineTo(this.x(1), this.y(0));
    brush.closePath();
    brush.globalAlpha = 0.13;
    brush.fillStyle = tone;
    brush.fill();
    brush.globalAlpha = 1;
    brush.beginPath();
    trace();
    brush.strokeStyle = tone;
    brush.lineWidth = 1.7;
    brush.lineJoin = 'round';
    brush.stroke();
  }
}
