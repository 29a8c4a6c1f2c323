// What the scripts find of a browser when they are imported, and a server that a test fills.

import { readFileSync } from 'node:fs';

const kept = () => {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, String(value)),
    removeItem: (key) => values.delete(key),
  };
};

const vocabulary = readFileSync(new URL('../../onetrainer_gradio/vocabulary.json', import.meta.url), 'utf8');

Object.assign(globalThis, {
  document: {
    baseURI: 'http://panel/',
    getElementById: (id) => (id === 'og-vocabulary' ? { textContent: vocabulary } : null),
    querySelector: () => null,
    addEventListener() {},
  },
  localStorage: kept(),
  sessionStorage: kept(),
  WebSocket: { OPEN: 1 },
});

/** Requests of the scripts, in order. */
export const requests = [];

/** Answer requests: `answers` has a function of the body for each `METHOD path`; it returns the JSON, or `[status, JSON]`. */
export function serve(answers) {
  requests.length = 0;
  globalThis.fetch = async (address, { method, body }) => {
    const path = new URL(address).pathname.slice(1);
    const sent = body === undefined ? undefined : JSON.parse(body);
    requests.push({ method, path, body: sent });
    const answer = answers[`${method} ${path}`];
    if (!answer) throw new TypeError('nobody answers');
    const made = answer(sent);
    const [status, json] = Array.isArray(made) ? made : [200, made];
    return { status, ok: status < 400, json: async () => json };
  };
}
