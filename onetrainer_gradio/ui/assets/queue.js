// The queue: runs that wait for a device, their order, and what each one waits for.

import { button, confirmed, el, setText, setVisible, toast } from './dom.js';
import { api, may, on, store } from './live.js';
import { dragging } from './queue-drag.js';
import { endedLine, itemLine } from './queue-line.js';
import { sheet } from './sheet.js';

const MAX_SHOWN = 1000; // the queue takes no more
const ENDED_SHOWN = 20;
const SOON_MS = 150;

const path = (item, action = '') => `api/queue/${encodeURIComponent(item.id)}${action && `/${action}`}`;

/** @param {HTMLElement} place */
export async function mount(place) {
  await sheet('queue.css');
  const queue = new Queue();
  place.append(queue.view.card);
  queue.listen();
  if (store.connection === 'live') queue.load();
}

/** @param {any} item */
const nameOf = (item) => item.name || item.id;

class Queue {
  constructor() {
    this.view = build();
    /** @type {any[]} */
    this.items = [];
    this.paused = false;
    this.timer = 0;
    this.asked = 0; // a later answer replaces an earlier one, in whatever order they come
    this.rendered = new Map(); // item -> what its line was made of, and the line
    /** @type {Record<string, (item: any) => any>} */
    this.actions = {
      // what this page shows may be older than the queue: the server knows where the ends are
      up: (item) => this.move(item, { by: -1 }),
      down: (item) => this.move(item, { by: 1 }),
      edit: async (item) => (await import('./queue-dialogs.js')).editDialog(item, this.waiting(), this.load),
      duplicate: (item) => this.act('POST', path(item, 'duplicate'), {}, `Copied “${nameOf(item)}”.`),
      hold: (item) => this.act('PATCH', path(item), { held: !item.held }, item.held ? 'Released.' : 'Held.'),
      suspend: (item) => this.act('POST', path(item, 'suspend'), {}, 'Suspending: the run writes a backup and ends.'),
      remove: (item) => this.remove(item),
    };
  }

  waiting() {
    return this.items.filter((item) => item.state === 'waiting');
  }

  /** @param {string} text */
  say(text) {
    setText(this.view.spoken, text);
  }

  /**
   * Call REST, then show the queue as it is now.
   * @param {string} method
   * @param {string} where
   * @param {any} [body]
   */
  async act(method, where, body, done = '') {
    /** @type {any} */
    let answer = null;
    try {
      answer = await api(method, where, body);
      if (done) this.say(done);
    } catch (/** @type {any} */ error) {
      toast(error.whole || error.message, 'bad');
    }
    await this.load();
    return answer;
  }

  /**
   * @param {any} item
   * @param {any} to
   */
  async move(item, to) {
    const answer = await this.act('POST', path(item, 'move'), to);
    if (!answer) return;
    this.say(`“${nameOf(item)}” moved to place ${answer.place} of ${this.waiting().length}.`);
    // unless something else got the focus meanwhile
    if (document.activeElement === document.body) this.view.list.querySelector(`[data-item="${item.id}"]`)?.focus();
  }

  /** @param {any} item */
  async remove(item) {
    const name = nameOf(item);
    if (await confirmed(`Remove “${name}”?`, 'The run is removed from the queue with its settings.', 'Remove'))
      this.act('DELETE', path(item), undefined, `Removed “${name}”.`);
  }

  /** @param {any} summary */
  draw(summary) {
    const { view, items } = this;
    this.paused = summary.paused;
    const count = this.waiting().length;
    setText(view.count, items.length ? `${count} waiting${summary.running ? `, ${summary.running} running` : ''}` : '');
    setVisible(view.empty, items.length === 0);
    setText(view.pause.lastChild, summary.paused ? 'Resume queue' : 'Pause queue');
    const late = items.find((item) => item.wait?.code === 'memory_not_freed');
    const note = summary.paused ? `The queue is paused. ${summary.pause_reason}`.trim() : late?.wait.text || '';
    setText(view.note, note);
    setVisible(view.note, Boolean(note));
    setVisible(view.anyway, Boolean(late) && !summary.paused);
    this.lines(count);
    setVisible(view.ended, summary.ended > 0);
    setText(view.ended.firstChild, `Ended (${summary.ended})`);
    if (view.ended.open) this.loadEnded();
  }

  /**
   * A line for each item; one that did not change stays, and so does the focus.
   * @param {number} count
   */
  lines(count) {
    const { list } = this.view;
    const nodes = this.items.map((item) => {
      const of = JSON.stringify([item, count]);
      const known = this.rendered.get(item.id);
      return [item.id, known?.of === of ? known : { of, node: itemLine(item, count, this.actions) }];
    });
    this.rendered = new Map(/** @type {any} */ (nodes));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest?.('[data-item]'));
    /** @type {[any, any] | null} */
    const inside = focused && list.contains(focused) ? [focused.dataset.item, document.activeElement] : null;
    list.replaceChildren(...nodes.map(([, { node }]) => node));
    if (inside) refocus(list, inside);
  }

  load = async () => {
    clearTimeout(this.timer);
    this.timer = 0;
    this.asked += 1;
    const mine = this.asked;
    try {
      const page = await api('GET', `api/queue?limit=${MAX_SHOWN}`);
      if (this.view.list.dataset.dragging || mine < this.asked) return;
      this.items = page.items;
      this.draw(page);
    } catch (/** @type {any} */ error) {
      if (error.status !== 0) toast(error.message, 'bad');
    }
  };

  async loadEnded() {
    const page = await api('GET', `api/queue?ended=true&limit=${ENDED_SHOWN}`).catch(() => null);
    if (!page) return;
    const line = (/** @type {any} */ item) => endedLine(item, () => this.act('DELETE', path(item)));
    this.view.endedList.replaceChildren(...page.items.map(line));
  }

  listen() {
    const { view, load } = this;
    const soon = () => {
      this.timer ||= setTimeout(load, SOON_MS);
    };
    const dialogs = () => import('./queue-dialogs.js');
    view.pause.addEventListener('click', () => this.act('POST', `api/queue/${this.paused ? 'resume' : 'pause'}`, {}));
    view.anyway.addEventListener('click', () => this.act('POST', 'api/queue/resume', {}));
    view.add.addEventListener('click', async () => (await dialogs()).addDialog(this.waiting(), load));
    view.sweep.addEventListener('click', async () => (await dialogs()).sweepDialog(load));
    view.ended.addEventListener('toggle', () => view.ended.open && this.loadEnded());
    if (may('operator')) this.moving();
    // the page of one run, and a comparison, have this tab for themselves
    const whole = () => setVisible(view.card, !/^#runs\/./.test(location.hash));
    document.addEventListener('og-runs-address', whole);
    document.addEventListener('og-tab', () => queueMicrotask(whole));
    window.addEventListener('popstate', whole);
    whole();
    on('queue_changed', soon);
    on('connected', soon);
  }

  /** Move runs with the mouse or the keyboard. */
  moving() {
    dragging(this.view.list, (id, to) => {
      const item = this.items.find((each) => each.id === id);
      if (item) this.move(item, to);
      else this.load();
    });
    this.view.list.addEventListener('keydown', (event) => byKey(event, this.items, this.actions));
  }
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
  const card = el(
    'section',
    { class: 'og-card', 'aria-label': 'Queue', 'data-og-needs': 'operator' },
    head,
    note,
    anyway,
    empty,
    list,
    ended,
    spoken,
  );
  return { card, count, pause, add, sweep, note, anyway, empty, list, spoken, ended, endedList };
}
