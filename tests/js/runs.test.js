import assert from 'node:assert/strict';
import { test } from 'node:test';
import './page.js';

const { addressOf, comparisonOf, placeOf } = await import('../../onetrainer_gradio/ui/assets/run-address.js');
const { smooth } = await import('../../onetrainer_gradio/ui/assets/curves.js');
const { joined, lineOf } = await import('../../onetrainer_gradio/ui/assets/run-plot.js');
const { ordered } = await import('../../onetrainer_gradio/ui/assets/overlay.js');
const { settingText } = await import('../../onetrainer_gradio/ui/assets/table.js');
const { eventText } = await import('../../onetrainer_gradio/ui/assets/replay.js');
const { metricTitle } = await import('../../onetrainer_gradio/ui/assets/run-charts.js');

const run = (more) => ({ x: [1, 11, 21], rows_per_point: 10, series: {}, validation: {}, ...more });

test('an address names the table, a run or a comparison', () => {
  assert.deepEqual(placeOf('#runs'), ['', '']);
  assert.deepEqual(placeOf(addressOf('2026 a')), ['2026 a', '']);
  assert.deepEqual(placeOf(comparisonOf(['a', 'b'])), ['compare', 'a,b']);
  assert.equal(placeOf('#training'), null);
});

test('a line goes through the extremes of each stretch', () => {
  const [x, y] = lineOf(run({ series: { loss: { min: [1, 2, 3], max: [4, 5, 6], mean: [2, 3, 4] } } }), 'loss', 0, false, smooth);
  assert.deepEqual(x, [1, 6, 11, 16, 21, 26]);
  assert.deepEqual(y, [1, 4, 2, 5, 3, 6]);
});

test('a smoothed line counts each point as many steps, and what is no number is a gap', () => {
  const loss = { min: [0, null, 0], max: [2, null, 2], mean: [1, null, 1] };
  const [x, y] = lineOf(run({ series: { loss } }), 'loss', 0.9, false, smooth);
  assert.deepEqual(x, [1, 11, 21]);
  assert.deepEqual([y[0], y[1]], [1, null]);
  assert.ok(Math.abs(Number(y[2]) - 1) < 1e-9);
});

test('a logarithmic scale has no values of zero and below', () => {
  const [, y] = lineOf(run({ series: { lr: { mean: [0, 1, -1] } } }), 'lr', 0, true, smooth);
  assert.deepEqual(y, [null, 1, null]);
});

test('validation has its own places, and a metric that a run lacks is an empty line', () => {
  const validation = { validation: { x: [5], y: [0.5] } };
  assert.deepEqual(lineOf(run({ validation }), 'validation', 0.9, false, smooth), [[5], [0.5]]);
  assert.deepEqual(lineOf(run({}), 'grad_norm', 0, false, smooth), [[], []]);
});

test('lines with different places become one table', () => {
  const table = joined([
    [
      [1, 3],
      [10, 30],
    ],
    [
      [2, 3],
      [20, null],
    ],
  ]);
  assert.deepEqual(table, [
    [1, 2, 3],
    [10, undefined, 30],
    [undefined, 20, null],
  ]);
});

test('a column is ordered by size or by letters, with what is missing last', () => {
  assert.deepEqual([3, null, 1, 2].sort(ordered), [1, 2, 3, null]);
  assert.deepEqual(['rank 10', 'rank 9'].sort(ordered), ['rank 9', 'rank 10']);
  assert.deepEqual(
    [3, null, 1, 2].sort((one, two) => ordered(one, two, true)),
    [3, 2, 1, null],
  );
});

test('settings, metrics and events have words', () => {
  assert.equal(settingText('x', true), 'On');
  assert.equal(settingText('x', null), '–');
  assert.equal(metricTitle('lr/unet'), 'Learning rate: unet');
  assert.equal(metricTitle('smooth_loss'), 'Smooth loss');
  assert.equal(eventText({ type: 'backup_created', global_step: 1200 }), 'Backup created at step 1,200');
  assert.equal(eventText({ type: 'nothing_known' }), '');
});
