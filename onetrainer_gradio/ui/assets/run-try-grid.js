// A grid of images after a run: it follows its state until it has ended; a part for each prompt.

import { button, confirmed, el, format, icon, setText, setVisible, toast } from './dom.js';
import { api, url } from './live.js';
import { labelOf } from './run-try-label.js';

const POLL_MS = 700;

/** The node of a grid. */
export function gridOf(first) {
  const grid = new Grid(first);
  queueMicrotask(() => grid.follow(first));
  return grid.node;
}

class Grid {
  constructor({ id, created_at: created, cells }) {
    this.address = `api/generations/${id}`;
    /** @type {Map<number, HTMLElement>} */
    this.images = new Map();
    this.status = el('p', { role: 'status', class: 'og-small og-muted' });
    this.bar = el('progress', { max: cells.length, value: 0, 'aria-label': 'Finished images' });
    this.rows = el('div', { class: 'og-try-rows' });
    this.stop = button('Stop', { kind: 'small', 'data-og-needs': 'operator', onclick: () => this.act('POST', '/stop') });
    this.resume = button('Resume', {
      kind: 'small',
      icon: 'right',
      'data-og-needs': 'operator',
      onclick: () => this.act('POST', '/resume'),
    });
    this.zip = el(
      'a',
      { class: 'og-button small', href: url(`${this.address}/images.zip`), download: true },
      icon('download'),
      el('span', { text: 'All as zip' }),
    );
    this.remove = button('Delete', { kind: 'small', icon: 'trash', 'data-og-needs': 'operator', onclick: () => this.delete() });
    const head = el('div', { class: 'og-try-head' }, this.status, this.bar, this.stop, this.resume, this.zip, this.remove);
    this.node = el('article', { class: 'og-try-grid', 'aria-label': `Images of ${format.time(created)}` }, head, this.rows);
  }

  async act(method, path) {
    try {
      const following = this.grid.state === 'running';
      this.draw(await api(method, `${this.address}${path}`));
      if (!following) this.follow(this.grid);
    } catch (error) {
      toast(error.whole || error.message, 'bad');
    }
  }

  async delete() {
    const { cells } = this.grid;
    const done = cells.filter((cell) => cell.done).length;
    if (done && !(await confirmed('Delete these images?', `${done} images are deleted. Kept samples stay.`, 'Delete'))) return;
    try {
      await api('DELETE', this.address);
      this.node.remove();
    } catch (error) {
      toast(error.whole || error.message, 'bad');
    }
  }

  async follow(grid) {
    this.draw(grid);
    if (grid.state !== 'running') return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (!this.node.isConnected) return;
    this.follow(await api('GET', this.address).catch(() => grid));
  }

  draw(grid) {
    this.grid = grid;
    const done = grid.cells.filter((cell) => cell.done).length;
    const running = grid.state === 'running';
    const count = `${done} of ${grid.cells.length} images`;
    const text = running ? `${grid.doing || 'Starting'}… ${count}` : count;
    setText(this.status, [grid.error || text, grid.suggestion, `seed ${grid.seed}`].filter(Boolean).join(' · '));
    this.status.classList.toggle('bad', Boolean(grid.error));
    this.bar.value = done;
    setVisible(this.bar, running);
    setVisible(this.stop, running);
    setVisible(this.remove, !running);
    setVisible(this.resume, !running && done < grid.cells.length);
    setVisible(this.zip, done > 0);
    const key = JSON.stringify(grid.cells.map((cell) => cell.done));
    if (key === this.rendered) return;
    this.rendered = key;
    this.rows.replaceChildren(...[...grouped(grid.cells)].map(([prompt, cells]) => this.part(prompt, cells)));
  }

  /** The images of a prompt: with several files and strengths, a line for each file. */
  part(prompt, cells) {
    const tried = cells.filter((cell) => cell.file);
    const columns = new Set(tried.map((cell) => cell.strength)).size;
    const files = new Set(tried.map((cell) => cell.file)).size;
    const table = files > 1 && columns > 1;
    const across = { class: 'og-try-cells og-try-table', tabindex: 0, role: 'group', 'aria-label': `Images of: ${prompt}` };
    const inTable = el(
      'div',
      across,
      tried.map((cell) => this.image(cell)),
    );
    inTable.style.setProperty('--og-columns', String(columns));
    const base = cells.filter((cell) => !cell.file);
    const rest = (found) =>
      found.length > 0 &&
      el(
        'div',
        { class: 'og-try-cells' },
        found.map((cell) => this.image(cell)),
      );
    return el(
      'div',
      { class: 'og-try-row' },
      el('p', { class: 'og-small', text: prompt }),
      rest(table ? base : cells),
      table && inTable,
    );
  }

  image(cell) {
    if (!cell.done) return el('span', { class: 'og-try-wait', role: 'img', 'aria-label': `${labelOf(cell)}: not generated yet` });
    const known = this.images.get(cell.number);
    if (known) return known;
    const open = async () => (await import('./run-try-view.js')).openImage(this.grid, cell.number);
    const made = el(
      'figure',
      {},
      el(
        'button',
        { type: 'button', class: 'og-try-open', onclick: open },
        el('img', {
          src: url(`${this.address}/images/${cell.number}/thumbnail?w=256`),
          alt: `${cell.prompt.slice(0, 200)}: ${labelOf(cell)}`,
          loading: 'lazy',
          decoding: 'async',
        }),
      ),
      el('figcaption', { class: 'og-small og-muted', text: labelOf(cell) }),
    );
    this.images.set(cell.number, made);
    return made;
  }
}

function grouped(cells) {
  /** @type {Map<string, any[]>} */
  const found = new Map();
  for (const cell of cells) found.set(cell.prompt, [...(found.get(cell.prompt) || []), cell]);
  return found;
}
