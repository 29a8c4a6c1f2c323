// Notifications: the list, this browser's own, what is sent elsewhere, and automatic resumes. Loaded when first needed.

import { button, confirmed, el, format, openDialog, setText, setVisible, toast } from './dom.js';
import { api, may, on, url } from './live.js';
import { sheet } from './sheet.js';

const BROWSER = 'og-notify'; // this browser shows its own notifications
const NOTIFIED = 'og-notified'; // the newest one that any tab of this browser has shown
const READ = 'og-notifications-read';
const PAGE = 20;
const HELD_MS = 10_000;
const TONES = { failure: 'bad', warning: 'warn', success: 'good' };

const number = (name) => Number(localStorage.getItem(name) || 0);
const supported = () => 'Notification' in window;

/**
 * A notification has come, or how a channel took one. `bell` shows that there is something unread.
 * Each tab that is looked at shows a `fresh` one; of all tabs of this browser, one shows the browser's own notification.
 */
export async function arrived(notification, bell, { connected = false, fresh = false }) {
  if (connected && localStorage.getItem(NOTIFIED) === null) {
    // a browser that was never here: what happened before is no news
    localStorage.setItem(NOTIFIED, String(notification.id));
    localStorage.setItem(READ, String(notification.id));
  }
  bell.toggleAttribute('data-unread', notification.id > number(READ) && !document.querySelector('.og-notifications'));
  bell.title = bell.hasAttribute('data-unread') ? 'Notifications (unread)' : 'Notifications';
  bell.setAttribute('aria-label', bell.title);
  if (!notification.show) return;
  const here = fresh && !document.hidden;
  const show = () => toast(notification.title, TONES[notification.level] === 'bad' ? 'bad' : '');
  if (here) show();
  if (!(await isFirst(notification.id))) return;
  if (!here) show();
  if (localStorage.getItem(BROWSER) === 'on') notify(notification);
}

/** Whether this tab is the first of this browser that takes this notification. What a tab stores reaches others only later. */
function isFirst(id) {
  if (id <= number(NOTIFIED)) return false;
  const take = () => localStorage.setItem(NOTIFIED, String(id));
  if (!navigator.locks) {
    take(); // over plain HTTP, where two tabs may be first
    return true;
  }
  return new Promise((resolve) => {
    navigator.locks.request(`${NOTIFIED}-${id}`, { ifAvailable: true }, (lock) => {
      if (lock) take();
      resolve(Boolean(lock));
      return lock && new Promise((release) => setTimeout(release, HELD_MS));
    });
  });
}

/** Show a notification of the browser; a click on it comes to this page. */
function notify({ id, title, text, thumbnail }) {
  if (!supported() || Notification.permission !== 'granted') return;
  try {
    const shown = new Notification(title, { body: text, tag: `og-${id}`, icon: thumbnail ? url(thumbnail) : undefined });
    shown.onclick = () => {
      window.focus();
      shown.close();
    };
  } catch {
    localStorage.removeItem(BROWSER); // browsers of phones show them only for installed apps
  }
}

/** Open the dialog. */
export async function open(bell) {
  await sheet('notifications.css');
  const close = button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() });
  const list = el('ul', { class: 'og-notification-list', 'aria-label': 'Notifications' });
  const settings = el('div', {});
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-notifications', 'aria-label': 'Notifications' },
    el('div', { class: 'og-dialog-head' }, el('h2', { class: 'og-grow', text: 'Notifications' }), close),
    list,
    settings,
  );
  openDialog(dialog, () => stopHearing());
  const stopHearing = hear(list);
  await fill(list);
  localStorage.setItem(READ, String(Math.max(number(READ), number(NOTIFIED), Number(list.dataset.newest || 0))));
  bell.removeAttribute('data-unread');
  await preferences(settings);
}

// ---- the list

let drawn = () => {};
on('notification', () => drawn());
function hear(list) {
  drawn = () => fill(list);
  return () => {
    drawn = () => {};
  };
}

async function fill(list, before = 0) {
  const page = await api('GET', `api/notifications?limit=${PAGE}${before ? `&before=${before}` : ''}`).catch((error) => error);
  if (page instanceof Error) return toast(page.message, 'bad');
  if (!before) list.replaceChildren();
  list.querySelector('.og-more')?.remove();
  if (!before && page.notifications.length) list.dataset.newest = page.notifications[0].id;
  list.append(...page.notifications.map(entry));
  if (!list.childElementCount)
    list.append(
      el('li', { class: 'og-muted', text: 'Nothing yet. The end of each run, stalls and full disks are listed here.' }),
    );
  if (page.next)
    list.append(el('li', { class: 'og-more' }, button('Show more', { kind: 'small', onclick: () => fill(list, page.next) })));
  return undefined;
}

const STATES = { sent: 'sent', waiting: 'waiting', sending: 'sending', failed: 'not sent' };

function entry({ title, text, at, level, thumbnail, deliveries }) {
  const failed = deliveries.filter((each) => each.error);
  return el(
    'li',
    { class: 'og-notification', dataset: { tone: TONES[level] || 'idle' } },
    thumbnail && el('img', { src: url(thumbnail), alt: 'Newest sample', loading: 'lazy', width: 56, height: 56 }),
    el(
      'div',
      { class: 'og-grow' },
      el('strong', { text: title }),
      el('time', { class: 'og-muted og-small', text: ` ${format.time(at)}` }),
      text && el('p', { text }),
      deliveries.length > 0 &&
        el('p', {
          class: 'og-muted og-small',
          text: deliveries.map(({ label, state }) => `${label || 'Channel'}: ${STATES[state]}`).join(' · '),
        }),
      failed.map(({ label, error, due_at: due }) =>
        el('p', {
          class: 'bad og-small',
          text: `${label || 'Channel'}: ${error}${due ? ` Next attempt at ${format.clock(due)}.` : ''}`,
        }),
      ),
    ),
  );
}

// ---- settings

async function preferences(place) {
  if (!may('owner')) {
    place.replaceChildren(section('This browser', thisBrowser()));
    return;
  }
  const [settings, resume] = await Promise.all([api('GET', 'api/notifications/settings'), api('GET', 'api/auto-resume')]);
  const unfolded = [...place.querySelectorAll(':scope > details[open] > summary')].map((each) => each.textContent);
  place.replaceChildren(
    section('This browser', thisBrowser()),
    section(
      'Kinds to show',
      kinds(settings.all_kinds, settings.kinds, (chosen) => save({ kinds: chosen })),
    ),
    section('Limits', limits(settings)),
    section('Channels', await channels(settings, () => preferences(place))),
    section('Automatic resume', automatic(resume)),
  );
  for (const part of /** @type {any} */ (place.children)) part.open = unfolded.includes(part.firstElementChild.textContent);
}

const section = (title, ...children) => el('details', { class: 'og-group' }, el('summary', { text: title }), ...children);

const save = (changes) =>
  api('PATCH', 'api/notifications/settings', changes).catch((error) => toast(error.whole || error.message, 'bad'));

function thisBrowser() {
  const note = el('p', { class: 'og-muted', role: 'status' });
  const turn = button('', { kind: 'small' });
  const draw = () => {
    const on_ = localStorage.getItem(BROWSER) === 'on' && supported() && Notification.permission === 'granted';
    setText(turn.firstElementChild || turn.appendChild(el('span')), on_ ? 'Turn off' : 'Turn on browser notifications');
    setVisible(turn, supported());
    const denied = supported() && Notification.permission === 'denied';
    setText(
      note,
      supported()
        ? denied
          ? 'This browser blocks notifications of this page. Allow them in the settings of the browser.'
          : on_
            ? 'They appear while a tab with this page is open, also in the background.'
            : 'Shows notifications of the system while a tab with this page is open.'
        : 'Browser notifications require HTTPS or an address on this machine.',
    );
  };
  turn.addEventListener('click', async () => {
    if (localStorage.getItem(BROWSER) === 'on') localStorage.removeItem(BROWSER);
    else if ((await Notification.requestPermission()) === 'granted') localStorage.setItem(BROWSER, 'on');
    draw();
  });
  draw();
  return el('div', {}, note, turn);
}

/** A checkbox for each kind; `change` receives all that are checked. */
function kinds(all, chosen, change) {
  const boxes = all.map(({ kind, label }) => {
    const box = el('input', { type: 'checkbox', checked: chosen.includes(kind), value: kind, onchange: selectionChanged });
    return el('label', { class: 'og-check' }, box, el('span', { text: label }));
  });
  function selectionChanged() {
    change(boxes.map((label) => label.querySelector('input')).filter((box) => box.checked).map((box) => box.value)); // biome-ignore format: one thought
  }
  return el('div', { class: 'og-checks' }, boxes);
}

async function channels(settings, again) {
  if (!settings.installed)
    return el('p', { text: 'To send notifications by mail, chat, push or webhooks, install the Python package apprise.' });
  const list = el('ul', { class: 'og-channels' }, ...settings.channels.map((each) => channel(each, settings.all_kinds, again)));
  return el(
    'div',
    {},
    list,
    settings.public_only &&
      el('p', { class: 'og-muted', text: 'Others can reach this panel, so it contacts only public addresses.' }),
    adding(again),
  );
}

function channel({ id, label, service, kinds: chosen, sample, on: used, fixed, address }, all, again) {
  const path = `api/notifications/channels/${encodeURIComponent(id)}`;
  const outcome = el('span', { class: 'og-muted og-small', role: 'status' });
  const name = label || service;
  const change = (changes) => api('PATCH', path, changes).catch((error) => toast(error.whole || error.message, 'bad'));
  const box = (text, value, field) =>
    el(
      'label',
      { class: 'og-check' },
      el('input', {
        type: 'checkbox',
        checked: value,
        disabled: fixed,
        onchange: (event) => change({ [field]: event.target.checked }),
      }),
      el('span', { text }),
    );
  const test = button('Send a test', {
    kind: 'small',
    async onclick() {
      test.disabled = true;
      setText(outcome, 'Sending…');
      const answer = await api('POST', `${path}/test`, {}).catch((error) => ({ sent: false, reason: error.message }));
      setText(outcome, answer.sent ? 'Sent.' : answer.reason);
      test.disabled = false;
    },
  });
  const remove = button('Remove', {
    kind: 'small',
    async onclick() {
      if (!(await confirmed(`Remove “${name}”?`, 'Its address is deleted, too.', 'Remove'))) return;
      await api('DELETE', path).catch((error) => toast(error.message, 'bad'));
      again();
    },
  });
  return el(
    'li',
    {},
    el(
      'div',
      {},
      el('strong', { text: name }),
      el('span', { class: 'og-muted', text: ` ${label ? service : ''} ${address || 'no address'}` }),
    ),
    box('On', used, 'on'),
    box('Attach the newest sample', sample, 'sample'),
    fixed
      ? null
      : section(
          'Kinds',
          kinds(all, chosen, (now) => change({ kinds: now })),
        ),
    el('div', { class: 'og-channel-buttons' }, test, fixed ? null : remove, outcome),
  );
}

function adding(again) {
  const address = el('input', {
    type: 'password',
    autocomplete: 'off',
    id: 'og-channel-address',
    placeholder: 'discord://… or mailtos://…',
    maxlength: 2000,
    required: true,
  });
  const label = el('input', { type: 'text', id: 'og-channel-label', placeholder: 'Phone', maxlength: 100 });
  const problem = el('p', { class: 'bad', role: 'alert', hidden: true });
  const add = async (event) => {
    event.preventDefault();
    try {
      await api('POST', 'api/notifications/channels', { address: address.value, label: label.value });
      again();
    } catch (error) {
      setText(problem, error.whole || error.message);
      setVisible(problem, true);
    }
  };
  return el(
    'form',
    { class: 'og-channel-add', onsubmit: add },
    el('label', { for: address.id, text: 'Address (Apprise)' }),
    address,
    el('label', { for: label.id, text: 'Name' }),
    label,
    problem,
    button('Add channel', { type: 'submit', kind: 'primary small' }),
  );
}

/**
 * Fields for numbers that are stored when they change; what REST rejects is shown below them.
 * @param {string} path
 * @param {Record<string, any>} values
 */
function numbers(path, values) {
  const problem = el('p', { class: 'bad', role: 'alert', hidden: true });
  const change = async (changes) => {
    setVisible(problem, false);
    await api('PATCH', path, changes).catch((error) => {
      setText(problem, error.whole || error.message);
      setVisible(problem, true);
    });
  };
  const field = (text, name, factor, [min, max, step]) => {
    const input = el('input', { type: 'number', min, max, step, required: true, value: values[name] / factor });
    input.addEventListener('change', () => input.reportValidity() && change({ [name]: Number(input.value) * factor }));
    return el('label', { class: 'og-field-line' }, el('span', { text }), input);
  };
  return { problem, change, field };
}

/** When a run counts as stalled or waiting, and a disk as nearly full. */
function limits(settings) {
  const { problem, field } = numbers('api/notifications/settings', settings);
  return el(
    'div',
    {},
    field('Stalled: a step takes this many times the usual time', 'stalled_factor', 1, [2, 1000, 'any']),
    field('but at least this many seconds', 'stalled_min_s', 1, [1, 86400, 'any']),
    field('Outside of training steps: minutes without progress', 'quiet_s', 60, [0.17, 1440, 'any']),
    field('Minutes until a paused run waits for you', 'paused_s', 60, [0.17, 10080, 'any']),
    field('Free GB below which a disk is nearly full (0: never)', 'disk_free_gb', 1, [0, 100000, 'any']),
    problem,
  );
}

/** What happens to runs that fail, unless they are started with their own choice. */
function automatic(resume) {
  const { problem, change, field } = numbers('api/auto-resume', resume);
  const memory = el('input', { type: 'checkbox', checked: resume.lower_memory });
  memory.addEventListener('change', () => change({ lower_memory: memory.checked }));
  return el(
    'div',
    {},
    el('p', {
      class: 'og-muted',
      text: 'A run that failed or crashed resumes from its newest whole backup. It applies to runs that start from now on.',
    }),
    field('Attempts (0 turns it off)', 'attempts', 1, [0, 20, 1]),
    field('Minutes before the first attempt', 'first_wait_s', 60, [0, 1440, 'any']),
    el('label', { class: 'og-check' }, memory, el('span', { text: 'After out of GPU memory, use less memory each time' })),
    problem,
  );
}
