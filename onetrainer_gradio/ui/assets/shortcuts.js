// The list of keyboard shortcuts.

import { button, el, openDialog } from './dom.js';

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const CTRL = MAC ? '⌘' : 'Ctrl';

// group -> what it does, by ways to press it; keys of a way are pressed together
/** @type {[string, [string[][], string][]][]} */
const SHEET = [
  [
    'Settings',
    [
      [[[CTRL, 'Z']], 'Undo the last change to a setting'],
      [[MAC ? [CTRL, 'Shift', 'Z'] : [CTRL, 'Y']], 'Redo the change'],
      [[[CTRL, 'S']], 'Save the settings'],
      [[['/']], 'Search the settings'],
    ],
  ],
  ['Run', [[[[CTRL, 'Enter']], 'Start training']]],
  [
    'Page',
    [
      [[['Alt', '←']], 'Back to the previous tab'],
      [[['?']], 'Show this list'],
      [[['Esc']], 'Close a dialog or leave a zoomed chart'],
    ],
  ],
  [
    'Chart and samples',
    [
      [[['←'], ['→']], 'Move along the chart or between samples'],
      [[['+'], ['−']], 'Zoom the chart'],
    ],
  ],
];

/** Show the list. `single` is whether keys without Ctrl are enabled; `change` receives the new value. */
export function openSheet(single, change) {
  const box = el('input', { type: 'checkbox', checked: single, onchange: () => change(box.checked) });
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-sheet', 'aria-label': 'Keyboard shortcuts' },
    el(
      'div',
      { class: 'og-dialog-head' },
      el('h2', { class: 'og-grow', text: 'Keyboard shortcuts' }),
      button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() }),
    ),
    ...SHEET.map(([title, rows]) =>
      el(
        'section',
        {},
        el('h3', { text: title }),
        el(
          'dl',
          {},
          rows.map(([keys, does]) =>
            el(
              'div',
              {},
              el(
                'dt',
                {},
                keys.flatMap((together, way) => [
                  way ? ' or ' : null,
                  ...together.flatMap((key, at) => [at ? ' + ' : null, el('kbd', { text: key })]),
                ]),
              ),
              el('dd', { text: does }),
            ),
          ),
        ),
      ),
    ),
    el('label', { class: 'og-inline' }, box, el('span', { text: 'Enable single keys (/ and ?) while no field has the focus' })),
  );
  openDialog(dialog);
}
