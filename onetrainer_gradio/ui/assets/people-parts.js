// Parts of the dialog with the account and people: fields, forms, lines of a list, and what is shown only once.

import { button, el, toast } from './dom.js';
import { api } from './live.js';
import { copy } from './path-line.js';

export const day = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleDateString() : 'never');
export const field = (label, control) => el('label', { class: 'og-people-field' }, el('span', { text: label }), control);
export const input = (attributes) => el('input', { type: 'text', ...attributes });
const options = (values, chosen) => values.map((value) => el('option', { value, text: value, selected: value === chosen }));
export const choice = (values, chosen, more = {}) => el('select', more, options(values, chosen));

/** Send a request; an error becomes a message. Returns the answer, or null. */
export async function sent(method, path, body) {
  try {
    return await api(method, path, body);
  } catch (error) {
    toast(error.message, 'bad');
    return null;
  }
}

/** A form whose submission sends a request. */
export function form(label, parts, submit) {
  const node = el(
    'form',
    { class: 'og-people-form' },
    ...parts,
    el('button', { class: 'og-button primary', type: 'submit', text: label }),
  );
  node.addEventListener('submit', async (event) => {
    event.preventDefault();
    await submit(Object.fromEntries(new FormData(node)), node);
  });
  return node;
}

/** Something that is shown only once. */
export function once(title, ...children) {
  return el(
    'div',
    { class: 'og-people-once', role: 'status' },
    el('strong', { text: `${title} It is shown only once.` }),
    ...children,
  );
}

/** A text with a button that copies it. */
export const code = (text) =>
  el(
    'div',
    { class: 'og-people-line' },
    el('code', { text }),
    button('Copy', { icon: 'copy', onclick: () => copy(text, 'text') }),
  );

export function line(title, text, action, act, ...controls) {
  const press = button(action, { kind: 'small', 'aria-label': `${action} ${title}`, onclick: act });
  const words = el('span', { class: 'og-grow' }, el('strong', { text: title }), el('span', { class: 'og-people-soft', text }));
  return el('li', { class: 'og-people-line' }, words, ...controls, press);
}

/** A QR code as an image: markup from an answer never becomes part of the document. */
export function qr(svg, alt = 'QR code of the link') {
  const named = svg.includes('xmlns=') ? svg : svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"');
  return el('img', { class: 'og-people-qr', alt, src: `data:image/svg+xml,${encodeURIComponent(named)}` });
}
