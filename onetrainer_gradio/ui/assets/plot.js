// Lines over steps, drawn by uPlot: axes in the page's colors, marks, a readout at the pointer, zoom by mouse, fingers and keys.

import { bounds, drawable, extremes, nearest } from './curves.js';
import { el, format, setVisible } from './dom.js';
import { sheet } from './sheet.js';

const LIBRARY = 'vendor/uplot/uPlot.iife.min.js';
const STYLES = 'vendor/uplot/uPlot.min.css';
/** The distances between the labels of a step axis: there is no half step. */
export const STEPS_BETWEEN = [1, 2, 5]
  .flatMap((each) => Array.from({ length: 10 }, (_, power) => each * 10 ** power))
  .sort((a, b) => a - b);
const MIN_DRAG = 8; // pixels: less is a click

/** @type {any} */
let loading = null;
/** The library: a script of the old kind, which defines one name; loaded when a plot is first shown. */
export function library() {
  loading ||= new Promise((resolve, reject) => {
    const src = new URL(LIBRARY, import.meta.url).href;
    document.head.append(el('script', { src, onload: () => resolve(/** @type {any} */ (window).uPlot), onerror: reject }));
  });
  return Promise.all([loading, sheet(STYLES)]).then(([found]) => found);
}

/** A plot in `place`, which has the focus and the keys. `zoom(factor, step)` and `stretch(from, to)` set the visible range. */
export class Plot {
  constructor(uPlot, place, { zoom, stretch }) {
    this.uPlot = uPlot;
    this.place = place;
    this.zoom = zoom;
    this.stretch = stretch;
    this.readout = el('div', { class: 'og-readout', hidden: true });
    place.append(this.readout);
    /** @type {any} */
    this.plot = null;
    this.kind = '';
    /** @type {{ x: number[], lines: import('./curves.js').Line[], from: number, to: number, log: boolean, marks: { step: number, word: string }[] }} */
    this.view = { x: [], lines: [], from: 0, to: 1, log: false, marks: [] };
    this.twice = false;
    place.addEventListener('keydown', (event) => this.key(event));
    place.addEventListener('blur', () => this.point(null));
    new ResizeObserver(() => this.resize()).observe(place);
    document.addEventListener('og-theme', () => this.plot?.redraw());
  }

  /** Draw `lines` over the steps `x` between `from` and `to`; `marks` are steps with a dashed line and a word. */
  draw(view) {
    this.view = view;
    const { table, twice } = drawable(view.x, view.lines, view.log);
    this.twice = twice;
    const kind = JSON.stringify([view.log, view.lines.map(({ name, tone }) => [name, tone])]);
    if (kind !== this.kind) {
      this.kind = kind;
      this.plot?.destroy();
      this.plot = new this.uPlot(this.options(), table, this.place);
      this.plot.root.setAttribute('aria-hidden', 'true'); // the place around it has the name
      touch(this.plot.over, this);
    } else this.plot.setData(table);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.place;
    if (this.plot && width && (this.plot.width !== width || this.plot.height !== height)) this.plot.setSize({ width, height });
  }

  color(name) {
    return getComputedStyle(this.place).getPropertyValue(name).trim();
  }

  options() {
    const { lines, log } = this.view;
    const font = `11px ${getComputedStyle(this.place).fontFamily}`;
    const axis = {
      font,
      stroke: () => this.color('--og-muted'),
      grid: { stroke: () => this.color('--og-line'), width: 1 },
      ticks: { show: false },
    };
    return {
      width: this.place.clientWidth,
      height: this.place.clientHeight,
      legend: { show: false },
      scales: {
        x: { time: false, range: () => [this.view.from, this.view.to] },
        y: { distr: log ? 3 : 1, range: () => this.range() },
      },
      axes: [
        {
          ...axis,
          size: 24,
          gap: 4,
          space: 90,
          grid: { show: false },
          incrs: STEPS_BETWEEN,
          values: (_, all) => all.map(format.count),
        },
        {
          ...axis,
          size: 54,
          gap: 5,
          space: 40,
          values: (_, all) => all.map((each) => (each === null ? '' : format.number(each))),
        },
      ],
      series: [
        {},
        ...lines.map(({ tone, bold }) => ({
          stroke: () => this.color(tone),
          width: bold ? 1.8 : 1.1,
          points: { show: false },
        })),
      ],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        points: { size: 6, fill: (_, at) => this.color(this.view.lines[at - 1].tone) },
        bind: { dblclick: () => () => this.stretch(null, null) },
      },
      hooks: {
        setCursor: [() => this.tell()],
        setSelect: [(plot) => this.selected(plot)],
        draw: [(plot) => this.mark(plot)],
      },
    };
  }

  range() {
    const { x, lines, from, to, log } = this.view;
    return bounds(extremes(x, lines, from, to, log), log);
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (!width) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const [from, to] = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')];
    if (width > MIN_DRAG && to - from >= 4) this.stretch(Math.max(from, this.view.from), Math.min(to, this.view.to));
  }

  /** A dashed line with a word at each mark. */
  mark({ ctx, bbox, valToPos }) {
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.setLineDash([4 * ratio, 4 * ratio]);
    ctx.lineWidth = ratio;
    ctx.strokeStyle = ctx.fillStyle = this.color('--og-muted');
    ctx.font = `${11 * ratio}px ${getComputedStyle(this.place).fontFamily}`;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'top';
    for (const { step, word } of this.view.marks) {
      if (step < this.view.from || step > this.view.to) continue;
      const at = Math.round(valToPos(step, 'x', true)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(word, at + 4 * ratio, bbox.top);
    }
    ctx.restore();
  }

  /** The step at the pointer; null when there is none. */
  get at() {
    const left = this.plot?.cursor.left ?? -1;
    return left < 0 ? null : this.plot.posToVal(left, 'x');
  }

  /** Put the pointer at a step, or (null) away. */
  point(step) {
    const left = step === null ? -10 : this.plot?.valToPos(step, 'x');
    this.plot?.setCursor({ left, top: step === null ? -10 : 10 });
  }

  tell() {
    const { x, lines } = this.view;
    const step = this.at;
    setVisible(this.readout, step !== null && x.length > 0);
    if (step === null || !x.length) return;
    const at = nearest(x, step);
    const rows = lines.map(({ name, low, high }) => [
      name,
      low[at] === high[at] ? format.number(low[at]) : `${format.number(low[at])} – ${format.number(high[at])}`,
    ]);
    this.readout.replaceChildren(
      ...[['Step', format.count(x[at])], ...rows].map(([name, value]) =>
        el('div', {}, el('span', { text: name }), el('b', { text: value })),
      ),
    );
    const left = this.plot.over.offsetLeft + this.plot.cursor.left;
    const side = left > this.place.clientWidth / 2 ? left - this.readout.offsetWidth - 12 : left + 12;
    this.readout.style.transform = `translate(${Math.round(side)}px, 14px)`;
  }

  key(event) {
    const { from, to, x } = this.view;
    if (!this.plot || !x.length) return;
    const part = (to - from) / 50;
    const does = {
      ArrowLeft: () => this.point(Math.max(from, (this.at ?? to) - part)),
      ArrowRight: () => this.point(Math.min(to, (this.at ?? from) + part)),
      '+': () => this.zoom(0.7, this.at ?? (from + to) / 2),
      '-': () => this.zoom(1.4, this.at ?? (from + to) / 2),
      Escape: () => {
        this.point(null);
        this.stretch(null, null);
      },
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}

/** Wheel and two fingers zoom. The wheel only with Ctrl, or once the plot has the focus: else it would catch the page's scrolling. */
function touch(over, plot) {
  const fingers = new Map();
  let apart = 0;
  const stepAt = (pixel) => plot.plot.posToVal(pixel, 'x');
  over.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && document.activeElement !== plot.place) return;
      event.preventDefault();
      plot.zoom(event.deltaY > 0 ? 1.25 : 0.8, stepAt(event.offsetX));
    },
    { passive: false },
  );
  over.addEventListener('pointerdown', (event) => {
    fingers.set(event.pointerId, event.offsetX);
    apart = 0;
    if (event.pointerType === 'mouse') plot.place.focus({ preventScroll: true });
  });
  over.addEventListener('pointermove', (event) => {
    if (event.pointerType !== 'mouse') plot.point(stepAt(event.offsetX));
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event.offsetX);
    if (fingers.size !== 2) return;
    const [a, b] = fingers.values();
    const now = Math.max(20, Math.abs(a - b));
    if (apart) plot.zoom(apart / now, stepAt((a + b) / 2));
    apart = now;
  });
  for (const end of ['pointerup', 'pointercancel', 'pointerleave'])
    over.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      apart = 0;
    });
}
