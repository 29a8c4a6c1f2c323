// The settings being edited: the document of the server, what was typed and is not there yet, and what the check says.
//
// Every edit is one small PATCH with the revision it was made against. Edits go one after the other; what cannot be sent
// waits, survives a reload of the page, and is sent when the connection is back.

import { api, on } from './live.js';

const KEPT = 'og-drafts';
const CHECK_AFTER_MS = 500;

export function get(object, path) {
  return path.split('.').reduce((at, key) => (at === null || at === undefined ? undefined : at[key]), object);
}

/** Put values at dotted places within an object or list; places that are not there are passed over. */
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
    return [{ path, label: property.title, help: property.description || '', group: property['x-group'], level: property['x-level'] || 'basic', shown: property['x-shown'], unitOf: property['x-unit-of'], schema: property }];
  });
}

/** A new element of a list, from the defaults of its schema. */
export function blank(schema) {
  return Object.fromEntries(Object.entries(schema.properties).map(([key, property]) => [key, property.properties ? blank(property) : property.default]));
}

export class Settings {
  constructor() {
    this.schema = null;
    this.fields = [];
    this.document = null;
    this.base = {};
    this.findings = [];
    this.drafts = new Map();
    this.listeners = new Set();
    this.busy = false;
    this.checkTimer = 0;
    for (const [path, draft] of Object.entries(JSON.parse(sessionStorage.getItem(KEPT) || '{}'))) this.drafts.set(path, { ...draft, state: 'waiting' });
  }

  async open() {
    const [schema, document_] = await Promise.all([api('GET', 'api/config/schema'), api('GET', 'api/config/current')]);
    this.schema = schema;
    this.fields = fieldsOf(schema);
    this.units = new Set(this.fields.map((field) => field.unitOf).filter(Boolean));
    await this.take(document_);
    this.compare();
    this.send();
    on('connected', () => this.refresh());
    on('config', (message) => { if (message.revision !== this.document.revision) this.refresh(); });
  }

  tell(what, path) {
    for (const listener of this.listeners) listener(what, path);
  }

  value(path) {
    return get(this.document.config, path);
  }

  /** What the field shows: what was typed, or else what the server has; in a list, with what was typed in its elements. */
  shownValue(path) {
    const value = this.drafts.has(path) ? this.drafts.get(path).value : this.value(path);
    const within = [...this.drafts].filter(([place]) => place.startsWith(`${path}.`));
    return within.length ? put(structuredClone(value), within.map(([place, draft]) => [place.slice(path.length + 1), draft.value])) : value;
  }

  /** The value in the preset or file that the settings came from. */
  baseValue(path) {
    const { was } = this.document;
    if (!was) return get(this.base, path);
    if (path in was) return was[path];
    // parts of a list differ: the list as it was
    const within = Object.entries(was).filter(([place]) => place.startsWith(`${path}.`));
    return put(structuredClone(this.value(path)), within.map(([place, old]) => [place.slice(path.length + 1), old]));
  }

  changed(path) {
    const { was } = this.document;
    if (was) return Object.keys(was).some((place) => place === path || place.startsWith(`${path}.`));
    const base = this.baseValue(path);
    return base !== undefined && !same(this.value(path), base);
  }

  /** The settings that differ from the preset or file they came from. */
  changes() {
    return this.fields.filter((field) => this.changed(field.path) || (field.unitOf && this.changed(field.unitOf)));
  }

  /** Whether a setting applies under the present values; `prefix` is the element of a list that its conditions refer to. */
  applies(field, prefix = '') {
    return Object.entries(field.shown || {}).every(([path, values]) => values.includes(this.value(prefix + path)));
  }

  errorsAt(path) {
    const draft = this.drafts.get(path);
    const refused = draft?.errors || [];
    return [...refused, ...this.findings.filter((finding) => finding.path === path)];
  }

  async take(document_) {
    this.document = document_;
    if (!document_.was) await this.findBase();
    this.tell('document');
    this.check();
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

  async refresh() {
    if (this.busy) return;
    try {
      await this.take(await api('GET', 'api/config/current'));
      for (const draft of this.drafts.values()) if (draft.state === 'unsent') draft.state = 'waiting';
      this.compare();
      this.send();
    } catch (error) {
      if (error.status !== 0) throw error;
    }
  }

  check() {
    clearTimeout(this.checkTimer);
    this.checkTimer = setTimeout(async () => {
      try {
        const found = await api('POST', 'api/config/validate', {});
        this.findings = [...found.errors, ...found.warnings];
        this.tell('findings');
      } catch (error) {
        if (error.status !== 0) throw error;
      }
    }, CHECK_AFTER_MS);
  }

  keep() {
    const kept = [...this.drafts].map(([path, { value, was }]) => [path, { value, was }]);
    if (kept.length) sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(kept)));
    else sessionStorage.removeItem(KEPT);
  }

  /** Remember what is being typed, so that not even a reload loses it. */
  typed(path, value) {
    this.drafts.set(path, { value, was: this.value(path), state: 'typing' });
    this.keep();
  }

  edit(path, value) {
    if (same(value, this.value(path)) && !this.drafts.get(path)?.errors) {
      this.forget(path);
      return;
    }
    // a whole list takes what was typed in its elements with it
    for (const place of [...this.drafts.keys()]) if (place.startsWith(`${path}.`)) this.drafts.delete(place);
    this.drafts.set(path, { value, was: this.value(path), state: 'waiting' });
    this.keep();
    this.send();
  }

  forget(path) {
    this.drafts.delete(path);
    this.keep();
    this.tell('draft', path);
  }

  /** Send what waits, one edit after the other. */
  async send() {
    if (this.busy) return;
    this.busy = true;
    try {
      for (;;) {
        const next = [...this.drafts].find(([, draft]) => draft.state === 'waiting');
        if (!next || !(await this.sendOne(...next))) return;
      }
    } finally {
      this.busy = false;
    }
  }

  async sendOne(path, draft) {
    try {
      const answer = await api('PATCH', 'api/config/current', { revision: this.document.revision, changes: { [path]: draft.value } });
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
      draft.errors = error.errors.length ? error.errors : [{ message: error.message, severity: 'error' }];
      this.tell('draft', path);
      return true;
    }
  }

  /** Somebody else changed the settings: send again, unless it was this very field; then the person decides. */
  async conflict(path, draft) {
    await this.take(await api('GET', 'api/config/current'));
    if (same(this.value(path), draft.value)) this.forget(path);
    else this.compare();
    return true;
  }

  /** Edits that wait, of settings that somebody else changed since they were typed: not sent before the person decides. */
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
    this.document = null;
    await this.take(answer);
    return answer;
  }
}
