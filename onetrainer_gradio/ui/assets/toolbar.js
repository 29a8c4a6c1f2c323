// The toolbar above the settings: open, undo, save, import, export, reset; and the training engine.

import { button, capital, confirmed, el, icon, setText, setVisible, toast } from './dom.js';
import { api, on } from './live.js';

const loadPath = (name, kind = '') =>
  `api/config/load/${name.split('/').map(encodeURIComponent).join('/')}${kind && `?kind=${kind}`}`;

export function toolbar(settings) {
  const name_ = el('span', { class: 'og-open-name' });
  const pick = el(
    'button',
    { type: 'button', id: 'og-config', class: 'og-button', 'aria-haspopup': 'dialog', onclick: browse },
    icon('file'),
    el('span', { class: 'og-sr', text: 'Open a preset or saved configuration. Current: ' }),
    name_,
    icon('down'),
  );
  const changes = el('span', { class: 'og-muted og-small', role: 'status' });
  const file = el('input', {
    type: 'file',
    accept: '.json,application/json',
    hidden: true,
    'aria-label': 'Settings file',
    onchange: () => importFile(file.files?.[0]),
  });
  const undo = button('', {
    icon: 'undo',
    title: 'Undo',
    kind: 'small quiet',
    dataset: { tool: 'undo' },
    onclick: () => again('undo'),
  });
  const redo = button('', {
    icon: 'redo',
    title: 'Redo',
    kind: 'small quiet',
    dataset: { tool: 'redo' },
    onclick: () => again('redo'),
  });
  const saveButton = button('Save', { kind: 'small', dataset: { tool: 'save' }, onclick: () => save(settings.document.name) });
  const removeButton = button('', {
    icon: 'trash',
    title: 'Delete this saved configuration',
    kind: 'small quiet',
    onclick: remove,
  });
  let items = [];

  async function fill() {
    try {
      items = (await api('GET', 'api/config/list')).configs;
    } catch (error) {
      if (error.status !== 0) throw error;
      return;
    }
    state();
  }
  const current = () => items.find((item) => item.name === settings.document.name);

  function state() {
    const count = settings.changes().length;
    setText(name_, settings.document.name || 'Open preset…');
    setText(changes, count ? `${count} ${settings.against ? 'differ' : 'changed'}` : current() ? 'Unchanged' : '');
    saveButton.disabled = current()?.kind !== 'saved' || !count;
    step(undo, 'Undo', settings.document.undo, settings.refused());
    step(redo, 'Redo', settings.document.redo);
    setVisible(removeButton, current()?.kind === 'saved');
  }

  /** The change of an undo or redo step, as text. */
  function changeOf({ kind, of, name, paths = [] }) {
    if (kind === 'reset') return `reset to “${name || 'the defaults'}”`;
    if (kind === 'open')
      return of === 'document' ? 'all settings' : `${of === 'import' ? 'imported' : 'opened'} “${name || 'a file'}”`;
    const labels = [...new Set(paths.map((path) => settings.labelOf(settings.rowOf(path)?.path || path)))];
    return labels.length > 2 ? `${labels[0]} and ${labels.length - 1} more` : labels.join(', ');
  }
  function step(node, word, change, typed) {
    node.disabled = !change && !typed;
    node.title = typed ? `${word}: ${settings.labelOf(typed)}` : change ? `${word}: ${changeOf(change)}` : word;
  }
  async function again(what) {
    const change = await settings.again(what);
    if (change && change.kind !== 'edit') toast(`${what === 'undo' ? 'Undone' : 'Redone'}: ${changeOf(change)}.`);
  }

  async function attempt(action, done) {
    try {
      await action();
      if (done) toast(done);
      await fill();
    } catch (error) {
      toast(error.whole, 'bad');
      state();
    }
  }

  async function browse() {
    const { openPresets } = await import('./presets.js');
    await fill();
    openPresets(settings, items, {
      load: ({ name, kind }) => attempt(() => settings.whole('GET', loadPath(name, kind)), `Opened “${name}”.`),
      async again() {
        await fill();
        return items;
      },
    });
  }
  async function raw() {
    const { openRaw } = await import('./raw.js');
    openRaw(settings);
  }
  async function save(name) {
    await attempt(() => settings.whole('POST', 'api/config/save', { name }), `Saved as “${name}”.`);
  }
  async function saveAs() {
    const dialogs = await import('./saved.js');
    const name = await dialogs.saveAs(settings, (current()?.kind ?? 'saved') === 'saved' ? settings.document.name || '' : '');
    if (name) {
      toast(`Saved as “${name}”.`);
      await fill();
    }
  }
  async function takeAway() {
    (await import('./saved.js')).exportDialog();
  }
  async function compare() {
    const { openCompare } = await import('./compare.js');
    await attempt(() => openCompare(settings, settings.against));
  }
  async function importFile(chosen) {
    if (!chosen) return;
    const text = await chosen.text();
    file.value = '';
    await attempt(
      () => settings.whole('POST', `api/config/import?${new URLSearchParams({ name: chosen.name })}`, text, { raw: true }),
      `Imported “${chosen.name}”.`,
    );
  }
  async function reset() {
    const { name, revision } = settings.document;
    if (
      !(await confirmed(
        'Reset all settings?',
        `All settings will revert to ${name ? `“${name}”` : 'the opened configuration'}. You can undo this.`,
        'Reset',
      ))
    )
      return;
    await attempt(() => settings.whole('POST', 'api/config/reset', { revision }));
  }
  async function remove() {
    const { name } = settings.document;
    if (
      !(await confirmed(
        `Delete “${name}”?`,
        'This deletes the saved configuration. The settings in the form don’t change.',
        'Delete',
      ))
    )
      return;
    await attempt(() => api('DELETE', `api/config/${encodeURIComponent(name)}`), `Deleted “${name}”.`);
  }

  settings.listeners.add((what) => {
    if (what === 'document' || what === 'draft') state();
  });
  on('connected', fill);
  state();
  fill();
  return el(
    'div',
    { class: 'og-toolbar', role: 'group', 'aria-label': 'Open and save settings' },
    pick,
    undo,
    redo,
    changes,
    removeButton,
    el('span', { class: 'og-grow' }),
    saveButton,
    button('Save as…', { kind: 'small', dataset: { tool: 'save-as' }, onclick: saveAs }),
    button('Import', { icon: 'upload', kind: 'small', onclick: () => file.click() }),
    file,
    button('Export', { icon: 'download', kind: 'small', title: 'Download the settings as a JSON file', onclick: takeAway }),
    button('Compare', {
      icon: 'swap',
      kind: 'small',
      title: 'Compare two configurations side by side',
      onclick: compare,
    }),
    button('JSON', { kind: 'small', title: 'View and edit the config as OneTrainer JSON', onclick: raw }),
    button('Reset', { icon: 'reset', kind: 'small', onclick: reset }),
  );
}

/** The training engine, above the form; it follows the pre-flight check. */
export function engineStrip(settings) {
  const line = engineLine('og-engine');
  settings.listeners.add((what) => {
    if (what === 'findings') line.put(settings.engines);
  });
  if (settings.engines) line.put(settings.engines);
  return line.node;
}

const plain = (sentence) => sentence.replace(/\.$/, '');

/** Whether no engine supports this model type and method. */
export const nobodyCan = (found) =>
  Boolean(found?.engines?.length) &&
  found.engines.every((each) => !each.can && ['model_type', 'training_method'].includes(each.path));

/** A menu of engines with what the choice means for the settings; `put` takes the result of the check. */
export function engineLine(id) {
  const select = el('select', { id, onchange: () => choose(select.value) });
  const words = el('div', { class: 'og-engine-words', role: 'status' });
  const node = el(
    'div',
    { class: 'og-engine' },
    el('label', { class: 'og-inline', for: id }, el('span', { text: 'Engine' }), select),
    words,
  );
  let drawn = '';

  async function choose(engine) {
    try {
      put(await api('PUT', 'api/engines', { engine }));
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  function put(found) {
    if (!found?.engines?.length) return;
    const key = JSON.stringify([found.choice, found.engine, found.engines]);
    if (key === drawn) return;
    drawn = key;
    select.replaceChildren(
      el('option', { value: 'auto', text: 'Automatic' }),
      ...found.engines.map((each) => el('option', { value: each.id, text: capital(each.title) })),
    );
    select.value = found.choice;
    const present = found.engines.find((each) => each.id === found.engine);
    if (present) words.replaceChildren(...sentences(present, found));
  }

  function sentences(present, { choice, engines }) {
    if (!present.can) {
      const others = engines.filter((each) => each.can);
      return [
        el('span', {
          class: 'bad',
          text: `${capital(present.title)} can’t train this: ${plain(present.why)}${present.more ? ` (and ${present.more} more)` : ''}. `,
        }),
        present.path && el('a', { href: '#configuration', dataset: { ogSetting: present.path }, text: 'Go to setting' }),
        ...others.map((each) => button(`Use ${each.title}`, { kind: 'small', onclick: () => choose(each.id) })),
        !others.length &&
          (!present.path || engines.length === 1) &&
          el('a', {
            href: '#system',
            dataset: { ogTab: 'system' },
            text: engines.length === 1 ? 'Add OneTrainer to train it' : 'Open the System tab',
          }),
      ].filter(Boolean);
    }
    const builtin = choice === 'auto' && present.backend === 'onetrainer' && engines.find((each) => each.backend === 'builtin');
    const why = !builtin
      ? ''
      : builtin.can
        ? ' The built-in engine would ignore settings that only OneTrainer supports.'
        : ` The built-in engine can’t: ${plain(builtin.why)}.`;
    return [
      el('span', {
        class: 'og-muted',
        text: `Runs will use ${present.title}.${why}${present.note ? ` ${present.note}.` : ''}`,
      }),
    ];
  }

  return { node, put };
}
