import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const ASSETS = new URL('../../onetrainer_gradio/ui/assets/', import.meta.url);
const uplot = dirname(createRequire(import.meta.url).resolve('uplot/package.json'));

test('the plot library is the one of the package, unchanged, with its license and version', () => {
  const ours = (name) => readFileSync(new URL(`vendor/uplot/${name}`, ASSETS), 'utf8');
  for (const name of ['uPlot.iife.min.js', 'uPlot.min.css'])
    assert.equal(ours(name), readFileSync(join(uplot, 'dist', name), 'utf8'));
  assert.equal(ours('LICENSE'), readFileSync(join(uplot, 'LICENSE'), 'utf8'));
  const { version } = JSON.parse(readFileSync(join(uplot, 'package.json'), 'utf8'));
  assert.ok(ours('README.md').includes(`uPlot ${version} `));
});
