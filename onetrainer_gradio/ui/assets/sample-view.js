// One sample, large: its image, how it was made, and the keys for the next one.

import { button, el, format, icon, openDialog, setText } from './dom.js';
import { url } from './live.js';

const MAX_ENLARGED = 4;

/** How a sample was made, as name and value; unknown values are omitted. */
export function factsOf(sample) {
  return [
    ['Step', format.count(sample.global_step)],
    ['Epoch', `${sample.epoch}, step ${sample.epoch_step}`],
    ['Negative prompt', sample.negative_prompt],
    ['Size', `${sample.width} × ${sample.height}`],
    ['Seed', String(sample.seed)],
    ['Steps', sample.diffusion_steps],
    ['CFG scale', sample.cfg_scale],
    ['Sampler', sample.noise_scheduler],
    ['Weights', sample.ema ? 'EMA' : null],
    ['Generation time', sample.seconds && `${sample.seconds.toFixed(1)} s`],
    ['Created', format.time(sample.at ?? sample.created_at)],
    ['Run', sample.run_id],
  ].filter(([, value]) => value !== undefined && value !== null && value !== '');
}

/** The parts of the large view; `move` moves by this many samples, `reuse`, if given, gets the settings of the current one. */
function parts(move, reuse) {
  const image = el('img', { alt: '' });
  const facts = el('dl', { class: 'og-facts' });
  const title = el('p', { class: 'og-view-prompt' });
  const save = el('a', { class: 'og-button' }, icon('download'), el('span', { text: 'Download' }));
  const again = reuse && button('Reuse these settings', { icon: 'copy', 'data-og-needs': 'operator', onclick: reuse });
  const dialog = el(
    'dialog',
    { class: 'og-viewer', 'aria-label': 'Sample' },
    el(
      'div',
      { class: 'og-view-stage' },
      button('', { icon: 'left', title: 'Previous (arrow left)', kind: 'quiet og-view-move', onclick: () => move(-1) }),
      image,
      button('', { icon: 'right', title: 'Next (arrow right)', kind: 'quiet og-view-move', onclick: () => move(1) }),
    ),
    el(
      'div',
      { class: 'og-view-side' },
      el(
        'div',
        { class: 'og-card-head' },
        el('h2', { text: 'Sample' }),
        el('span', { class: 'og-grow' }),
        button('', { icon: 'close', title: 'Close (Esc)', kind: 'quiet', onclick: () => dialog.close() }),
      ),
      title,
      facts,
      el('div', { class: 'og-buttons' }, save, again),
    ),
  );
  return { dialog, image, facts, title, save };
}

/**
 * Open the large view of a sample. `samples` has all by id, `order` gives the ids in the order of the page, `reuse` takes the settings
 * of a sample, `closed` is called with the last sample shown.
 */
export function openSample(id, { samples, order, reuse = /** @type {any} */ (null), closed }) {
  const take = () => {
    dialog.close();
    reuse(samples().get(at));
  };
  const { dialog, image, facts, title, save } = parts(move, reuse && take);
  let at = id;
  function showOne(which) {
    const sample = samples().get(which);
    if (!sample) return;
    at = which;
    const source = url(`api/samples/${encodeURIComponent(which)}/image`);
    image.src = source;
    image.alt = sample.prompt || 'Sample image';
    // a small image stays small enough to be sharp
    image.style.maxWidth = `${(sample.width || 512) * MAX_ENLARGED}px`;
    image.style.maxHeight = `min(100%, ${(sample.height || 512) * MAX_ENLARGED}px)`;
    save.href = source;
    save.download = `step-${sample.global_step}-${sample.kind}-${sample.index ?? 0}.png`;
    setText(title, sample.prompt || 'Empty prompt');
    facts.replaceChildren(
      ...factsOf(sample).map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))),
    );
  }
  function move(by) {
    const ids = order();
    showOne(ids[(ids.indexOf(at) + by + ids.length) % ids.length]);
  }
  dialog.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      move(by);
    }
  });
  showOne(id);
  openDialog(dialog, () => closed(at));
}
