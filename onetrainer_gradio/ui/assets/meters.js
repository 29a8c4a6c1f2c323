// Meters of the machine: each shows a value and its last ten minutes.

import { el, format, paced, setText } from './dom.js';

const SHOWN_S = 600;
const MIN_SHOWN_S = 60; // a short history doesn’t fill only the edge
const MAX_WATTS = 450; // full height if a GPU doesn’t report its limit

/** @typedef {{key: string, label: string, text: string, below?: string, part: number}} Value one meter's value and its share */
/** @typedef {[number, number]} Point when, and the share */

export class Meters {
  constructor() {
    this.node = el('div', { class: 'og-meters' });
    /** @type {Map<string, Meter>} */
    this.meters = new Map();
    document.addEventListener('og-theme', () => this.redraw());
  }

  redraw() {
    for (const meter of this.meters.values()) meter.pace.now();
  }

  /**
   * Show the history, which comes as columns, and the current reading, which has the constants (totals, names).
   * @param {any} history
   * @param {any} now
   */
  load(history, now) {
    for (const meter of this.meters.values()) meter.points.length = 0;
    const { at = [], gpus = [] } = history || {};
    for (const [index, time] of at.entries()) {
      const { cpu, memory_used, disk_used } = history;
      const past = { at: time, cpu: cpu[index], memory_used: memory_used[index], disk_used: disk_used[index] };
      const cards = /** @type {any[]} */ (now.gpus || []).map((gpu, card) => ({ ...gpu, ...row(gpus[card] || {}, index) }));
      this.add({ ...now, ...past, gpus: cards }, false);
    }
    this.add(now);
    this.redraw();
  }

  /**
   * Add one reading: CPU, RAM, disk, and the values of each GPU.
   * @param {any} now
   */
  add(now, redraw = true) {
    if (!now) return;
    for (const value of [...machine(now), .../** @type {any[]} */ (now.gpus || []).flatMap(card)]) {
      let meter = this.meters.get(value.key);
      if (!meter) {
        meter = new Meter(value.label);
        this.meters.set(value.key, meter);
        this.node.append(meter.node);
      }
      meter.add(value, now.at, redraw);
    }
  }
}

class Meter {
  /** @param {string} label */
  constructor(label) {
    /** @type {Point[]} */
    this.points = [];
    this.value = el('b', {});
    this.more = el('span', { class: 'og-muted og-small' });
    const canvas = el('canvas', { class: 'og-spark', role: 'img', 'aria-label': `History of ${label}` });
    this.pace = paced(canvas, () => spark(canvas, this.points), 1000);
    const head = el('div', { class: 'og-meter-head' }, el('span', { text: label }), this.value);
    this.node = el('div', { class: 'og-meter' }, head, canvas, this.more);
  }

  /**
   * @param {Value} value
   * @param {number} at
   * @param {boolean} redraw
   */
  add({ text, below = '', part }, at, redraw) {
    setText(this.value, text);
    setText(this.more, below);
    this.points.push([at, part]);
    while (this.points[0][0] < at - SHOWN_S) this.points.shift();
    if (redraw) this.pace.ask();
  }
}

/**
 * @param {Record<string, any[]>} columns
 * @param {number} index
 */
const row = (columns, index) => Object.fromEntries(Object.entries(columns).map(([key, values]) => [key, values[index]]));

/**
 * @param {number} used
 * @param {number} total
 */
const share = (used, total) => ({
  text: format.percent((100 * used) / total),
  below: `${format.bytes(used)} of ${format.bytes(total)}`,
  part: used / total,
});

/**
 * @param {any} now
 * @returns {Value[]}
 */
function machine(now) {
  const found = [{ key: 'cpu', label: 'CPU', text: format.percent(now.cpu), part: now.cpu / 100 }];
  for (const [key, label] of [
    ['memory', 'RAM'],
    ['disk', 'Disk (data folder)'],
  ]) {
    const [used, total] = [now[`${key}_used`], now[`${key}_total`]];
    if (total) found.push({ key, label, ...share(used, total) });
  }
  return found;
}

/** @param {any} value */
const known = (value) => value !== undefined && value !== null;

/**
 * @param {any} gpu
 * @param {number} number
 * @returns {Value[]}
 */
function card(gpu, number) {
  const name = gpu.name || `GPU ${number}`;
  const key = `gpu${number}`;
  const { utilization, memory_used, memory_total, temperature, power, power_limit } = gpu;
  /** @type {Value[]} */
  const found = [];
  if (known(utilization))
    found.push({ key, label: name, text: format.percent(utilization), below: 'GPU utilization', part: utilization / 100 });
  if (memory_total) found.push({ key: `${key}-memory`, label: `${name}: VRAM`, ...share(memory_used, memory_total) });
  if (known(temperature)) {
    const text = `${Math.round(temperature)} °C`;
    found.push({ key: `${key}-heat`, label: `${name}: temperature`, text, part: temperature / 100 });
  }
  if (known(power)) {
    const below = power_limit ? `of ${Math.round(power_limit)} W` : '';
    const part = power / (power_limit || MAX_WATTS);
    found.push({ key: `${key}-power`, label: `${name}: power`, text: `${Math.round(power)} W`, below, part });
  }
  return found;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Point[]} points
 */
function spark(canvas, points) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !points.length) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const style = getComputedStyle(canvas);
  const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  brush.scale(ratio, ratio);
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const span = Math.max(MIN_SHOWN_S, last - first);
  const x = (/** @type {number} */ at) => width - ((last - at) / span) * width;
  const y = (/** @type {number} */ part) => height - 1 - Math.min(1, part ?? 0) * (height - 3);
  brush.beginPath();
  for (const [at, part] of points) brush.lineTo(x(at), y(part));
  brush.strokeStyle = style.getPropertyValue('--og-accent');
  brush.lineWidth = 1.5;
  brush.stroke();
  brush.lineTo(width, height);
  brush.lineTo(x(first), height);
  brush.fillStyle = style.getPropertyValue('--og-accent-soft');
  brush.fill();
}
