// Use a result in other programs: where it is, where it belongs, and whether they read it.

import { button, el, format, icon } from './dom.js';
import { api, url } from './live.js';
import { pathLine } from './path-line.js';
import { makeResult, resultOf } from './run-result.js';
import { sheet } from './sheet.js';

/** Fill a section of the page of a run. */
export async function useIt(place, id) {
  await sheet('run-try.css');
  const { files } = await api('GET', `api/runs/${encodeURIComponent(id)}/files`);
  const results = files.filter(({ kind }) => ['model', 'save'].includes(kind));
  if (!results.length) {
    place.append(el('p', { class: 'og-empty', text: 'The run has no saved result yet.' }));
    return;
  }
  const select = el('select', { 'aria-label': 'File', onchange: show });
  select.append(...results.map((file) => el('option', { value: file.id, text: titleOf(file) })).reverse());
  const make = button('Make this save the result…', {
    kind: 'small',
    'data-og-needs': 'operator',
    onclick: () => makeResult(id, chosen()),
  });
  const body = el('div', { class: 'og-use', 'aria-live': 'polite' });
  const chosen = () => results.find((file) => file.id === select.value);
  /** @type {any} */
  let current = {};
  const result = await resultOf(id, files, (found) => {
    current = found;
    if (results.some((file) => file.id === found.file)) select.value = found.file;
    if (body.isConnected) show();
  });
  async function show() {
    const file = chosen();
    make.hidden = file.kind !== 'save' || file.id === current.file;
    const address = `api/runs/${encodeURIComponent(id)}/files/${encodeURIComponent(file.id)}`;
    try {
      const found = await api('GET', `${address}/programs`);
      if (chosen() === file) body.replaceChildren(head(found, address), table(id, file, found));
    } catch (error) {
      body.replaceChildren(el('p', { class: 'bad', text: error.whole || error.message }));
    }
  }
  place.append(
    result,
    el('div', { class: 'og-buttons' }, el('label', { class: 'og-inline' }, el('span', { text: 'File' }), select), make),
    body,
  );
  await show();
}

const titleOf = (file) =>
  `${file.kind === 'model' ? 'Final model' : 'Save'}: ${file.name} (step ${format.count(file.global_step)})`;

function head(found, address) {
  const about = [format.bytes(found.bytes), found.algorithm, found.format_title && `format ${found.format_title}`];
  const link = {
    class: 'og-file',
    'data-og-needs': 'operator',
    href: url(address),
    download: found.folder ? `${found.name}.zip` : found.name,
  };
  return el(
    'div',
    { class: 'og-use-head' },
    el('a', link, icon('download'), el('span', { text: found.name })),
    el('span', { class: 'og-muted og-small', text: about.filter(Boolean).join(' · ') }),
    pathLine(found.path),
  );
}

function table(id, file, found) {
  return el(
    'ul',
    { class: 'og-use-programs' },
    found.programs.map((program) => line(id, file, program)),
  );
}

function line(id, file, program) {
  const convert = async () => {
    const { formats } = await api('GET', `api/runs/${encodeURIComponent(id)}/lora_formats`);
    const { openConvert } = await import('./convert.js');
    openConvert(id, file, formats, program.convert_to);
  };
  const state = program.reads ? 'Reads this file' : program.problem;
  return el(
    'li',
    {},
    el('h4', { text: program.title }),
    el('p', { class: `og-small ${program.reads ? 'og-good' : 'bad'}`, text: state }),
    program.convert_to && button(`Convert to ${program.convert_to_title}…`, { kind: 'small', onclick: convert }),
    program.folder && el('p', { class: 'og-small' }, 'Folder: ', el('code', { text: program.folder })),
    program.instruction && pathLine(program.instruction, 'text'),
  );
}
