import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve } from './page.js';

const { searcher } = await import('../../onetrainer_gradio/ui/assets/search.js');

const field = (path, label, more = {}) => ({ path, label, help: '', group: 'g', level: 'basic', schema: {}, ...more });
const FIELDS = [
  field('unet.learning_rate', 'UNet learning rate', { level: 'expert' }),
  field('learning_rate', 'Learning rate'),
  field('learning_rate_scheduler', 'Learning rate scheduler'),
  field('lora_rank', 'Rank', { help: 'Size of the adapter.' }),
  field('epochs', 'Epochs', { help: 'How often each image is trained on.' }),
  field('optimizer', 'Optimizer', { schema: { enum: ['PRODIGY_PLUS'], 'x-enum-labels': { PRODIGY_PLUS: 'Prodigy+' } } }),
];
const settings = {
  inner: new Map([['concepts', [field('path', 'Path')]]]),
  schema: { 'x-not-offered': { 'gan.weight': 'has no effect here' } },
  elsewhere: {},
  applies: ({ path }) => path !== 'unet.learning_rate',
};

async function found(query) {
  serve({ 'GET api/config/aliases': () => ({ aliases: { lora_rank: ['network_dim'], 'concepts[].path': ['train_data_dir'] } }) });
  return (await searcher(settings, FIELDS, () => 'Group'))(query);
}
const paths = async (query) => (await found(query)).fields.map(({ path }) => path);

test('the exact label comes first, then the exact key, then labels that begin so', async () => {
  assert.deepEqual(await paths('learning rate'), ['learning_rate', 'unet.learning_rate', 'learning_rate_scheduler']);
  // as close as each other: what is used now comes first
  assert.deepEqual((await paths('rate')).slice(-2), ['learning_rate_scheduler', 'unet.learning_rate']);
});

test('names of other trainers, keys and words of the help find a setting, in any spelling', async () => {
  for (const query of ['network_dim', 'Network dim', 'network-dim', 'lora_rank', 'adapter'])
    assert.equal((await paths(query))[0], 'lora_rank', query);
  assert.deepEqual(await paths('prodigy'), ['optimizer']);
  assert.deepEqual(await paths('lr of nothing'), []);
});

test('settings of list elements come first when they are closer', async () => {
  const { within, withinFirst } = await found('train_data_dir');
  assert.equal(within[0].field.path, 'path');
  assert.ok(withinFirst);
});

test('what has no control is named with the reason', async () => {
  assert.deepEqual((await found('gan')).unseen, [['gan.weight', 'has no effect here']]);
});
