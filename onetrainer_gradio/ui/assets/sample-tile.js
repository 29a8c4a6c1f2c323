// The tile of a sample: its thumbnail and step; it opens the large view.

import { el, format } from './dom.js';
import { url } from './live.js';

/** @param {any} sample @param {(id: string) => void} open @param {number} width of the thumbnail, in pixels */
export const sampleTile = (sample, open, width = 256) =>
  el(
    'button',
    {
      type: 'button',
      class: 'og-tile',
      dataset: { id: sample.id },
      'aria-label': `Step ${sample.global_step}: ${sample.prompt || 'Empty prompt'}`,
      onclick: () => open(sample.id),
    },
    el('img', {
      src: url(`api/samples/${encodeURIComponent(sample.id)}/thumbnail?w=${width}`),
      loading: 'lazy',
      decoding: 'async',
      alt: '',
      width,
      height: Math.round((width * (sample.height || 1)) / (sample.width || 1)),
    }),
    el('span', { text: `Step ${format.count(sample.global_step)}` }),
  );
