import './page.js';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const { upTo, View } = await import('../../onetrainer_gradio/ui/assets/form-view.js');

const field = (path, group, level = 'basic') => ({ path, group, level, label: path });
const FIELDS = [field('a', 'model'), field('b', 'model', 'expert'), field('c', 'noise', 'advanced'), field('c_unit', 'noise')];

function view({ changed = [], findings = [], unused = [], group = 'model' } = {}) {
  const settings = {
    schema: {
      'x-groups': [
        { key: 'model', title: 'Model', about: 'What to start from.', 'x-tab': 't' },
        { key: 'noise', title: 'Noise', about: '', 'x-tab': 't' },
        { key: 'inner', title: 'Inner', 'x-of': 'list' },
      ],
      'x-tabs': [{ key: 't', title: 'Tab' }],
    },
    fields: FIELDS,
    units: new Set(['c_unit']),
    levels: upTo('basic'),
    findings,
    changed: (path) => changed.includes(path),
    changes: () => FIELDS.filter(({ path }) => changed.includes(path)),
    errorsAt: (path) => findings.filter((finding) => finding.path === path),
    applies: ({ path }) => !unused.includes(path),
    comparedTo: () => 'the preset',
  };
  return new View(settings, group);
}
const paths = (shown) => shown.wanted().fields.map(({ path }) => path);

test('a group shows its settings at the selected level, and says how many more there are', () => {
  const shown = view();
  assert.deepEqual(paths(shown), ['a']);
  assert.deepEqual(shown.headline(shown.wanted().fields, 1), {
    name: 'Model',
    text: 'What to start from.',
    hidden: '1 more under Expert.',
  });
});

test('a setting that was changed, is wrong or was asked for is shown whatever the level', () => {
  assert.deepEqual(paths(view({ changed: ['b'] })), ['a', 'b']);
  assert.deepEqual(paths(view({ findings: [{ path: 'b', severity: 'error' }] })), ['a', 'b']);
  const shown = view();
  shown.pinned = 'b';
  assert.deepEqual(paths(shown), ['a', 'b']);
});

test('a setting that has no effect now is not shown', () => {
  assert.deepEqual(paths(view({ unused: ['a'] })), []);
});

test('groups with nothing to show are left out, and errors are counted where they are', () => {
  const { tabs } = view({ findings: [{ path: 'a', severity: 'error' }] }).navigation();
  assert.deepEqual(
    tabs[0].groups.map(({ key, count }) => [key, count]),
    [['model', 1]],
  );
  const { tabs: more, extra } = view({ changed: ['c'] }).navigation();
  assert.deepEqual(
    more[0].groups.map(({ key }) => key),
    ['model', 'noise'],
  );
  assert.deepEqual(extra, [{ key: 'changed', name: 'Changed', count: 1, tone: 'accent' }]);
});

test('an unknown group becomes the first one, and search waits until it is loaded', () => {
  const shown = view({ group: 'gone' });
  assert.equal(shown.group, 'model');
  shown.find('x');
  assert.equal(shown.wanted(), null);
  shown.search = () => ({ fields: [] });
  assert.equal(shown.headline([], 0).name, 'Search results');
});
