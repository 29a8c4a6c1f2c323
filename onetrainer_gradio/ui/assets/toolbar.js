// The toolbar above the settings: open, undo, save, import, export, reset; and the training engine.

import { button, capital, confirmed, el, icon, setText, setVisible, toast } from './dom.js';
import { api, on } from './live.js';

const loadPath = (name, kind = '') =>
  `api/config/load/${name.split('/').map(encodeURIComponent).join('/')}${kind && `?kind=${kind}`}`;

/** @param {any} settings */
export function toolbar(settings) {
  const tools = new Toolbar(settings);
  settings.listeners.add((/** @type {string} */ what) => {
    if (what === 'document' || what === 'draft') tools.state();
  });
  tools.state();
  /** @type {Promise<boolean> | null} */
  let first = tools.fill();
  on('connected', async () => {
    const known = await first; // the first connection comes right after the page, and nothing has changed since
    first = null;
    if (!known) tools.fill();
  });
  return tools.node;
}

class Toolbar {
  /** @param {any} settings */
  constructor(settings) {
    this.settings = settings;
    /** @type {any[]} */
    this.items = [];
    this.name = el('span', { class: 'og-open-name' });
    this.changes = el('span', { class: 'og-muted og-small', role: 'status' });
    this.file = el('input', {
      type: 'file',
      accept: '.json,application/json',
      hidden: true,
      'aria-label': 'Settings file',
      onchange: () => this.importFile(this.file.files?.[0]),
    });
    this.undo = this.stepButton('undo', 'Undo');
    this.redo = this.stepButton('redo', 'Redo');
    const save = () => this.save(settings.document.name);
    this.saveButton = button('Save', { kind: 'small', dataset: { tool: 'save' }, onclick: save });
    this.removeButton = button('', {
      icon: 'trash',
      title: 'Delete this saved configuration',
      'data-og-needs': 'owner',
      kind: 'small quiet',
      onclick: () => this.remove(),
    });
    this.node = this.layout();
  }

  /**
   * @param {string} what
   * @param {string} title
   */
  stepButton(what, title) {
    const onclick = () => this.again(what);
    return button('', { icon: what, title, kind: 'small quiet', dataset: { tool: what }, onclick });
  }

  layout() {
    const pick = el(
      'button',
      { type: 'button', id: 'og-config', class: 'og-button', 'aria-haspopup': 'dialog', onclick: () => this.browse() },
      icon('file'),
      el('span', { class: 'og-sr', text: 'Open a preset or saved configuration. Current: ' }),
      this.name,
      icon('down'),
    );
    const tool = (/** @type {string} */ label, /** @type {Record<string, any>} */ more) =>
      button(label, { kind: 'small', ...more });
    const exported = 'Download the settings as a JSON file';
    const compared = 'Compare two configurations side by side';
    const raw = 'View and edit the config as OneTrainer JSON';
    return el(
      'div',
      { class: 'og-toolbar', role: 'group', 'aria-label': 'Open and save settings', 'data-og-needs': 'operator' },
      [pick, this.undo, this.redo, this.changes, this.removeButton],
      el('span', { class: 'og-grow' }),
      this.saveButton,
      tool('Save as…', { dataset: { tool: 'save-as' }, onclick: () => this.saveAs() }),
      tool('Import', { icon: 'upload', onclick: () => this.file.click() }),
      this.file,
      tool('Export', { icon: 'download', title: exported, onclick: async () => (await import('./saved.js')).exportDialog() }),
      tool('Compare', { icon: 'swap', title: compared, 'data-og-needs': 'viewer', onclick: () => this.compare() }),
      tool('JSON', { title: raw, onclick: async () => (await import('./raw.js')).openRaw(this.settings) }),
      tool('Reset', { icon: 'reset', onclick: () => this.reset() }),
    );
  }

  async fill() {
    try {
      this.items = (await api('GET', 'api/config/list')).configs;
    } catch (/** @type {any} */ error) {
      if (error.status !== 0) throw error;
      return false;
    }
    this.settings.saved = this.items.some((item) => item.kind === 'saved');
    for (const listener of this.settings.listeners) listener('saved');
    this.state();
    return true;
  }

  current() {
    return this.items.find((item) => item.name === this.settings.document.name);
  }

  state() {
    const { settings } = this;
    const count = settings.changes().length;
    setText(this.name, settings.document.name || 'Open preset…');
    const changed = `${count} ${settings.against ? 'differ' : 'changed'}`;
    setText(this.changes, count ? changed : this.current() ? 'Unchanged' : '');
    this.saveButton.disabled = this.current()?.kind !== 'saved' || !count;
    this.step(this.undo, 'Undo', settings.document.undo, settings.refused());
    this.step(this.redo, 'Redo', settings.document.redo);
    setVisible(this.removeButton, this.current()?.kind === 'saved');
  }

  /**
   * The change of an undo or redo step, as text.
   * @param {{kind: string, of?: string, name?: string, paths?: string[]}} change
   */
  changeOf({ kind, of, name, paths = [] }) {
    const { settings } = this;
    if (kind === 'reset') return `reset to “${name || 'the defaults'}”`;
    if (kind === 'open')
      return of === 'document' ? 'all settings' : `${of === 'import' ? 'imported' : 'opened'} “${name || 'a file'}”`;
    const labels = [...new Set(paths.map((path) => settings.labelOf(settings.rowOf(path)?.path || path)))];
    return labels.length > 2 ? `${labels[0]} and ${labels.length - 1} more` : labels.join(', ');
  }

  /**
   * @param {HTMLButtonElement} node
   * @param {string} word
   * @param {any} change
   * @param {string} [typed] the setting with a value that can't be saved
   */
  step(node, word, change, typed) {
    node.disabled = !change && !typed;
    const named = change ? `${word}: ${this.changeOf(change)}` : word;
    node.title = typed ? `${word}: ${this.settings.labelOf(typed)}` : named;
  }

  /** @param {string} what */
  async again(what) {
    const change = await this.settings.again(what);
    if (change && change.kind !== 'edit') toast(`${what === 'undo' ? 'Undone' : 'Redone'}: ${this.changeOf(change)}.`);
  }

  /**
   * @param {() => Promise<any>} action
   * @param {string} [done]
   */
  async attempt(action, done) {
    try {
      await action();
      if (done) toast(done);
      await this.fill();
    } catch (/** @type {any} */ error) {
      toast(error.whole, 'bad');
      this.state();
    }
  }

  async browse() {
    const { openPresets } = await import('./presets.js');
    const { settings } = this;
    await this.fill();
    openPresets(settings, this.items, {
      load: (/** @type {any} */ { name, kind }) =>
        this.attempt(() => settings.whole('GET', loadPath(name, kind)), `Opened “${name}”.`),
      again: async () => {
        await this.fill();
        return this.items;
      },
    });
  }

  /** @param {string} name */
  async save(name) {
    await this.attempt(() => this.settings.whole('POST', 'api/config/save', { name }), `Saved as “${name}”.`);
  }

  async saveAs() {
    const dialogs = await import('./saved.js');
    const named = (this.current()?.kind ?? 'saved') === 'saved' ? this.settings.document.name || '' : '';
    const name = await dialogs.saveAs(this.settings, named);
    if (name) {
      toast(`Saved as “${name}”.`);
      await this.fill();
    }
  }

  async compare() {
    const { openCompare } = await import('./compare.js');
    await this.attempt(() => openCompare(this.settings, this.settings.against));
  }

  /** @param {File} [chosen] */
  async importFile(chosen) {
    if (!chosen) return;
    const text = await chosen.text();
    this.file.value = '';
    const path = `api/config/import?${new URLSearchParams({ name: chosen.name })}`;
    await this.attempt(() => this.settings.whole('POST', path, text, { raw: true }), `Imported “${chosen.name}”.`);
  }

  async reset() {
    const { name, revision } = this.settings.document;
    const to = name ? `“${name}”` : 'the opened configuration';
    if (!(await confirmed('Reset all settings?', `All settings will revert to ${to}. You can undo this.`, 'Reset'))) return;
    await this.attempt(() => this.settings.whole('POST', 'api/config/reset', { revision }));
  }

  async remove() {
    const { name } = this.settings.document;
    const kept = 'This deletes the saved configuration. The settings in the form don’t change.';
    if (!(await confirmed(`Delete “${name}”?`, kept, 'Delete'))) return;
    await this.attempt(() => api('DELETE', `api/config/${encodeURIComponent(name)}`), `Deleted “${name}”.`);
  }
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
    { class: 'og-engine', 'data-og-needs': 'owner' },
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
