// The files of a run: by kind, newest first, in pages, with a zip of all, of a kind, and of the selected ones.

import { button, el, format, icon, setText, setVisible } from './dom.js';
import { url } from './live.js';

/** @type {Record<string, string>} */
const KINDS = { model: 'Final model', save: 'Intermediate save', backup: 'Backup', sample: 'Sample' };
/** @type {Record<string, string>} */
const TITLES = { model: 'Output', save: 'Saves', backup: 'Backups', sample: 'Samples' };
// how many of a kind are shown at first, and how many more each time
/** @type {Record<string, number>} */
const PAGES = { model: 6, save: 6, backup: 6, sample: 24 };

/** @typedef {{id: string, name: string, kind: string, bytes: number, global_step: number, folder: boolean}} RunFile */

/**
 * @param {any} run
 * @param {RunFile[]} found
 * @param {{name: string, why: string}[]} missing
 */
export function filesOf(run, found, missing) {
  if (!found.length && !missing.length) return [el('p', { class: 'og-muted', text: 'No files yet.' })];
  const selection = new Selection(run.id);
  const gone = missing.map((file) => el('li', { class: 'og-muted og-small', text: `${file.name}: ${file.why}` }));
  const all = [
    icon('download'),
    el('span', { text: `Download all ${format.count(found.length)} files (${format.bytes(sum(found))})` }),
  ];
  return [
    ...Object.keys(TITLES).flatMap((kind) => kindOf(run, kind, found.filter((file) => file.kind === kind).reverse(), selection)),
    ...(gone.length ? [el('ul', { class: 'og-files' }, gone)] : []),
    el(
      'div',
      { class: 'og-buttons' },
      found.length > 1 &&
        el('a', { class: 'og-button small', 'data-og-needs': 'operator', href: zipOf(run.id, {}), download: true }, all),
      selection.node,
    ),
  ];
}

/** The files that are ticked, and the link that downloads them. */
class Selection {
  /** @param {string} runId */
  constructor(runId) {
    this.runId = runId;
    /** @type {Map<string, RunFile>} */
    this.ticked = new Map();
    this.words = el('span', {});
    this.node = el(
      'a',
      { class: 'og-button small', 'data-og-needs': 'operator', hidden: true, download: true },
      icon('download'),
      this.words,
    );
  }

  /** @param {RunFile} file */
  box(file) {
    return el('input', {
      type: 'checkbox',
      'aria-label': `Select ${file.name}`,
      'data-og-needs': 'operator',
      onchange: (/** @type {any} */ { target }) => {
        if (target.checked) this.ticked.set(file.id, file);
        else this.ticked.delete(file.id);
        this.draw();
      },
    });
  }

  draw() {
    const files = [...this.ticked.values()];
    setVisible(this.node, files.length > 0);
    this.node.href = zipOf(this.runId, { ids: files.map(({ id }) => id).join(',') });
    setText(this.words, `Download ${files.length} selected (${format.bytes(sum(files))})`);
  }
}

/**
 * The files of a kind, in pages.
 * @param {any} run
 * @param {string} kind
 * @param {RunFile[]} all
 * @param {Selection} selection
 */
function kindOf(run, kind, all, selection) {
  if (!all.length) return [];
  const line = (/** @type {RunFile} */ file) =>
    el('li', {}, selection.box(file), ...fileParts(run.id, file, kind === 'model' ? run.final_model_title : ''));
  const tile = (/** @type {RunFile} */ file) => sampleTile(run.id, file, selection);
  const list = el('ul', { class: kind === 'sample' ? 'og-shots' : 'og-files' });
  const next = () => {
    const at = list.childElementCount;
    list.append(...all.slice(at, at + PAGES[kind]).map(kind === 'sample' ? tile : line));
    const left = all.length - list.childElementCount;
    setVisible(more, left > 0);
    const text = `Show ${format.count(Math.min(left, PAGES[kind]))} more of ${format.count(left)}`;
    more.replaceChildren(el('span', { text }));
  };
  const more = button('', { kind: 'small', onclick: next });
  next();
  const zip = {
    class: 'og-small',
    'data-og-needs': 'operator',
    href: zipOf(run.id, { kind }),
    download: true,
    text: 'Download as zip',
  };
  const head = el(
    'div',
    { class: 'og-card-head' },
    el('h3', { text: TITLES[kind] }),
    el('span', { class: 'og-muted og-small', text: `${format.count(all.length)} · ${format.bytes(sum(all))}` }),
    all.length > 1 && el('a', zip),
  );
  return [head, list, more];
}

/**
 * @param {string} runId
 * @param {RunFile} file
 * @param {Selection} selection
 */
const sampleTile = (runId, file, selection) =>
  el(
    'li',
    { class: 'og-shot' },
    el(
      'a',
      { 'data-og-needs': 'operator', href: fileAddress(runId, file), download: file.name, title: `Download ${file.name}` },
      el('img', {
        src: url(`api/samples/${encodeURIComponent(`${runId}.${file.id}`)}/thumbnail?w=128`),
        loading: 'lazy',
        decoding: 'async',
        alt: `Sample at step ${file.global_step}`,
        width: 128,
        height: 128,
      }),
    ),
    el('label', { class: 'og-inline' }, selection.box(file), el('span', { text: `Step ${format.count(file.global_step)}` })),
  );

/** @param {RunFile[]} files */
const sum = (files) => files.reduce((total, file) => total + (file.bytes || 0), 0);
/**
 * @param {string} runId
 * @param {Record<string, string>} query
 */
const zipOf = (runId, query) => url(`api/runs/${encodeURIComponent(runId)}/files.zip?${new URLSearchParams(query)}`);
/**
 * @param {string} runId
 * @param {RunFile} file
 */
const fileAddress = (runId, file) => url(`api/runs/${encodeURIComponent(runId)}/files/${encodeURIComponent(file.id)}`);

/**
 * @param {string} runId
 * @param {RunFile} file
 * @param {string} title
 */
function fileParts(runId, file, title) {
  const step = file.global_step ? `step ${format.count(file.global_step)}` : '';
  const facts = title ? [title, format.bytes(file.bytes)] : [KINDS[file.kind] || file.kind, format.bytes(file.bytes), step];
  const name = file.folder ? `${file.name}.zip` : file.name;
  const link = { class: 'og-file', 'data-og-needs': 'operator', href: fileAddress(runId, file), download: name };
  return [
    el('a', link, icon('download'), el('span', { text: file.name })),
    el('span', { class: 'og-muted og-small', text: facts.filter(Boolean).join(' · ') }),
  ];
}

/**
 * A download link for a file of a run; `title` replaces the name of its kind.
 * @param {string} runId
 * @param {RunFile} file
 */
export function fileLine(runId, file, title = '') {
  return el('li', {}, fileParts(runId, file, title));
}
