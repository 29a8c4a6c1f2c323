// What the role of who is signed in doesn't allow is disabled, with the reason as its title. Loaded for viewers and operators.
//
// An element declares the role that it needs: `data-og-needs="operator"`. This applies to everything in it that acts, unless an
// element between them declares another role. The server checks each request; this shows beforehand what it will reject.

import { el } from './dom.js';
import { api, may, on, role } from './live.js';

const NEEDS = 'data-og-needs';
// the buttons for the run are Gradio's: they can't declare it themselves
const GRADIO = '#og-controls';
const ACTING = 'button, input, select, textarea';
const NOT_TYPED = ['checkbox', 'radio', 'range', 'file', 'color', 'button', 'submit'];

/** Why a role isn't enough, in the words of the server. */
export const refusal = (needs) => `This requires the role ${needs}. You have the role ${role}.`;

const typed = (node) => node.tagName === 'TEXTAREA' || (node.tagName === 'INPUT' && !NOT_TYPED.includes(node.type));

/** Write a property only if it changes: the observer would be called again. */
function put(node, name, value) {
  if (node[name] !== value) node[name] = value;
}

/** Disable an element if it needs another role. Text can still be selected; a link stays as text. */
function limit(node) {
  const acts = node.matches(ACTING) || (node.tagName === 'A' && node.hasAttribute(NEEDS));
  if (!acts) return;
  const needs = node.closest(GRADIO) ? 'operator' : node.closest(`[${NEEDS}]`)?.getAttribute(NEEDS);
  if (!needs || may(needs)) return;
  put(node, 'title', refusal(needs));
  put(node.style, 'color', 'var(--og-muted)');
  if (node.tagName === 'A') {
    if (node.hasAttribute('href')) node.removeAttribute('href');
  } else put(node, typed(node) ? 'readOnly' : 'disabled', true);
}

function look(root) {
  limit(root);
  for (const node of root.querySelectorAll(`${ACTING}, a[${NEEDS}]`)) limit(node);
}

/** Keep to it while the page changes: widgets enable their buttons by the state of the run. */
function follow() {
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes)
      if (type === 'attributes') limit(target);
      else for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) look(node);
  }).observe(document.documentElement, {
    subtree: true,
    childList: true,
    attributeFilter: ['disabled', 'readonly', 'title', 'href'],
  });
  look(document.documentElement);
  // the role may have changed while the page was disconnected
  on('connected', async () => {
    const session = await api('GET', 'api/session').catch(() => null);
    if (session && session.role !== role) location.reload();
  });
}

/** Fill the place of a tab that shows nothing to this role. @param {HTMLElement} place */
export function mount(place) {
  place.append(el('section', { class: 'og-card' }, el('p', { class: 'og-empty', text: refusal('operator') })));
}

if (!may('owner')) follow();
