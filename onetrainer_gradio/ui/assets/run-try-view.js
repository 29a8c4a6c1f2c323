// One image of a grid, large: next to the base model with a divider, with its parameters, and what can be done with it.

import { compareSlider } from './compare-slider.js';
import { button, el, icon, openDialog, setText, toast } from './dom.js';
import { api, url } from './live.js';
import { copy } from './path-line.js';
import { labelOf } from './run-try-label.js';

export const imageOf = (grid, cell) => url(`api/generations/${grid.id}/images/${cell.number}`);

/** Open the image `number` of a grid; the arrow buttons go through the finished ones. */
export function openImage(grid, number) {
  const done = grid.cells.filter((cell) => cell.done);
  let at = done.findIndex((cell) => cell.number === number);
  const stage = el('div', { class: 'og-try-stage' });
  const parameters = el('pre', { class: 'og-try-parameters', tabindex: 0, 'aria-label': 'Parameters' });
  const title = el('p', { class: 'og-view-prompt' });
  const actions = el('div', { class: 'og-buttons' });
  const move = (by) => show((at + by + done.length) % done.length);
  function show(which) {
    at = which;
    const cell = done[at];
    const base = cell.file && done.find((other) => !other.file && other.prompt === cell.prompt);
    const source = { src: imageOf(grid, cell), label: labelOf(cell) };
    stage.replaceChildren(
      base
        ? compareSlider({ src: imageOf(grid, base), label: 'Base model' }, source)
        : el('img', { src: source.src, alt: source.label }),
    );
    setText(title, labelOf(cell));
    setText(parameters, cell.parameters);
    actions.replaceChildren(...actionsOf(grid, cell));
  }
  const dialog = el(
    'dialog',
    { class: 'og-viewer og-try-viewer', 'aria-label': 'Generated image' },
    stage,
    el(
      'div',
      { class: 'og-view-side' },
      header(move, () => dialog.close()),
      title,
      parameters,
      actions,
    ),
  );
  show(at);
  openDialog(dialog);
}

function header(move, close) {
  return el(
    'div',
    { class: 'og-card-head' },
    el('h2', { text: 'Image' }),
    el('span', { class: 'og-grow' }),
    button('', { icon: 'left', title: 'Previous image', kind: 'quiet', onclick: () => move(-1) }),
    button('', { icon: 'right', title: 'Next image', kind: 'quiet', onclick: () => move(1) }),
    button('', { icon: 'close', title: 'Close (Esc)', kind: 'quiet', onclick: close }),
  );
}

function actionsOf(grid, cell) {
  const keep = async () => {
    try {
      await api('POST', `api/generations/${grid.id}/images/${cell.number}/keep`);
      toast('Image kept as a sample of the run.');
    } catch (error) {
      toast(error.whole || error.message, 'bad');
    }
  };
  const make = async () => {
    const { makeResult } = await import('./run-result.js');
    makeResult(grid.run_id, { id: cell.file, name: cell.name });
  };
  const save = { class: 'og-button', href: imageOf(grid, cell), download: `${grid.id}-${cell.number}.png` };
  return [
    button('Copy parameters', { icon: 'copy', onclick: () => copy(cell.parameters, 'text') }),
    el('a', save, icon('download'), el('span', { text: 'Download' })),
    button('Keep as sample', { 'data-og-needs': 'operator', onclick: keep }),
    cell.file && cell.kind !== 'model' && button('Make it the result…', { 'data-og-needs': 'operator', onclick: make }),
  ].filter(Boolean);
}
