// Fills the places of the page: each column of class `og-place` gets the widget of its name, as soon as Gradio puts it in.

import { connect, may, on, store } from './live.js';

// Widgets in files with others (ui/assets.py). Each other one is a separate file. A tab is built when it is first opened.
const TOGETHER = {
  topbar: () => import('./topbar.js'),
  form: () => import('./form.js'),
  status: () => import('./status.js'),
  problems: () => import('./problems.js'),
  chart: () => import('./chart.js'),
  newest: () => import('./newest.js'),
  console: () => import('./console.js'),
  runs: () => import('./runs.js'),
};
const OPERATED = ['data', 'new-lora']; // a viewer finds the reason instead
const widget = (name) =>
  OPERATED.includes(name) && !may('operator') ? import('./permitted.js') : (TOGETHER[name]?.() ?? import(`./${name}.js`));

// What the server sends for the time until Gradio has built the page; null afterwards.
let early = document.getElementById('og-first');
const earlyPlaces = () => /** @type {HTMLElement[]} */ ([...(early?.querySelectorAll('[data-og]') || [])]);

// name of each tab -> its title, in their order
const TABS = new Map([...(early?.querySelectorAll('[data-og-tab]') || [])].map((link) => [link.dataset.ogTab, link.textContent]));
const FIRST_TAB = [...TABS.keys()][0];

/** Put the places that were filled early where Gradio has put its own: all at once, when it has put all of them. */
function settle() {
  const theirs = earlyPlaces().map((each) => document.getElementById(`og-${each.dataset.og}`));
  if (!early || theirs.includes(null)) return;
  const focused = document.activeElement;
  earlyPlaces().forEach((each, at) => {
    theirs[at]?.append(each);
  });
  early.remove();
  early = null;
  if (focused instanceof HTMLElement && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/** Before Gradio has tabs, only the address shows which one is open. */
function showEarly() {
  const tab = tabOf(location.hash);
  early?.toggleAttribute('data-form', tab === FIRST_TAB);
  for (const link of early?.querySelectorAll('[data-og-tab]') || [])
    link.toggleAttribute('data-open', link.dataset.ogTab === tab);
}

async function fill(place) {
  if (place.dataset.ogFilled) return;
  place.dataset.ogFilled = 'begun';
  const module = await widget(place.dataset.og);
  await module.mount(place);
  place.dataset.ogFilled = 'yes';
}

/** Fill a column, unless what was filled early will move there. */
function furnish(column) {
  const name = column.id.slice('og-'.length);
  if (column.firstElementChild || earlyPlaces().some((each) => each.dataset.og === name)) return;
  const place = document.createElement('div');
  place.className = 'og';
  place.dataset.og = name;
  column.append(place);
  fill(place);
}

function look(root) {
  if (root.matches?.('.og-place')) furnish(root);
  for (const column of root.querySelectorAll?.('.og-place') || []) furnish(column);
}

const strip = () => document.querySelector('#og-tabs > .tab-wrapper');

/** Open a tab by its name, as a link on the page or the address does. Where the window is narrow, Gradio puts tabs into a menu. */
function openTab(name) {
  if (!strip()) {
    if (tabOf(location.hash) !== name) history.replaceState(null, '', `#${name}`);
    showEarly();
  }
  const menu = [...(strip()?.querySelectorAll('.overflow-dropdown button') || [])];
  (
    strip()?.querySelector(`[role=tab][data-tab-id=${name}]`) || menu.find((node) => node.textContent.trim() === TABS.get(name))
  )?.click();
}

// ---- the address names the open tab: a reload, a link, Back and Forward come to it

let current = '';
let seeking = false; // a link to a setting scrolls by itself
const places = new Map(); // tab -> how far it was scrolled

/** The tab that an address names; the first one when it names none. */
const tabOf = (hash) => {
  const [name] = hash.slice(1).split('/'); // what follows is a place on that tab
  return TABS.has(name) ? name : FIRST_TAB;
};

/** Scroll to where a tab was left, once it is as long as it was. */
function scrollBack(name, to, frames = 60) {
  if (name !== current) return;
  scrollTo(0, to);
  if (frames && scrollY < to - 1) requestAnimationFrame(() => scrollBack(name, to, frames - 1));
}

/** What Gradio shows now, however it came to that: by a click, a key, or its menu of tabs that have no room. */
function follow() {
  const name = strip()?.querySelector('[role=tab][aria-selected=true]')?.dataset.tabId || '';
  if (!TABS.has(name) || name === current) return;
  const before = current;
  current = name;
  if (before) {
    if (tabOf(location.hash) !== name) history.pushState(null, '', `#${name}`);
    if (!seeking) scrollBack(name, places.get(name) || 0);
  }
  seeking = false;
  document.dispatchEvent(new CustomEvent('og-tab', { detail: name }));
}

function begin() {
  if (current) return;
  follow();
  const tabs = strip();
  if (!current || !tabs) return;
  history.scrollRestoration = 'manual';
  new MutationObserver(follow).observe(tabs, { subtree: true, childList: true, attributeFilter: ['aria-selected'] });
  openTab(tabOf(location.hash));
}

new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) if (node.nodeType === 1) look(node);
  settle();
  begin();
}).observe(document.documentElement, { childList: true, subtree: true });
showEarly();
earlyPlaces().forEach(fill);
look(document.documentElement);

// not by scroll events: the page is scrolled as well when a long tab makes way for a short one
const leave = () => places.set(current, scrollY);
document.addEventListener('click', leave, true);
window.addEventListener('popstate', () => {
  leave();
  openTab(tabOf(location.hash));
});

document.addEventListener('click', (/** @type {any} */ event) => {
  const link = event.target.closest?.('[data-og-tab]');
  if (link) {
    event.preventDefault();
    openTab(link.dataset.ogTab);
  }
  const setting = event.target.closest?.('[data-og-setting]');
  if (setting) {
    event.preventDefault();
    // the form may not be there yet: it looks here when it comes
    sessionStorage.setItem('og-find', setting.dataset.ogSetting);
    seeking = current !== 'configuration';
    openTab('configuration');
    document.dispatchEvent(new CustomEvent('og-find'));
  }
});

// ---- keys

const SINGLE = 'og-single-keys';
const DRAFTS = 'og-drafts'; // what settings.js keeps of edits that are not saved yet
const SAVED_WITHIN_MS = 3000;

const NOT_TYPED = ['checkbox', 'radio', 'range', 'button', 'submit', 'file'];
// a field of a dialog that was just closed may still have the focus
const typing = (node) =>
  Boolean(node?.checkVisibility?.()) &&
  (node.isContentEditable ||
    ['TEXTAREA', 'SELECT'].includes(node.tagName) ||
    (node.tagName === 'INPUT' && !NOT_TYPED.includes(node.type)));

// A field that was typed in since it got the focus, or since it was saved, has an undo of the browser's own.
/** @type {any} */
let fresh = null;
document.addEventListener('focusin', (/** @type {any} */ { target }) => {
  fresh = typing(target) ? { node: target, value: target.value } : null;
});
document.addEventListener('change', (/** @type {any} */ { target }) => {
  if (fresh?.node === target) fresh.value = target.value;
});
const edited = () =>
  typing(document.activeElement) && !(fresh?.node === document.activeElement && fresh.value === fresh.node.value);

const tool = (name) => document.querySelector(`.og-toolbar [data-tool=${name}]`);
const soon = async (test, ms) => {
  for (const until = Date.now() + ms; !test() && Date.now() < until; )
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  return test();
};

/** The button for the settings; on another tab its own comes first. */
async function settingsTool(name) {
  if (current !== 'configuration') openTab('configuration');
  await soon(() => tool(name)?.checkVisibility(), SAVED_WITHIN_MS);
  return tool(name);
}

async function save() {
  const plain = await settingsTool('save');
  (plain && !plain.disabled ? plain : tool('save-as'))?.click();
}

async function start() {
  document.activeElement?.blur?.(); // what is typed there is saved first
  const saved = await soon(() => !sessionStorage.getItem(DRAFTS), SAVED_WITHIN_MS);
  openTab('training');
  const node = () => document.getElementById('og-start');
  await soon(() => node()?.checkVisibility() && !node()?.disabled, SAVED_WITHIN_MS);
  if (saved) node()?.click();
  else (await import('./dom.js')).toast('A setting isn’t saved: correct it on the Configuration tab, then press Start.', 'bad');
}

async function search() {
  if (current !== 'configuration') openTab('configuration');
  const node = () => document.getElementById('og-search');
  if (await soon(() => node()?.checkVisibility(), SAVED_WITHIN_MS)) {
    node()?.focus();
    node()?.select();
  }
}

async function sheet() {
  const { openSheet } = await import('./shortcuts.js');
  openSheet(localStorage.getItem(SINGLE) !== 'off', (on_) => localStorage.setItem(SINGLE, on_ ? 'on' : 'off'));
}
document.addEventListener('og-sheet', sheet);

const undo = (name) => () => {
  if (current === 'configuration' && !edited()) {
    tool(name)?.click();
    return true;
  }
  return false;
};
const UNDO = undo('undo');
const REDO = undo('redo');

// with Ctrl or Command -> what it does; false: the browser's own meaning holds
const WITH_CTRL = { z: UNDO, Z: REDO, y: REDO, s: save, Enter: start };
const ALONE = { '/': search, '?': sheet };

document.addEventListener('keydown', (event) => {
  if (event.isComposing || event.altKey || event.defaultPrevented || document.querySelector('dialog[open]')) return;
  const ctrl = event.ctrlKey || event.metaKey;
  if (!ctrl && (typing(document.activeElement) || localStorage.getItem(SINGLE) === 'off')) return;
  const does = (ctrl ? WITH_CTRL : ALONE)[event.shiftKey && event.key === 'z' ? 'Z' : event.key];
  if (!does || (ctrl && event.shiftKey && does !== REDO)) return;
  // in a field of another form it would be taken for that form's own button
  if (does === start && typing(document.activeElement) && !document.activeElement?.closest('[data-og=form]')) return;
  if (event.repeat && does !== UNDO && does !== REDO) {
    event.preventDefault();
    return;
  }
  if (does() !== false) event.preventDefault();
});

on('slowed', async ({ seconds }) =>
  (await import('./dom.js')).toast(`Too many requests. Trying again in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}…`),
);
connect();
if (!may('owner')) import('./permitted.js');
widget('form'); // it asks for the settings while Gradio is still building the page
// for tests, and for people who open the browser's console
window.og = { store, on };
