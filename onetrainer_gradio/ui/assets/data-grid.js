// A grid of thumbnails of any number of images: only what is on screen is in the document.

import { el } from './dom.js';
import { url } from './live.js';

const TILE_PX = 176; // least width of a tile
const HEIGHT_PX = 204;
const SPARE_ROWS = 3;
const MAX_PX = 8_000_000; // browsers don't show elements that are much higher

/** The image, and over it, where wanted, its mask: what is black there isn't trained, and looks dark. */
function thumbnail(image, masks) {
  const pixels = (source, kind) =>
    el('img', { src: url(`${source}?w=192`), alt: '', class: kind, decoding: 'async', draggable: 'false' });
  const over = masks && image.mask_thumbnail && pixels(image.mask_thumbnail, 'og-data-over');
  return over ? el('span', { class: 'og-data-stack' }, pixels(image.thumbnail), over) : pixels(image.thumbnail);
}

function content(image, masks) {
  if (!image) return [el('span', { class: 'og-data-blank' })];
  const marks = [image.problem && 'Broken', image.masked && 'Mask', image.caption === null && 'No caption'].filter(Boolean);
  const content = image.problem ? el('span', { class: 'og-data-blank', text: 'Can’t be shown' }) : thumbnail(image, masks);
  return [
    content,
    marks.length > 0 && el('span', { class: 'og-data-marks', text: marks.join(' · ') }),
    el('span', { class: 'og-data-line', text: image.caption || image.path }),
  ].filter(Boolean);
}

const named = (image) =>
  image ? `${image.path}${image.caption ? `: ${image.caption.slice(0, 200)}` : ', no caption'}` : 'Loading';

/** What a tile shows of its image, and its place among all. */
function describe(tile, image, at, all, masks) {
  const key = image ? `${image.thumbnail} ${image.caption} ${image.mask_thumbnail} ${image.problem} ${masks}` : '';
  if (tile.dataset.key !== key || !tile.firstChild) {
    tile.dataset.key = key;
    tile.replaceChildren(...content(image, masks));
    tile.setAttribute('aria-label', named(image));
  }
  tile.setAttribute('aria-setsize', String(all));
  tile.setAttribute('aria-posinset', String(at + 1));
}

/** The grid. `picked()` follows a change of the selection, `opened()` a wish to edit, `removed()` the Delete key. */
export function dataGrid({ images, selection, picked, opened, removed }) {
  const inner = el('div', { class: 'og-data-inner', role: 'none' });
  const node = el(
    'div',
    { class: 'og-data-grid', tabindex: '0', role: 'listbox', 'aria-multiselectable': 'true', 'aria-label': 'Images' },
    inner,
  );
  const tiles = new Map(); // position -> its element
  let columns = 1;
  let planned = 0;

  const rows = () => Math.ceil(images.matches / columns);
  const height = () => Math.min(MAX_PX, rows() * HEIGHT_PX);

  function tile(at) {
    const made = el('div', { class: 'og-data-tile', role: 'option', id: `og-data-${at}`, dataset: { at: String(at) } });
    tiles.set(at, made);
    inner.append(made);
    return made;
  }

  function fill(at) {
    const image = images.at(at);
    const made = tiles.get(at) || tile(at);
    describe(made, image, at, images.matches, node.classList.contains('og-masks'));
    made.setAttribute('aria-selected', String(selection.has(image)));
    made.classList.toggle('active', at === selection.active);
    const width = inner.clientWidth / columns;
    made.style.width = `${width - 8}px`;
    made.style.transform = `translate(${(at % columns) * width}px, ${Math.floor(at / columns) * HEIGHT_PX}px)`;
  }

  function draw() {
    planned = 0;
    if (!node.clientWidth) return;
    columns = Math.max(2, Math.floor(node.clientWidth / TILE_PX));
    inner.style.height = `${height()}px`;
    const first = Math.max(0, Math.floor(node.scrollTop / HEIGHT_PX) - SPARE_ROWS) * columns;
    const shownRows = Math.ceil(node.clientHeight / HEIGHT_PX) + 2 * SPARE_ROWS;
    const last = Math.min(images.matches, first + shownRows * columns);
    for (const [at, made] of tiles) {
      if (at >= first && at < last) continue;
      made.remove();
      tiles.delete(at);
    }
    for (let at = first; at < last; at += 1) fill(at);
    if (tiles.has(selection.active)) node.setAttribute('aria-activedescendant', `og-data-${selection.active}`);
    else node.removeAttribute('aria-activedescendant');
  }

  const plan = () => {
    if (!planned) planned = requestAnimationFrame(draw);
  };

  /** Scroll an image into view. */
  function reveal(at) {
    const top = Math.floor(at / columns) * HEIGHT_PX;
    if (top < node.scrollTop) node.scrollTop = top;
    else if (top + HEIGHT_PX > node.scrollTop + node.clientHeight) node.scrollTop = top + HEIGHT_PX - node.clientHeight;
    plan();
  }

  node.addEventListener('scroll', plan, { passive: true });
  new ResizeObserver(plan).observe(node);
  pointing(node, { images, selection, picked, opened, plan });
  keys(node, { images, selection, picked, opened, removed, plan, reveal, columns: () => columns });
  return { node, draw: plan, reveal };
}

/** Select an image, in addition to others (`add`) or with all between it and the first one (`range`). */
function select(images, selection, at, { add = false, range = false } = {}) {
  const image = images.at(at);
  if (!image) return;
  if (range && selection.anchor >= 0) {
    if (!add) selection.clear();
    const [from, to] = [Math.min(selection.anchor, at), Math.max(selection.anchor, at)];
    for (let each = from; each <= to; each += 1) {
      const between = images.at(each);
      if (between) selection.paths.add(between.path);
    }
  } else if (add) {
    if (selection.all) selection.clear();
    if (!selection.paths.delete(image.path)) selection.paths.add(image.path);
    selection.anchor = at;
  } else {
    selection.clear();
    selection.paths.add(image.path);
    selection.anchor = at;
  }
  selection.active = at;
}

function pointing(node, { images, selection, picked, opened, plan }) {
  const place = (event) => Number(event.target.closest('.og-data-tile')?.dataset.at ?? -1);
  node.addEventListener('click', (event) => {
    const at = place(event);
    if (at < 0) return;
    select(images, selection, at, { add: event.ctrlKey || event.metaKey, range: event.shiftKey });
    plan();
    picked();
  });
  node.addEventListener('dblclick', (event) => place(event) >= 0 && opened());
}

function keys(node, { images, selection, picked, opened, removed, plan, reveal, columns }) {
  const steps = () => ({
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns(),
    ArrowDown: columns(),
    PageUp: -columns() * 3,
    PageDown: columns() * 3,
    Home: -Infinity,
    End: Infinity,
  });
  function move(event, step) {
    const at = Math.min(images.matches - 1, Math.max(0, (selection.active < 0 ? -1 : selection.active) + step));
    if (event.ctrlKey || event.metaKey) selection.active = at;
    else select(images, selection, at, { range: event.shiftKey });
    selection.active = at;
    reveal(at);
  }
  node.addEventListener('keydown', (event) => {
    const step = steps()[event.key];
    if (event.key === 'a' && (event.ctrlKey || event.metaKey)) {
      selection.paths.clear();
      selection.all = true;
    } else if (event.key === ' ' && selection.active >= 0) select(images, selection, selection.active, { add: true });
    else if (event.key === 'Escape') selection.clear();
    else if (event.key === 'Enter') opened();
    else if (event.key === 'Delete') removed();
    else if (step !== undefined && images.matches) move(event, step);
    else return;
    event.preventDefault();
    plan();
    picked();
  });
}
