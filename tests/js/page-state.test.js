import './page.js';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const { iconOf, titleOf } = await import('../../onetrainer_gradio/ui/assets/page-state.js');
const { planned } = await import('../../onetrainer_gradio/ui/assets/auto-resume.js').catch(() => ({ planned: null }));

const TRAINING = { tone: 'busy', active: true, fraction: 0.42, percent: '42%', label: 'Training' };
const ENDED = { tone: 'bad', active: false, fraction: 0.42, percent: '42%', label: 'Failed' };

test('the title begins with the percent while a run is active, and else with how it ended', () => {
  assert.equal(titleOf(TRAINING), '42% Training – OneTrainer panel');
  assert.equal(titleOf(ENDED), 'Failed – OneTrainer panel');
});

test('the icon shows the percent of a run, and differs by state', () => {
  const icon = decodeURIComponent(iconOf(TRAINING));
  assert.match(icon, /^data:image\/svg\+xml,<svg/);
  assert.match(icon, />42<\/text>/);
  assert.doesNotMatch(decodeURIComponent(iconOf(ENDED)), /<text/);
  const icons = ['busy', 'warn', 'good', 'bad', 'idle'].map((tone) => iconOf({ ...ENDED, tone }));
  assert.equal(new Set(icons).size, icons.length);
});

test('a planned resume is a sentence with its time and attempt', { skip: !planned }, () => {
  const plan = { state: 'waiting', attempt: 2, of: 3, at: new Date(2026, 0, 2, 3, 12).getTime() / 1000, reason: '' };
  assert.equal(planned(plan), 'Resumes at 03:12, attempt 2 of 3.');
  assert.equal(planned({ ...plan, at: null }), 'Resumes next, attempt 2 of 3.');
  assert.equal(planned({ ...plan, state: 'exhausted' }), 'All automatic resumes are used up.');
  assert.equal(planned({ ...plan, state: 'rejected', reason: 'Too many.' }), 'Isn’t resumed by itself. Too many.');
  assert.equal(planned({ ...plan, state: 'none' }), '');
});
