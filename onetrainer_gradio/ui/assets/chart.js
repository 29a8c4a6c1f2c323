// Loss, learning rate and gradient norm over the steps. The server thins a long run to the extremes of each bucket; newer points
// come by the WebSocket.

import { AVERAGES, add, linesOf, none, RUN, received, summed, zoomed } from './curves.js';
import { button, el, format, paced, setText, setVisible } from './dom.js';
import { api, on, store, viewed, view as viewRun } from './live.js';
import { library, Plot } from './plot.js';

const BUCKETS = 1000;
// five significant digits are more than a chart can show, and half the bytes
const DIGITS = 5;
const MAX_POINTS = 6000; // more are loaded again, thinned
const FINER_MS = 250;
const KEPT = 'og-chart';
const WHAT = { loss: 'Loss', rate: 'Learning rate', grad: 'Gradient norm' };

/** What is chosen: the value, its average and scale, which the browser keeps, and the steps of a zoom. */
function remembered() {
  const { average, log } = JSON.parse(localStorage.getItem(KEPT) || '{}');
  return {
    what: 'loss',
    smooth: AVERAGES.includes(average) ? average : RUN,
    log: Boolean(log),
    /** @type {number | null} */
    from: null,
    /** @type {number | null} */
    to: null,
  };
}

/** The controls above the chart; `changed(name, value)` takes a choice. */
function controls(view, changed) {
  const smoothing = el(
    'select',
    { id: 'og-smooth', onchange: () => changed('smooth', smoothing.value) },
    AVERAGES.map((value) =>
      el('option', { value, text: { [RUN]: 'Smooth loss', 0: 'No smoothing' }[value] || `Average ${value}` }),
    ),
  );
  smoothing.value = view.smooth;
  const logBox = el('input', { type: 'checkbox', checked: view.log, onchange: () => changed('log', logBox.checked) });
  const reset = button('Reset zoom', {
    icon: 'reset',
    kind: 'small',
    onclick: () => changed('range', [null, null]),
  });
  const pick = el(
    'div',
    { class: 'og-segments', role: 'group', 'aria-label': 'Metric' },
    Object.entries(WHAT).map(([key, label]) =>
      el('button', {
        type: 'button',
        'aria-pressed': String(key === view.what),
        dataset: { key },
        text: label,
        onclick: () => {
          for (const node of pick.children) node.setAttribute('aria-pressed', String(node.dataset.key === key));
          changed('what', key);
        },
      }),
    ),
  );
  setVisible(reset, false);
  const node = el(
    'div',
    { class: 'og-card-head' },
    pick,
    el('label', { class: 'og-inline', for: 'og-smooth' }, el('span', { text: 'Smoothing' }), smoothing),
    el('label', { class: 'og-inline' }, logBox, el('span', { text: 'Log scale' })),
    el('span', { class: 'og-grow' }),
    reset,
  );
  return { node, reset };
}

/** Names of several curves: in the color of text, next to a piece of the curve. */
function legend() {
  const node = el('ul', { class: 'og-legend', 'aria-label': 'Curves' });
  let drawn = '';
  return {
    node,
    put(lines) {
      const some = lines.length > 1 ? lines : [];
      const key = JSON.stringify(some.map(({ name, tone }) => [name, tone]));
      if (key === drawn) return;
      drawn = key;
      node.replaceChildren(
        ...some.map(({ name, tone }) =>
          el('li', {}, el('span', { class: 'og-swatch', style: `background: var(${tone})` }), el('span', { text: name })),
        ),
      );
    },
  };
}

/** A summary of the chart. “Smooth loss” is the value that the run itself reports. */
function sentences({ curves, lines, view, reported, broken, resumes }) {
  const { smooth_loss: low } = view.what === 'loss' ? curves.low : {};
  const [least, most] = low ? [low, curves.high.smooth_loss] : [lines[0].low, lines[0].high];
  const found = summed(least, most, low && view.from === null ? reported : null);
  const text =
    `${low ? 'Smooth loss' : WHAT[view.what]} up to step ${format.count(curves.x[curves.x.length - 1])}: now ${format.number(found.last)}, ` +
    `lowest ${format.number(found.least)}, highest ${format.number(found.most)}.`;
  const more = [
    broken && `${format.count(broken)} ${broken === 1 ? 'step has' : 'steps have'} no finite value.`,
    resumes.length &&
      `Resumed after step ${resumes.map(({ step }) => format.count(step)).join(', ')}. The chart includes the earlier ${resumes.length === 1 ? 'run' : 'runs'}.`,
  ].filter(Boolean);
  return { text, all: [text, ...more].join(' ') };
}

/** The curves of the run that is shown, kept up to date; `changed` is called with every change. */
class Source {
  constructor(view, changed) {
    this.view = view;
    this.changed = changed;
    /** @type {string | null} */
    this.run = null;
    this.curves = none();
    /** @type {{ step: number }[]} where a run continues the one before it */
    this.resumes = [];
    this.broken = 0; // steps whose value was no number
    this.asked = '';
    /** @type {{ id: string | null, name: string, started: number, rates: string[], steps: number, smooth: number | null }} */
    this.chosen = { id: null, name: '', started: 0, rates: [], steps: 0, smooth: null };
  }

  clear() {
    this.curves = none();
    this.resumes = [];
    this.broken = 0;
  }

  columns() {
    const rates = store.view ? this.chosen.rates : Object.keys(store.state?.learning_rates || {});
    return { loss: ['loss', 'smooth_loss'], rate: rates.map((name) => `lr/${name}`), grad: ['grad_norm'] }[this.view.what] || [];
  }

  get steps() {
    return store.view ? this.chosen.steps : store.state?.progress?.global_step;
  }

  get reported() {
    return store.view ? this.chosen.smooth : store.state?.smooth_loss;
  }

  /** Of a run chosen from the list: its name, curves and length. False when another one was chosen meanwhile. */
  async choose() {
    const id = store.view;
    if (!id || this.chosen.id === id) return true;
    const { state } = await api('GET', `api/runs/${encodeURIComponent(id)}`);
    if (store.view !== id) return false;
    this.chosen = {
      id,
      name: state.name || id,
      started: state.started_at,
      rates: Object.keys(state.learning_rates || {}),
      steps: state.progress.global_step,
      smooth: state.smooth_loss,
    };
    return true;
  }

  async load() {
    const id = viewed();
    if (!(await this.choose())) return;
    if (!id) {
      this.run = null;
      this.asked = '';
      this.clear();
      this.changed();
      return;
    }
    const { from, to } = this.view;
    const range = from === null ? '' : `&first=${Math.floor(from)}&last=${Math.ceil(to ?? from)}`;
    const columns = encodeURIComponent(this.columns().join(','));
    const wanted = `api/runs/${encodeURIComponent(id)}/metrics?buckets=${BUCKETS}&chain=true&digits=${DIGITS}&columns=${columns}${range}`;
    if (this.asked === wanted) return;
    this.asked = wanted;
    try {
      const answer = await api('GET', wanted);
      if (this.asked !== wanted) return;
      this.run = id;
      this.curves = received(answer);
      this.resumes = answer.resumes || [];
      this.broken = Math.max(0, ...Object.values(answer.not_finite || {}).map((steps) => steps.length));
      this.changed();
    } catch (error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    } finally {
      if (this.asked === wanted) this.asked = '';
    }
  }

  /** New steps by the WebSocket. */
  news(message) {
    const shown = this.columns();
    if (message.run_id !== this.run || shown.some((name) => !this.curves.low[name])) {
      this.load();
      return;
    }
    add(this.curves, message.columns, message.rows, shown);
    if (this.curves.x.length > MAX_POINTS && this.view.from === null) this.load();
    this.changed();
  }
}

/** @param {HTMLElement} place */
export function mount(place) {
  const chart = new Chart();
  place.append(chart.node);
  const load = () => chart.load();
  library().then((/** @type {any} */ uPlot) => chart.begin(uPlot));
  on('connected', load);
  on('training_state', () => {
    if (viewed() !== chart.source.run) load();
    else chart.pace.ask();
  });
  on('view', () => {
    chart.view.from = null;
    chart.view.to = null;
    load();
  });
  on('metrics', (/** @type {any} */ message) => chart.source.news(message));
  load();
}

class Chart {
  constructor() {
    this.view = remembered();
    this.source = new Source(this.view, () => this.pace.ask());
    const { node: head, reset } = controls(this.view, (/** @type {string} */ name, /** @type {any} */ value) =>
      this.take(name, value),
    );
    this.reset = reset;
    this.names = legend();
    this.frame = el('div', {
      class: 'og-plot',
      tabindex: 0,
      role: 'img',
      'aria-label': 'Curve',
      'aria-describedby': 'og-chart-summary',
      hidden: true,
    });
    this.summary = el('p', { class: 'og-muted og-small', id: 'og-chart-summary' });
    this.empty = el('p', { class: 'og-empty', text: 'No data yet. The chart starts with the first training step.' });
    this.which = el('p', { class: 'og-which', hidden: true });
    const wrap = el('div', { class: 'og-canvas-wrap' }, this.frame, this.empty);
    const content = [head, this.which, this.names.node, wrap, this.summary];
    this.node = el('section', { class: 'og-card', 'aria-label': 'Chart', hidden: true }, content);
    this.pace = paced(wrap, () => this.draw());
    this.finer = 0;
    /** @type {Plot | null} */
    this.plot = null;
  }

  /** @param {any} uPlot */
  begin(uPlot) {
    this.plot = new Plot(uPlot, this.frame, {
      zoom: (/** @type {number} */ factor, /** @type {number} */ around) => this.zoom(factor, around),
      stretch: (/** @type {number} */ from, /** @type {number} */ to) => this.range([from, to]),
    });
    this.pace.now();
  }

  /**
   * A control was used: what is shown, how much it is smoothed, on which scale, which stretch.
   * @param {string} name
   * @param {any} value
   */
  take(name, value) {
    if (name === 'range') {
      this.range(value);
      return;
    }
    Object.assign(this.view, { [name]: value });
    if (name === 'what') this.load();
    else localStorage.setItem(KEPT, JSON.stringify({ average: this.view.smooth, log: this.view.log }));
    this.pace.now();
  }

  /** @param {(number | null)[]} stretch */
  range([from, to]) {
    this.view.from = from;
    this.view.to = to;
    this.pace.now();
    clearTimeout(this.finer);
    this.finer = setTimeout(() => this.load(), FINER_MS); // the same stretch, with all the points there are for it
  }

  /**
   * @param {number} factor
   * @param {number} around
   */
  zoom(factor, around) {
    if (!this.plot) return;
    const { from, to } = this.plot.view;
    const found = zoomed(from, to, this.source.steps || to, factor, around);
    if (found === 'all') this.range([null, null]);
    else if (found && (this.view.from !== null || factor < 1)) this.range(found);
  }

  async load() {
    setVisible(this.node, Boolean(viewed()));
    await this.source.load();
    setVisible(this.which, Boolean(store.view));
    const { id, name, started } = this.source.chosen;
    if (!store.view || this.which.dataset.run === id) return;
    this.which.dataset.run = String(id);
    this.which.replaceChildren(
      el('span', { text: `Run “${name}” of ${format.time(started)}. ` }),
      button('Back to the current run', { kind: 'small', onclick: () => viewRun(null) }),
    );
  }

  draw() {
    const { view, source, plot } = this;
    const { curves, resumes, broken, reported } = source;
    const lines = linesOf(curves, source.columns(), view.what, view.smooth);
    const some = curves.x.length > 0 && lines.length > 0;
    setVisible(this.empty, !some);
    setVisible(this.frame, some);
    setVisible(this.reset, view.from !== null);
    this.names.put(lines);
    if (!some) {
      setText(this.summary, '');
      return;
    }
    const from = view.from ?? curves.x[0];
    const to = Math.max(view.to ?? curves.x[curves.x.length - 1], from + 1);
    const marks = resumes.map(({ step }) => ({ step, word: 'resumed' }));
    plot?.draw({ x: curves.x, lines, from, to, log: view.log, marks });
    const { text, all } = sentences({ curves, lines, view, reported, broken, resumes });
    setText(this.summary, all);
    this.frame.setAttribute('aria-label', `Curve. ${text}`);
  }
}
