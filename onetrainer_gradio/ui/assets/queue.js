// The queue: runs that wait for a device, their order, and what each one waits for.

import { button, confirmed, el, setText, setVisible, toast } from './dom.js';
import { api, on, store } from './live.js';
import { dragging } from './queue-drag.js';
import { endedLine, itemLine } from './queue-line.js';
import { sheet } from './sheet.js';

const MOST_SHOWN = 1000; // the queue takes no more
const ENDED_SHOWN = 20;
const SOON_MS = 150;

const path = (item, action = '') => `api/queue/${encodeURIComponent(item.id)}${action && `/${action}`}`;

export async function mount(place) {
  await sheet('queue.css');
  const view = build();
  place.append(view.card);
  /** @type {any[]} */
  let items = [];
  let paused = false;
  let endedCount = 0;
  let timer = 0;
  let asked = 0; // a later answer replaces an earlier one, in whatever order they come
  let drawn = new Map(); // item -> what its line was made of, and the line

  const waiting = () => items.filter((item) => item.state === 'waiting');
  const say = (text) => setText(view.spoken, text);

  /** Call REST, then show the queue as it is now. */
  async function act(method, where, body, done = '') {
    try {
      const answer = await api(method, where, body);
      if (done) say(done);
      await load();
      return answer;
    } catch (error) {
      toast(error.whole || error.message, 'bad');
      await load();
      return null;
    }
  }

  async function move(item, to) {
    const answer = await act('POST', path(item, 'move'), to);
    if (!answer) return;
    say(`“${item.name || item.id}” moved to place ${answer.place} of ${waiting().length}.`);
    // unless the focus went on to something else meanwhile
    if (document.activeElement === document.body) view.list.querySelector(`[data-item="${item.id}"]`)?.focus();
  }

  const actions = {
    // what this page shows may be older than the queue: the server knows where the ends are
    up: (item) => move(item, { by: -1 }),
    down: (item) => move(item, { by: 1 }),
    edit: async (item) => (await import('./queue-dialogs.js')).editDialog(item, waiting(), load),
    duplicate: (item) => act('POST', path(item, 'duplicate'), {}, `Copied “${item.name || item.id}”.`),
    hold: (item) => act('PATCH', path(item), { held: !item.held }, item.held ? 'Released.' : 'Held.'),
    suspend: (item) => act('POST', path(item, 'suspend'), {}, 'Suspending: the run writes a backup and ends.'),
    async remove(item) {
      const name = item.name || item.id;
      if (await confirmed(`Remove “${name}”?`, 'The run is removed from the queue with its settings.', 'Remove'))
        act('DELETE', path(item), undefined, `Removed “${name}”.`);
    },
  };

  function draw(summary) {
    paused = summary.paused;
    endedCount = summary.ended;
    const count = waiting().length;
    setText(view.count, items.length ? `${count} waiting${summary.running ? `, ${summary.running} running` : ''}` : '');
    setVisible(view.empty, items.length === 0);
    setText(view.pause.lastChild, paused ? 'Resume queue' : 'Pause queue');
    const late = items.find((item) => item.wait?.code === 'memory_not_freed');
    const note = paused ? `The queue is paused. ${summary.pause_reason}`.trim() : late?.wait.text || '';
    setText(view.note, note);
    setVisible(view.note, Boolean(note));
    setVisible(view.anyway, Boolean(late) && !paused);
    const nodes = items.map((item) => {
      const of = JSON.stringify([item, count]);
      const known = drawn.get(item.id);
      return [item.id, known?.of === of ? known : { of, node: itemLine(item, count, actions) }];
    });
    drawn = new Map(/** @type {any} */ (nodes));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest?.('[data-item]'));
    /** @type {[any, any] | null} */
    const inside = focused && view.list.contains(focused) ? [focused.dataset.item, document.activeElement] : null;
    view.list.replaceChildren(...nodes.map(([, { node }]) => node));
    if (inside) refocus(view.list, inside);
    setVisible(view.ended, endedCount > 0);
    setText(view.ended.firstChild, `Ended (${endedCount})`);
    if (view.ended.open) loadEnded();
  }

  async function load() {
    clearTimeout(timer);
    timer = 0;
    asked += 1;
    const mine = asked;
    try {
      const page = await api('GET', `api/queue?limit=${MOST_SHOWN}`);
      if (view.list.dataset.dragging || mine < asked) return;
      items = page.items;
      draw(page);
    } catch (error) {
      if (error.status !== 0) toast(error.message, 'bad');
    }
  }

  async function loadEnded() {
    const page = await api('GET', `api/queue?ended=true&limit=${ENDED_SHOWN}`).catch(() => null);
    if (page) view.endedList.replaceChildren(...page.items.map((item) => endedLine(item, () => act('DELETE', path(item)))));
  }

  const soon = () => {
    timer ||= setTimeout(load, SOON_MS);
  };
  view.pause.addEventListener('click', () => act('POST', `api/queue/${paused ? 'resume' : 'pause'}`, {}));
  view.anyway.addEventListener('click', () => act('POST', 'api/queue/resume', {}));
  view.add.addEventListener('click', async () => (await import('./queue-dialogs.js')).addDialog(waiting(), load));
  view.sweep.addEventListener('click', async () => (await import('./queue-dialogs.js')).sweepDialog(load));
  view.ended.addEventListener('toggle', () => view.ended.open && loadEnded());
  dragging(view.list, (id, to) => {
    const item = items.find((each) => each.id === id);
    if (item) move(item, to);
    else load();
  });
  view.list.addEventListener('keydown', (event) => byKey(event, items, actions));
  // the page of one run, and a comparison, have this tab for themselves
  const whole = () => setVisible(view.card, !/^#runs\/./.test(location.hash));
  document.addEventListener('og-runs-address', whole);
  document.addEventListener('og-tab', () => queueMicrotask(whole));
  window.addEventListener('popstate', whole);
  whole();
  on('queue_changed', soon);
  on('connected', soon);
  if (store.connection === 'live') load();
}

/** Alt with an arrow moves the run that has the focus, or a button of it. */
function byKey(event, items, actions) {
  const step = event.altKey && { ArrowUp: 'up', ArrowDown: 'down' }[event.key];
  const id = event.target.closest?.('[data-item]')?.dataset.item;
  const item = items.find((each) => each.id === id);
  if (!step || !item?.place) return;
  event.preventDefault();
  actions[step](item);
}

/** Give the focus back to the same control of an item after its line was made again. */
function refocus(list, [id, before]) {
  if (list.contains(before) && document.activeElement === before) return;
  const line = list.querySelector(`[data-item="${id}"]`);
  const same = before.title && [...(line?.querySelectorAll('button') || [])].find((node) => node.title === before.title);
  (same || line)?.focus();
}

function build() {
  const count = el('span', { class: 'og-muted og-small og-grow' });
  const pause = button('Pause queue', { kind: 'small' });
  const add = button('Add run…', { icon: 'add', kind: 'small', title: 'Add the current settings to the queue' });
  const sweep = button('Sweep…', { kind: 'small', title: 'Add one run for each combination of several values' });
  const note = el('p', { class: 'og-queue-note', role: 'status', hidden: true });
  const anyway = button('Start anyway', { kind: 'small', hidden: true });
  const empty = el('p', {
    class: 'og-muted og-small',
    text: 'No runs are queued. While something trains, Add to queue adds the current settings.',
  });
  const list = el('ol', { class: 'og-queue', 'aria-label': 'Queued runs' });
  const spoken = el('p', { class: 'og-sr', role: 'status', 'aria-live': 'polite' });
  const endedList = el('ul', { class: 'og-queue-ended' });
  const ended = el('details', { class: 'og-queue-fold', hidden: true }, el('summary', { text: 'Ended' }), endedList);
  const head = el('div', { class: 'og-card-head' }, el('h2', { text: 'Queue' }), count, add, sweep, pause);
  const card = el('section', { class: 'og-card', 'aria-label': 'Queue' }, head, note, anyway, empty, list, ended, spoken);
  return { card, count, pause, add, sweep, note, anyway, empty, list, spoken, ended, endedList };
}
