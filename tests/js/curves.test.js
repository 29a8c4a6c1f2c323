import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  add,
  bounds,
  drawable,
  extremes,
  linesOf,
  nearest,
  received,
  smooth,
  summed,
  zoomed,
} from '../../onetrainer_gradio/ui/assets/curves.js';

const loss = (values, more = {}) => ({
  x: values.map((_, at) => at + 1),
  width: values.map(() => 1),
  low: { loss: values, ...more },
  high: { loss: [...values], ...more },
});

test('a point of a thinned curve stands for the steps up to the next one', () => {
  const curves = received({ x: [1, 11], x_last: [10, 15], min: { loss: [1, 2] }, max: { loss: [3, 4] } });
  assert.deepEqual(curves.width, [10, 5]);
  assert.deepEqual(received({ x: [1, 2], min: {}, max: {} }).width, [1, 1]);
});

test('steps that are there already are passed over when new ones come', () => {
  const curves = loss([5, 4]);
  const rows = [
    [2, 9],
    [3, 8],
  ];
  add(curves, ['global_step', 'loss'], rows, ['loss']);
  assert.deepEqual(curves.x, [1, 2, 3]);
  assert.deepEqual([...curves.high.loss], [5, 4, 8]);
});

test('an average is not pulled towards zero at its start, and gaps keep it', () => {
  const values = [2, null, 2, Number.NaN, 4];
  const found = smooth(values, values, [1, 1, 1, 1, 1], 0.5);
  assert.deepEqual([...found.slice(0, 4)], [2, 2, 2, 2]);
  assert.ok(found[4] > 2 && found[4] < 4);
});

test('a point that stands for many steps counts as many', () => {
  const one = smooth([0, 1], [0, 1], [1, 1], 0.9)[1];
  const ten = smooth([0, 1], [0, 1], [1, 10], 0.9)[1];
  assert.ok(ten > one);
});

test('the loss has the average of the run in front, or the one that is chosen', () => {
  const curves = loss([3, 2, 1], { smooth_loss: [3, 2.5, 2] });
  const named = (average, held = curves) => linesOf(held, ['loss', 'smooth_loss'], 'loss', average).map(({ name }) => name);
  assert.deepEqual(named('run'), ['Loss', 'Smooth loss']);
  assert.deepEqual(named('0.5'), ['Loss', 'Average 0.5']);
  assert.deepEqual(named('0'), ['Loss']);
  assert.deepEqual(named('run', loss([1])), ['Loss', 'Average 0.9']);
  assert.deepEqual(linesOf(curves, [], 'loss', 'run'), []);
});

test('each learning rate is a line without an average', () => {
  const curves = loss([], { 'lr/unet': [1], 'lr/text_encoder': [2] });
  const lines = linesOf(curves, ['lr/unet', 'lr/text_encoder', 'lr/gone'], 'rate', 'run');
  assert.deepEqual(
    lines.map(({ name, tone }) => [name, tone]),
    [
      ['unet', '--og-accent'],
      ['text_encoder', '--og-second'],
    ],
  );
});

test('a thinned point is drawn as a stroke from its lowest to its highest value', () => {
  const line = { name: '', tone: '', low: [1, 2], high: [3, 2] };
  assert.deepEqual(drawable([5, 6], [line], false), {
    twice: true,
    table: [
      [5, 5, 6, 6],
      [1, 3, 2, 2],
    ],
  });
});

test('what cannot be drawn is a gap: no number, and on a logarithmic scale zero and less', () => {
  const line = { name: '', tone: '', low: [1, null, 0, -1, Number.NaN], high: [1, null, 0, -1, Number.NaN] };
  assert.deepEqual(drawable([1, 2, 3, 4, 5], [line], false).table[1], [1, null, 0, -1, null]);
  assert.deepEqual(drawable([1, 2, 3, 4, 5], [line], true).table[1], [1, null, null, null, null]);
});

test('the vertical scale follows what is between two steps', () => {
  const lines = [{ name: '', tone: '', low: [9, 1, 2, null], high: [9, 1, 4, null] }];
  assert.deepEqual(extremes([1, 2, 3, 4], lines, 2, 4, false), [1, 4]);
  assert.equal(extremes([1, 2, 3, 4], lines, 4, 4, false), null);
  assert.deepEqual(extremes([1, 2], [{ low: [0, 5], high: [0, 5] }], 1, 2, true), [5, 5]);
});

test('bounds have room, do not pass zero, and hold a value that never changes', () => {
  assert.deepEqual(bounds([10, 110], false), [4, 116]);
  assert.deepEqual(bounds([0, 100], false), [0, 106]);
  const [low, high] = bounds([5, 5], false);
  assert.ok(low < 5 && high > 5);
  const [least, most] = bounds([1e-4, 1e-2], true);
  assert.ok(least > 0 && least < 1e-4 && most > 1e-2);
  assert.ok(bounds(null, true)[0] > 0);
});

test('the nearest point is found', () => {
  const x = [1, 10, 20];
  assert.deepEqual(
    [-5, 5, 6, 14, 16, 99].map((step) => nearest(x, step)),
    [0, 0, 1, 1, 2, 2],
  );
});

test('a zoom stays within the run and ends as the whole of it', () => {
  assert.deepEqual(zoomed(0, 100, 100, 0.5, 50), [25, 75]);
  assert.deepEqual(zoomed(80, 100, 100, 2, 100), [60, 100]);
  assert.equal(zoomed(10, 90, 100, 3, 50), 'all');
  assert.equal(zoomed(10, 14, 100, 0.5, 12), null);
});

test('a curve is summed up by its last, lowest and highest number', () => {
  assert.deepEqual(summed([3, 1, null], [4, 2, Number.NaN]), { last: 2, least: 1, most: 4 });
  assert.deepEqual(summed([3, 1], [4, 2], 0.5), { last: 0.5, least: 0.5, most: 4 });
});
