// What the machine does, now and over the last minutes; what runs on it, in which versions.

import { api, on, store } from './live.js';
import { el, format, paced, say, show } from './dom.js';

const KEEP = 600;
const HARDWARE = { cpu_count: 'cores', cpu: 'processor', machine: 'architecture' };

export function mount(place) {
  const meters = el('div', { class: 'og-meters' });
  const processes = el('tbody');
  const noProcesses = el('p', { class: 'og-empty', text: 'No processes known.' });
  const versions = el('dl', { class: 'og-facts og-columns' });
  const hardware = el('dl', { class: 'og-facts og-columns' });
  place.append(
    el('section', { class: 'og-card', 'aria-label': 'Use of the machine' }, el('h3', { text: 'Now and the last ten minutes' }), meters),
    el('section', { class: 'og-card', 'aria-label': 'Processes' }, el('h3', { text: 'Processes' }),
      el('div', { class: 'og-scroll' }, el('table', { class: 'og-table' },
        el('thead', {}, el('tr', {}, ['Process', 'Number', 'Memory', 'CPU time', 'Threads', 'Since'].map((text) => el('th', { scope: 'col', text })))), processes)), noProcesses),
    el('section', { class: 'og-card', 'aria-label': 'Hardware' }, el('h3', { text: 'Hardware' }), hardware),
    el('section', { class: 'og-card', 'aria-label': 'Versions' }, el('h3', { text: 'Versions' }), versions),
  );

  const cards = new Map(); // key -> meter

  function meter(key, label) {
    if (cards.has(key)) return cards.get(key);
    const value = el('b', {});
    const more = el('span', { class: 'og-muted og-small' });
    const canvas = el('canvas', { class: 'og-spark', role: 'img', 'aria-label': `History of ${label}` });
    const points = [];
    const node = el('div', { class: 'og-meter' }, el('div', { class: 'og-meter-head' }, el('span', { text: label }), value), canvas, more);
    meters.append(node);
    const pace = paced(canvas, () => spark(canvas, points), 1000);
    const made = {
      set(text, below, fraction, redraw = true) {
        say(value, text);
        say(more, below);
        points.push(fraction);
        if (points.length > KEEP) points.shift();
        if (redraw) pace.ask();
      },
      clear() { points.length = 0; },
      redraw: pace.now,
    };
    cards.set(key, made);
    return made;
  }

  function spark(canvas, points) {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const style = getComputedStyle(place);
    const brush = canvas.getContext('2d');
    brush.scale(ratio, ratio);
    const x = (at) => width - ((points.length - 1 - at) / Math.max(60, points.length - 1)) * width;
    const y = (part) => height - 1 - Math.min(1, part ?? 0) * (height - 3);
    brush.beginPath();
    points.forEach((part, at) => (at ? brush.lineTo(x(at), y(part)) : brush.moveTo(x(at), y(part))));
    brush.strokeStyle = style.getPropertyValue('--og-accent');
    brush.lineWidth = 1.5;
    brush.stroke();
    brush.lineTo(x(points.length - 1), height);
    brush.lineTo(x(0), height);
    brush.fillStyle = style.getPropertyValue('--og-accent-soft');
    brush.fill();
  }

  /** One reading: processor, memory, disk, and each graphics card with what it tells. */
  function reading(now, redraw = true) {
    if (!now) return;
    meter('cpu', 'CPU').set(format.percent(now.cpu), '', now.cpu / 100, redraw);
    for (const [key, label] of [['memory', 'Memory'], ['disk', 'Disk of the data folder']]) {
      const [used, total] = [now[`${key}_used`], now[`${key}_total`]];
      if (total) meter(key, label).set(format.percent((100 * used) / total), `${format.bytes(used)} of ${format.bytes(total)}`, used / total, redraw);
    }
    (now.gpus || []).forEach((gpu, at) => card(gpu, at, redraw));
  }

  function card(gpu, at, redraw) {
    const name = gpu.name || `GPU ${at}`;
    const known = (value) => value !== undefined && value !== null;
    if (known(gpu.utilization)) meter(`gpu${at}`, name).set(format.percent(gpu.utilization), 'graphics processor', gpu.utilization / 100, redraw);
    if (gpu.memory_total) {
      meter(`gpu${at}m`, `${name}: memory`).set(format.percent((100 * gpu.memory_used) / gpu.memory_total),
        `${format.bytes(gpu.memory_used)} of ${format.bytes(gpu.memory_total)}`, gpu.memory_used / gpu.memory_total, redraw);
    }
    if (known(gpu.temperature)) meter(`gpu${at}t`, `${name}: temperature`).set(`${Math.round(gpu.temperature)} °C`, '', gpu.temperature / 100, redraw);
    if (known(gpu.power)) meter(`gpu${at}p`, `${name}: power`).set(`${Math.round(gpu.power)} W`, gpu.power_limit ? `of ${Math.round(gpu.power_limit)} W` : '', gpu.power / (gpu.power_limit || 450), redraw);
  }

  /** The history comes as columns; what does not change over time (totals, names) stands in the reading of now. */
  function past(history, now) {
    const { at = [], gpus = [] } = history || {};
    at.forEach((_, index) => reading({
      ...now, cpu: history.cpu[index], memory_used: history.memory_used[index], disk_used: history.disk_used[index],
      gpus: (now.gpus || []).map((gpu, card_) => ({ ...gpu, ...Object.fromEntries(Object.entries(gpus[card_] || {}).map(([key, values]) => [key, values[index]])) })),
    }, false));
  }

  const facts = (node, pairs) => node.replaceChildren(...pairs.map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: typeof value === 'object' ? JSON.stringify(value) : String(value) }))));

  async function load() {
    try {
      const found = await api('GET', 'api/system/resources');
      for (const card of cards.values()) card.clear();
      past(found.history?.seconds, found.now);
      reading(found.now);
      for (const card of cards.values()) card.redraw();
      const info = await api('GET', 'api/system/info');
      facts(versions, Object.entries(info.versions || {}));
      facts(hardware, [...Object.entries(info.hardware || {}).map(([name, value]) => [HARDWARE[name] || name.replace('_', ' '), value]),
        ['memory', format.bytes(info.memory_total)], ['data folder', info.data_folder]]);
      await running();
    } catch (error) {
      if (error.status !== 0) throw error;
    }
  }

  async function running() {
    const answer = await api('GET', 'api/system/processes');
    const found = answer.processes || [];
    processes.replaceChildren(...found.map((each) => el('tr', {},
      el('td', { text: each.role, title: each.run_id }), el('td', { class: 'og-mono', text: String(each.pid) }),
      el('td', { text: format.bytes(each.memory) }), el('td', { text: format.span(each.cpu_seconds) }),
      el('td', { text: String(each.threads) }), el('td', { text: format.time(each.started_at) }))));
    show(noProcesses, found.length === 0);
  }

  on('system', (message) => reading(message.resources));
  on('connected', load);
  on('training_state', (() => {
    let known = '';
    return () => {
      const now = `${store.state?.run_id} ${store.state?.status}`;
      if (now !== known) { known = now; running().catch(() => {}); }
    };
  })());
  document.addEventListener('og-theme', () => { for (const card of cards.values()) card.redraw(); });
  load();
}
