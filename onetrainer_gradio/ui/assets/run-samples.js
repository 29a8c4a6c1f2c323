// The samples of a run by prompt, a page at a time, with the large view.

import { button, el, format, setVisible } from './dom.js';
import { byPrompt } from './gallery.js';
import { api, url } from './live.js';
import { openSample } from './sample-view.js';

const PAGE = 60;

/** A tile that opens the large view. */
export function sampleTile(sample, open, size = 256) {
  return el(
    'button',
    {
      type: 'button',
      class: 'og-tile',
      dataset: { id: sample.id },
      'aria-label': `Step ${sample.global_step}: ${sample.prompt || 'Empty prompt'}`,
      onclick: () => open(sample.id),
    },
    el('img', {
      src: url(`api/samples/${encodeURIComponent(sample.id)}/thumbnail?w=${size}`),
      alt: '',
      loading: 'lazy',
      decoding: 'async',
      width: 160,
      height: 160,
    }),
    el('span', { text: `Step ${format.count(sample.global_step)}` }),
  );
}

/** Open the large view among samples in this order. */
export function openAmong(list, id) {
  const known = new Map(list.map((sample) => [sample.id, sample]));
  openSample(id, { samples: () => known, order: () => [...known.keys()], closed: () => {} });
}

export async function samplesOf(place, id) {
  const groups = el('div');
  const more = button('Show more', { kind: 'small', onclick: load });
  place.append(groups, more);
  const all = [];
  /** @type {any} */
  let next = null;
  async function load() {
    const before = next ? `&before=${encodeURIComponent(next)}` : '';
    const page = await api('GET', `api/samples/list?run_id=${encodeURIComponent(id)}&limit=${PAGE}${before}`);
    all.push(...page.samples);
    next = page.next;
    setVisible(more, Boolean(next));
    if (!all.length) {
      groups.replaceChildren(el('p', { class: 'og-empty', text: 'No samples yet.' }));
      return;
    }
    const rows = byPrompt(all);
    const order = rows.flat();
    groups.replaceChildren(
      ...rows.map((row) =>
        el(
          'section',
          { class: 'og-group' },
          el('h4', { class: 'og-prompt', text: row[0].prompt || 'Empty prompt' }),
          el(
            'ul',
            { class: 'og-strip' },
            row.map((sample) =>
              el(
                'li',
                {},
                sampleTile(sample, (at) => openAmong(order, at)),
              ),
            ),
          ),
        ),
      ),
    );
  }
  await load();
}
