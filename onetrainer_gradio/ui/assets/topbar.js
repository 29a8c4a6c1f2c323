// The top bar: status of the run, connection, color theme; and the banner while disconnected.

import { button, el, format, icon, setText, setVisible, toast } from './dom.js';
import { api, on, store, url } from './live.js';
import { describe } from './words.js';

const GRACE_MS = 1200; // faster reconnects aren’t reported
const BACK_MS = 4000;

export function mount(place) {
  const badge = el('a', { class: 'og-badge', href: '#training', dataset: { ogTab: 'training' } });
  const line = el('span', { class: 'og-topline' });
  const bar = el('span', { class: 'og-topbar-fill' });
  const link = el('span', { class: 'og-link', role: 'img' });
  const spoken = el('div', { class: 'og-sr', role: 'status', 'aria-live': 'polite' });
  const banner = el('div', { class: 'og-banner', role: 'alert', hidden: true });
  const leave = button('Log out', {
    icon: 'leave',
    kind: 'quiet small',
    hidden: true,
    onclick: signOut,
  });
  const keysButton = button('', {
    icon: 'keyboard',
    title: 'Keyboard shortcuts (?)',
    kind: 'quiet og-keys',
    onclick: () => document.dispatchEvent(new CustomEvent('og-sheet')),
  });
  const bell = button('', {
    icon: 'bell',
    title: 'Notifications',
    kind: 'quiet og-bell',
    onclick: () => notices().then((its) => its.open(bell)),
  });
  const notices = () => import('./notifications.js');
  const told = ({ type, notification: one }) => {
    if (one && `${one.id}` !== localStorage.getItem('og-notified'))
      notices().then((its) => its.arrived(one, bell, type === 'connected'));
  };
  on('connected', told);
  on('notification', told);
  const stopButton = button('Stop', { kind: 'small og-topstop', hidden: true, onclick: stop });
  const themeButton = button('', { title: 'Switch between light and dark', kind: 'quiet', onclick: switchTheme });

  place.append(
    el(
      'header',
      { class: 'og-topbar' },
      el(
        'span',
        { class: 'og-brand' },
        mark(),
        el('span', { text: 'OneTrainer' }),
        el('span', { class: 'og-brand-more', text: 'panel' }),
      ),
      el('span', { class: 'og-topstate' }, badge, line),
      stopButton,
      link,
      leave,
      bell,
      keysButton,
      themeButton,
      el('span', { class: 'og-topprogress', 'aria-hidden': 'true' }, bar),
    ),
    banner,
    spoken,
  );

  stay(place);

  async function stop() {
    try {
      await api('POST', store.state?.stop ? 'api/training/stop?now=true' : 'api/training/stop', {});
    } catch (error) {
      toast(error.message, 'bad');
    }
  }
  /** Show Stop on every tab except Training, which has its own. */
  function allow() {
    const now = store.state;
    const there = document.getElementById('og-stop')?.checkVisibility();
    const offline = store.connection !== 'live';
    setVisible(stopButton, Boolean(now?.is_training) && !there);
    setText(stopButton.firstElementChild, now?.stop ? 'Stop now' : 'Stop');
    stopButton.disabled = offline || !now?.can?.stop;
    stopButton.title = offline ? 'Disconnected from the panel.' : now?.why?.stop || '';
  }
  document.addEventListener('og-tab', allow);

  async function signOut() {
    await api('POST', 'api/logout').catch(() => {}); // no answer: the login page shows it
    location.assign(url('login'));
  }
  // without a password there is nothing to log out of
  setVisible(leave, Boolean(document.querySelector('meta[name=og-protected]')));

  function switchTheme() {
    const dark = !document.documentElement.classList.contains('og-dark');
    localStorage.setItem('og-theme', dark ? 'dark' : 'light');
    applyTheme();
  }
  function applyTheme() {
    const chosen = localStorage.getItem('og-theme');
    const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    document.documentElement.classList.toggle('og-dark', dark);
    document.body.classList.toggle('dark', dark);
    themeButton.replaceChildren(icon(dark ? 'sun' : 'moon'));
    document.dispatchEvent(new CustomEvent('og-theme'));
  }
  applyTheme();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', applyTheme);
  // Gradio puts its own class on the body once it is there
  new MutationObserver(() => {
    if (document.body.classList.contains('dark') !== document.documentElement.classList.contains('og-dark')) applyTheme();
  }).observe(document.body, { attributes: true, attributeFilter: ['class'] });

  let said = '';
  let trained = false; // while this page was open
  function state() {
    const now = store.state;
    if (!now) return;
    const words = describe(now);
    badge.dataset.tone = words.tone;
    setText(badge, words.label);
    setText(line, words.short);
    bar.style.width = `${words.fraction * 100}%`;
    setVisible(bar.parentNode, words.active);
    if (words.label !== said) {
      said = words.label;
      setText(spoken, `Run: ${words.label}`);
    }
    allow();
    trained ||= words.active;
    if (trained) import('./page-state.js').then((its) => its.show(describe(store.state)));
  }

  let since = 0;
  let timer = 0;
  let wasLost = false;
  function connection(now) {
    clearTimeout(timer);
    allow();
    link.dataset.state = now;
    link.setAttribute('aria-label', { live: 'Connected', lost: 'Disconnected', connecting: 'Connecting' }[now]);
    link.title = now === 'live' && store.via === 'polling' ? 'Connected (polling)' : link.getAttribute('aria-label') || '';
    if (now === 'lost') {
      since = Date.now();
      timer = setTimeout(() => {
        wasLost = true;
        banner.className = 'og-banner bad';
        setText(
          banner,
          `Disconnected from the panel at ${format.clock(since / 1000)}. Training is not affected; ` +
            'the page will reconnect automatically and your edits are kept.',
        );
        setVisible(banner, true);
      }, GRACE_MS);
    } else if (now === 'live' && wasLost) {
      wasLost = false;
      banner.className = 'og-banner good';
      setText(banner, 'Reconnected. Everything is up to date.');
      timer = setTimeout(() => setVisible(banner, false), BACK_MS);
    }
  }

  on('training_state', state);
  on('connection', connection);
  connection(store.connection);
  state();
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
