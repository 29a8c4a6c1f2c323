// Downloads of base models: progress, pause, resume and cancel.

import { button, confirmed, el, format, setText, setVisible } from './dom.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

const POLL_MS = 700;

/** A download that follows its progress; `ended(download)` is called when it is done. */
function line(first, ended) {
  const status = el('span', { role: 'status', class: 'og-small' });
  const bar = el('progress', { max: '1', value: '0', 'aria-label': `Downloaded of ${first.repository}` });
  const address = `api/hub/downloads/${first.id}`;
  const act = async (path) => {
    try {
      draw((await api('POST', `${address}/${path}`)).download);
    } catch (error) {
      setText(status, error.message);
    }
  };
  const pause = button('Pause', { kind: 'small', onclick: () => act('pause') });
  const resume = button('Resume', { kind: 'small', onclick: () => act('resume') });
  const cancel = button('Cancel', { kind: 'small', onclick: remove });
  const node = el('div', { class: 'og-hub-line' }, el('span', { text: first.repository }), bar, status, pause, resume, cancel);
  let state = '';

  async function remove() {
    const text = 'Downloaded files are deleted.';
    if (!(await confirmed(`Cancel the download of “${first.repository}”?`, text, 'Cancel the download'))) return;
    await api('DELETE', address).catch((error) => setText(status, error.message));
    node.remove();
    ended(null);
  }
  function draw(now) {
    const active = ['waiting', 'running'].includes(now.state);
    bar.value = now.total ? now.done / now.total : 0;
    setText(status, wordsOf(now));
    status.classList.toggle('bad', now.state === 'failed');
    setVisible(bar, now.state !== 'done');
    setVisible(pause, active);
    setVisible(resume, ['paused', 'failed'].includes(now.state));
    setVisible(cancel, now.state !== 'done');
    if (now.state === 'done' && state && state !== 'done') ended(now);
    state = now.state;
    if (active) window.setTimeout(follow, POLL_MS);
  }
  async function follow() {
    if (!node.isConnected || !['waiting', 'running'].includes(state)) return;
    try {
      draw((await api('GET', address)).download);
    } catch (error) {
      setText(status, error.message);
    }
  }
  draw(first);
  return node;
}

function wordsOf(now) {
  const bytes = `${format.bytes(now.done)} of ${format.bytes(now.total)}`;
  if (now.state === 'failed') return [now.error, now.suggestion].filter(Boolean).join(' ');
  if (now.state === 'done') return `On this machine (${format.bytes(now.total)})`;
  return `${{ waiting: 'Waiting', running: 'Downloading', paused: 'Paused' }[now.state]}: ${bytes}`;
}

/** Fill a place with a card of all downloads; without any, it stays empty. */
export async function card(place) {
  const { downloads } = await api('GET', 'api/hub/downloads');
  if (!downloads.length) return;
  await sheet('hub.css');
  place.replaceChildren(
    el(
      'section',
      { class: 'og-card', 'aria-label': 'Downloads' },
      el('h2', { text: 'Downloads' }),
      ...downloads.map((each) => line(each, () => {})),
    ),
  );
}

/**
 * Offer to download a model before the run, or show how far it is. `ended(download)` follows when it is done or canceled.
 * @param {HTMLElement} place
 * @param {{ base_model: string, model_type: string }} model
 */
export async function offer(place, model, ended = () => {}) {
  await sheet('hub.css');
  const wanted = model.base_model;
  place.dataset.model = wanted;
  const known = (await api('GET', 'api/hub/downloads')).downloads.find((each) => each.repository === model.base_model);
  if (place.dataset.model !== wanted) return; // another model was chosen meanwhile
  if (known && known.state !== 'done') {
    place.replaceChildren(line(known, ended));
    return;
  }
  const wrong = el('span', { class: 'bad og-small', role: 'alert' });
  const start = button('Download now', { icon: 'download', onclick: begin });
  const about = el('span', { class: 'og-small og-muted', text: 'Otherwise, the run downloads it first.' });
  async function begin() {
    start.disabled = true;
    setText(wrong, '');
    try {
      const body = { repo: model.base_model, model_type: model.model_type };
      place.replaceChildren(line((await api('POST', 'api/hub/downloads', body)).download, ended));
      place.querySelector('button')?.focus();
    } catch (error) {
      setText(wrong, error.whole || error.message);
      start.disabled = false;
    }
  }
  place.replaceChildren(el('div', { class: 'og-hub-line' }, start, about, wrong));
}
