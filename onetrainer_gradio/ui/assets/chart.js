// Loss and learning rate over the steps, on a plain 2D canvas. The server thins a long run to the extremes of each bucket;
// newer points come by the WebSocket.

import { button, el, format, paced, setText, setVisible } from './dom.js';
import { api, on, store, viewed, view as viewRun } from './live.js';

const BUCKETS = 1000;
// five significant digits are more than a chart can show, and half the bytes
const DIGITS = 5;
const RUN = 'run'; // the loss that the run itself smooths: the one number called "Smoothed" everywhere
const AVERAGES = [RUN, '0', '0.5', '0.9', '0.97', '0.99', '0.999'];
const USUAL_AVERAGE = '0.9'; // for what the run does not smooth
const MOST_POINTS = 6000; // more than that is fetched anew, thinned

export function mount(place) {
  const canvas = el('canvas', {
    class: 'og-canvas',
    tabindex: 0,
    role: 'img',
    'aria-label': 'Curve',
    'aria-describedby': 'og-chart-summary',
  });
  const readout = el('div', { class: 'og-readout', hidden: true });
  const summary = el('p', { class: 'og-muted og-small', id: 'og-chart-summary' });
  const empty = el('p', { class: 'og-empty', text: 'No points yet. The curve begins with the first step of a run.' });
  const remembered = JSON.parse(localStorage.getItem('og-chart') || '{}');
  /** @type {{ smooth: string, log: boolean, what: string, from: number | null, to: number | null, at: number | null }} */
  const view = {
    smooth: AVERAGES.includes(remembered.average) ? remembered.average : RUN,
    log: remembered.log ?? false,
    what: 'loss',
    from: null,
    to: null,
    at: null,
  };
  const smoothing = el(
    'select',
    {
      id: 'og-smooth',
      onchange: () => {
        view.smooth = smoothing.value;
        keep();
        smoothed = null;
        pace.now();
      },
    },
    AVERAGES.map((value) => el('option', { value, text: { [RUN]: 'Smoothed loss', 0: 'None' }[value] || `Average ${value}` })),
  );
  smoothing.value = view.smooth;
  const legend = el('ul', { class: 'og-legend', 'aria-label': 'Curves' });
  const logBox = el('input', {
    type: 'checkbox',
    checked: view.log,
    onchange: (event) => {
      view.log = event.target.checked;
      keep();
      pace.now();
    },
  });
  const reset = button('Whole run', {
    icon: 'reset',
    kind: 'small',
    title: 'Show the whole run again',
    onclick: () => zoomTo(null, null),
  });
  const pick = el(
    'div',
    { class: 'og-segments', role: 'group', 'aria-label': 'What the chart shows' },
    [
      ['loss', 'Loss'],
      ['rate', 'Learning rate'],
      ['grad', 'Gradient norm'],
    ].map(([key, label]) =>
      el('button', {
        type: 'button',
        'aria-pressed': String(key === view.what),
        dataset: { key },
        text: label,
        onclick: () => {
          view.what = key;
          for (const node of pick.children) node.setAttribute('aria-pressed', String(node.dataset.key === key));
          smoothed = null;
          load();
          pace.now();
        },
      }),
    ),
  );
  const which = el('p', { class: 'og-which', hidden: true });
  const wrap = el('div', { class: 'og-canvas-wrap' }, canvas, readout, empty);
  setVisible(reset, false);

  const card = el(
    'section',
    { class: 'og-card', 'aria-label': 'Chart', hidden: true },
    el(
      'div',
      { class: 'og-card-head' },
      pick,
      el('label', { class: 'og-inline', for: 'og-smooth' }, el('span', { text: 'Smoothing' }), smoothing),
      el('label', { class: 'og-inline' }, logBox, el('span', { text: 'Log scale' })),
      el('span', { class: 'og-grow' }),
      reset,
    ),
    which,
    legend,
    wrap,
    summary,
  );
  place.append(card);

  const keep = () => localStorage.setItem('og-chart', JSON.stringify({ average: view.smooth, log: view.log }));

  // What is held: steps, how many updates each point stands for, and lowest and highest value of each column there.
  /** @type {string | null} */
  let runId = null;
  /** @type {{ x: number[], width: number[], low: Record<string, any>, high: Record<string, any> }} */
  let held = { x: [], width: [], low: {}, high: {} };
  /** @type {any} */
  let smoothed = null;
  let asked = '';
  let resumes = []; // where a run continues the one before it
  let broken = 0; // steps whose value was no number
  const pace = paced(wrap, draw);

  const columns = () => {
    const rates = (store.view ? chosen.rates : Object.keys(store.state?.learning_rates || {})).map((name) => `lr/${name}`);
    return { loss: ['loss', 'smooth_loss'], rate: rates, grad: ['grad_norm'] }[view.what];
  };

  /** Of a run chosen from the list: its name, curves and length. False when another one was chosen meanwhile. */
  /** @type {{ id: string | null, rates: string[], steps: number, smooth: number | null }} */
  let chosen = { id: null, rates: [], steps: 0, smooth: null };
  async function choose() {
    const id = store.view;
    setVisible(which, Boolean(id));
    if (!id || chosen.id === id) return true;
    const { state } = await api('GET', `api/runs/${encodeURIComponent(id)}`);
    if (store.view !== id) return false;
    chosen = { id, rates: Object.keys(state.learning_rates || {}), steps: state.progress.global_step, smooth: state.smooth_loss };
    which.replaceChildren(
      el('span', { text: `Run “${state.name || id}” of ${format.time(state.started_at)}. ` }),
      button('Back to the present run', { kind: 'small', onclick: () => viewRun(null) }),
    );
    return true;
  }

  async function load() {
    const id = viewed();
    setVisible(card, Boolean(id));
    if (!(await choose())) return;
    if (!id) {
      runId = null;
      resumes = [];
      held = { x: [], width: [], low: {}, high: {} };
      smoothed = null;
      asked = '';
      pace.ask();
      return;
    }
    const range = view.from === null ? '' : `&first=${Math.floor(view.from)}&last=${Math.ceil(view.to ?? view.from)}`;
    const wanted = `api/runs/${encodeURIComponent(id)}/metrics?buckets=${BUCKETS}&chain=true&digits=${DIGITS}&columns=${encodeURIComponent(columns().join(','))}${range}`;
    if (asked === wanted) return;
    asked = wanted;
    try {
      const answer = await api('GET', wanted);
      if (asked !== wanted) return;
      runId = id;
      const last = answer.x_last || answer.x;
      held = {
        x: answer.x,
        low: answer.min,
        high: answer.max,
        width: answer.x.map((step, at) => Math.max(1, last[at] - step + 1)),
      };
      resumes = answer.resumes || [];
      broken = Math.max(0, ...Object.values(answer.not_finite || {}).map((steps) => steps.length));
      smoothed = null;
      pace.ask();
    } catch (error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    } finally {
      if (asked === wanted) asked = '';
    }
  }

  on('connected', () => load());
  on('training_state', () => {
    if (viewed() !== runId) load();
    else pace.ask();
  });
  on('view', () => {
    view.from = null;
    view.to = null;
    load();
  });
  on('metrics', (message) => {
    const shown = columns();
    if (message.run_id !== runId || shown.some((name) => !held.low[name])) {
      load();
      return;
    }
    const step = message.columns.indexOf('global_step');
    const at = shown.map((name) => message.columns.indexOf(name));
    for (const row of message.rows) {
      // the snapshot may hold some of these rows already
      if (held.x.length && row[step] <= held.x[held.x.length - 1]) continue;
      held.x.push(row[step]);
      held.width.push(1);
      shown.forEach((name, index) => {
        held.low[name].push(row[at[index]]);
        held.high[name].push(row[at[index]]);
      });
    }
    smoothed = null;
    if (held.x.length > MOST_POINTS && view.from === null) load();
    pace.ask();
  });
  document.addEventListener('og-theme', () => pace.now());
  new ResizeObserver(() => pace.now()).observe(wrap);

  /** Exponential mean without the pull towards zero at the start; a point that stands for many steps counts as many. */
  function smooth(low, high, factor) {
    const out = new Float64Array(low.length);
    let mean = 0;
    let weight = 0;
    for (let at = 0; at < low.length; at += 1) {
      if (low[at] !== null && Number.isFinite(low[at])) {
        const keeps = factor ** held.width[at];
        mean = keeps * mean + (1 - keeps) * ((low[at] + high[at]) / 2);
        weight = keeps * weight + (1 - keeps);
      }
      out[at] = weight ? mean / weight : NaN;
    }
    return out;
  }

  function series() {
    const shown = columns().filter((name) => held.low[name]);
    if (view.what === 'rate') {
      return shown.map((name, at) => ({
        name: name.slice(3),
        low: held.low[name],
        high: held.high[name],
        tone: at % 2 ? '--og-second' : '--og-accent',
        bold: true,
      }));
    }
    const [name] = shown;
    if (!name) return [];
    const plain = {
      name: name === 'loss' ? 'loss' : 'norm',
      low: held.low[name],
      high: held.high[name],
      tone: '--og-curve-faint',
    };
    if (view.smooth === '0') return [{ ...plain, tone: '--og-accent', bold: true }];
    if (view.smooth === RUN && held.low.smooth_loss)
      return [
        plain,
        { name: 'smoothed', low: held.low.smooth_loss, high: held.high.smooth_loss, tone: '--og-accent', bold: true },
      ];
    const factor = view.smooth === RUN ? USUAL_AVERAGE : view.smooth;
    if (!smoothed) smoothed = smooth(held.low[name], held.high[name], Number(factor));
    return [plain, { name: `average ${factor}`, low: smoothed, high: smoothed, tone: '--og-accent', bold: true }];
  }

  /** @type {any} */
  let plot = null; // what the last drawing showed, for the pointer
  function draw() {
    const { x } = held;
    const lines = series();
    const width = wrap.clientWidth;
    const height = wrap.clientHeight;
    const some = x.length > 0 && lines.length > 0 && width > 0;
    setVisible(empty, !some);
    setVisible(canvas, some);
    setVisible(reset, view.from !== null);
    if (!some) {
      setText(summary, '');
      return;
    }
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const style = getComputedStyle(place);
    const colour = (name) => style.getPropertyValue(name).trim();
    const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.clearRect(0, 0, width, height);
    brush.font = `11px ${style.fontFamily}`;

    const from = view.from ?? x[0];
    const to = Math.max(view.to ?? x[x.length - 1], from + 1);
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) {
      for (let at = 0; at < x.length; at += 1) {
        if (x[at] < from || x[at] > to || line.low[at] === null || !Number.isFinite(line.low[at])) continue;
        if (line.low[at] < low && !(view.log && line.low[at] <= 0)) low = line.low[at];
        if (line.high[at] > high) high = line.high[at];
      }
    }
    if (low > high) {
      low = 0;
      high = 1;
    }
    if (low === high) {
      const pad = Math.abs(low) * 0.1 || 1;
      low -= view.log ? low * 0.1 : pad;
      high += pad;
    }
    const scale = view.log ? Math.log10 : (value) => value;
    const back = view.log ? (value) => 10 ** value : (value) => value;
    let bottom = scale(low);
    let top = scale(high);
    const room = (top - bottom) * 0.06;
    bottom -= room;
    top += room;
    if (!view.log && low >= 0 && bottom < 0) bottom = 0;
    const left = 52;
    const right = 10;
    const above = 8;
    const below = 22;
    const px = (value) => left + ((value - from) / (to - from)) * (width - left - right);
    const py = (value) => above + (1 - (scale(value) - bottom) / (top - bottom)) * (height - above - below);

    brush.fillStyle = colour('--og-muted');
    brush.strokeStyle = colour('--og-line');
    brush.lineWidth = 1;
    brush.textAlign = 'right';
    brush.textBaseline = 'middle';
    for (const tick of view.log ? logTicks(bottom, top) : ticks(bottom, top, Math.max(2, Math.floor(height / 48)))) {
      const y = Math.round(py(view.log ? back(tick) : tick)) + 0.5;
      brush.beginPath();
      brush.moveTo(left, y);
      brush.lineTo(width - right, y);
      brush.stroke();
      brush.fillText(format.number(back(tick)), left - 6, y);
    }
    brush.textAlign = 'center';
    brush.textBaseline = 'top';
    for (const tick of ticks(from, to, Math.max(2, Math.floor(width / 110)), 1)) {
      const at = px(tick);
      if (at > left + 8 && at < width - right - 8) brush.fillText(format.count(tick), at, height - below + 7);
    }
    brush.save();
    brush.beginPath();
    brush.rect(left, above - 4, width - left - right, height - above - below + 8);
    brush.clip();
    for (const line of lines) {
      brush.strokeStyle = colour(line.tone);
      brush.lineWidth = line.bold ? 1.8 : 1.1;
      brush.lineJoin = 'round';
      brush.beginPath();
      let pen = false;
      for (let at = 0; at < x.length; at += 1) {
        const [bottomValue, topValue] = [line.low[at], line.high[at]];
        if (bottomValue === null || !Number.isFinite(bottomValue) || (view.log && bottomValue <= 0)) {
          pen = false;
          continue;
        }
        const across = px(x[at]);
        if (pen) brush.lineTo(across, py(bottomValue));
        else brush.moveTo(across, py(bottomValue));
        if (topValue !== bottomValue) brush.lineTo(across, py(topValue)); // the extremes of a stretch as a stroke
        pen = true;
      }
      brush.stroke();
    }
    brush.restore();
    marks(brush, px, from, to, above, height - below, colour);
    names(lines);
    plot = { x, lines, from, to, px, py, left, right, width, height, above, below, colour };
    if (drag) selection(brush);
    else if (view.at !== null) cross(brush);
    describe(x, lines);
  }

  /** The curve in a sentence. What is called smoothed is the number that the run itself reports. */
  function describe(x, lines) {
    const smoothedLoss = view.what === 'loss' && held.low.smooth_loss;
    const [low, high] = smoothedLoss ? [held.low.smooth_loss, held.high.smooth_loss] : [lines[0].low, lines[0].high];
    const finite = (values) => [...values].filter((value) => value !== null && Number.isFinite(value));
    const reported = smoothedLoss && view.from === null ? (store.view ? chosen.smooth : store.state?.smooth_loss) : null;
    const now = reported ?? finite(high).at(-1);
    const least = finite(low).reduce((a, b) => Math.min(a, b), now);
    const most = finite(high).reduce((a, b) => Math.max(a, b), now);
    const text =
      `${{ loss: smoothedLoss ? 'Smoothed loss' : 'Loss', rate: 'Learning rate', grad: 'Gradient norm' }[view.what]} up to step ${format.count(x[x.length - 1])}: now ${format.number(now)}, ` +
      `lowest ${format.number(least)}, highest ${format.number(most)}.`;
    const more = [
      broken && `${format.count(broken)} ${broken === 1 ? 'step was' : 'steps were'} not a number.`,
      resumes.length &&
        `Resumed after step ${resumes.map(({ step }) => format.count(step)).join(', ')}; the curve includes the earlier ${resumes.length === 1 ? 'run' : 'runs'}.`,
    ].filter(Boolean);
    setText(summary, [text, ...more].join(' '));
    canvas.setAttribute('aria-label', `Curve. ${text}`);
  }

  /** Names of several curves: in the color of text, beside a piece of the curve. */
  let named = '';
  function names(lines) {
    const some = lines.length > 1 ? lines : [];
    const key = JSON.stringify(some.map(({ name, tone }) => [name, tone]));
    if (key === named) return;
    named = key;
    legend.replaceChildren(
      ...some.map(({ name, tone }) =>
        el('li', {}, el('span', { class: 'og-swatch', style: `background: var(${tone})` }), el('span', { text: name })),
      ),
    );
  }

  /** A dashed line where a run continues an earlier one. */
  function marks(brush, px, from, to, above, below, colour) {
    brush.save();
    brush.setLineDash([4, 4]);
    brush.strokeStyle = colour('--og-muted');
    brush.fillStyle = colour('--og-muted');
    brush.textAlign = 'left';
    brush.textBaseline = 'top';
    for (const { step } of resumes) {
      if (step < from || step > to) continue;
      const at = Math.round(px(step)) + 0.5;
      brush.beginPath();
      brush.moveTo(at, above);
      brush.lineTo(at, below);
      brush.stroke();
      brush.fillText('resumed', at + 4, above);
    }
    brush.restore();
  }

  function cross(brush) {
    const { x, lines, px, py, above, below, height, colour, width } = plot;
    const at = nearest(x, view.at);
    const left = px(x[at]);
    brush.strokeStyle = colour('--og-muted');
    brush.lineWidth = 1;
    brush.beginPath();
    brush.moveTo(Math.round(left) + 0.5, above);
    brush.lineTo(Math.round(left) + 0.5, height - below);
    brush.stroke();
    const rows = [['Step', format.count(x[at])]];
    for (const line of lines) {
      const value = line.low[at];
      rows.push([
        line.name,
        line.high[at] === value ? format.number(value) : `${format.number(value)} – ${format.number(line.high[at])}`,
      ]);
      if (value === null || !Number.isFinite(value)) continue;
      brush.fillStyle = colour(line.tone);
      brush.beginPath();
      brush.arc(left, py(value), 3, 0, 7);
      brush.fill();
    }
    readout.replaceChildren(...rows.map(([name, value]) => el('div', {}, el('span', { text: name }), el('b', { text: value }))));
    setVisible(readout, true);
    const side = left > width / 2 ? left - readout.offsetWidth - 12 : left + 12;
    readout.style.transform = `translate(${Math.round(side)}px, 14px)`;
  }

  function selection(brush) {
    const { above, below, height, colour } = plot;
    brush.fillStyle = colour('--og-accent-soft');
    brush.fillRect(Math.min(drag.from, drag.to), above, Math.abs(drag.to - drag.from), height - above - below);
  }

  function nearest(x, wanted) {
    let low = 0;
    let high = x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low > 0 && wanted - x[low - 1] < x[low] - wanted ? low - 1 : low;
  }

  const stepAt = (pixel) => plot.from + ((pixel - plot.left) / (plot.width - plot.left - plot.right)) * (plot.to - plot.from);

  let finer = 0;
  function zoomTo(from, to) {
    view.from = from;
    view.to = to;
    pace.now();
    clearTimeout(finer);
    finer = setTimeout(load, 250); // the same stretch, with all the points there are for it
  }

  function zoom(factor, around) {
    if (!plot) return;
    const end = (store.view ? chosen.steps : store.state?.progress?.global_step) || plot.to;
    const from = Math.max(0, around - (around - plot.from) * factor);
    const to = Math.min(end, around + (plot.to - around) * factor);
    if (to - from < 4) return;
    if (factor > 1 && from <= 1 && to >= end) zoomTo(null, null);
    else if (view.from !== null || factor < 1) zoomTo(from, to);
  }

  /** @type {any} */
  let drag = null;
  const fingers = new Map();
  canvas.addEventListener('pointerdown', (event) => {
    if (!plot) return;
    fingers.set(event.pointerId, event.offsetX);
    if (fingers.size === 2) {
      drag = null;
      pinch = null;
      return;
    }
    if (event.pointerType === 'mouse' && event.button === 0) {
      canvas.setPointerCapture(event.pointerId);
      drag = { from: event.offsetX, to: event.offsetX };
    }
  });
  /** @type {any} */
  let pinch = null;
  canvas.addEventListener('pointermove', (event) => {
    if (!plot) return;
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event.offsetX);
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const apart = Math.max(20, Math.abs(a - b));
      if (pinch) zoom(pinch / apart, stepAt((a + b) / 2));
      pinch = apart;
      return;
    }
    if (drag) drag.to = event.offsetX;
    view.at = stepAt(event.offsetX);
    pace.now();
  });
  const up = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    if (!drag) return;
    const [a, b] = [stepAt(Math.min(drag.from, drag.to)), stepAt(Math.max(drag.from, drag.to))];
    const far = Math.abs(drag.to - drag.from) > 8;
    drag = null;
    if (far && b - a >= 4) zoomTo(Math.max(a, plot.from), Math.min(b, plot.to));
    else pace.now();
  };
  canvas.addEventListener('pointerup', up);
  canvas.addEventListener('pointercancel', up);
  canvas.addEventListener('pointerleave', () => {
    view.at = null;
    setVisible(readout, false);
    pace.now();
  });
  canvas.addEventListener('dblclick', () => zoomTo(null, null));
  // the wheel zooms only with Ctrl, or once the chart was clicked: else it would catch the page's scrolling
  canvas.addEventListener(
    'wheel',
    (event) => {
      if (!plot || !(event.ctrlKey || document.activeElement === canvas)) return;
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, stepAt(event.offsetX));
    },
    { passive: false },
  );
  canvas.addEventListener('keydown', (event) => {
    if (!plot) return;
    const width = (plot.to - plot.from) / 50;
    const moves = {
      ArrowLeft: () => {
        view.at = Math.max(plot.from, (view.at ?? plot.to) - width);
      },
      ArrowRight: () => {
        view.at = Math.min(plot.to, (view.at ?? plot.from) + width);
      },
      '+': () => zoom(0.7, view.at ?? (plot.from + plot.to) / 2),
      '-': () => zoom(1.4, view.at ?? (plot.from + plot.to) / 2),
      Escape: () => {
        view.at = null;
        setVisible(readout, false);
        zoomTo(null, null);
      },
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
    pace.now();
  });

  load();
}

/** Round values between two bounds, about `count` of them, `least` or more apart. */
function ticks(from, to, count, least = 0) {
  const raw = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(least, ([1, 2, 5].find((each) => each * power >= raw) ?? 10) * power);
  const out = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step * 1e-9; at += step) out.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return out;
}

/** Powers of ten, with 2 and 5 between them when there are few. */
function logTicks(from, to) {
  const marks = to - from > 3 ? [0] : [0, Math.log10(2), Math.log10(5)];
  const out = [];
  for (let power = Math.floor(from); power <= to; power += 1)
    for (const mark of marks) if (power + mark >= from && power + mark <= to) out.push(power + mark);
  return out.length > 1 ? out : ticks(from, to, 4);
}
