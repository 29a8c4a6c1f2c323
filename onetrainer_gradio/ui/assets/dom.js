// Building blocks of the page's document. Text from outside becomes a text node, never markup.

const SVG = 'http://www.w3.org/2000/svg';

// name -> path data on a 24 x 24 field, drawn as a stroke
const ICONS = {
  add: 'M12 5v14M5 12h14',
  bell: 'M6 17V11a6 6 0 0 1 12 0v6l2 1H4zM10 21h4',
  chart: 'M4 4v16h16M7 9c2 0 2 6 5 6s3-2 6-2',
  close: 'M6 6l12 12M18 6L6 18',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  down: 'M6 9l6 6 6-6',
  download: 'M12 4v11M7 11l5 5 5-5M4 20h16',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  folder: 'M3 6h6l2 2h10v11H3z',
  keyboard: 'M3 7h18v10H3zM7 10.5h.01M11 10.5h.01M15 10.5h.01M8 14h8',
  leave: 'M14 4h6v16h-6M10 8l-4 4 4 4M6 12h10',
  left: 'M15 5l-7 7 7 7',
  moon: 'M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z',
  reset: 'M4 5v5h5M5 15a8 8 0 1 0 1-8l-2 3',
  person: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 20a8 8 0 0 1 16 0',
  redo: 'M15 5l5 5-5 5M20 10H9a5 5 0 0 0 0 10h3',
  right: 'M9 5l7 7-7 7',
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2',
  swap: 'M7 4L3 8l4 4M3 8h14M17 12l4 4-4 4M21 16H7',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13',
  undo: 'M9 5l-5 5 5 5M4 10h11a5 5 0 0 1 0 10h-3',
  up: 'M6 15l6-6 6 6',
  upload: 'M12 20V9M7 13l5-5 5 5M4 4h16',
};

// set on the object, since the attribute would be only what it begins with
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'open']);

/**
 * An element: attributes, `on...` listeners, `class`, `text`, `dataset`, then children (nodes or text).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} attributes
 * @param {...any} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name === 'class') node.className = value;
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) Object.assign(node, { [name]: value });
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An icon that screen readers skip. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', class: 'og-icon', 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button with an icon, a label, or both; an icon alone needs `title` for its name.
 * @param {string} label
 * @param {Record<string, any>} [options]
 */
export function button(label, { icon: name, title, kind = '', ...more } = {}) {
  const attributes = {
    type: 'button',
    class: `og-button ${kind}`.trim(),
    title,
    'aria-label': label ? undefined : title,
    ...more,
  };
  return el('button', attributes, name && icon(name), label && el('span', { text: label }));
}

/** A link to the one place that has the cause of a run's end in full. */
export function causeLink() {
  return el('a', {
    class: 'og-to-cause',
    href: '#training',
    text: 'Show the error',
    onclick: (event) => {
      event.preventDefault();
      event.stopPropagation();
      const card = document.getElementById('og-cause');
      card?.scrollIntoView({ block: 'center' });
      card?.focus({ preventScroll: true });
    },
  });
}

/** Write text only if it changed, so that nothing is rendered again. */
export function setText(node, text) {
  const wanted = text ?? '';
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setVisible(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

const TOAST_LINES = 3;
const fading = new Map(); // a notice -> the timer that takes it away

/** A short notice at the edge of the window; read out by screen readers. Notices of a kind share one, with the newest lines. */
export function toast(text, kind = '') {
  /** @type {HTMLElement | null} */
  let tray = document.getElementById('og-toasts');
  if (!tray) {
    tray = el('div', { id: 'og-toasts', role: 'status', 'aria-live': 'polite' });
    document.body.append(tray);
  }
  let note = [...tray.children].find((each) => each.dataset.kind === kind);
  if (!note) {
    const made = el('div', { class: `og-toast ${kind}`, dataset: { kind } }, el('div', { class: 'og-toast-lines' }));
    made.append(button('', { icon: 'close', title: 'Dismiss', kind: 'quiet', onclick: () => made.remove() }));
    tray.append(made);
    note = made;
  }
  const lines = /** @type {HTMLElement} */ (note.firstElementChild);
  [...lines.children].find((line) => line.textContent === text)?.remove();
  lines.append(el('div', { text }));
  while (lines.childElementCount > TOAST_LINES) lines.firstElementChild?.remove();
  clearTimeout(fading.get(note));
  const shown = note;
  fading.set(
    note,
    setTimeout(() => shown.remove(), kind === 'bad' ? 12000 : 5000),
  );
}

/** A question before something that cannot be taken back; resolves to true or false. */
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = el('dialog', { class: 'og-dialog', 'aria-label': title });
    const answer = (value) => () => {
      dialog.close();
      resolve(value);
    };
    dialog.append(
      el('h2', { text: title }),
      el('p', { text }),
      el(
        'div',
        { class: 'og-dialog-buttons' },
        button('Cancel', { onclick: answer(false) }),
        button(yes, { kind: 'primary', onclick: answer(true) }),
      ),
    );
    openDialog(dialog, () => resolve(false));
  });
}

/** Show a dialog in the top layer; it leaves the document when it is closed. */
export function openDialog(dialog, onclose = () => {}) {
  document.body.append(dialog);
  dialog.addEventListener('close', () => {
    dialog.remove();
    onclose();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.showModal();
}

const LONGEST_PRESS_MS = 1000;

/**
 * Put off what would replace elements of `place` between pressing and releasing a mouse button: no click comes after that.
 * Returns `later(name, task)`: true if the task was put off until after the click. Of several with a name, one runs.
 */
export function afterPress(place) {
  let pressed = false;
  let timer = 0;
  let waiting = new Map();
  const release = () => {
    clearTimeout(timer);
    pressed = false;
    const tasks = waiting;
    waiting = new Map();
    for (const task of tasks.values()) task();
  };
  place.addEventListener('pointerdown', () => {
    pressed = true;
    clearTimeout(timer);
    timer = setTimeout(release, LONGEST_PRESS_MS); // a release outside the window is not reported
  });
  // what the click itself requests is rendered at once, and what waited follows
  window.addEventListener(
    'click',
    () => {
      pressed = false;
    },
    true,
  );
  for (const type of ['pointerup', 'pointercancel']) window.addEventListener(type, () => setTimeout(release));
  return (name, task) => {
    if (pressed) waiting.set(name, task);
    return pressed;
  };
}

const DIGITS = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** The text with a capital first letter. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const format = {
  count: (value) => (value === null || value === undefined ? '–' : DIGITS.format(value)),
  /** Four significant digits, and powers of ten where they are shorter. */
  number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return '–';
    if (value === 0) return '0';
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6)
      return value
        .toExponential(2)
        .replace('e+', 'e')
        .replace(/\.?0+e/, 'e');
    return String(Number(value.toPrecision(4)));
  },
  bytes(value) {
    if (value === null || value === undefined) return '–';
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let at = 0;
    let size = value;
    while (size >= 1000 && at < units.length - 1) {
      size /= 1000;
      at += 1;
    }
    return `${size >= 100 || at === 0 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
  },
  span(seconds) {
    if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
    const whole = Math.max(0, Math.round(seconds));
    const [d, h, m, s] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
    if (d) return `${d} d ${h} h`;
    if (h) return `${h} h ${m} min`;
    return m ? `${m} min ${s} s` : `${s} s`;
  },
  time: (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' }) : '–'),
  clock: (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false }),
  percent: (value) => (value === null || value === undefined ? '–' : `${Math.round(value)}%`),
};

/** Call `redraw` at most every `ms`, only while `node` is on screen and the window is visible. Returns `{ask, leave}`. */
export function paced(node, redraw, ms = 500) {
  let asked = false;
  let onScreen = false;
  let timer = 0;
  let last = 0;
  const run = () => {
    timer = 0;
    if (!asked || !onScreen || document.hidden) return;
    asked = false;
    last = performance.now();
    redraw();
  };
  const plan = () => {
    if (asked && onScreen && !timer) timer = setTimeout(run, Math.max(0, ms - (performance.now() - last)));
  };
  // a busy page hears of several changes at once: the last one is how it is now
  const watcher = new IntersectionObserver((entries) => {
    onScreen = Boolean(entries.at(-1)?.isIntersecting);
    plan();
  });
  watcher.observe(node);
  document.addEventListener('visibilitychange', plan);
  return {
    ask() {
      asked = true;
      plan();
    },
    now() {
      asked = true;
      last = 0;
      clearTimeout(timer);
      timer = 0;
      run();
    },
    leave() {
      watcher.disconnect();
      document.removeEventListener('visibilitychange', plan);
      clearTimeout(timer);
    },
  };
}
