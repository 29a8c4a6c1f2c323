// Fills the places of the page: each element with `data-og` gets the widget of that name, as soon as Gradio puts it in.

import { connect, on, store } from './live.js';

// name of the place -> its module; loaded when the place appears (a tab is built when it is first opened)
const MODULES = {
  topbar: () => import('./topbar.js'),
  form: () => import('./form.js'),
  status: () => import('./status.js'),
  problems: () => import('./problems.js'),
  chart: () => import('./chart.js'),
  console: () => import('./console.js'),
  runs: () => import('./runs.js'),
  gallery: () => import('./gallery.js'),
  system: () => import('./system.js'),
};

const TABS = ['configuration', 'training', 'samples', 'system'];

async function fill(place) {
  if (place.dataset.ogFilled) return;
  place.dataset.ogFilled = 'yes';
  const module = await MODULES[place.dataset.og]();
  module.mount(place);
}

function look(root) {
  if (root.matches?.('[data-og]')) fill(root);
  for (const place of root.querySelectorAll?.('[data-og]') || []) fill(place);
}

function tabButtons() {
  return [...document.querySelectorAll('#og-tabs > .tab-wrapper [role=tab]')];
}

/** Open a tab by its name, as a link on the page or the address does. */
function openTab(name) {
  tabButtons()[TABS.indexOf(name)]?.click();
}

let opened = false;
function followAddress() {
  if (opened || tabButtons().length < TABS.length) return;
  opened = true;
  const wanted = location.hash.slice(1);
  if (TABS.includes(wanted)) openTab(wanted);
}

new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) if (node.nodeType === 1) look(node);
  followAddress();
}).observe(document.documentElement, { childList: true, subtree: true });
look(document.documentElement);

// The address names the open tab, so that a reload or a link comes back to it.
document.addEventListener('click', (event) => {
  const at = tabButtons().indexOf(event.target.closest?.('[role=tab]'));
  if (at >= 0) history.replaceState(null, '', `#${TABS[at]}`);
  const link = event.target.closest?.('[data-og-tab]');
  if (link) { event.preventDefault(); openTab(link.dataset.ogTab); }
  const setting = event.target.closest?.('[data-og-setting]');
  if (setting) {
    event.preventDefault();
    // the form may not be there yet: it looks here when it comes
    sessionStorage.setItem('og-find', setting.dataset.ogSetting);
    openTab('configuration');
    document.dispatchEvent(new CustomEvent('og-find'));
  }
});
window.addEventListener('hashchange', () => { if (TABS.includes(location.hash.slice(1))) openTab(location.hash.slice(1)); });

connect();
MODULES.form(); // it asks for the settings while Gradio is still building the page
// for tests, and for people who open the browser's console
window.og = { store, on };
