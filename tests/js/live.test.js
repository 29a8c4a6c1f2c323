import './page.js';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const { on, request } = await import('../../onetrainer_gradio/ui/assets/live.js');

/** Answers of the server, one after another. */
function answering(...answers) {
  const sent = [];
  globalThis.fetch = async (where) => {
    sent.push(where);
    const [status, wait] = answers[Math.min(sent.length, answers.length) - 1];
    return new Response('{}', { status, headers: wait ? { 'Retry-After': wait } : {} });
  };
  return sent;
}

test('a request that came too often is sent again after the time that the server says', async () => {
  const sent = answering([429, '0.01'], [200]);
  const told = [];
  const off = on('slowed', ({ seconds }) => told.push(seconds));
  assert.equal((await request('/x', {})).status, 200);
  off();
  assert.equal(sent.length, 2);
  assert.deepEqual(told, [0.01]);
});

test('it gives up after three more tries', async () => {
  const sent = answering([429, '0.01']);
  assert.equal((await request('/x', {})).status, 429);
  assert.equal(sent.length, 4);
});

test('it does not wait without a time, nor for minutes', async () => {
  for (const wait of ['', '300']) {
    const sent = answering([429, wait]);
    assert.equal((await request('/x', {})).status, 429);
    assert.equal(sent.length, 1);
  }
});

test('other errors are answers', async () => {
  const sent = answering([503, '5']);
  assert.equal((await request('/x', {})).status, 503);
  assert.equal(sent.length, 1);
});
