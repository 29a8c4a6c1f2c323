// The machine: resource usage, processes, hardware and versions.

import { button, capital, el, format, paced, setText, setVisible } from './dom.js';
import { api, on, store } from './live.js';

const SHOWN_S = 600;
const LEAST_SHOWN_S = 60; // a short history isn’t squeezed at the edge
const MOST_WATTS = 450; // full height if a GPU doesn’t report its limit
const HARDWARE = { system: 'System', machine: 'Architecture', cpu: 'CPU', cpu_count: 'CPU cores' };

export function mount(place) {
  const meters = el('div', { class: 'og-meters' });
  const processes = el('tbody');
  const noProcesses = el('p', { class: 'og-empty', text: 'No processes.' });
  const versions = el('dl', { class: 'og-facts og-columns' });
  const hardware = el('dl', { class: 'og-facts og-columns' });
  place.append(
    el('h1', { class: 'og-sr', text: 'System' }),
    el('section', { class: 'og-card', 'aria-label': 'Resource usage' }, el('h2', { text: 'Last 10 minutes' }), meters),
    el(
      'section',
      { class: 'og-card', 'aria-label': 'Processes' },
      el('h2', { text: 'Processes' }),
      el(
        'div',
        { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Table of processes' },
        el(
          'table',
          { class: 'og-table' },
          el(
            'thead',
            {},
            el(
              'tr',
              {},
              ['Process', 'PID', 'RAM', 'CPU time', 'Threads', 'Started'].map((text) => el('th', { scope: 'col', text })),
            ),
          ),
          processes,
        ),
      ),
      noProcesses,
    ),
    el('section', { class: 'og-card', 'aria-label': 'Hardware' }, el('h2', { text: 'Hardware' }), hardware),
    el('section', { class: 'og-card', 'aria-label': 'Versions' }, el('h2', { text: 'Versions' }), versions),
  );

  const checkouts = el('div', {});
  place.append(checkouts, hubToken());
  import('./checkouts.js').then(async ({ checkoutsCard }) => checkouts.replaceChildren(await checkoutsCard()));

  const cards = new Map(); // key -> meter

  function meter(key, label) {
    if (cards.has(key)) return cards.get(key);
    const value = el('b', {});
    const more = el('span', { class: 'og-muted og-small' });
    const canvas = el('canvas', { class: 'og-spark', role: 'img', 'aria-label': `History of ${label}` });
    const points = [];
    const node = el(
      'div',
      { class: 'og-meter' },
      el('div', { class: 'og-meter-head' }, el('span', { text: label }), value),
      canvas,
      more,
    );
    meters.append(node);
    const pace = paced(canvas, () => spark(canvas, points), 1000);
    const made = {
      set(text, below, fraction, at, redraw) {
        setText(value, text);
        setText(more, below);
        points.push([at, fraction]);
        while (points[0][0] < at - SHOWN_S) points.shift();
        if (redraw) pace.ask();
      },
      clear() {
        points.length = 0;
      },
      redraw: pace.now,
    };
    cards.set(key, made);
    return made;
  }

  function spark(canvas, points) {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !points.length) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const style = getComputedStyle(place);
    const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    brush.scale(ratio, ratio);
    const last = points.at(-1)?.[0];
    const span = Math.max(LEAST_SHOWN_S, last - points[0]?.[0]);
    const x = (at) => width - ((last - at) / span) * width;
    const y = (part) => height - 1 - Math.min(1, part ?? 0) * (height - 3);
    brush.beginPath();
    for (const [at, part] of points) brush.lineTo(x(at), y(part));
    brush.strokeStyle = style.getPropertyValue('--og-accent');
    brush.lineWidth = 1.5;
    brush.stroke();
    brush.lineTo(width, height);
    brush.lineTo(x(points[0]?.[0]), height);
    brush.fillStyle = style.getPropertyValue('--og-accent-soft');
    brush.fill();
  }

  /** One reading: CPU, RAM, disk, and the values of each GPU. */
  function reading(now, redraw = true) {
    if (!now) return;
    meter('cpu', 'CPU').set(format.percent(now.cpu), '', now.cpu / 100, now.at, redraw);
    for (const [key, label] of [
      ['memory', 'RAM'],
      ['disk', 'Disk (data folder)'],
    ]) {
      const [used, total] = [now[`${key}_used`], now[`${key}_total`]];
      if (total)
        meter(key, label).set(
          format.percent((100 * used) / total),
          `${format.bytes(used)} of ${format.bytes(total)}`,
          used / total,
          now.at,
          redraw,
        );
    }
    for (const [number, gpu] of (now.gpus || []).entries()) card(gpu, number, now.at, redraw);
  }

  function card(gpu, number, at, redraw) {
    const name = gpu.name || `GPU ${number}`;
    const known = (value) => value !== undefined && value !== null;
    const key = `gpu${number}`;
    if (known(gpu.utilization))
      meter(key, name).set(format.percent(gpu.utilization), 'GPU utilization', gpu.utilization / 100, at, redraw);
    if (gpu.memory_total) {
      const part = gpu.memory_used / gpu.memory_total;
      meter(`${key}-memory`, `${name}: VRAM`).set(
        format.percent(100 * part),
        `${format.bytes(gpu.memory_used)} of ${format.bytes(gpu.memory_total)}`,
        part,
        at,
        redraw,
      );
    }
    if (known(gpu.temperature))
      meter(`${key}-heat`, `${name}: temperature`).set(
        `${Math.round(gpu.temperature)} °C`,
        '',
        gpu.temperature / 100,
        at,
        redraw,
      );
    if (known(gpu.power)) {
      const limit = gpu.power_limit;
      meter(`${key}-power`, `${name}: power`).set(
        `${Math.round(gpu.power)} W`,
        limit ? `of ${Math.round(limit)} W` : '',
        gpu.power / (limit || MOST_WATTS),
        at,
        redraw,
      );
    }
  }

  /** The history comes as columns; constants (totals, names) come from the current reading. */
  function past(history, now) {
    const { at = [], gpus = [] } = history || {};
    for (const [index, time] of at.entries())
      reading(
        {
          ...now,
          at: time,
          cpu: history.cpu[index],
          memory_used: history.memory_used[index],
          disk_used: history.disk_used[index],
          gpus: (now.gpus || []).map((gpu, card_) => ({
            ...gpu,
            ...Object.fromEntries(Object.entries(gpus[card_] || {}).map(([key, values]) => [key, values[index]])),
          })),
        },
        false,
      );
  }

  const facts = (node, pairs) =>
    node.replaceChildren(
      ...pairs.map(([name, value]) =>
        el(
          'div',
          {},
          el('dt', { text: name }),
          el('dd', { text: typeof value === 'object' ? JSON.stringify(value) : String(value) }),
        ),
      ),
    );

  async function load() {
    try {
      const found = await api('GET', 'api/system/resources');
      for (const card of cards.values()) card.clear();
      past(found.history?.seconds, found.now);
      reading(found.now);
      for (const card of cards.values()) card.redraw();
      const info = await api('GET', 'api/system/info');
      facts(versions, Object.entries(info.versions || {}));
      facts(hardware, [
        ...Object.entries(info.hardware || {}).map(([name, value]) => [
          HARDWARE[name] || capital(name.replaceAll('_', ' ')),
          value,
        ]),
        ['RAM', format.bytes(info.memory_total)],
        ['Data folder', info.data_folder],
      ]);
      await running();
    } catch (error) {
      if (error.status !== 0) throw error;
    }
  }

  async function running() {
    const answer = await api('GET', 'api/system/processes');
    const found = answer.processes || [];
    processes.replaceChildren(
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
    setVisible(noProcesses, found.length === 0);
  }

  on('system', (message) => reading(message.resources));
  on('connected', load);
  on(
    'training_state',
    (() => {
      let known = '';
      return () => {
        const now = `${store.state?.run_id} ${store.state?.status}`;
        if (now !== known) {
          known = now;
          running().catch(() => {});
        }
      };
    })(),
  );
  document.addEventListener('og-theme', () => {
    for (const card of cards.values()) card.redraw();
  });
  load();
}

/** The Hugging Face token: it can be set, but not read. */
function hubToken() {
  const input = el('input', { type: 'password', id: 'og-hub-token', autocomplete: 'off', placeholder: 'hf_…' });
  const state = el('span', { class: 'og-muted og-small', role: 'status' });
  const forget = button('Remove token', { kind: 'small', onclick: () => send('DELETE') });
  const card = el(
    'section',
    { class: 'og-card', 'aria-label': 'Hugging Face token' },
    el('h2', { text: 'Hugging Face token' }),
    el('p', {
      class: 'og-muted og-small',
      text: 'Required for gated models. Stored on this machine only; never written to settings files, logs or pages.',
    }),
    el(
      'form',
      {
        class: 'og-token',
        onsubmit: (event) => {
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
  async function send(method, body) {
    try {
      const answer = await api(method, 'api/secrets', body);
      input.value = '';
      setText(state, answer.huggingface_token ? 'Token saved.' : 'No token set.');
      setVisible(forget, answer.huggingface_token);
    } catch (error) {
      setText(state, error.message);
    }
  }
  send('GET');
  return card;
}
