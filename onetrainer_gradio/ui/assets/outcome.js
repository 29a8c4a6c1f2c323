// What became of a button that was pressed: one line, and below it the settings that were named.

import { el, setText, setVisible } from './dom.js';
import { sentence } from './words.js';

const SHOWN_MS = 8000;

export class Outcome {
  /** @param {() => void} changed called after each message */
  constructor(changed) {
    this.line = el('p', { class: 'og-outcome', role: 'status', 'aria-live': 'polite' });
    this.errors = el('ul', { class: 'og-outcome-errors', hidden: true, 'aria-live': 'polite' });
    this.listed = false; // what a rejected command names setting by setting
    this.streaming = false;
    this.hide = 0;
    document.addEventListener('og-outcome', (/** @type {any} */ { detail }) => {
      if (!detail) return;
      this.show(detail);
      changed();
    });
  }

  /** @param {any} message */
  show(message) {
    this.streaming = !message.done;
    clearTimeout(this.hide);
    this.line.dataset.tone = message.ok ? '' : 'bad';
    /** @type {any[]} */
    const rest = message.errors || [];
    this.listed = rest.some((error) => error.path);
    // don’t repeat the list below or the cause of the run’s end
    const cause = message.error ? message.text.replace(`: ${message.error}`, '') : message.text;
    setText(this.line, this.listed ? message.text.split(`: ${rest[0].message}`)[0] : cause);
    this.errors.replaceChildren(...rest.map(item));
    setVisible(this.errors, this.listed);
    if (message.done && message.ok) this.hide = setTimeout(() => setText(this.line, ''), SHOWN_MS);
  }

  /** The settings changed: what was named may be right now. */
  forget() {
    if (!this.listed) return;
    this.listed = false;
    setVisible(this.errors, false);
    setText(this.line, '');
  }
}

/** @param {any} error */
function item(error) {
  const link = { class: 'og-setting', href: '#configuration', dataset: { ogSetting: error.path }, text: error.path };
  return el(
    'li',
    {},
    error.path && el('a', link),
    el('span', { text: `${after(error)}. ` }),
    el('span', { class: 'og-muted', text: error.suggestion ? sentence(error.suggestion) : '' }),
  );
}

/**
 * The message after the name of a setting, without the name that it often begins with.
 * @param {{path: string, message: string}} error
 */
function after({ path, message }) {
  const plain = message.replace(/\.$/, '');
  return path && plain.startsWith(path) ? plain.slice(path.length) : ` ${plain}`;
}
