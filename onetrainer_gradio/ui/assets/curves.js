// The curves of a run as numbers: storage, smoothing, and the series that a plot shows.

/** @typedef {{ x: number[], width: number[], low: Record<string, any>, high: Record<string, any> }} Curves steps, how many updates
 * each point stands for, and the lowest and highest value of each column there */
/** @typedef {{ name: string, low: ArrayLike<number | null>, high: ArrayLike<number | null>, tone: string, bold?: boolean }} Line */

export const RUN = 'run'; // the loss that the run itself smooths: the one value called "Smooth loss" everywhere
export const AVERAGES = [RUN, '0', '0.5', '0.9', '0.97', '0.99', '0.999'];
const USUAL_AVERAGE = '0.9'; // for what the run does not smooth

/** @returns {Curves} */
export const none = () => ({ x: [], width: [], low: {}, high: {} });

/** Curves as the server sends them: each point is a step, or the extremes of a stretch of steps.
 * @returns {Curves} */
export function received(answer) {
  const last = answer.x_last || answer.x;
  return {
    x: answer.x,
    low: answer.min,
    high: answer.max,
    width: answer.x.map((step, at) => Math.max(1, last[at] - step + 1)),
  };
}

/** Add new steps in place; existing ones are skipped. */
export function add(curves, columns, rows, names) {
  const step = columns.indexOf('global_step');
  const at = names.map((name) => columns.indexOf(name));
  for (const row of rows) {
    if (curves.x.length && row[step] <= curves.x[curves.x.length - 1]) continue;
    curves.x.push(row[step]);
    curves.width.push(1);
    for (const [index, name] of names.entries()) {
      curves.low[name].push(row[at[index]]);
      curves.high[name].push(row[at[index]]);
    }
  }
}

const usable = (value, log = false) => value !== null && Number.isFinite(value) && !(log && value <= 0);

/** Exponential mean without the pull towards zero at the start; a point that stands for many steps counts as many. */
export function smooth(low, high, width, factor) {
  const out = new Float64Array(low.length);
  let mean = 0;
  let weight = 0;
  for (let at = 0; at < low.length; at += 1) {
    if (usable(low[at])) {
      const keeps = factor ** width[at];
      mean = keeps * mean + (1 - keeps) * ((low[at] + high[at]) / 2);
      weight = keeps * weight + (1 - keeps);
    }
    out[at] = weight ? mean / weight : NaN;
  }
  return out;
}

/** The lines of a view: all learning rates, or one value with its average in front.
 * @returns {Line[]} */
export function linesOf(curves, columns, what, average) {
  const shown = columns.filter((name) => curves.low[name]);
  if (what === 'rate')
    return shown.map((name, at) => ({
      name: name.slice(3),
      low: curves.low[name],
      high: curves.high[name],
      tone: at % 2 ? '--og-second' : '--og-accent',
      bold: true,
    }));
  const [name] = shown;
  if (!name) return [];
  const { [name]: low } = curves.low;
  const { [name]: high } = curves.high;
  const front = { tone: '--og-accent', bold: true };
  const plain = { name: name === 'loss' ? 'Loss' : 'Gradient norm', low, high, tone: '--og-curve-faint' };
  if (average === '0') return [{ ...plain, ...front }];
  const { smooth_loss: own } = curves.low;
  if (average === RUN && own) return [plain, { name: 'Smooth loss', low: own, high: curves.high.smooth_loss, ...front }];
  const factor = average === RUN ? USUAL_AVERAGE : average;
  const smoothed = smooth(low, high, curves.width, Number(factor));
  return [plain, { name: `Average ${factor}`, low: smoothed, high: smoothed, ...front }];
}

/**
 * The table that a plot draws: steps first, then a column for each line. Where a point stands for a stretch, its step comes twice, with
 * the lowest and then the highest value: a vertical stroke. What can't be drawn is null, a gap.
 */
export function drawable(x, lines, log) {
  const twice = lines.some(({ low, high }) => low !== high && x.some((_, at) => !Object.is(low[at], high[at])));
  const value = (each) => (usable(each, log) ? each : null);
  const spread = (first, second) => Array.from(x, (_, at) => [first[at], second[at]]).flat();
  return {
    twice,
    table: twice
      ? [spread(x, x), ...lines.map(({ low, high }) => spread(low, high).map(value))]
      : [x, ...lines.map(({ low }) => Array.from(low, value))],
  };
}

/** The least and the greatest value that are drawn between two steps; null where there is none. */
export function extremes(x, lines, from, to, log) {
  let low = Infinity;
  let high = -Infinity;
  for (const line of lines) {
    for (let at = 0; at < x.length; at += 1) {
      const [least, most] = [line.low[at], line.high[at]];
      if (x[at] < from || x[at] > to || !usable(least)) continue;
      if (least < low && usable(least, log)) low = Number(least);
      if (most > high) high = Number(most);
    }
  }
  return low > high ? null : [low, high];
}

/** The bounds of the vertical scale, with a little room; a value that never changes is in the middle, and zero is not passed. */
export function bounds(found, log) {
  let [low, high] = found || (log ? [0.1, 1] : [0, 1]);
  if (low === high) {
    const pad = Math.abs(low) * 0.1 || 1;
    low -= log ? low * 0.1 : pad;
    high += pad;
  }
  if (log) {
    const room = (high / low) ** 0.06;
    return [low / room, high * room];
  }
  const room = (high - low) * 0.06;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

/** The place of the point nearest to a step. */
export function nearest(x, wanted) {
  let low = 0;
  let high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - x[low - 1] < x[low] - wanted ? low - 1 : low;
}

/** A stretch of steps made narrower or wider around one of its steps: `[from, to]`, `'all'`, or null where that changes nothing. */
export function zoomed(from, to, end, factor, around) {
  const first = Math.max(0, around - (around - from) * factor);
  const last = Math.min(end, around + (to - around) * factor);
  if (last - first < 4) return null;
  return factor > 1 && first <= 1 && last >= end ? 'all' : [first, last];
}

/** Last, lowest and highest of the values that are numbers; `now` replaces the last one. */
export function summed(low, high, now = null) {
  const finite = (values) => Array.from(values).filter((value) => usable(value));
  const last = now ?? finite(high).at(-1);
  const least = finite(low).reduce((a, b) => Math.min(a, b), last);
  const most = finite(high).reduce((a, b) => Math.max(a, b), last);
  return { last, least, most };
}
