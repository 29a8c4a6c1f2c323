// The settings being edited: the server's document, what was typed and is not saved yet, and the findings of the check.
//
// Every edit is one small PATCH with the revision it was made against. Edits go one after the other; what cannot be sent
// waits, survives a reload of the page, and is sent when the connection is back.

import { api, hold, may, on, store } from './live.js';

const KEPT = 'og-drafts';
const AGAINST = 'og-against';
const CHECK_AFTER_MS = 500;

export function get(object, path) {
  return path.split('.').reduce((at, key) => (at === null || at === undefined ? undefined : at[key]), object);
}

/** Put values at dotted paths within an object or list; paths that don't exist are skipped. */
function put(object, changes) {
  for (const [place, value] of changes) {
    const keys = place.split('.');
    const last = keys.pop();
    const parent = keys.reduce((at, key) => at?.[key], object);
    if (parent) parent[last] = value;
  }
  return object;
}

export function same(a, b) {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** The offered settings in order: one entry for each leaf of the schema (a list is a leaf), those of parts after an object's own. */
export function fieldsOf(schema, prefix = '') {
  const properties = Object.entries(schema.properties);
  const own = properties.filter(([, property]) => !property.properties);
  const parts = properties.filter(([, property]) => property.properties);
  // at the top the declared order holds: groups put together what belongs together
  return (prefix || parts.length + own.length < 40 ? [...own, ...parts] : properties).flatMap(([key, property]) => {
    const path = prefix + key;
    if (property.properties) return fieldsOf(property, `${path}.`);
    return [
      {
        path,
        label: property.title,
        help: property.description || '',
        group: property['x-group'],
        level: property['x-level'] || 'basic',
        kind: property['x-kind'] || '',
        shown: property['x-shown'] || {},
        words: property['x-shown-words'] || {},
        unitOf: property['x-unit-of'],
        schema: property,
      },
    ];
  });
}

/** A new element of a list, from the defaults of its schema; values that the server generates are omitted. */
function blank(schema) {
  return Object.fromEntries(
    Object.entries(schema.properties)
      .filter(([, property]) => !property['x-fresh'])
      .map(([key, property]) => [key, property.properties ? blank(property) : property.default]),
  );
}

/** A copy of an element of a list: without what has to be its own, and what was counted for the other. */
export function copyOf(item, schema) {
  const own = (key) => schema.properties[key]?.['x-fresh'] || key === 'uuid' || key === 'concept_stats';
  return Object.fromEntries(Object.entries(structuredClone(item)).filter(([key]) => !own(key)));
}

const LONG_JSON = 60;

/** A value as JSON on one line, with the spaces that people write. Line ends stand between values only: in texts they are escaped. */
function jsonLine(value) {
  return JSON.stringify(value, null, 1)
    .replace(/([[{])\n\s*|\n\s*(?=[\]}])/g, '$1')
    .replace(/\n\s*/g, ' ');
}

/** A value as JSON, on one line where it is short. */
export function jsonOf(value) {
  const line = jsonLine(value);
  return line.length > LONG_JSON ? JSON.stringify(value, null, 2) : line;
}

/** A value as it is shown in a sentence; with the schema of its setting, in the words of its choices, or as JSON. */
export function shownAs(value, schema) {
  if (schema?.['x-kind'] === 'json' && value && typeof value === 'object') {
    const line = jsonLine(value);
    return line.length > LONG_JSON ? `${line.slice(0, LONG_JSON)} …` : line;
  }
  if (value === true) return 'on';
  if (value === false) return 'off';
  if (value === null || value === undefined || value === '') return 'not set';
  if (Array.isArray(value)) return `${value.length} ${value.length === 1 ? 'entry' : 'entries'}`;
  return typeof value === 'object' ? 'custom values' : schema?.['x-enum-labels']?.[value] || textOf(value);
}

/** A value as text in an input: shortest form, powers of ten for what is very small. */
export function textOf(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
  return String(value);
}

// the secrets that the panel keeps; the others have no place in the settings
const KEPT_SECRETS = ['secrets.huggingface_token'];
const MAX_VALUES = 4;

/** Ask for schema and settings: at the start of the page, while Gradio is still building it. */
export const ask = () => Promise.all([api('GET', 'api/config/schema'), api('GET', 'api/config/current')]);

export class Settings {
  constructor() {
    /** @type {any} the server's description of all settings; null before `open` */
    this.schema = null;
    /** @type {any[]} */
    this.fields = [];
    /** @type {any} the values with their revision, name and what they were; null before `open` */
    this.document = null;
    /** @type {any} the same, as the server sent it */
    this.received = null;
    /** @type {any} what values are compared with where the server does not say what they were */
    this.base = {};
    /** @type {any[]} */
    this.checked = [];
    /** @type {any} the last answer of the check: what it found, and which engines can */
    this.engines = null;
    /** @type {any} choices that the engine doesn't support: path -> value -> why */
    this.unavailable = {};
    /** @type {Promise<void> | undefined} */
    this.sending = undefined;
    this.follows = '';
    /** @type {Set<string>} levels that are shown: basic, advanced, expert */
    this.levels = new Set();
    /** @type {Set<string>} paths that differ, with those above them */
    this.different = new Set();
    /** @type {Map<string, any>} fields by path */
    this.byPath = new Map();
    /** @type {Map<string, any[]>} fields of the elements of a list, by its path */
    this.inner = new Map();
    /** @type {Map<string, string>} a pattern -> the preset that writes it */
    this.written = new Map();
    /** @type {Set<string>} fields that are the unit of another one */
    this.units = new Set();
    this.drafts = new Map();
    this.listeners = new Set();
    /** @type {boolean | undefined} whether there are saved configurations; undefined until the list is loaded */
    this.saved = undefined;
    this.busy = false;
    this.checkTimer = 0;
    this.taken = 0; // how many documents
    // what marks compare with: a source as the server names it; empty for what was opened
    this.against = localStorage.getItem(AGAINST) || '';
    this.againstTitle = '';
    for (const [path, draft] of Object.entries(JSON.parse(sessionStorage.getItem(KEPT) || '{}')))
      this.drafts.set(path, { ...draft, state: 'waiting' });
  }

  async open(asked) {
    const [schema, document_] = await asked;
    this.adopt(schema);
    await this.take(document_);
    this.compare();
    this.send();
    let first = true;
    on('connected', ({ config_revision: revision }) => {
      // the first connection comes right after the settings; a later one may be to a panel with others
      if (!first || revision !== this.document.revision) this.refresh({ replace: Boolean(this.against) });
      first = false;
      this.follow();
    });
    on('config', (message) => {
      if (message.revision !== this.document.revision) this.refresh();
    });
    on('engine', () => this.follow());
    this.follow();
  }

  /** Take the declarations of the settings from a schema. */
  adopt(schema) {
    this.schema = schema;
    const all = fieldsOf(schema);
    this.fields = all.filter((field) => field.kind !== 'secret' || KEPT_SECRETS.includes(field.path));
    this.elsewhere = Object.fromEntries(
      all
        .filter((field) => !this.fields.includes(field))
        .map((field) => [
          field.path,
          `${field.label} is a cloud credential. The panel does not store cloud credentials or write secrets to settings files.`,
        ]),
    );
    this.byPath = new Map(this.fields.map((field) => [field.path, field]));
    this.inner = new Map(
      this.fields.filter((field) => field.kind === 'list').map((field) => [field.path, fieldsOf(field.schema.items)]),
    );
    // pattern -> the preset that writes it
    this.written = new Map(
      this.fields
        .filter((field) => field.kind === 'layer_preset')
        .flatMap((field) => Object.values(field.schema['x-writes']).map((path) => [path, field.path])),
    );
    this.units = new Set(this.fields.map((field) => field.unitOf).filter(Boolean));
    this.follows = schema['x-follows']?.key || '';
  }

  /** Where the form follows another OneTrainer checkout since the schema was read, read it again; and ask who can train now. */
  async follow() {
    if (!store.engine) return;
    if (store.engine.follows !== this.follows) {
      this.follows = store.engine.follows;
      this.adopt(await api('GET', 'api/config/schema'));
      this.tell('schema');
      await this.refresh();
    } else this.check();
  }

  /** Issues: values that were rejected, and the findings of the check. */
  get findings() {
    const refused = [...this.drafts].flatMap(([path, draft]) =>
      (draft.errors || []).map((error) => ({
        severity: 'error',
        ...error,
        path: error.path || path,
        message: error.conflict ? `Someone else changed ${this.labelOf(path)}. Choose which value to keep.` : error.message,
      })),
    );
    return [...refused, ...this.checked];
  }

  /** Report what this page holds that is not in the settings, so that no run starts with an old value. */
  report() {
    if (!this.schema) return;
    hold(
      [...this.drafts].flatMap(([path, draft]) => {
        const { schema } = this.fieldAt(path) || {};
        const types = [schema?.type].flat();
        const unread = typeof draft.value === 'string' && schema && !schema.enum && !types.includes('string');
        const refused = draft.errors?.length || (draft.state === 'typing' && unread);
        if (!refused && draft.state !== 'waiting') return [];
        const value = typeof draft.value === 'string' ? draft.value : (JSON.stringify(draft.value) ?? '');
        const reason = draft.errors?.find((error) => !error.conflict)?.expected;
        return [
          {
            path,
            label: this.labelOf(path),
            value: value.slice(0, 200),
            reason: reason ? `expected ${reason}` : '',
            pending: !refused,
          },
        ];
      }),
    );
  }

  tell(what, path) {
    this.report();
    for (const listener of this.listeners) listener(what, path);
  }

  /** The value of a setting; one that only the checkout has is in the document if it is not the default. */
  value(path) {
    const value = get(this.document.config, path);
    if (value !== undefined) return value;
    const field = this.fieldAt(path);
    return field?.schema['x-newer'] ? field.schema.default : undefined;
  }

  /** What the field shows: what was typed, or else what the server has; in a list, with what was typed in its elements. */
  shownValue(path) {
    const value = this.drafts.has(path) ? this.drafts.get(path).value : this.value(path);
    const within = [...this.drafts].filter(([place]) => place.startsWith(`${path}.`));
    return within.length
      ? put(
          structuredClone(value),
          within.map(([place, draft]) => [place.slice(path.length + 1), draft.value]),
        )
      : value;
  }

  /** The value in the preset or file that the settings came from. */
  baseValue(path) {
    const { was } = this.document;
    if (!was) return get(this.base, path);
    if (path in was) return was[path];
    // parts of a list differ: the list as it was
    const within = Object.entries(was).filter(([place]) => place.startsWith(`${path}.`));
    return put(
      structuredClone(this.value(path)),
      within.map(([place, old]) => [place.slice(path.length + 1), old]),
    );
  }

  changed(path) {
    if (this.document.was) return this.different.has(path);
    const base = this.baseValue(path);
    return base !== undefined && !same(this.value(path), base);
  }

  /** The settings that differ from the preset or file they came from. */
  changes() {
    return this.fields.filter((field) => this.changed(field.path) || (field.unitOf && this.changed(field.unitOf)));
  }

  /** The value that a condition asks for: a path within the element of a list, or from the root. */
  asked(path, prefix = '') {
    return this.value(path.startsWith('/') ? path.slice(1) : prefix + path);
  }

  /** Whether a setting applies with the current values; `prefix` is the element of a list that its conditions refer to. */
  applies(field, prefix = '') {
    return Object.entries(field.shown).every(([path, values]) => values.includes(this.asked(path, prefix)));
  }

  /** Why a setting does not apply, as text; empty if it does. */
  whyNot(field, prefix = '') {
    return Object.entries(field.shown)
      .filter(([path, values]) => !values.includes(this.asked(path, prefix)))
      .map(([path, values]) => {
        if (field.words[path]) return `only applies to ${field.words[path]}`;
        const other = this.fieldAt(path.startsWith('/') ? path.slice(1) : prefix + path);
        const named = values.slice(0, MAX_VALUES).map((value) => shownAs(value, other?.schema));
        if (values.length > MAX_VALUES) named.push(`one of ${values.length - MAX_VALUES} others`);
        return `requires ${other?.label || path} to be ${named.join(' or ')}`;
      })
      .join('; ');
  }

  /** The choices of a setting with the current values. */
  choices(field, prefix = '') {
    const depends = field.schema['x-choices-by'];
    const found = depends
      ? depends.by.reduce((table, path) => table?.[this.asked(path, prefix)], depends.choices)
      : field.schema.enum;
    return (found || []).filter((choice) => choice !== null);
  }

  /** The declaration of a setting, also of one in an element of a list. */
  fieldAt(path) {
    const [, list, rest] = /^(.*?)\.\d+\.(.+)$/.exec(path) || [];
    return list ? this.inner.get(list)?.find((field) => field.path === rest) : this.byPath.get(path);
  }

  /** A new element of a list: its defaults, and the values of the current model. */
  newElement({ schema }) {
    const by = schema['x-new-by'];
    return { ...blank(schema.items), ...by?.values[this.shownValue(by.by)] };
  }

  labelOf(path) {
    return this.fieldAt(path)?.label || path;
  }

  /** The row that shows a path: its own setting, the one it is the unit or a part of, or the first of an object. */
  rowOf(path) {
    return (
      this.byPath.get(path) ||
      this.fields.find((field) => field.unitOf === path || path.startsWith(`${field.path}.`)) ||
      this.fields.find((field) => field.path.startsWith(`${path}.`))
    );
  }

  errorsAt(path) {
    const draft = this.drafts.get(path);
    const refused = draft?.errors || [];
    return [...refused, ...this.checked.filter((finding) => finding.path === path)];
  }

  async take(answer) {
    this.taken += 1;
    const turn = this.taken;
    const document_ = await this.compared(answer);
    if (turn !== this.taken) return; // compared with something else meanwhile, or a newer document has come
    this.received = answer;
    this.document = document_;
    this.different = new Set(
      Object.keys(document_.was || {}).flatMap((place) => place.split('.').map((_, at, keys) => keys.slice(0, at + 1).join('.'))),
    );
    if (!document_.was) await this.findBase();
    this.tell('document');
    this.check();
  }

  /** The document with the values of another source in `was`, where that is what marks compare with. */
  async compared(document_) {
    if (!this.against) return document_;
    try {
      const { left, differences } = await api(
        'GET',
        `api/config/diff?${new URLSearchParams({ left: this.against, right: 'current' })}`,
      );
      this.againstTitle = left.kind === 'run' ? `the run ${left.title}` : left.title;
      return { ...document_, was: Object.fromEntries(differences.map(({ path, before }) => [path, before])) };
    } catch (error) {
      if (error.status === 404) this.remember(''); // it was deleted meanwhile
      return document_;
    }
  }

  remember(source) {
    this.against = source;
    if (source) localStorage.setItem(AGAINST, source);
    else localStorage.removeItem(AGAINST);
  }

  /** Mark what differs from another source than what was opened; an empty one is that again. */
  async compareWith(source) {
    this.remember(source);
    await this.refresh();
  }

  /** What values are compared with, as text. */
  comparedTo() {
    return (this.against && this.againstTitle) || this.document.name || 'the defaults';
  }

  /** What the values are compared with where the server does not say what they were: the defaults. */
  async findBase() {
    const { model_type: type, training_method: method } = this.document.config;
    try {
      const query = new URLSearchParams({ model_type: type, method });
      this.base = (await api('GET', `api/config/defaults?${query}`)).config;
    } catch {
      this.base = {};
    }
  }

  /** Request the settings again; without `replace`, the page changes only if they differ. */
  async refresh({ replace = true } = {}) {
    if (this.busy) return;
    try {
      const found = await api('GET', 'api/config/current');
      if (replace || !same(found, this.received)) await this.take(found);
      for (const draft of this.drafts.values()) if (draft.state === 'unsent') draft.state = 'waiting';
      this.compare();
      this.send();
    } catch (error) {
      if (error.status !== 0) throw error;
    }
  }

  check() {
    clearTimeout(this.checkTimer);
    if (!may('operator')) return;
    this.checkTimer = setTimeout(async () => {
      try {
        const found = await api('POST', 'api/config/validate', {});
        this.checked = [...found.errors, ...found.warnings];
        this.engines = found;
        this.tell('findings');
      } catch (error) {
        if (error.status !== 0) throw error;
      }
    }, CHECK_AFTER_MS);
  }

  keep() {
    const kept = [...this.drafts].map(([path, { value, was, also, from }]) => [path, { value, was, also, from }]);
    if (kept.length) sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(kept)));
    else sessionStorage.removeItem(KEPT);
    this.report();
  }

  /** Remember what is being typed, so that not even a reload loses it. */
  typed(path, value) {
    this.drafts.set(path, { value, was: this.value(path), state: 'typing' });
    this.keep();
  }

  /** Change a setting, and with it those that follow it; `also` are further settings of the same change. */
  edit(path, value, also = this.following(path, value), from = '') {
    const all = { [path]: value, ...also };
    // an edit on its way to the server is taken back by another one
    if (!this.busy && this.has(all) && !this.drafts.get(path)?.errors) {
      this.forget(path);
      return;
    }
    // a whole list takes what was typed in its elements with it
    for (const other of Object.keys(all))
      for (const place of [...this.drafts.keys()])
        if (place === other || place.startsWith(`${other}.`)) this.drafts.delete(place);
    this.drafts.set(path, { value, was: this.value(path), also, from, state: 'waiting' });
    this.keep();
    this.send();
  }

  /** Whether the server has these values already. */
  has(changes) {
    return Object.entries(changes).every(([place, wanted]) => same(wanted, this.value(place)));
  }

  /** Change several settings at once. */
  editTogether(changes, from) {
    const [[path, value], ...others] = Object.entries(changes);
    this.edit(path, value, Object.fromEntries(others), from);
  }

  /** What follows from an edit: a layer preset writes its pattern, a custom pattern is no longer a preset. */
  following(path, value) {
    const preset = this.byPath.get(path)?.schema['x-writes'];
    if (preset) {
      const writes = this.schema['x-layer-presets'][this.value('model_type')]?.[value] || {};
      return Object.fromEntries(Object.entries(writes).map(([name, pattern]) => [preset[name], pattern]));
    }
    const by = this.written.get(path);
    return by && this.value(by) !== 'custom' && !same(value, this.value(path)) ? { [by]: 'custom' } : {};
  }

  /** The path of the value that was typed last and rejected, if any: it is no change yet, so undo drops it first. */
  refused() {
    return [...this.drafts].reverse().find(([, draft]) => draft.state === 'refused')?.[0];
  }

  /** Undo the last change of this browser, or redo it (`what`): the server knows them, an opened preset included. */
  async again(what) {
    const typed = what === 'undo' && this.refused();
    if (typed) {
      this.forget(typed);
      return null;
    }
    await this.sending; // an edit that was just made comes first
    const change = this.document[what];
    if (!change) return null;
    try {
      await this.take(await api('POST', `api/config/${what}`, { revision: this.document.revision }));
      return change;
    } catch (error) {
      if (error.status === 409) await this.refresh();
      this.tell('refused', error.message);
      return null;
    }
  }

  /** The defaults of the selected optimizer. */
  async resetOptimizer() {
    await this.take(await api('POST', 'api/config/optimizer/defaults', { revision: this.document.revision }));
  }

  forget(path) {
    this.drafts.delete(path);
    this.keep();
    this.tell('draft', path);
  }

  /** Send what waits, one edit after the other. */
  send() {
    if (!this.busy) this.sending = this.sendAll();
    return this.sending;
  }

  async sendAll() {
    this.busy = true;
    try {
      for (;;) {
        const next = [...this.drafts].find(([, draft]) => draft.state === 'waiting');
        if (!next) return;
        const [path, draft] = next;
        if (this.has({ [path]: draft.value, ...draft.also })) this.forget(path);
        else if (!(await this.sendOne(path, draft))) return;
      }
    } finally {
      this.busy = false;
    }
  }

  async sendOne(path, draft) {
    const changes = { [path]: draft.value, ...draft.also };
    try {
      const answer = await api('PATCH', 'api/config/current', { revision: this.document.revision, changes });
      // what was typed meanwhile in the same field is newer
      if (this.drafts.get(path) === draft) this.drafts.delete(path);
      this.keep();
      await this.take(answer);
      return true;
    } catch (error) {
      if (error.status === 0) {
        draft.state = 'unsent';
        this.tell('draft', path);
        return false;
      }
      if (error.status === 409) return this.conflict(path, draft);
      draft.state = 'refused';
      if (draft.from) {
        // not typed by anyone: nothing to correct in a field
        this.forget(path);
        this.tell('refused', error.message);
        return true;
      }
      draft.errors = error.errors.length ? error.errors : [{ message: error.message, severity: 'error' }];
      this.tell('draft', path);
      return true;
    }
  }

  /** Someone else changed the settings: send again, unless it was this very field; then the person decides. */
  async conflict(path, draft) {
    await this.take(await api('GET', 'api/config/current'));
    if (same(this.value(path), draft.value)) this.forget(path);
    else this.compare();
    return true;
  }

  /** Edits that wait, of settings that someone else changed since they were typed: not sent before the person decides. */
  compare() {
    for (const [path, draft] of this.drafts) {
      const theirs = this.value(path);
      if (draft.state !== 'waiting' || same(theirs, draft.was) || same(theirs, draft.value)) continue;
      draft.state = 'conflict';
      draft.errors = [{ severity: 'warning', theirs, conflict: true }];
      this.tell('draft', path);
    }
  }

  async whole(method, path, body, options) {
    const answer = await api(method, path, body, options);
    this.drafts.clear();
    this.keep();
    await this.take(answer);
    return answer;
  }
}
