import './page.js';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const { describe, ending, engineName, phaseName, sentence } = await import('../../onetrainer_gradio/ui/assets/words.js');

test('a run that trains has its part, the time left and the loss in one line', () => {
  const state = {
    is_training: true,
    status: 'running',
    phase: 'training',
    progress: { global_step: 25 },
    total_steps: 100,
    eta_s: 61,
    smooth_loss: 0.5,
  };
  const { fraction, active, tone, short } = describe(state);
  assert.deepEqual([fraction, active, tone], [0.25, true, 'busy']);
  assert.match(short, /^25 ?% · 1 min 1 s left · loss 0\.5$/);
});

test('pause and stop are said before the phase', () => {
  const state = { is_training: true, status: 'running', phase: 'training' };
  assert.equal(describe({ ...state, paused: true }).label, phaseName('paused'));
  assert.deepEqual(describe({ ...state, paused: true, stop: {} }).tone, 'warn');
  assert.equal(describe({ ...state, paused: true, stop: {} }).label, phaseName('stopping'));
});

test('a run of the list says how it ended, or else what it does', () => {
  assert.equal(ending({ end_reason: 'failed' })[1], 'bad');
  assert.deepEqual(ending({ status: 'running', phase: 'caching' }), [phaseName('caching'), 'busy']);
  assert.deepEqual(ending({ status: 'new' }), ['new', 'idle']);
});

test('the engine is called by the name of its installation', () => {
  assert.equal(engineName({ backend: 'builtin' }), 'Built-in');
  assert.equal(engineName({ backend: 'onetrainer', checkout: 'Mine' }), 'Mine');
  assert.equal(engineName({}), '');
});

test('a suggestion becomes a sentence', () => {
  assert.deepEqual(['set it', 'Done.', 'why?'].map(sentence), ['Set it.', 'Done.', 'Why?']);
});
