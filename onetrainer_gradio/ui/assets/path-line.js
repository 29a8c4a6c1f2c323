// Where a file is, or another short text, with a button that copies it.

import { button, capital, el, toast } from './dom.js';

/** Copy a text; `what` it is, for the notice. */
export async function copy(text, what = 'path') {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${capital(what)} copied.`);
  } catch {
    toast(`The browser doesn’t allow copying here. Select the ${what} instead.`, 'bad');
  }
}

/** Where a file is, or another short text, and a button that copies it. */
export function pathLine(path, what = 'path') {
  return el(
    'span',
    { class: 'og-path' },
    el('code', { text: path }),
    button('', { icon: 'copy', kind: 'quiet', title: `Copy the ${what} ${path}`, onclick: () => copy(path, what) }),
  );
}
