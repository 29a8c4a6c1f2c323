// An input with its label above it.

import { el } from './dom.js';

/** @param {string} label @param {any} input */
export const labeled = (label, input, kind = '') =>
  el('label', { class: `og-field ${kind}`.trim() }, el('span', { class: 'og-label', text: label }), input);
