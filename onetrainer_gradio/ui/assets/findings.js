// Issues of the pre-flight check: errors, warnings and notes, each with a link to its setting and, if there is one, a button to fix it.

import { button, el, setText, setVisible } from './dom.js';
import { api } from './live.js';
import { fixButton } from './message.js';
import { sentence } from './words.js';

const KINDS = [
  ['error', 'bad', 'Errors'],
  ['warning', 'warn', 'Warnings'],
  ['note', 'note', 'Notes'],
];

// code of a finding → what is converted, and the label of the button
const CONVERTED = { 'captions-encoding': ['captions', 'Convert to UTF-8'], 'formats-skipped': ['images', 'Convert copies'] };

/** A button that converts files of a concept and repeats the check. */
function convertButton(settings, finding) {
  const [what, words] = CONVERTED[finding.code] || [];
  const [, index] = /^concepts\.(\d+)\./.exec(finding.path || '') || [];
  if (!what || index === undefined) return null;
  const statusLine = el('span', { class: 'og-muted', role: 'status' });
  const go = button(words, {
    kind: 'small og-fix',
    onclick: async () => {
      go.disabled = true;
      let converted = 0;
      try {
        for (;;) {
          const answer = await api('POST', 'api/concepts/convert', { index: Number(index), what });
          converted += answer.converted;
          const failed = answer.failed.first.map(([name, why]) => `${name}: ${why}`).join('; ');
          setText(
            statusLine,
            `${converted} converted${answer.left ? `, ${answer.left} left…` : ''}${answer.failed.count ? `, ${answer.failed.count} not converted (${failed})` : ''}`,
          );
          if (!answer.left || !answer.converted) break;
        }
        settings.check();
      } catch (error) {
        setText(statusLine, error.errors?.[0]?.message || error.message);
      }
      go.disabled = false;
    },
  });
  return el('div', { class: 'og-convert' }, go, statusLine);
}

/** The list of findings; `jump` leads to a setting. */
export function findings(settings, jump) {
  const place = el('div', { class: 'og-findings' });
  const none = el('p', { class: 'og-empty', text: 'No issues. Ready to start.' });
  const lists = KINDS.map(([severity, tone, title]) => ({
    severity,
    tone,
    ul: el('ul', {}),
    title: el('h3', { class: 'og-found-in', text: title }),
  }));
  place.append(none, ...lists.flatMap(({ title, ul }) => [title, ul]));

  function line(finding, tone) {
    const known = finding.path && settings.rowOf(finding.path);
    return el(
      'li',
      { class: tone, dataset: { finding: finding.code || '' } },
      el(
        'div',
        { class: 'og-grow' },
        el('p', { class: 'og-finding', text: finding.message }),
        finding.suggestion && el('p', { class: 'og-help', text: sentence(finding.suggestion) }),
        finding.path &&
          (known
            ? el('button', {
                type: 'button',
                class: 'og-link-button',
                title: finding.path,
                text: named(finding.path),
                onclick: () => jump(finding.path),
              })
            : el('span', { class: 'og-muted og-mono', text: finding.path })),
      ),
      convertButton(settings, finding) || fixButton(settings, finding),
    );
  }
  /** The setting's label, and for one in a list the list and the number of the element. */
  function named(path) {
    const [, list, at] = /^(.*?)\.(\d+)(\.|$)/.exec(path) || [];
    const label = settings.fieldAt(path)?.label || (list ? '' : settings.labelOf(settings.rowOf(path).path));
    return [list && `${settings.labelOf(list)} ${Number(at) + 1}`, label].filter(Boolean).join(': ');
  }

  let drawn = '';
  place.update = () => {
    const key = JSON.stringify(settings.findings);
    if (key === drawn) return;
    drawn = key;
    setVisible(none, settings.findings.length === 0);
    for (const { severity, tone, ul, title } of lists) {
      const found = settings.findings.filter((finding) => finding.severity === severity);
      ul.replaceChildren(...found.map((finding) => line(finding, tone)));
      setVisible(title, found.length > 0);
    }
  };
  place.update();
  return place;
}
