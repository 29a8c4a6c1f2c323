// Two images of one size on top of each other, with a divider that the pointer and the arrow keys move.

import { el } from './dom.js';

/**
 * @param {{src: string, label: string}} left
 * @param {{src: string, label: string}} right
 */
export function compareSlider(left, right) {
  const range = el('input', {
    type: 'range',
    min: '0',
    max: '100',
    step: '1',
    value: '50',
    'aria-label': `Divider: ${left.label} to its left, ${right.label} to its right`,
    oninput: draw,
  });
  const image = ({ src, label }, side) => el('img', { src, alt: label, class: side, draggable: 'false' });
  const node = el(
    'div',
    { class: 'og-split' },
    image(right, 'og-split-right'),
    image(left, 'og-split-left'),
    el('span', { class: 'og-split-line', 'aria-hidden': 'true' }),
    el('span', { class: 'og-split-name', 'aria-hidden': 'true', text: left.label }),
    el('span', { class: 'og-split-name og-split-end', 'aria-hidden': 'true', text: right.label }),
    range,
  );
  function draw() {
    node.style.setProperty('--og-split', `${range.value}%`);
    range.setAttribute('aria-valuetext', `${range.value}% ${left.label}`);
  }
  draw();
  return node;
}
