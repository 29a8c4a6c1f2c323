// A bar with its name and its numbers.

import { el, format, setText, setVisible } from './dom.js';

/**
 * A bar that is hidden until it has a total.
 * @param {string} label
 */
export function progress(label) {
  const fill = el('span', { class: 'og-fill' });
  const text = el('span', { class: 'og-bar-text' });
  const title = el('span', { class: 'og-bar-label', text: label });
  const track = el('span', { class: 'og-track', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0 }, fill);
  const node = el('div', { class: 'og-bar', hidden: true }, title, track, text);
  return {
    node,
    /**
     * @param {number | undefined} done
     * @param {number | undefined} total
     * @param {string} [name]
     */
    set(done, total, name) {
      setVisible(node, Boolean(total));
      if (!total) return;
      const part = Math.min(1, (done || 0) / total);
      fill.style.width = `${part * 100}%`;
      track.setAttribute('aria-valuenow', String(done || 0));
      track.setAttribute('aria-valuemax', String(total));
      if (name) {
        setText(title, name);
        track.setAttribute('aria-label', name);
      }
      setText(text, `${format.count(done || 0)} / ${format.count(total)}`);
    },
  };
}
