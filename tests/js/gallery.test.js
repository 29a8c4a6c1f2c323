import './page.js';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const { byPrompt } = await import('../../onetrainer_gradio/ui/assets/gallery.js');
const { factsOf } = await import('../../onetrainer_gradio/ui/assets/sample-view.js');

test('samples are rows by prompt: the newest run first, custom samples before prompts, the newest step in front', () => {
  const sample = (id, run_id, kind, index, global_step) => ({ id, run_id, kind, prompt: `${kind} ${index}`, index, global_step });
  const samples = [
    sample('a', 'run1', 'default', 0, 9),
    sample('b', 'run2', 'default', 1, 5),
    sample('c', 'run2', 'default', 0, 5),
    sample('d', 'run2', 'default', 0, 10),
    sample('e', 'run2', 'custom', 0, 7),
  ];
  assert.deepEqual(
    byPrompt(samples).map((row) => row.map(({ id }) => id)),
    [['e'], ['d', 'c'], ['b'], ['a']],
  );
});

test('what is not known of a sample is left out', () => {
  const names = factsOf({ global_step: 3, epoch: 1, epoch_step: 2, width: 8, height: 8, seed: 0, run_id: 'r' }).map(
    ([name]) => name,
  );
  assert.deepEqual(names, ['Step', 'Epoch', 'Size', 'Seed', 'Created', 'Run']);
});
