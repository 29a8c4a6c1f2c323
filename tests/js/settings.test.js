import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requests, serve } from './page.js';

const { copyOf, fieldsOf, get, jsonOf, Settings, shownAs, textOf } = await import(
  '../../onetrainer_gradio/ui/assets/settings.js'
);

const SCHEMA = {
  properties: {
    epochs: { type: 'integer', title: 'Epochs', default: 1 },
    optimizer: { title: 'Optimizer', properties: { beta: { type: 'number', title: 'Beta', default: 0.9 } } },
    concepts: {
      'x-kind': 'list',
      title: 'Concepts',
      items: { properties: { name: { title: 'Name', default: '' }, seed: { 'x-fresh': true, title: 'Seed', default: 0 } } },
    },
  },
};

/** Settings over a server that keeps what it is sent, and counts revisions. */
function opened(values) {
  const document_ = { revision: 1, name: 'x', config: values, was: {} };
  const answers = {
    'PATCH api/config/current': ({ revision, changes }) => {
      if (revision !== document_.revision) return [409, { error: 'changed meanwhile' }];
      if (changes.epochs === 'many') return [422, { error: 'no', errors: [{ path: 'epochs', message: 'Not a number.' }] }];
      for (const [path, value] of Object.entries(changes)) document_.config = { ...document_.config, [path]: value };
      document_.revision += 1;
      return structuredClone(document_);
    },
    'GET api/config/current': () => structuredClone(document_),
    'POST api/config/validate': () => ({ errors: [], warnings: [] }),
    'POST api/config/undo': () => ({ ...structuredClone(document_), undone: true }),
  };
  serve(answers);
  const settings = new Settings();
  settings.drafts.clear();
  settings.adopt(SCHEMA);
  settings.document = structuredClone(document_);
  return { settings, document_, sent: () => requests.filter(({ method }) => method === 'PATCH').map(({ body }) => body.changes) };
}

test('each leaf of the schema is a field, those of parts after an own one, and a list is a leaf', () => {
  assert.deepEqual(
    fieldsOf(SCHEMA).map(({ path }) => path),
    ['epochs', 'concepts', 'optimizer.beta'],
  );
});

test('values are shown in words and written in their shortest form', () => {
  assert.deepEqual(
    [true, false, null, '', [1], [1, 2], { a: 1 }, 1e-5].map((each) => shownAs(each)),
    ['on', 'off', 'not set', 'not set', '1 entry', '2 entries', 'custom values', '1e-5'],
  );
  assert.equal(shownAs('A', { 'x-enum-labels': { A: 'Label' } }), 'Label');
  assert.deepEqual([null, 0, 0.001, 0.0001, 'x'].map(textOf), ['', '0', '0.001', '1e-4', 'x']);
  assert.equal(jsonOf({ a: [1, 2] }), '{"a": [1, 2]}');
  assert.equal(get({ a: { b: 1 } }, 'a.b'), 1);
  assert.equal(get({ a: null }, 'a.b'), undefined);
});

test('a copy of an element has no identity of its own', () => {
  assert.deepEqual(copyOf({ name: 'a', seed: 5, uuid: 'x', concept_stats: {} }, SCHEMA.properties.concepts.items), { name: 'a' });
});

test('edits go one after the other, each against the revision that the one before made', async () => {
  const { settings, document_, sent } = opened({ epochs: 1, concepts: [] });
  settings.edit('epochs', 2);
  settings.edit('epochs', 3);
  await settings.sending;
  assert.deepEqual(sent(), [{ epochs: 2 }, { epochs: 3 }]);
  assert.equal(document_.config.epochs, 3);
  assert.equal(settings.drafts.size, 0);
  clearTimeout(settings.checkTimer);
});

test('a whole list takes what was typed in its elements with it', async () => {
  const { settings, sent } = opened({ epochs: 1, concepts: [{ name: 'a' }] });
  settings.typed('concepts.0.name', 'b');
  assert.deepEqual(settings.shownValue('concepts'), [{ name: 'b' }]);
  settings.edit('concepts', [...settings.shownValue('concepts'), { name: 'c' }]);
  await settings.sending;
  assert.deepEqual(sent(), [{ concepts: [{ name: 'b' }, { name: 'c' }] }]);
  clearTimeout(settings.checkTimer);
});

test('a value that is refused stays in its field, and undo takes it back before anything else', async () => {
  const { settings } = opened({ epochs: 1, concepts: [] });
  settings.edit('epochs', 'many');
  await settings.sending;
  assert.equal(settings.shownValue('epochs'), 'many');
  assert.equal(settings.errorsAt('epochs')[0].message, 'Not a number.');
  await settings.again('undo');
  assert.equal(settings.shownValue('epochs'), 1);
  assert.ok(!requests.some(({ path }) => path === 'api/config/undo'));
  clearTimeout(settings.checkTimer);
});

test('after a change by somebody else an edit of another field is sent again, and one of the same field asks', async () => {
  const { settings, document_ } = opened({ epochs: 1, concepts: [], name: 'mine' });
  document_.config = { ...document_.config, name: 'theirs' };
  document_.revision = 7;
  settings.edit('epochs', 2);
  await settings.sending;
  assert.equal(document_.config.epochs, 2);
  document_.config = { ...document_.config, epochs: 50 };
  document_.revision = 20;
  settings.edit('epochs', 3);
  await settings.sending;
  assert.deepEqual(settings.errorsAt('epochs')[0], { severity: 'warning', theirs: 50, conflict: true });
  assert.equal(document_.config.epochs, 50);
  clearTimeout(settings.checkTimer);
});

test('without a connection an edit waits', async () => {
  const { settings } = opened({ epochs: 1, concepts: [] });
  serve({});
  settings.edit('epochs', 2);
  await settings.sending;
  assert.equal(settings.drafts.get('epochs').state, 'unsent');
  assert.deepEqual(JSON.parse(sessionStorage.getItem('og-drafts')).epochs.value, 2);
  sessionStorage.removeItem('og-drafts');
});

test('a connection that brings nothing new changes nothing', async () => {
  const { settings, document_ } = opened({ epochs: 1, concepts: [] });
  await settings.take(structuredClone(document_));
  const told = [];
  settings.listeners.add((what) => told.push(what));
  await settings.refresh({ replace: false });
  assert.deepEqual(told, []);
  document_.revision += 1;
  await settings.refresh({ replace: false });
  assert.deepEqual(told, ['document']);
  clearTimeout(settings.checkTimer);
});
