// OneTrainer installations: their status, what is missing, and lists that can be imported.

import { button, capital, confirmed, el, format, setText, setVisible, toast } from './dom.js';
import { labeled } from './labeled.js';
import { api, on, store } from './live.js';
import { shownAs } from './settings.js';
import { sheet } from './sheet.js';
import { tableHead } from './table.js';
import { sentence } from './words.js';

const BASE = 'api/onetrainer/checkouts';
/** @type {Record<string, string>} */
const ORIGINS = { 'command line': 'set at startup', found: 'auto-detected', added: 'added here' };
/** @type {Record<string, [string, string]>} */
const LISTS = { concepts: ['Concepts', 'concept list'], samples: ['Sample prompts', 'list of sample prompts'] };
const MAX_LISTED = 40;
const JSON_SHOWN = { 'x-kind': 'json' };

export async function checkoutsCard() {
  await sheet('checkouts.css');
  const card = new Checkouts();
  const load = () => card.load();
  on('engine', load);
  on('connected', load);
  load();
  return card.node;
}

/** @param {string} text */
const hint = (text, hidden = false) => el('p', { class: 'og-muted og-small', hidden, text });

class Checkouts {
  constructor() {
    this.may = false; // add and remove
    /** @type {Set<string | undefined>} */
    this.unfolded = new Set();
    this.list = el('div', {});
    this.intro = hint(
      'OneTrainer installations on this machine. Use them as a training engine; their settings and presets become available too.',
      true,
    );
    this.none = hint(
      'No OneTrainer installation yet. Add one to train every model OneTrainer supports and to use its presets. The panel never modifies its folder.',
    );
    this.adding = new Adding(() => this.load());
    this.closed = hint('On this panel, OneTrainer installations can only be set at startup with --onetrainer FOLDER.', true);
    this.node = el(
      'section',
      { class: 'og-card', 'aria-label': 'OneTrainer', 'data-og-needs': 'owner' },
      el('h2', { text: 'OneTrainer' }),
      [this.intro, waiting(), this.none, this.list, this.adding.node, this.closed, table()],
    );
  }

  async load() {
    try {
      const { checkouts, can_add: may } = await api('GET', BASE);
      this.may = may;
      setVisible(this.intro, checkouts.length > 0);
      setVisible(this.none, checkouts.length === 0);
      setVisible(this.adding.node, may);
      setVisible(this.closed, !may);
      this.unfolded = new Set([...this.list.querySelectorAll('details[open]')].map((each) => each.dataset.key));
      this.list.replaceChildren(.../** @type {any[]} */ (checkouts).map((each) => this.entry(each)));
    } catch (/** @type {any} */ error) {
      if (error.status !== 0) throw error;
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {any} [body]
   * @param {string} [done]
   */
  async act(method, path, body, done) {
    try {
      await api(method, path, body);
      if (done) toast(done);
      await this.load();
    } catch (/** @type {any} */ error) {
      toast(error.message, 'bad');
    }
  }

  /** @param {any} checkout */
  entry(checkout) {
    const [tone, state] = condition(checkout);
    const { title, folder, version_note } = checkout;
    const problems = problemsOf(checkout);
    return el(
      'article',
      { class: 'og-checkout', dataset: { checkout: checkout.id } },
      el(
        'div',
        { class: 'og-checkout-head' },
        el('span', { class: 'og-label', text: title }),
        el('span', { class: 'og-badge', dataset: { tone }, text: state }),
        el('span', { class: 'og-muted og-mono', text: folder }),
      ),
      version_note && el('p', { class: 'og-small warn', dataset: { part: 'version' }, text: version_note }),
      problems.length > 0 &&
        el(
          'ul',
          {},
          problems.map((problem) => el('li', { class: problem.severity === 'error' ? 'bad' : 'warn', text: whole(problem) })),
        ),
      el(
        'dl',
        { class: 'og-facts og-columns' },
        facts(checkout).map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))),
      ),
      this.details(checkout),
      this.buttons(checkout),
    );
  }

  /**
   * What differs between the installation and this version, and what can be imported: parts that fold out.
   * @param {any} checkout
   */
  details(checkout) {
    const { newer = [], lacking = [], defaults = [] } = checkout.settings;
    const lists = Object.entries(checkout.lists).filter(([, names]) => names.length);
    const fold = (/** @type {string} */ part, /** @type {string} */ title, /** @type {any[]} */ ...inside) => {
      const key = `${checkout.id} ${part}`;
      return el('details', { dataset: { key }, open: this.unfolded.has(key) }, el('summary', { text: title }), inside);
    };
    const inForm = 'While this installation is selected, they appear in the form under Expert › Newer settings.';
    const fields = (/** @type {any} */ each) => [each.path, each.type, shownAs(each.default, JSON_SHOWN)];
    const values = (/** @type {any} */ each) => [each.path, shownAs(each.here), shownAs(each.there)];
    const differ = defaults.length === 1 ? 'differs' : 'differ';
    return [
      newer?.length > 0 &&
        fold(
          'newer',
          `${count(newer.length, 'setting')} only in this version`,
          hint(inForm),
          rows(['Setting', 'Type', 'Default'], newer.map(fields)),
        ),
      lacking?.length > 0 &&
        fold('lacking', `${count(lacking.length, 'setting')} not supported by this version`, hint(lacking.join(', '))),
      defaults?.length > 0 &&
        fold(
          'defaults',
          `${count(defaults.length, 'default')} that ${differ} from the panel’s defaults`,
          rows(['Setting', 'Panel', 'OneTrainer'], defaults.map(values)),
        ),
      lists.length > 0 &&
        fold(
          'lists',
          'Import its concepts and sample prompts',
          ...lists.map(([kind, names]) => this.taking(checkout, kind, names)),
        ),
    ].filter(Boolean);
  }

  /** @param {any} checkout */
  buttons(checkout) {
    const { id, title } = checkout;
    const engine = `onetrainer:${id}`;
    const chosen = store.engine?.choice === engine;
    const remove = async () => {
      const text = 'The panel will no longer use it. Its folder is not deleted.';
      if (await confirmed(`Remove ${title}?`, text, 'Remove')) this.act('DELETE', pathOf(checkout));
    };
    return el(
      'div',
      { class: 'og-buttons' },
      button(chosen ? 'Used for all runs' : 'Use for all runs', {
        kind: 'small',
        disabled: chosen || !checkout.usable,
        onclick: () => this.act('PUT', 'api/engines', { engine }, `All new runs will use ${title}.`),
      }),
      button('Rescan', {
        icon: 'reset',
        kind: 'small',
        title: 'Use after updating or reinstalling OneTrainer',
        onclick: () => this.act('POST', `${pathOf(checkout)}/check`, {}),
      }),
      this.may && button('Remove', { icon: 'trash', kind: 'small', onclick: remove }),
    );
  }

  /**
   * The choice of a list to import.
   * @param {any} checkout
   * @param {string} kind
   * @param {string[]} names
   */
  taking(checkout, kind, names) {
    const [title, one] = LISTS[kind];
    const options = names.map((name) => el('option', { value: name, text: name }));
    const select = el('select', { 'aria-label': `${title}: list` }, options);
    const take = (/** @type {boolean} */ add) => () => {
      const path = `${pathOf(checkout)}/lists/${kind}/${encodeURIComponent(select.value)}`;
      return this.act('POST', path, { add }, `Imported the ${one} “${select.value}”.`);
    };
    return el(
      'div',
      { class: 'og-buttons', 'data-og-needs': 'operator' },
      el('label', { class: 'og-inline' }, el('span', { text: title }), select),
      button('Add to current', { kind: 'small', onclick: take(true) }),
      button('Replace current', { kind: 'small', onclick: take(false) }),
    );
  }
}

/** @param {{id: string}} checkout */
const pathOf = ({ id }) => `${BASE}/${encodeURIComponent(id)}`;

/**
 * @param {any} checkout
 * @returns {any[]}
 */
function problemsOf({ problems, settings }) {
  const found = [...problems];
  if (settings.error) found.push({ severity: 'error', message: settings.error, suggestion: settings.suggestion });
  if (settings.problem) {
    const message = `OneTrainer’s trainer failed to import: ${settings.problem}`;
    found.push({ severity: 'error', message, suggestion: 'Run its installer again.' });
  }
  return found;
}

/** The form that adds an installation. */
class Adding {
  /** @param {() => Promise<void>} added */
  constructor(added) {
    this.added = added;
    const plain = { type: 'text', class: 'og-text', autocomplete: 'off', spellcheck: 'false' };
    const venv = 'Default: the installation’s own venv';
    this.folder = el('input', { ...plain, id: 'og-checkout-folder', placeholder: '~/OneTrainer' });
    this.python = el('input', { ...plain, id: 'og-checkout-python', placeholder: venv });
    this.statusLine = el('p', { class: 'og-small', role: 'status' });
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.add();
    };
    this.node = el(
      'form',
      { class: 'og-checkout-add', onsubmit },
      labeled('OneTrainer folder', this.folder),
      labeled('Python interpreter (optional)', this.python),
      button('Check', { title: 'Check the folder without adding it', onclick: () => this.check() }),
      el('button', { type: 'submit', class: 'og-button primary', text: 'Add' }),
      this.statusLine,
    );
  }

  place() {
    return { folder: this.folder.value.trim(), python: this.python.value.trim() };
  }

  /** @param {string} text */
  tell(text, tone = '') {
    this.statusLine.className = `og-small ${tone}`;
    setText(this.statusLine, text);
  }

  async check() {
    try {
      const { checkout } = await api('POST', 'api/onetrainer/inspect', this.place());
      const { problems, config_version, revision, version_note } = checkout;
      const wrong = /** @type {any[]} */ (problems).filter((problem) => problem.severity === 'error');
      const version = `OneTrainer, configuration version ${config_version ?? 'unknown'}`;
      const of = revision ? `, revision ${revision.slice(0, 7)}` : '';
      const note = version_note ? ` ${version_note}` : '';
      if (wrong.length) this.tell(wrong.map(whole).join(' '), 'bad');
      else this.tell(`${version}${of}. Ready to use.${note}`);
    } catch (/** @type {any} */ error) {
      this.tell(error.message, 'bad');
    }
  }

  async add() {
    try {
      const { checkout } = await api('POST', BASE, this.place());
      this.folder.value = this.python.value = '';
      this.tell(`${checkout.title} added.`);
      await this.added();
    } catch (/** @type {any} */ error) {
      this.tell(error.message, 'bad');
    }
  }
}

/** A OneTrainer process that the last run left loaded. */
function waiting() {
  const text = el('span', {});
  const line = el(
    'div',
    { class: 'og-checkout-waiting og-small', role: 'status', hidden: true },
    text,
    button('Unload', {
      kind: 'small',
      title: 'Unload it now. The next run has to load everything again.',
      onclick: async () => {
        try {
          await api('POST', 'api/onetrainer/unload');
        } catch (error) {
          toast(error.message, 'bad');
        }
      },
    }),
  );
  const update = () => {
    const until = store.state?.loaded_until;
    setVisible(line, Boolean(until));
    if (until) setText(text, `The training process stays loaded until ${format.clock(until)} so the next run starts right away.`);
  };
  on('training_state', update);
  on('connected', update);
  update();
  return line;
}

const count = (number, word) => `${format.count(number)} ${word}${number === 1 ? '' : 's'}`;
const whole = ({ message, suggestion }) => [message, suggestion].filter(Boolean).map(sentence).join(' ');

function condition({ usable, settings }) {
  if (!usable || settings.state === 'failed' || settings.problem) return ['bad', 'Not ready'];
  if (settings.state === 'ready') return ['good', 'Ready'];
  return ['busy', settings.state === 'reading' ? 'Scanning' : 'Not scanned yet'];
}

function facts(checkout) {
  const { settings } = checkout;
  const libraries = Object.entries(settings.versions || {})
    .filter(([name]) => name !== 'python')
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
  return [
    [
      'Revision',
      [checkout.revision.slice(0, 8), checkout.branch, checkout.modified && 'with local changes'].filter(Boolean).join(', ') ||
        'unknown (not a git clone)',
    ],
    ['Configuration', checkout.config_version ? `version ${checkout.config_version}` : 'unknown'],
    ['Python', [settings.versions?.python, checkout.python].filter(Boolean).join(', ') || 'none'],
    libraries && ['Libraries', libraries],
    settings.model_types && [
      'Model types',
      `${settings.model_types}${settings.newer_model_types.length ? `, new: ${settings.newer_model_types.join(', ')}` : ''}`,
    ],
    checkout.presets > 0 && ['Presets', `${checkout.presets}, in the preset list`],
    ['Source', ORIGINS[checkout.origin] || checkout.origin],
  ].filter(Boolean);
}

function rows(names, values) {
  const more = values.length - MAX_LISTED;
  return el(
    'div',
    { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': names.join(', ') },
    el(
      'table',
      { class: 'og-table' },
      tableHead(names),
      el(
        'tbody',
        {},
        values.slice(0, MAX_LISTED).map((line) =>
          el(
            'tr',
            {},
            line.map((text) => el('td', { text })),
          ),
        ),
      ),
    ),
    more > 0 && el('p', { class: 'og-muted og-small', text: `and ${more} more` }),
  );
}

/** The models that each engine supports, loaded when opened. */
function table() {
  const inside = el('div', { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Supported models by engine' });
  const details = el('details', { class: 'og-engine-table' }, el('summary', { text: 'Supported models by engine' }), inside);
  async function fill() {
    if (!details.open) return;
    try {
      const [{ rows: lines }, { engines }] = await Promise.all([api('GET', 'api/engines/table'), api('GET', 'api/engines')]);
      const cell = (one) =>
        el('td', {
          class: one.can ? 'yes' : 'no',
          title: one.why,
          text: one.can ? 'yes' : '–',
          'aria-label': one.can ? 'yes' : `no: ${one.why}`,
        });
      inside.replaceChildren(
        el(
          'table',
          { class: 'og-table' },
          tableHead(['Model', 'Method', ...engines.map((each) => capital(each.title))]),
          el(
            'tbody',
            {},
            lines.map((line) =>
              el(
                'tr',
                {},
                el('td', { text: line.label }),
                el('td', { class: 'og-muted', text: line.method_label }),
                line.engines.map(cell),
              ),
            ),
          ),
        ),
      );
    } catch (error) {
      inside.replaceChildren(el('p', { class: 'bad', text: error.message }));
    }
  }
  details.addEventListener('toggle', fill);
  on('engine', fill);
  return details;
}
