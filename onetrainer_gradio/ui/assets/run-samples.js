// The samples of a run by prompt, a page at a time, with the large view.

import { button, el, setVisible } from './dom.js';
import { byPrompt } from './gallery.js';
import { api } from './live.js';
import { sampleTile } from './sample-tile.js';
import { openSample } from './sample-view.js';

const PAGE = 60;

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
