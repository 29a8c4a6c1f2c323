// The models and saves of a run: where each was written, with copy and download, and everything as a zip.

import { button, el, format, icon } from './dom.js';
import { api, url } from './live.js';
import { pathLine } from './path-line.js';

const PAGE = 100;
const KINDS = { model: 'Final model', save: 'Intermediate saves' };

function line(id, file, formats) {
  const address = url(`api/runs/${encodeURIComponent(id)}/files/${encodeURIComponent(file.id)}`);
  return el(
    'li',
    {},
    el(
      'a',
      { class: 'og-file', 'data-og-needs': 'operator', href: address, download: file.folder ? `${file.name}.zip` : file.name },
      icon('download'),
      el('span', { text: file.name }),
    ),
    el('span', {
      class: 'og-muted og-small',
      text: `${format.bytes(file.bytes)} · step ${format.count(file.global_step)} · ${format.time(file.at)}`,
    }),
    pathLine(file.written_to),
    file.sha256 ? el('span', { class: 'og-muted og-small og-mono', title: 'SHA-256', text: file.sha256.slice(0, 16) }) : '',
    formats.length ? button('Convert…', { kind: 'small', 'data-og-needs': 'operator', onclick: convert }) : '',
    file.kind === 'save' ? button('Make it the result…', { kind: 'small', 'data-og-needs': 'operator', onclick: make }) : '',
  );
  async function make() {
    (await import('./run-result.js')).makeResult(id, file);
  }
  async function convert() {
    const { openConvert } = await import('./convert.js');
    openConvert(id, file, formats);
  }
}

async function kind(place, id, name, formats) {
  const path = `api/runs/${encodeURIComponent(id)}/files?limit=${PAGE}&kind=${name}`;
  const list = el('ul', { class: 'og-files' });
  /** @type {any} */
  let cursor = null;
  const more = button('Show more', { kind: 'small', onclick: load });
  async function load() {
    const page = await api('GET', `${path}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    cursor = page.next_cursor;
    more.hidden = !cursor;
    list.append(...page.files.map((file) => line(id, file, formats)));
    return page;
  }
  const page = await load();
  if (page.total) place.append(el('h4', { text: `${KINDS[name]} (${format.count(page.total)})` }), list, more);
  return page;
}

export async function filesOfRun(place, run) {
  const { id } = run.record;
  const zip = (query) => url(`api/runs/${encodeURIComponent(id)}/files.zip?${new URLSearchParams(query)}`);
  const { formats } = await api('GET', `api/runs/${encodeURIComponent(id)}/lora_formats`);
  const pages = [];
  for (const name of Object.keys(KINDS)) pages.push(await kind(place, id, name, formats));
  const [{ missing, freed_bytes: freed }] = pages;
  if (!pages.some((page) => page.total)) place.append(el('p', { class: 'og-empty', text: 'No models yet.' }));
  if (missing.length)
    place.append(
      el(
        'ul',
        { class: 'og-files' },
        missing.map((file) => el('li', { class: 'og-muted og-small', text: `${file.name}: ${file.why}` })),
      ),
    );
  const link = (text, query) =>
    el(
      'a',
      { class: 'og-button small', 'data-og-needs': 'operator', href: zip(query), download: true },
      icon('download'),
      el('span', { text }),
    );
  place.append(
    el('p', {
      class: 'og-muted og-small',
      text: `Workspace: ${run.record.workspace}. Deleting the run frees ${format.bytes(freed)}.`,
    }),
    el('div', { class: 'og-buttons' }, link('All files as zip', {}), link('Samples as zip', { kind: 'sample' })),
  );
}
