// The configuration form: groups by tab, search, detail levels, issues, and the rows of the selected group.

import { afterPress, button, el, icon, setText, setVisible, toast } from './dom.js';
import { navigation } from './form-nav.js';
import { Rows } from './form-rows.js';
import { capital, LEVELS, upTo, View } from './form-view.js';
import { may, on, store } from './live.js';
import { ask, Settings } from './settings.js';
import { engineStrip, nobodyCan, toolbar } from './toolbar.js';

const GROUP = 'og-group';
const LEVEL = 'og-level';

const asked = ask();
asked.catch(() => {}); // reported when the form is shown

/** Settings that are there: asked for again with each connection until the server answers. */
async function opened(place) {
  const settings = new Settings();
  settings.levels = upTo(localStorage.getItem(LEVEL) || 'basic');
  place.append(el('p', { class: 'og-empty', text: 'Loading settings…' }));
  for (let answer = asked; ; answer = ask()) {
    try {
      await settings.open(answer);
      place.replaceChildren();
      return settings;
    } catch (error) {
      place.replaceChildren(el('p', { class: 'og-empty bad', text: `Couldn’t load the settings: ${error.message}` }));
      await new Promise((/** @type {(value?: void) => void} */ resolve) => {
        const off = on('connected', () => {
          off();
          resolve();
        });
      });
    }
  }
}

/** The training engine, shown if there is a choice or if no engine supports the settings. */
function engineChoice(settings) {
  const node = el('div', { hidden: true });
  const update = () => {
    const some = Boolean(store.engine?.checkouts) || nobodyCan(settings.engines);
    if (some && !node.childElementCount) node.append(engineStrip(settings));
    setVisible(node, some);
  };
  on('connected', update);
  on('engine', update);
  return { node, update };
}

/** The detail level; `changed` is called with another one. */
function levelChoice(settings, changed) {
  const level = localStorage.getItem(LEVEL) || 'basic';
  const node = el(
    'div',
    { class: 'og-segments', role: 'group', 'aria-label': 'Detail level' },
    LEVELS.map((name) =>
      el('button', {
        type: 'button',
        dataset: { level: name },
        'aria-pressed': String(name === level),
        text: capital(name),
        onclick: () => {
          localStorage.setItem(LEVEL, name);
          settings.levels = upTo(name);
          for (const each of node.children) each.setAttribute('aria-pressed', String(each.dataset.level === name));
          changed();
        },
      }),
    ),
  );
  return node;
}

/** A part that is loaded when it is first shown: `load` resolves to its node, whose `update` it takes. */
function loadedLater(attributes, load) {
  const node = el('div', attributes);
  node.update = async () => {
    node.update = () => {};
    const made = await load();
    node.replaceChildren(made.node);
    node.update = made.update;
  };
  return node;
}

/** Title, text and tools of the view. */
function heading(settings, levels) {
  const title = el('h2', { id: 'og-group-title' });
  const about = el('p', { class: 'og-muted' });
  const hidden = el('p', { class: 'og-muted og-small' });
  const usual = button('Load defaults', {
    icon: 'reset',
    kind: 'small',
    hidden: true,
    title: 'Reset to this optimizer’s defaults',
    'data-og-needs': 'operator',
    onclick: () => settings.resetOptimizer().catch((error) => toast(error.message, 'bad')),
  });
  const since = loadedLater({ class: 'og-grow', hidden: true }, async () =>
    (await import('./changed.js')).changedTools(settings),
  );
  const node = el('div', { class: 'og-card-head' }, el('div', { class: 'og-grow' }, title, about), usual, levels, since);
  function put(view, fields, total) {
    const words = view.headline(fields, total);
    setText(title, words.name);
    setText(about, words.text);
    setText(hidden, words.hidden);
    setVisible(usual, view.group === 'optimizer' && !view.searching);
    setVisible(since, view.group === 'changed' && !view.searching);
    if (!since.hidden) since.update();
  }
  return { node, hidden, put };
}

/** What other tabs ask of the form: to show a setting, to compare with a run. Their wish may be older than the form. */
function wishes(settings, jump) {
  const take = (key) => {
    const wish = sessionStorage.getItem(key);
    sessionStorage.removeItem(key);
    return wish;
  };
  const find = () => {
    const path = take('og-find');
    if (path) jump(path);
  };
  const compare = async () => {
    const run = take('og-compare');
    if (!run) return;
    const { openCompare } = await import('./compare.js');
    await openCompare(settings, `run:${run}`).catch((error) => toast(error.message, 'bad'));
  };
  document.addEventListener('og-find', find);
  document.addEventListener('og-compare', compare);
  find();
  compare();
}

/** Three ways to begin, on a panel without settings, saved configurations and runs. */
function beginning(settings) {
  const node = el('section', { class: 'og-begin', hidden: true, 'aria-label': 'Get started' });
  const own = () =>
    !may('operator') ||
    settings.saved !== false ||
    settings.document.undo ||
    settings.document.config.concepts?.length ||
    settings.changes().length;
  const update = async () => {
    const shown = !own() && (await import('./landing.js')).wanted(node);
    setVisible(node, Boolean(await shown) && !own());
  };
  settings.listeners.add((/** @type {string} */ what) => {
    if (['document', 'draft', 'saved'].includes(what)) update();
  });
  update();
  return node;
}

/** The frame of the form around its parts. */
function frame({ settings, engines, search, narrow, nav, head, rows }) {
  return [
    el('h1', { class: 'og-sr', text: 'Configuration' }),
    toolbar(settings),
    beginning(settings),
    engines.node,
    el(
      'div',
      { class: 'og-form' },
      el(
        'aside',
        { class: 'og-side' },
        el('div', { class: 'og-search' }, icon('search'), search),
        el('div', { class: 'og-narrow' }, narrow),
        nav,
      ),
      el('section', { class: 'og-card og-group-card', 'aria-labelledby': 'og-group-title' }, head.node, rows.node, head.hidden),
    ),
  ];
}

/** @param {HTMLElement} place */
export async function mount(place) {
  const settings = await opened(place);
  const form = new Form(settings, place);
  place.append(...form.parts);
  settings.listeners.add((/** @type {string} */ what, /** @type {string} */ text) => form.changed(what, text));
  on('connection', () => form.draw());
  form.draw(true);
  form.engines.update();
  wishes(settings, (/** @type {string} */ path) => form.jump(path));
}

class Form {
  /**
   * @param {any} settings
   * @param {HTMLElement} place
   */
  constructor(settings, place) {
    this.settings = settings;
    this.view = new View(settings, sessionStorage.getItem(GROUP) || 'model');
    this.engines = engineChoice(settings);
    this.later = afterPress(place);
    const fresh = () => this.draw(true);
    this.head = heading(settings, levelChoice(settings, fresh));
    this.search = el('input', {
      type: 'search',
      id: 'og-search',
      placeholder: 'Search settings',
      'aria-label': 'Search settings',
      oninput: () => {
        this.view.find(this.search.value);
        fresh();
      },
    });
    const { nav, narrow, update } = navigation(this.view, (/** @type {string} */ key) => this.open(key));
    this.navigate = update;
    const jump = (/** @type {string} */ path) => this.jump(path);
    this.findings = loadedLater({}, async () => {
      const made = (await import('./findings.js')).findings(settings, jump);
      return { node: made, update: made.update };
    });
    const all = () => {
      this.view.most = Infinity;
      fresh();
    };
    this.rows = new Rows(this.view, { jump, findings: this.findings, all });
    const { engines, search, head, rows } = this;
    this.parts = frame({ settings, engines, search, narrow, nav, head, rows });
    // the first view is rendered without them
    /** @type {() => any} */
    this.marks = async () => {
      this.marks = () => {};
      const { watchChoices } = await import('./available.js');
      this.marks = watchChoices(settings, () => this.draw());
      this.marks();
    };
  }

  /** Show the settings as they are now. While a mouse button is down it waits: a click on a replaced element is lost. */
  draw(fresh = false) {
    if (!this.later(fresh ? 'all' : 'changes', () => this.drawNow(fresh))) this.drawNow(fresh);
  }

  /** @param {boolean} fresh */
  drawNow(fresh) {
    const { view } = this;
    const wanted = view.wanted();
    if (!wanted) this.loadSearch();
    const { fields, total } = this.rows.draw(fresh, wanted || { fields: [] });
    if (view.group !== 'model' || view.searching) this.marks();
    if (view.group === 'problems') this.findings.update();
    if (wanted) this.head.put(view, fields, total);
    this.navigate();
  }

  async loadSearch() {
    const { view } = this;
    const { searcher } = await import('./search.js');
    view.search = await searcher(this.settings, view.fields, (/** @type {string} */ key) => view.titleOf(key));
    if (view.searching) this.draw(true);
  }

  /** @param {string} key */
  open(key) {
    this.view.open(key);
    sessionStorage.setItem(GROUP, key);
    this.search.value = '';
    this.drawNow(true);
  }

  /**
   * Show the setting at a path, whatever the level; one that is not used now is found by search, with the reason.
   * @param {string} path
   */
  async jump(path) {
    const { view, settings } = this;
    if (!view.search) await this.loadSearch();
    const field = settings.rowOf(path);
    if (field) {
      view.pinned = field.path;
      view.group = field.group;
    }
    this.search.value = view.query = field ? (settings.applies(field) ? '' : field.path) : path;
    this.drawNow(true);
    if (field) this.rows.show(field, path);
  }

  /**
   * @param {string} what
   * @param {string} text
   */
  changed(what, text) {
    if (what === 'refused') toast(text, 'bad');
    if (what === 'findings') this.engines.update();
    const redeclared = () => {
      this.view.index();
      this.rows.remake(() => this.drawNow(true));
    };
    if (what !== 'schema') this.draw();
    else if (!this.later('declarations', redeclared)) redeclared();
  }
}
