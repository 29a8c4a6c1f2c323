// What the form shows: the selected group, or what search finds, at the selected level of detail. Without a document.

export const LEVELS = ['basic', 'advanced', 'expert'];
export const capital = (word) => word[0].toUpperCase() + word.slice(1);
const MAX_FOUND = 40; // shown before "Show all"
const EXTRA = {
  changed: (settings) => ['Changed', `Settings that differ from ${settings.comparedTo()}.`],
  problems: () => ['Issues', 'Errors that block the start, plus warnings and notes.'],
};

/** The levels up to one. */
export const upTo = (level) => new Set(LEVELS.slice(0, LEVELS.indexOf(level) + 1));

export class View {
  constructor(settings, group) {
    this.settings = settings;
    this.group = group;
    this.pinned = ''; // a setting that is shown whatever the level
    this.query = '';
    this.most = MAX_FOUND;
    /** @type {any} search is loaded when it is first used */
    this.search = null;
    /** @type {any[]} */
    this.groups = [];
    /** @type {any[]} */
    this.fields = [];
    /** @type {Map<string, any[]>} */
    this.inGroup = new Map();
    this.index();
    if (!this.groups.some(({ key }) => key === group) && !EXTRA[group]) this.group = 'model';
  }

  /** Make the tables of what there is to show: at the start, and when the form follows another OneTrainer. */
  index() {
    const { settings } = this;
    this.groups = settings.schema['x-groups'].filter((group) => !group['x-of']);
    this.fields = settings.fields.filter((field) => !settings.units.has(field.path));
    this.search = null;
    this.inGroup = new Map(this.groups.map(({ key }) => [key, this.fields.filter((field) => field.group === key)]));
  }

  get searching() {
    return Boolean(this.query.trim());
  }

  titleOf(key) {
    return this.settings.schema['x-groups'].find((group) => group.key === key)?.title || key;
  }

  /** Select a group. */
  open(key) {
    this.group = key;
    this.pinned = '';
    this.query = '';
  }

  find(query) {
    this.pinned = '';
    this.query = query;
    this.most = MAX_FOUND;
  }

  /** A setting that was changed, or is wrong, is shown whatever the level. */
  important(field) {
    return (
      this.settings.changed(field.path) ||
      field.path === this.pinned ||
      this.settings.errorsAt(field.path).some((error) => error.severity === 'error')
    );
  }

  atLevel(field) {
    return this.settings.levels.has(field.level) || this.important(field);
  }

  /** Fields, and what else search found; null while search is loaded. */
  wanted() {
    const { settings } = this;
    if (this.searching) return this.search ? this.search(this.query) : null;
    if (this.group === 'problems') return { fields: [] };
    if (this.group === 'changed') return { fields: settings.changes().filter((field) => !settings.units.has(field.path)) };
    return {
      fields: (this.inGroup.get(this.group) || []).filter(
        (field) => field.path === this.pinned || (this.atLevel(field) && settings.applies(field)),
      ),
    };
  }

  /** Title, text, and a description of what is not shown. */
  headline(fields, total) {
    if (this.searching) {
      const all = `${total} ${total === 1 ? 'result' : 'results'}`;
      const found =
        total > fields.length && fields.length === this.most ? `${all}, showing the first ${fields.length}.` : `${all}.`;
      const none = 'No results. Search covers labels, help text, config keys, and the names that kohya and diffusers use.';
      return { name: 'Search results', text: total ? found : none, hidden: '' };
    }
    const group = this.groups.find(({ key }) => key === this.group);
    const [name, text] = EXTRA[this.group]?.(this.settings) || [group?.title || this.group, group?.about || ''];
    const rest = (this.inGroup.get(this.group) || []).filter((field) => this.settings.applies(field) && !fields.includes(field));
    const levels = LEVELS.filter((level) => rest.some((field) => field.level === level)).map(capital);
    const nothing = fields.length || this.group === 'problems' ? '' : 'No settings to show.';
    return { name, text, hidden: rest.length ? `${rest.length} more under ${levels.join(' and ')}.` : nothing };
  }

  /** The groups that have something to show, by tab, and the views that belong to none; each with a count. */
  navigation() {
    const { settings } = this;
    const errors = settings.findings.filter(({ severity }) => severity === 'error');
    const about = ({ path }, finding) => finding.path === path || finding.path.startsWith(`${path}.`);
    const shown = this.groups
      .map(({ key, title: name, 'x-tab': tab }) => {
        const fields = (this.inGroup.get(key) || []).filter((field) => settings.applies(field));
        const count = errors.filter((finding) => fields.some((field) => about(field, finding))).length;
        return { key, name, tab, count, tone: 'bad', some: fields.some((field) => this.atLevel(field)) };
      })
      .filter(({ some, key }) => some || key === this.group);
    const tabs = settings.schema['x-tabs']
      .map((tab) => ({ ...tab, groups: shown.filter((group) => group.tab === tab.key) }))
      .filter((tab) => tab.groups.length);
    const serious = settings.findings.filter(({ severity }) => severity !== 'note').length;
    const extra = [{ key: 'changed', name: 'Changed', count: settings.changes().length, tone: 'accent' }];
    if (settings.findings.length || this.group === 'problems')
      extra.push({ key: 'problems', name: 'Issues', count: serious, tone: errors.length ? 'bad' : 'warn' });
    return { tabs, extra };
  }
}
