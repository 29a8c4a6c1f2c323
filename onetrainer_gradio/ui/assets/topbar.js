// The top bar: status of the run, connection, color theme; and the banner while disconnected.

import { button, el, format, icon, setText, setVisible, toast } from './dom.js';
import { api, on, store, url } from './live.js';
import { describe } from './words.js';

const GRACE_MS = 1200; // faster reconnects aren’t reported
const BACK_MS = 4000;

/** @param {HTMLElement} place */
export function mount(place) {
  const run = new RunState();
  const link = new Connection();
  const leave = button('Log out', { icon: 'leave', kind: 'quiet small og-leave', hidden: true, onclick: signOut });
  const account = button('Account', {
    icon: 'person',
    kind: 'quiet small',
    'aria-label': 'Account', // a narrow page shows only the icon
    hidden: true,
    onclick: () => import('./people.js').then((its) => its.open()),
  });
  const keys = button('', {
    icon: 'keyboard',
    title: 'Keyboard shortcuts (?)',
    kind: 'quiet og-keys',
    onclick: () => document.dispatchEvent(new CustomEvent('og-sheet')),
  });
  const brand = [mark(), el('span', { text: 'OneTrainer' }), el('span', { class: 'og-brand-more', text: 'panel' })];
  place.append(
    el(
      'header',
      { class: 'og-topbar' },
      el('span', { class: 'og-brand' }, brand),
      el('span', { class: 'og-topstate' }, run.badge, run.line),
      [run.stop, link.node, account, leave, bell(), keys, themeButton()],
      el('span', { class: 'og-topprogress', 'aria-hidden': 'true' }, run.bar),
    ),
    link.banner,
    run.spoken,
  );
  stay(place);
  // without a password there is nothing to log out of
  for (const node of [account, leave]) setVisible(node, Boolean(document.querySelector('meta[name=og-protected]')));
  document.addEventListener('og-tab', () => run.allow());
  on('training_state', () => run.draw());
  const connection = (/** @type {string} */ now) => {
    run.allow();
    link.draw(now);
  };
  on('connection', connection);
  connection(store.connection);
  run.draw();
}

async function signOut() {
  await api('POST', 'api/logout').catch(() => {}); // no answer: the login page shows it
  location.assign(url('login'));
}

/** The button that opens the notifications; each one that arrives is shown at once. */
function bell() {
  const notices = () => import('./notifications.js');
  const onclick = () => notices().then((its) => its.open(node));
  const node = button('', { icon: 'bell', title: 'Notifications', kind: 'quiet og-bell', onclick });
  let newest = 0; // of those that this tab has received
  const received = (/** @type {any} */ { type, notification: one }) => {
    if (!one) return;
    const connected = type === 'connected';
    const fresh = !connected && one.id > newest; // otherwise the outcome of a channel
    newest = Math.max(newest, one.id);
    const read = Number(localStorage.getItem('og-notifications-read'));
    if (fresh || one.id > read || `${one.id}` !== localStorage.getItem('og-notified'))
      notices().then((its) => its.arrived(one, node, { connected, fresh }));
  };
  on('connected', received);
  on('notification', received);
  return node;
}

function themeButton() {
  const apply = () => {
    const chosen = localStorage.getItem('og-theme');
    const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    document.documentElement.classList.toggle('og-dark', dark);
    document.body.classList.toggle('dark', dark);
    node.replaceChildren(icon(dark ? 'sun' : 'moon'));
    document.dispatchEvent(new CustomEvent('og-theme'));
  };
  const onclick = () => {
    const dark = !document.documentElement.classList.contains('og-dark');
    localStorage.setItem('og-theme', dark ? 'dark' : 'light');
    apply();
  };
  const node = button('', { title: 'Switch between light and dark', kind: 'quiet', onclick });
  apply();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  // Gradio puts its own class on the body once it is there
  new MutationObserver(() => {
    if (document.body.classList.contains('dark') !== document.documentElement.classList.contains('og-dark')) apply();
  }).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  return node;
}

/** What the run is doing, and Stop. */
class RunState {
  constructor() {
    this.badge = el('a', { class: 'og-badge', href: '#training', dataset: { ogTab: 'training' } });
    this.line = el('span', { class: 'og-topline' });
    this.bar = el('span', { class: 'og-topbar-fill' });
    this.spoken = el('div', { class: 'og-sr', role: 'status', 'aria-live': 'polite' });
    this.announced = '';
    this.trained = false; // while this page was open
    this.stop = button('Stop', { kind: 'small og-topstop', hidden: true, onclick: stop, 'data-og-needs': 'operator' });
  }

  draw() {
    const now = store.state;
    if (!now) return;
    const words = describe(now);
    this.badge.dataset.tone = words.tone;
    setText(this.badge, words.label);
    setText(this.line, words.short);
    this.bar.style.width = `${words.fraction * 100}%`;
    setVisible(this.bar.parentNode, words.active);
    if (words.label !== this.announced) {
      this.announced = words.label;
      setText(this.spoken, `Run: ${words.label}`);
    }
    this.allow();
    this.trained ||= words.active;
    if (this.trained) import('./page-state.js').then((its) => its.show(describe(store.state)));
  }

  /** Show Stop on every tab except Training, which has its own. */
  allow() {
    const now = store.state;
    const there = document.getElementById('og-stop')?.checkVisibility();
    const offline = store.connection !== 'live';
    setVisible(this.stop, Boolean(now?.is_training) && !there);
    setText(this.stop.firstElementChild, now?.stop ? 'Stop now' : 'Stop');
    this.stop.disabled = offline || !now?.can?.stop;
    this.stop.title = offline ? 'Disconnected from the panel.' : now?.why?.stop || '';
  }
}

async function stop() {
  try {
    await api('POST', store.state?.stop ? 'api/training/stop?now=true' : 'api/training/stop', {});
  } catch (/** @type {any} */ error) {
    toast(error.message, 'bad');
  }
}

/** @type {Record<string, string>} */
const CONNECTIONS = { live: 'Connected', lost: 'Disconnected', connecting: 'Connecting' };

/** Whether the page is connected, and the banner while it is not. */
class Connection {
  constructor() {
    this.node = el('span', { class: 'og-link', role: 'img' });
    this.banner = el('div', { class: 'og-banner', role: 'alert', hidden: true });
    this.timer = 0;
    this.wasLost = false;
  }

  /** @param {string} now */
  draw(now) {
    clearTimeout(this.timer);
    this.node.dataset.state = now;
    this.node.setAttribute('aria-label', CONNECTIONS[now]);
    this.node.title = now === 'live' && store.via === 'polling' ? 'Connected (polling)' : CONNECTIONS[now] || '';
    if (now === 'lost') {
      const since = Date.now();
      this.timer = setTimeout(() => this.lost(since), GRACE_MS);
    } else if (now === 'live' && this.wasLost) {
      this.wasLost = false;
      this.show('good', 'Reconnected. Everything is up to date.');
      this.timer = setTimeout(() => setVisible(this.banner, false), BACK_MS);
    }
  }

  /** @param {number} since */
  lost(since) {
    this.wasLost = true;
    const time = format.clock(since / 1000);
    this.show(
      'bad',
      `Disconnected from the panel at ${time}. Training is not affected; the page will reconnect automatically and your edits are kept.`,
    );
  }

  /**
   * @param {string} tone
   * @param {string} text
   */
  show(tone, text) {
    this.banner.className = `og-banner ${tone}`;
    setText(this.banner, text);
    setVisible(this.banner, true);
  }
}

/** Keep what sticks to the top in view: below a banner that comes and goes, and with an on-screen keyboard. */
function stay(place) {
  const { style } = document.documentElement;
  new ResizeObserver(() => style.setProperty('--og-top', `${place.offsetHeight}px`)).observe(place);
  // Browsers that know this make the page shorter for the keyboard; the others move what is seen over the page
  const meta = document.querySelector('meta[name=viewport]');
  if (meta) meta.setAttribute('content', 'width=device-width, initial-scale=1, interactive-widget=resizes-content');
  const seen = window.visualViewport;
  const shift = () =>
    seen && style.setProperty('--og-shift', `${seen.scale > 1.01 ? 0 : Math.max(0, Math.round(seen.offsetTop))}px`);
  seen?.addEventListener('resize', shift);
  seen?.addEventListener('scroll', shift);
}

function mark() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('class', 'og-mark');
  svg.setAttribute('aria-hidden', 'true');
  // a falling loss curve in a rounded square
  for (const [name, attributes] of [
    ['rect', { x: 1, y: 1, width: 30, height: 30, rx: 8, class: 'og-mark-ground' }],
    ['path', { d: 'M7 8c3 0 3 9 6 11s4-2 6 0 3 5 6 5', class: 'og-mark-curve' }],
  ]) {
    const part = document.createElementNS('http://www.w3.org/2000/svg', String(name));
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, String(value));
    svg.append(part);
  }
  return svg;
}
