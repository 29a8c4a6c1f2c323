// OneTrainer installations: their status, what is missing, and lists that can be imported.

import { button, capital, confirmed, el, format, setText, setVisible, toast } from './dom.js';
import { api, on, store } from './live.js';
import { shownAs } from './settings.js';
import { sheet } from './sheet.js';
import { sentence } from './words.js';

const BASE = 'api/onetrainer/checkouts';
const ORIGINS = { 'command line': 'set at startup', found: 'auto-detected', added: 'added here' };
const LISTS = { concepts: ['Concepts', 'concept list'], samples: ['Sample prompts', 'list of sample prompts'] };
const MOST_LISTED = 40;
const JSON_SHOWN = { 'x-kind': 'json' };

export async function checkoutsCard() {
  await sheet('checkouts.css');
  const list = el('div', {});
  const intro = el('p', {
    class: 'og-muted og-small',
    hidden: true,
    text: 'OneTrainer installations on this machine. Use them as a training engine; their settings and presets become available too.',
  });
  const none = el('p', {
    class: 'og-muted og-small',
    text: 'No OneTrainer installation yet. Add one to train every model OneTrainer supports and to use its presets. The panel never modifies its folder.',
  });
  const folder = el('input', {
    type: 'text',
    class: 'og-text',
    id: 'og-checkout-folder',
    placeholder: '~/OneTrainer',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const python = el('input', {
    type: 'text',
    class: 'og-text',
    id: 'og-checkout-python',
    placeholder: 'Default: the installation’s own venv',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const said = el('p', { class: 'og-small', role: 'status' });
  const form = el(
    'form',
    {
      class: 'og-checkout-add',
      onsubmit: (event) => {
        event.preventDefault();
        add();
      },
    },
    el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: 'OneTrainer folder' }), folder),
    el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: 'Python interpreter (optional)' }), python),
    button('Check', { title: 'Check the folder without adding it', onclick: look }),
    el('button', { type: 'submit', class: 'og-button primary', text: 'Add' }),
    said,
  );
  const closed = el('p', {
    class: 'og-muted og-small',
    hidden: true,
    text: 'On this panel, OneTrainer installations can only be set at startup with --onetrainer FOLDER.',
  });
  const card = el(
    'section',
    { class: 'og-card', 'aria-label': 'OneTrainer' },
    el('h2', { text: 'OneTrainer' }),
    intro,
    waiting(),
    none,
    list,
    form,
    closed,
    table(),
  );

  const place = () => ({ folder: folder.value.trim(), python: python.value.trim() });
  const tell = (text, tone = '') => {
    said.className = `og-small ${tone}`;
    setText(said, text);
  };

  async function look() {
    try {
      const { checkout } = await api('POST', 'api/onetrainer/inspect', place());
      const wrong = checkout.problems.filter((problem) => problem.severity === 'error');
      tell(
        wrong.length
          ? wrong.map(whole).join(' ')
          : `OneTrainer, configuration version ${checkout.config_version ?? 'unknown'}${checkout.revision ? `, revision ${checkout.revision.slice(0, 7)}` : ''}. Ready to use.${checkout.version_note ? ` ${checkout.version_note}` : ''}`,
        wrong.length ? 'bad' : '',
      );
    } catch (error) {
      tell(error.message, 'bad');
    }
  }
  async function add() {
    try {
      const { checkout } = await api('POST', BASE, place());
      folder.value = python.value = '';
      tell(`${checkout.title} added.`);
      await load();
    } catch (error) {
      tell(error.message, 'bad');
    }
  }

  async function load() {
    try {
      const { checkouts, can_add: may } = await api('GET', BASE);
      setVisible(intro, checkouts.length > 0);
      setVisible(none, checkouts.length === 0);
      setVisible(form, may);
      setVisible(closed, !may);
      const unfolded = new Set([...list.querySelectorAll('details[open]')].map((each) => each.dataset.key));
      list.replaceChildren(...checkouts.map((each) => entry(each, unfolded, may)));
    } catch (error) {
      if (error.status !== 0) throw error;
    }
  }

  async function act(method, path, body, done) {
    try {
      await api(method, path, body);
      if (done) toast(done);
      await load();
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  function entry(checkout, unfolded, may) {
    const { settings } = checkout;
    const path = `${BASE}/${encodeURIComponent(checkout.id)}`;
    const chosen = store.engine?.choice === `onetrainer:${checkout.id}`;
    const [tone, state] = condition(checkout);
    const fold = (key, title, ...inside) =>
      el(
        'details',
        { dataset: { key: `${checkout.id} ${key}` }, open: unfolded.has(`${checkout.id} ${key}`) },
        el('summary', { text: title }),
        ...inside,
      );
    const problems = [
      ...checkout.problems,
      ...(settings.error ? [{ severity: 'error', message: settings.error, suggestion: settings.suggestion }] : []),
      ...(settings.problem
        ? [
            {
              severity: 'error',
              message: `OneTrainer’s trainer failed to import: ${settings.problem}`,
              suggestion: 'Run its installer again.',
            },
          ]
        : []),
    ];
    const lists = Object.entries(checkout.lists).filter(([, names]) => names.length);
    return el(
      'article',
      { class: 'og-checkout', dataset: { checkout: checkout.id } },
      el(
        'div',
        { class: 'og-checkout-head' },
        el('span', { class: 'og-label', text: checkout.title }),
        el('span', { class: 'og-badge', dataset: { tone }, text: state }),
        el('span', { class: 'og-muted og-mono', text: checkout.folder }),
      ),
      checkout.version_note && el('p', { class: 'og-small warn', dataset: { part: 'version' }, text: checkout.version_note }),
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
      settings.newer?.length > 0 &&
        fold(
          'newer',
          `${count(settings.newer.length, 'setting')} only in this version`,
          el('p', {
            class: 'og-muted og-small',
            text: 'While this installation is selected, they appear in the form under Expert › Newer settings.',
          }),
          rows(
            ['Setting', 'Type', 'Default'],
            settings.newer.map((each) => [each.path, each.type, shownAs(each.default, JSON_SHOWN)]),
          ),
        ),
      settings.lacking?.length > 0 &&
        fold(
          'lacking',
          `${count(settings.lacking.length, 'setting')} not supported by this version`,
          el('p', { class: 'og-muted og-small', text: settings.lacking.join(', ') }),
        ),
      settings.defaults?.length > 0 &&
        fold(
          'defaults',
          `${count(settings.defaults.length, 'default')} that ${settings.defaults.length === 1 ? 'differs' : 'differ'} from the panel’s defaults`,
          rows(
            ['Setting', 'Panel', 'OneTrainer'],
            settings.defaults.map((each) => [each.path, shownAs(each.here), shownAs(each.there)]),
          ),
        ),
      lists.length > 0 &&
        fold(
          'lists',
          'Import its concepts and sample prompts',
          lists.map(([kind, names]) => taking(path, kind, names)),
        ),
      el(
        'div',
        { class: 'og-buttons' },
        button(chosen ? 'Used for all runs' : 'Use for all runs', {
          kind: 'small',
          disabled: chosen || !checkout.usable,
          onclick: () =>
            act('PUT', 'api/engines', { engine: `onetrainer:${checkout.id}` }, `All new runs will use ${checkout.title}.`),
        }),
        button('Rescan', {
          icon: 'reset',
          kind: 'small',
          title: 'Use after updating or reinstalling OneTrainer',
          onclick: () => act('POST', `${path}/check`, {}),
        }),
        may &&
          button('Remove', {
            icon: 'trash',
            kind: 'small',
            onclick: async () => {
              if (
                await confirmed(
                  `Remove ${checkout.title}?`,
                  'The panel will no longer use it. Its folder is not deleted.',
                  'Remove',
                )
              )
                act('DELETE', path);
            },
          }),
      ),
    );
  }

  function taking(path, kind, names) {
    const [title, one] = LISTS[kind];
    const select = el(
      'select',
      { 'aria-label': `${title}: list` },
      names.map((name) => el('option', { value: name, text: name })),
    );
    const take = (add_) => async () => {
      await act(
        'POST',
        `${path}/lists/${kind}/${encodeURIComponent(select.value)}`,
        { add: add_ },
        `Imported the ${one} “${select.value}”.`,
      );
    };
    return el(
      'div',
      { class: 'og-buttons' },
      el('label', { class: 'og-inline' }, el('span', { text: title }), select),
      button('Add to current', { kind: 'small', onclick: take(true) }),
      button('Replace current', { kind: 'small', onclick: take(false) }),
    );
  }

  on('engine', load);
  on('connected', load);
  load();
  return card;
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
  const told = () => {
    const until = store.state?.loaded_until;
    setVisible(line, Boolean(until));
    if (until) setText(text, `The training process stays loaded until ${format.clock(until)} so the next run starts right away.`);
  };
  on('training_state', told);
  on('connected', told);
  told();
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
  const more = values.length - MOST_LISTED;
  return el(
    'div',
    { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': names.join(', ') },
    el(
      'table',
      { class: 'og-table' },
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          names.map((text) => el('th', { scope: 'col', text })),
        ),
      ),
      el(
        'tbody',
        {},
        values.slice(0, MOST_LISTED).map((line) =>
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
          el(
            'thead',
            {},
            el(
              'tr',
              {},
              ['Model', 'Method', ...engines.map((each) => capital(each.title))].map((text) => el('th', { scope: 'col', text })),
            ),
          ),
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
