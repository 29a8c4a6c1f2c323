// The newest samples of the displayed run, next to its chart.

import { el, format, setText, setVisible } from './dom.js';
import { api, on, url, viewed } from './live.js';

const MOST = 12;

export function mount(place) {
  const list = el('ul', { class: 'og-newest' });
  const count = el('span', { class: 'og-muted og-small' });
  const card = el(
    'section',
    { class: 'og-card', 'aria-label': 'Newest samples', hidden: true },
    el(
      'div',
      { class: 'og-card-head' },
      el('h2', { text: 'Newest samples' }),
      count,
      el('span', { class: 'og-grow' }),
      el('a', { class: 'og-small', href: '#samples', dataset: { ogTab: 'samples' }, text: 'Show all samples' }),
    ),
    list,
  );
  place.append(card);

  /** @type {string | null} */
  let runId = null;
  let samples = [];

  function tile(sample) {
    const what = `Step ${format.count(sample.global_step)}: ${sample.prompt || 'Empty prompt'}`;
    return el(
      'li',
      {},
      el(
        'button',
        {
          type: 'button',
          class: 'og-new',
          dataset: { ogTab: 'samples' },
          title: what,
          'aria-label': what,
          onclick: () => {
            // the gallery may not be there yet: it looks here when it comes
            sessionStorage.setItem('og-sample', sample.id);
            document.dispatchEvent(new CustomEvent('og-sample'));
          },
        },
        el('img', {
          src: url(`api/samples/${encodeURIComponent(sample.id)}/thumbnail?w=256`),
          loading: 'lazy',
          decoding: 'async',
          alt: '',
          width: 256,
          height: Math.round((256 * (sample.height || 1)) / (sample.width || 1)),
        }),
        el('span', { text: `Step ${format.count(sample.global_step)}` }),
      ),
    );
  }

  function draw(total) {
    setVisible(card, samples.length > 0);
    setText(count, total > samples.length ? `${format.count(samples.length)} of ${format.count(total)}` : '');
    list.replaceChildren(...samples.map(tile));
  }

  let all = 0;
  async function load() {
    const id = viewed();
    runId = id;
    samples = [];
    if (!id) {
      draw(0);
      return;
    }
    try {
      const answer = await api('GET', `api/samples/list?${new URLSearchParams({ run_id: id, limit: String(MOST) })}`);
      if (runId !== id) return;
      samples = answer.samples;
      all = answer.total;
      draw(all);
    } catch (error) {
      if (error.status !== 404 && error.status !== 0) throw error;
    }
  }
  function arrived(message) {
    const sample = message.sample || message;
    if (sample.run_id !== runId || samples.some((each) => each.id === sample.id)) return;
    samples = [sample, ...samples].slice(0, MOST);
    all += 1;
    draw(all);
  }

  on('sample_default', arrived);
  on('sample_custom', arrived);
  on('connected', load);
  on('training_state', () => {
    if (viewed() !== runId) load();
  });
  on('view', load);
  load();
}
