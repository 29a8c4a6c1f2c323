import './page.js';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const { format } = await import('../../onetrainer_gradio/ui/assets/dom.js');

test('numbers have four significant digits, and powers of ten where they are shorter', () => {
  const shown = [0, 1, 0.123456, 123456.7, 1e6, 0.0001, 3.14e-7, -0.00012].map(format.number);
  assert.deepEqual(shown, ['0', '1', '0.1235', '123500', '1e6', '1e-4', '3.14e-7', '-1.2e-4']);
  assert.deepEqual([null, undefined, Number.NaN].map(format.number), ['–', '–', '–']);
});

test('counts are grouped', () => {
  assert.deepEqual([0, 999, 1234567, null].map(format.count), ['0', '999', '1,234,567', '–']);
});

test('bytes are in the unit that fits', () => {
  assert.deepEqual([0, 999, 1000, 1500, 123456, 2e9, 5e15].map(format.bytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.5 kB',
    '123 kB',
    '2.0 GB',
    '5000 TB',
  ]);
});

test('spans have two units', () => {
  assert.deepEqual([0, 59.6, 61, 3600, 90061, -5, Number.POSITIVE_INFINITY, null].map(format.span), [
    '0 s',
    '1 min 0 s',
    '1 min 1 s',
    '1 h 0 min',
    '1 d 1 h',
    '0 s',
    '–',
    '–',
  ]);
});
