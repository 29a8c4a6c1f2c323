// One metric of several runs as lines, drawn by uPlot: a color for each run, pointer and zoom shared with the other plots of a page.

import { el, format } from './dom.js';

/** What draws: uPlot, and the arithmetic of the chart on the Training tab. Loaded with the first chart. */
export async function drawing() {
  const [{ library, STEPS_BETWEEN: stepsBetween }, { bounds, smooth }] = await Promise.all([
    import('./plot.js'),
    import('./curves.js'),
  ]);
  return { uPlot: await library(), stepsBetween, bounds, smooth };
}

// distinguishable with color blindness, and dashed from the ninth run on
const TONES = 8;
const MIN_DRAG = 8; // pixels: less is a click
const VALIDATION = 'validation';

export const toneOf = (at) => `var(--og-run-${at % TONES})`;
const dashOf = (at) => (at < TONES ? undefined : at < 2 * TONES ? [6, 4] : [2, 3]);

const usable = (value, log) => value !== null && value !== undefined && Number.isFinite(value) && !(log && value <= 0);

/** The line of a metric of a run as [x, y]: smoothed, or from the lowest to the highest value of each stretch.
 * @returns {[number[], (number | null)[]]} */
export function lineOf(run, metric, smoothing, log, smooth) {
  if (metric.startsWith(VALIDATION)) {
    const { x = [], y = [] } = run.validation[metric] || {};
    return [x, y.map((value) => (usable(value, log) ? value : null))];
  }
  const { min, max, mean } = run.series[metric] || {};
  const { x } = run;
  if (!mean) return [[], []];
  if (smoothing > 0 || !min) {
    const width = new Array(x.length).fill(Math.max(1, run.rows_per_point));
    const values = smoothing > 0 ? Array.from(smooth(mean, mean, width, smoothing)) : mean;
    return [x, values.map((value, at) => (usable(mean[at], log) && usable(value, log) ? value : null))];
  }
  // two points for each stretch: a line through all extremes
  const wide = x.length > 1 ? (x[x.length - 1] - x[0]) / (x.length - 1) : 1;
  const places = x.flatMap((at, index) => [at, at + (x[index + 1] === undefined ? wide : x[index + 1] - at) / 2]);
  const values = x.flatMap((_, index) => [min[index], max[index]]);
  return [places, values.map((value) => (usable(value, log) ? value : null))];
}

/** Tables of one line each as one table: the places of all, with gaps where a line has none. */
export function joined(lines) {
  const x = [...new Set(lines.flatMap(([places]) => places))].sort((a, b) => a - b);
  const index = new Map(x.map((place, at) => [place, at]));
  const columns = lines.map(([places, values]) => {
    const column = new Array(x.length).fill(undefined);
    places.forEach((place, at) => {
      column[/** @type {number} */ (index.get(place))] = values[at];
    });
    return column;
  });
  return [x, ...columns];
}

/** The value of a line nearest to a place; null where it has none. */
function valueAt([places, values], place) {
  let best = -1;
  let apart = Infinity;
  for (let at = 0; at < places.length; at += 1) {
    const distance = Math.abs(places[at] - place);
    if (distance < apart && values[at] !== null) [best, apart] = [at, distance];
  }
  return best < 0 ? null : values[best];
}

const AXES = { step: format.count, epoch: format.number, time: format.span };

/** A plot of one metric. `shared` is {key, zoom(from, to), moved(plot, place)} of all plots of the page. */
export class RunPlot {
  constructor({ uPlot, stepsBetween, bounds, smooth }, place, metric, title, shared) {
    this.uPlot = uPlot;
    this.stepsBetween = stepsBetween;
    this.bounds = bounds;
    this.smooth = smooth;
    this.metric = metric;
    this.shared = shared;
    this.frame = el('div', { class: 'og-run-plot', tabindex: 0, role: 'img', 'aria-label': title });
    this.readout = el('div', { class: 'og-readout', hidden: true });
    this.node = el('figure', { class: 'og-run-figure' }, el('figcaption', { text: title }), this.frame);
    this.frame.append(this.readout);
    place.append(this.node);
    this.title = title;
    /** @type {any} */
    this.plot = null;
    /** @type {[number[], (number | null)[]][]} */
    this.lines = [];
    this.view = /** @type {any} */ ({ runs: [], tones: [], axis: 'step', from: 0, to: 1, log: false });
    this.frame.addEventListener('keydown', (event) => this.key(event));
    this.frame.addEventListener('blur', () => this.point(null));
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(this.frame);
    this.recolor = () => this.plot?.redraw();
    document.addEventListener('og-theme', this.recolor);
  }

  leave() {
    this.resized.disconnect();
    document.removeEventListener('og-theme', this.recolor);
    this.plot?.destroy();
    this.node.remove();
  }

  /** Draw {runs, tones, axis, from, to, log, smoothing, marks}. */
  draw(view) {
    this.view = view;
    this.lines = view.runs.map((run) => lineOf(run, this.metric, view.smoothing, view.log, this.smooth));
    /** @type {any[]} */
    const seen = this.lines.flatMap(([places, values]) =>
      values.filter((value, at) => value !== null && places[at] >= view.from && places[at] <= view.to),
    );
    this.limits = this.bounds(
      seen.length ? [seen.reduce((a, b) => Math.min(a, b)), seen.reduce((a, b) => Math.max(a, b))] : null,
      view.log,
    );
    const { clientWidth: width, clientHeight: height } = this.frame;
    this.plot?.destroy();
    this.plot = new this.uPlot(this.options(width, height), joined(this.lines), this.frame);
    this.plot.root.setAttribute('aria-hidden', 'true');
    this.frame.setAttribute('aria-label', `${this.title}. ${this.summary()}`);
  }

  /** The last value of each run. */
  summary() {
    return this.view.runs
      .slice(0, 10)
      .map((run, at) => `${run.name || run.run_id}: ${format.number(this.lines[at][1].filter((value) => value !== null).at(-1))}`)
      .join(', ');
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (this.plot && width && (this.plot.width !== width || this.plot.height !== height)) this.plot.setSize({ width, height });
  }

  color(name) {
    const style = getComputedStyle(this.frame);
    return style.getPropertyValue(name.replace(/^var\((.*)\)$/, '$1')).trim();
  }

  options(width, height) {
    const { log, tones, axis } = this.view;
    const font = `11px ${getComputedStyle(this.frame).fontFamily}`;
    const line = { font, stroke: () => this.color('--og-muted'), ticks: { show: false } };
    const grid = { stroke: () => this.color('--og-line'), width: 1 };
    return {
      width: width || 300,
      height: height || 200,
      legend: { show: false },
      scales: {
        x: { time: false, range: () => [this.view.from, this.view.to] },
        y: { distr: log ? 3 : 1, range: () => this.limits },
      },
      axes: [
        {
          ...line,
          size: 24,
          gap: 4,
          space: 80,
          grid: { show: false },
          incrs: axis === 'step' ? this.stepsBetween : undefined,
          values: (_, all) => all.map(AXES[axis]),
        },
        {
          ...line,
          grid,
          size: 54,
          gap: 5,
          space: 36,
          values: (_, all) => all.map((each) => (each === null ? '' : format.number(each))),
        },
      ],
      series: [
        {},
        ...tones.map((at) => ({
          stroke: () => this.color(toneOf(at)),
          width: 1.4,
          dash: dashOf(at),
          spanGaps: true,
          points: { show: this.metric.startsWith(VALIDATION), size: 5 },
        })),
      ],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        points: { show: false },
        sync: { key: this.shared.key, setSeries: false },
        bind: { dblclick: () => () => this.shared.zoom(null, null) },
      },
      hooks: { setCursor: [() => this.tell()], setSelect: [(plot) => this.selected(plot)], draw: [(plot) => this.mark(plot)] },
    };
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (!width) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (width > MIN_DRAG) this.shared.zoom(plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x'));
  }

  /** A dashed line where a run continues another, and where the replay is. */
  mark({ ctx, bbox, valToPos }) {
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.lineWidth = ratio;
    ctx.font = `${11 * ratio}px ${getComputedStyle(this.frame).fontFamily}`;
    ctx.textBaseline = 'top';
    ctx.textAlign = 'left';
    for (const { x, word, tone } of this.view.marks || []) {
      if (x < this.view.from || x > this.view.to) continue;
      ctx.strokeStyle = ctx.fillStyle = this.color(tone || '--og-muted');
      ctx.setLineDash(tone ? [] : [4 * ratio, 4 * ratio]);
      const at = Math.round(valToPos(x, 'x', true)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      if (word) ctx.fillText(word, at + 4 * ratio, bbox.top);
    }
    ctx.restore();
  }

  get at() {
    const left = this.plot?.cursor.left ?? -1;
    return left < 0 ? null : this.plot.posToVal(left, 'x');
  }

  point(place) {
    this.plot?.setCursor({ left: place === null ? -10 : this.plot.valToPos(place, 'x'), top: place === null ? -10 : 10 });
  }

  /** Values at the pointer, only in the plot that it is in. */
  tell() {
    const place = this.at;
    const here = place !== null && (this.frame.matches(':hover') || document.activeElement === this.frame);
    this.readout.hidden = !here || !this.lines.length;
    if (!here || !this.lines.length) return;
    const rows = this.view.runs.map((run, at) => [run.name || run.run_id, valueAt(this.lines[at], place), this.view.tones[at]]);
    this.readout.replaceChildren(
      el(
        'div',
        {},
        el('span', { text: { step: 'Step', epoch: 'Epoch', time: 'Time' }[this.view.axis] }),
        el('b', { text: AXES[this.view.axis](place) }),
      ),
      ...rows.map(([name, value, tone]) =>
        el(
          'div',
          {},
          el('span', {}, el('i', { class: 'og-swatch', style: `background: ${toneOf(tone)}` }), el('span', { text: name })),
          el('b', { text: format.number(value) }),
        ),
      ),
    );
    const left = this.plot.over.offsetLeft + this.plot.cursor.left;
    const side = left > this.frame.clientWidth / 2 ? left - this.readout.offsetWidth - 12 : left + 12;
    this.readout.style.transform = `translate(${Math.round(Math.max(0, side))}px, 10px)`;
  }

  key(event) {
    const { from, to } = this.view;
    const part = (to - from) / 50;
    const middle = this.at ?? (from + to) / 2;
    const zoom = (factor) => this.shared.zoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
    const does = {
      ArrowLeft: () => this.point(Math.max(from, (this.at ?? to) - part)),
      ArrowRight: () => this.point(Math.min(to, (this.at ?? from) + part)),
      '+': () => zoom(0.7),
      '-': () => zoom(1.4),
      Escape: () => {
        this.point(null);
        this.shared.zoom(null, null);
      },
    }[event.key];
    if (!does || !this.plot) return;
    event.preventDefault();
    does();
  }
}
