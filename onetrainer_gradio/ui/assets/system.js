// The machine: resource usage, processes, hardware and versions.

import { button, capital, el, format, setText, setVisible } from './dom.js';
import { api, may, on, store } from './live.js';
import { Meters } from './meters.js';

/** @type {Record<string, string>} */
const HARDWARE = { system: 'System', machine: 'Architecture', cpu: 'CPU', cpu_count: 'CPU cores' };
const COLUMNS = ['Process', 'PID', 'RAM', 'CPU time', 'Threads', 'Started'];

/** @param {HTMLElement} place */
export function mount(place) {
  const meters = new Meters();
  const processes = new Processes();
  const versions = el('dl', { class: 'og-facts og-columns' });
  const hardware = el('dl', { class: 'og-facts og-columns' });
  const certificate = el('dl', { class: 'og-facts', style: 'margin-top: 8px' });
  const https = card('HTTPS certificate', 'HTTPS certificate', certificate);
  setVisible(https, false);
  place.append(
    el('h1', { class: 'og-sr', text: 'System' }),
    card('Resource usage', 'Last 10 minutes', meters.node),
    card('Processes', 'Processes', ...processes.nodes),
    card('Hardware', 'Hardware', hardware),
    card('Versions', 'Versions', versions),
    https,
  );
  if (may('operator')) forOperators(place);

  async function load() {
    try {
      const found = await api('GET', 'api/system/resources');
      meters.load(found.history?.seconds, found.now);
      const info = await api('GET', 'api/system/info');
      facts(versions, Object.entries(info.versions || {}));
      facts(hardware, [
        ...Object.entries(info.hardware || {}).map(([name, value]) => [titleOf(name), value]),
        ['RAM', format.bytes(info.memory_total)],
        ['Data folder', info.data_folder],
      ]);
      setVisible(https, Boolean(info.https));
      if (info.https) facts(certificate, certificateFacts(info.https));
      await processes.load();
    } catch (/** @type {any} */ error) {
      if (error.status !== 0) throw error;
    }
  }

  on('system', (/** @type {any} */ message) => meters.add(message.resources));
  on('connected', load);
  on('training_state', () => processes.follow(`${store.state?.run_id} ${store.state?.status}`));
  load();
}

/**
 * Installations, the token and downloads: a viewer can't request them.
 * @param {HTMLElement} place
 */
function forOperators(place) {
  const checkouts = el('div', {});
  const downloads = el('div', {});
  const copy = el('div', {});
  place.append(checkouts, hubToken(), copy, downloads);
  import('./data-copy.js').then(({ mount: copyCard }) => copyCard(copy)).catch(() => {});
  import('./hub-downloads.js').then(({ card: downloadsCard }) => downloadsCard(downloads)).catch(() => {});
  import('./checkouts.js').then(async ({ checkoutsCard }) => checkouts.replaceChildren(await checkoutsCard()));
}

/**
 * @param {string} label
 * @param {string} title
 * @param {...HTMLElement} content
 */
const card = (label, title, ...content) =>
  el('section', { class: 'og-card', 'aria-label': label }, el('h2', { text: title }), content);

/** @param {{ fingerprint: string, names: string[], expires_at: number, own: boolean }} certificate */
const certificateFacts = ({ fingerprint, names, expires_at, own }) => [
  ['Fingerprint (SHA-256)', fingerprint],
  ['Valid for', names.join(', ')],
  ['Valid until', format.time(expires_at)],
  ['Source', own ? 'Created and renewed by this panel' : 'Certificate files'],
];

/** @param {string} name */
const titleOf = (name) => HARDWARE[name] || capital(name.replaceAll('_', ' '));

/**
 * @param {HTMLElement} node
 * @param {any[][]} pairs
 */
function facts(node, pairs) {
  const text = (/** @type {any} */ value) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  node.replaceChildren(...pairs.map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: text(value) }))));
}

/** The panel's processes and those of the runs. */
class Processes {
  constructor() {
    this.rows = el('tbody');
    this.none = el('p', { class: 'og-empty', text: 'No processes.' });
    const heads = COLUMNS.map((text) => el('th', { scope: 'col', text }));
    const table = el('table', { class: 'og-table' }, el('thead', {}, el('tr', {}, heads)), this.rows);
    const scroll = { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Table of processes' };
    this.nodes = [el('div', scroll, table), this.none];
    this.known = '';
  }

  /**
   * Look again when the run or its status changed.
   * @param {string} now
   */
  follow(now) {
    if (now === this.known) return;
    this.known = now;
    this.load().catch(() => {});
  }

  async load() {
    const answer = await api('GET', 'api/system/processes');
    /** @type {any[]} */
    const found = answer.processes || [];
    this.rows.replaceChildren(
      ...found.map((each) =>
        el(
          'tr',
          {},
          el('td', { text: capital(each.role), title: each.run_id }),
          el('td', { class: 'og-mono', text: String(each.pid) }),
          el('td', { text: format.bytes(each.memory) }),
          el('td', { text: format.span(each.cpu_seconds) }),
          el('td', { text: String(each.threads) }),
          el('td', { text: format.time(each.started_at) }),
        ),
      ),
    );
    setVisible(this.none, found.length === 0);
  }
}

/** The Hugging Face token: it can be set, but not read. */
function hubToken() {
  const input = el('input', { type: 'password', id: 'og-hub-token', autocomplete: 'off', placeholder: 'hf_…' });
  const state = el('span', { class: 'og-muted og-small', role: 'status' });
  const forget = button('Remove token', { kind: 'small', onclick: () => send('DELETE') });
  const card = el(
    'section',
    { class: 'og-card', 'aria-label': 'Hugging Face token', 'data-og-needs': 'owner' },
    el('h2', { text: 'Hugging Face token' }),
    el('p', {
      class: 'og-muted og-small',
      text: 'Required for gated models. Stored on this machine only; never written to settings files, logs or pages.',
    }),
    el(
      'form',
      {
        class: 'og-token',
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          if (input.value.trim()) send('PUT', { huggingface_token: input.value.trim() });
        },
      },
      el('label', { class: 'og-sr', for: input.id, text: 'Hugging Face token' }),
      input,
      el('button', { type: 'submit', class: 'og-button small', text: 'Save token' }),
      forget,
      state,
    ),
  );
  /**
   * @param {string} method
   * @param {any} [body]
   */
  async function send(method, body) {
    try {
      const answer = await api(method, 'api/secrets', body);
      input.value = '';
      setText(state, answer.huggingface_token ? 'Token saved.' : 'No token set.');
      setVisible(forget, answer.huggingface_token);
    } catch (/** @type {any} */ error) {
      setText(state, error.message);
    }
  }
  send('GET');
  return card;
}
