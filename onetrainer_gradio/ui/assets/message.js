// What is wrong with a value, below its control, with the buttons that put it right.

import { button, el } from './dom.js';
import { shownAs } from './settings.js';
import { sentence } from './words.js';

const quoted = (text, value) => (typeof value === 'string' ? `“${text}”` : text);

/** The button that makes the one change that removes a finding; nothing where there is none. */
export function fixButton(settings, finding) {
  const changes = Object.entries(finding.fix || {});
  if (!changes.length) return null;
  const words = changes.map(
    ([path, value]) =>
      `${path === finding.path ? '' : `${settings.labelOf(path)} `}to ${Array.isArray(value) || (value && typeof value === 'object') ? 'a valid value' : quoted(shownAs(value, settings.fieldAt(path)?.schema), value)}`,
  );
  const text = changes.length === 1 ? `Set ${words[0]}` : 'Fix';
  return button(text, {
    kind: 'small og-fix',
    title: `Set ${words.join(', ')}`,
    onclick: () => settings.editTogether(finding.fix, 'fix'),
  });
}

export function message(settings, path, error) {
  if (error.conflict) {
    return el(
      'p',
      { class: 'warn' },
      el('span', { text: `Someone else changed this to ${shownAs(error.theirs, settings.fieldAt(path)?.schema)}. ` }),
      button('Keep mine', {
        kind: 'small',
        onclick: () => {
          const { value, also } = settings.drafts.get(path);
          settings.drafts.delete(path);
          settings.edit(path, value, also);
        },
      }),
      button('Use theirs', { kind: 'small', onclick: () => settings.forget(path) }),
    );
  }
  const tone = error.severity === 'warning' || error.severity === 'note' ? (error.severity === 'note' ? 'note' : 'warn') : 'bad';
  const more = error.suggestion ? sentence(error.suggestion) : error.expected && `Expected: ${error.expected}.`;
  return el(
    'p',
    { class: tone },
    el(
      'span',
      {},
      el('span', { text: more && !/[.!?]$/.test(error.message) ? `${error.message}.` : error.message }),
      more && el('span', { class: 'og-muted', text: ` ${more}` }),
    ),
    fixButton(settings, error),
  );
}
