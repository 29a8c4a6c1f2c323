// The charts of one or more runs: one metric large, or all of them as small multiples, with one zoom and one pointer.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';
import { drawing, RunPlot, toneOf } from './run-plot.js';

const POINTS = 700;
const FINER_MS = 250;
const KEPT = 'og-run-charts';
const TITLES = {
  loss: 'Loss',
  smooth_loss: 'Smooth loss',
  grad_norm: 'Gradient norm',
  speed: 'Speed (images/s)',
  lr: 'Learning rate',
  validation: 'Validation loss',
};
const AXES = { step: 'Steps', epoch: 'Epochs', time: 'Time' };
const SMOOTHING = { 0: 'No smoothing', 0.9: 'Average 0.9', 0.97: 'Average 0.97', 0.99: 'Average 0.99', 0.999: 'Average 0.999' };
const LARGE = 'one';
let charts = 0;

/** What to call a metric: its label, with the parameter group or concept. */
export function metricTitle(name) {
  const [kind, ...rest] = name.split('/');
  return TITLES[name] || `${TITLES[kind] || kind}: ${rest.join('/')}`;
}

const remembered = () => JSON.parse(localStorage.getItem(KEPT) || '{}');
const picked = (label, values, value, change) => {
  const node = el(
    'select',
    { 'aria-label': label, onchange: () => change(node.value) },
    Object.entries(values).map(([key, text]) => el('option', { value: key, text })),
  );
  node.value = value in values ? value : Object.keys(values)[0];
  return node;
};

/** Charts of the runs `ids` in `place`; `loaded(answer)` is called with each answer of the server. */
export class RunCharts {
  constructor(place, ids, { loaded = (/** @type {any} */ _) => {}, chain = true } = {}) {
    const kept = remembered();
    this.ids = ids;
    this.chain = chain;
    this.loaded = loaded;
    this.metric = 'loss';
    this.layout = kept.layout === 'all' ? 'all' : LARGE;
    this.axis = kept.axis in AXES ? kept.axis : 'step';
    this.smoothing = kept.smoothing in SMOOTHING ? kept.smoothing : '0';
    this.log = Boolean(kept.log);
    /** @type {number | null} */
    this.from = null;
    /** @type {number | null} */
    this.to = null;
    /** @type {number[] | null} the whole width, before any zoom */
    this.whole = null;
    this.hidden = new Set();
    /** @type {any} */
    this.answer = null;
    /** @type {{ x: number, word: string, tone?: string }[]} */
    this.extra = [];
    /** @type {RunPlot[]} */
    this.plots = [];
    this.asked = '';
    /** @type {any} */
    this.metrics = null;
    /** @type {any} */
    this.reset = null;
    /** @type {any} */
    this.legend = null;
    /** @type {any} */
    this.grid = null;
    /** @type {any} */
    this.empty = null;
    /** @type {any} */
    this.status = null;
    charts += 1;
    this.shared = { key: `og-run-charts-${charts}`, zoom: (from, to) => this.zoom(from, to) };
    this.build(place);
  }

  build(place) {
    const keep = (name) => (value) => {
      this[name] = value;
      localStorage.setItem(
        KEPT,
        JSON.stringify({ layout: this.layout, axis: this.axis, smoothing: this.smoothing, log: this.log }),
      );
      if (name === 'axis') [this.from, this.to, this.whole] = [null, null, null];
      if (name === 'axis' || name === 'layout') this.load();
      else this.draw();
    };
    this.metrics = picked('Metric', { loss: 'Loss' }, 'loss', (value) => {
      this.metric = value;
      this.load();
    });
    this.reset = button('Reset zoom', { icon: 'reset', kind: 'small', hidden: true, onclick: () => this.zoom(null, null) });
    const log = el('input', { type: 'checkbox', checked: this.log, onchange: () => keep('log')(log.checked) });
    const layout = picked('Layout', { [LARGE]: 'One chart', all: 'All metrics' }, this.layout, keep('layout'));
    this.legend = el('ul', { class: 'og-legend og-run-legend', 'aria-label': 'Runs in the chart' });
    this.grid = el('div', { class: 'og-run-plots' });
    this.empty = el('p', { class: 'og-empty', hidden: true, text: 'No steps yet.' });
    this.status = el('p', { class: 'og-muted og-small', role: 'status' });
    place.append(
      el(
        'div',
        { class: 'og-card-head og-run-chart-head' },
        layout,
        this.metrics,
        el('label', { class: 'og-inline' }, el('span', { text: 'By' }), picked('Horizontal axis', AXES, this.axis, keep('axis'))),
        picked('Smoothing', SMOOTHING, this.smoothing, keep('smoothing')),
        el('label', { class: 'og-inline' }, log, el('span', { text: 'Log scale' })),
        el('span', { class: 'og-grow' }),
        this.reset,
        button('CSV', {
          icon: 'download',
          kind: 'small',
          title: 'Download the visible curves as CSV',
          onclick: () => this.csv(),
        }),
        button('PNG', { icon: 'download', kind: 'small', title: 'Download the charts as an image', onclick: () => this.png() }),
      ),
      this.legend,
      this.grid,
      this.empty,
      this.status,
    );
  }

  leave() {
    this.asked = 'left';
    for (const plot of this.plots) plot.leave();
    this.plots = [];
  }

  zoom(from, to) {
    if (from !== null && this.whole) {
      const [first, last] = this.whole;
      [from, to] = [Math.max(first, from), Math.min(last, to)];
      if (to - from < (last - first) / 1e6) return;
      if (from <= first && to >= last) [from, to] = [null, null];
    }
    [this.from, this.to] = [from, to];
    this.draw();
    clearTimeout(this.finer);
    this.finer = setTimeout(() => this.load(), FINER_MS); // the same stretch, with all the points there are for it
  }

  async load() {
    const query = new URLSearchParams({
      ids: this.ids.join(','),
      metrics: this.layout === 'all' ? 'all' : this.metric,
      axis: this.axis,
      points: String(POINTS),
      chain: String(this.chain),
      ...(this.from === null ? {} : { first: String(this.from), last: String(this.to) }),
    });
    const wanted = `api/runs/series?${query}`;
    this.asked = wanted;
    try {
      const answer = await api('GET', wanted);
      if (this.asked !== wanted) return;
      this.answer = answer;
      if (this.from === null) {
        const places = answer.runs.flatMap((run) => [run.x[0], run.x[run.x.length - 1]]).filter((each) => each !== undefined);
        this.whole = places.length ? [Math.min(...places), Math.max(...places)] : null;
      }
      this.offer(answer.available);
      this.loaded(answer);
      await this.draw();
    } catch (error) {
      if (error.status !== 0) toast(error.whole || error.message, 'bad');
    }
  }

  offer(available) {
    const names = [...new Set([...available, this.metric])];
    const key = names.join();
    if (this.metrics.dataset.of === key) return;
    this.metrics.dataset.of = key;
    this.metrics.replaceChildren(...names.map((name) => el('option', { value: name, text: metricTitle(name) })));
    this.metrics.value = this.metric;
  }

  async draw() {
    const tools = await drawing();
    const { answer } = this;
    if (!answer || this.asked === 'left') return;
    const metrics = this.layout === 'all' ? answer.metrics : [this.metric];
    setVisible(this.metrics, this.layout !== 'all');
    setVisible(this.reset, this.from !== null);
    setVisible(this.empty, !this.whole);
    setVisible(this.grid, Boolean(this.whole));
    this.grid.dataset.layout = this.layout;
    if (this.plots.map((plot) => plot.metric).join() !== metrics.join()) {
      for (const plot of this.plots) plot.leave();
      this.plots = metrics.map((name) => new RunPlot(tools, this.grid, name, metricTitle(name), this.shared));
    }
    const shown = answer.runs.map((run, at) => ({ run, at })).filter(({ run }) => !this.hidden.has(run.run_id));
    const [first, last] = this.whole || [0, 1];
    const from = this.from ?? first;
    const marks = shown.length === 1 ? shown[0].run.resumes.map(({ x }) => ({ x, word: 'resumed' })) : [];
    const view = {
      runs: shown.map(({ run }) => run),
      tones: shown.map(({ at }) => at),
      axis: this.axis,
      from,
      to: Math.max(this.to ?? last, from + Number.EPSILON, from === last ? from + 1 : from),
      log: this.log,
      smoothing: Number(this.smoothing),
      marks: [...marks, ...this.extra],
    };
    for (const plot of this.plots) plot.draw(view);
    this.names(answer);
    this.tell(answer);
  }

  /** A line at a place of the axis, for the replay. */
  at(x) {
    this.extra = x === null ? [] : [{ x, word: '', tone: '--og-accent' }];
    for (const plot of this.plots) {
      plot.view.marks = [...(plot.view.marks || []).filter(({ tone }) => !tone), ...this.extra];
      plot.plot?.redraw(false);
    }
  }

  names(answer) {
    const several = answer.runs.length > 1;
    setVisible(this.legend, several);
    const key = JSON.stringify([answer.runs.map((run) => [run.run_id, run.name]), [...this.hidden]]);
    if (!several || this.legend.dataset.of === key) return;
    const focused = document.activeElement?.closest('.og-run-legend li');
    const place = [...this.legend.children].indexOf(/** @type {any} */ (focused));
    this.legend.dataset.of = key;
    this.legend.replaceChildren(
      ...answer.runs.map((run, at) => {
        const toggle = () => {
          if (!this.hidden.delete(run.run_id)) this.hidden.add(run.run_id);
          this.draw();
        };
        const on = !this.hidden.has(run.run_id);
        return el(
          'li',
          {},
          el(
            'button',
            { type: 'button', class: 'og-legend-button', 'aria-pressed': String(on), onclick: toggle },
            el('span', { class: 'og-swatch', style: `background: ${toneOf(at)}` }),
            el('span', { text: run.name || run.run_id }),
          ),
        );
      }),
    );
    if (place >= 0) this.legend.children[place]?.querySelector('button')?.focus();
  }

  tell(answer) {
    const per = Math.max(...answer.runs.map((run) => run.rows_per_point), 0);
    const missing = answer.missing.length ? `${answer.missing.length} of the runs no longer exist. ` : '';
    const thinned =
      per > 1
        ? `Each point stands for up to ${format.count(Math.ceil(per))} steps, with their extremes. Zoom in to see each step.`
        : '';
    setText(this.status, missing + thinned);
  }

  csv() {
    const { answer } = this;
    if (!answer) return;
    const lines = [['run', 'run_id', 'metric', this.axis, 'mean', 'min', 'max']];
    for (const run of answer.runs) {
      for (const [metric, { mean, min, max }] of Object.entries(run.series))
        run.x.forEach((x, at) => {
          if (mean[at] !== null) lines.push([run.name, run.run_id, metric, x, mean[at], (min || mean)[at], (max || mean)[at]]);
        });
      for (const [metric, { x, y }] of Object.entries(run.validation))
        x.forEach((place, at) => {
          lines.push([run.name, run.run_id, metric, place, y[at], y[at], y[at]]);
        });
    }
    save(new Blob([lines.map((line) => line.map(quoted).join(',')).join('\r\n')], { type: 'text/csv' }), 'runs.csv');
  }

  png() {
    const { plots } = this;
    if (!plots.length || !plots[0].plot) return;
    const ratio = devicePixelRatio;
    const [head, gap] = [26 * ratio, 12 * ratio];
    const columns = this.layout === 'all' ? Math.max(1, Math.round(this.grid.clientWidth / plots[0].node.clientWidth)) : 1;
    const [{ width, height }] = plots.map(({ plot }) => plot.ctx.canvas);
    const shown = this.answer.runs.map((run, at) => ({ run, at })).filter(({ run }) => !this.hidden.has(run.run_id));
    const canvas = el('canvas', {
      width: columns * (width + gap),
      height: Math.ceil(plots.length / columns) * (height + head + gap) + head * shown.length,
    });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.fillStyle = plots[0].color('--og-panel');
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.font = `${13 * ratio}px ${getComputedStyle(this.grid).fontFamily}`;
    plots.forEach(({ plot, title, color }, at) => {
      const [x, y] = [(at % columns) * (width + gap), Math.floor(at / columns) * (height + head + gap)];
      context.fillStyle = color.call(plots[0], '--og-text');
      context.fillText(title, x + 8 * ratio, y + head * 0.7);
      context.drawImage(plot.ctx.canvas, x, y + head);
    });
    shown.forEach(({ run, at }, row) => {
      const y = canvas.height - head * (shown.length - row) + head * 0.6;
      context.fillStyle = plots[0].color(toneOf(at));
      context.fillRect(8 * ratio, y - 5 * ratio, 16 * ratio, 3 * ratio);
      context.fillStyle = plots[0].color('--og-text');
      context.fillText(run.name || run.run_id, 32 * ratio, y);
    });
    canvas.toBlob((blob) => blob && save(blob, 'runs.png'));
  }
}

/** A value as CSV; text that a spreadsheet would take for a formula begins with an apostrophe. */
const quoted = (value) => {
  const text = String(value ?? '');
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  el('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
