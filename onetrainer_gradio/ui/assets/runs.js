// All runs: how each ended, how far it came, its files to download, and the way to go on from it.

import { api, on, store, url, view, viewed } from './live.js';
import { button, confirmed, el, format, icon, say, show, toast } from './dom.js';
import { ending, engineName } from './words.js';

const KINDS = { model: 'Finished model', save: 'Saved on the way', backup: 'Backup', sample: 'Sample' };
const ORDER = ['model', 'save', 'backup', 'sample'];
const MOST_OF_A_KIND = 6;
const AT_FIRST = 8;

export function mount(place) {
  const list = el('div', { class: 'og-runs' });
  const empty = el('p', { class: 'og-empty' }, 'No run yet. Choose a preset under ',
    el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Configuration' }), ', then press Start.');
  const more = button('Show all', { kind: 'small', onclick: () => { all = true; draw(); } });
  place.append(el('section', { class: 'og-card', 'aria-label': 'Runs' }, el('h3', { text: 'Runs' }), empty, list, more));

  show(more, false);
  let runs = [];
  let all = false;
  const opened = new Set();

  function draw() {
    show(empty, runs.length === 0);
    show(more, !all && runs.length > AT_FIRST);
    list.replaceChildren(...runs.slice(0, all ? undefined : AT_FIRST).map(line));
  }

  function line(run) {
    const [label, tone] = ending(run);
    const cause = run.end?.error?.message || run.error || '';
    const body = el('div', { class: 'og-run-body' });
    const node = el('details', { class: 'og-run', open: opened.has(run.id) },
      el('summary', {},
        el('span', { class: 'og-badge', dataset: { tone }, text: label }),
        el('span', { class: 'og-run-name', text: run.name || run.id }),
        el('span', { class: 'og-muted og-small og-run-facts' },
          el('span', { class: 'og-run-engine', title: 'Who trained' }, el('span', { class: 'og-sr', text: 'Trained by ' }), engineName(run)),
          el('span', { dataset: { steps: run.id }, text: steps(run) }),
          el('span', { class: 'og-run-when', text: format.time(run.created_at ?? run.started_at) }))),
      body);
    const fill = () => { opened.add(run.id); contents(body, run, cause); };
    node.addEventListener('toggle', () => { if (node.open) fill(); else opened.delete(run.id); });
    if (node.open) fill();
    return node;
  }

  function steps(run) {
    const done = run.global_step || 0;
    return run.total_steps ? `${format.count(done)} of ${format.count(run.total_steps)} steps` : `${format.count(done)} steps`;
  }

  async function contents(body, run, cause) {
    const path = `api/runs/${encodeURIComponent(run.id)}`;
    const files = el('ul', { class: 'og-files' });
    const may = !run.active;
    const goOn = may && button('Go on from its last backup', { icon: 'right', kind: 'small', onclick: () => resume(run) });
    body.replaceChildren(
      el('p', { class: 'og-muted og-mono og-small', text: run.id }),
      cause ? el('p', { class: 'og-cause', text: cause }) : '',
      files,
      el('div', { class: 'og-buttons' },
        button('Show its curve', { icon: 'chart', kind: 'small', onclick: () => { view(run.id); document.getElementById('og-chart').scrollIntoView({ block: 'center' }); } }),
        button('Compare its settings', { icon: 'swap', kind: 'small', title: 'Its settings beside those in the form', dataset: { ogTab: 'configuration' }, onclick: () => {
          // the form may not be there yet: it looks here when it comes
          sessionStorage.setItem('og-compare', run.id);
          document.dispatchEvent(new CustomEvent('og-compare'));
        } }),
        goOn,
        may && button('Delete', {
          icon: 'trash', kind: 'small', title: 'Delete the record of this run', onclick: () => remove(run, path),
        })));
    try {
      const answer = await api('GET', `${path}/files`);
      const found = answer.files || [];
      // one that itself went on from a backup can do so from there again
      if (goOn) show(goOn, Boolean(run.resumes_run) || found.some((file) => file.kind === 'backup'));
      const shown = ORDER.flatMap((kind) => found.filter((file) => file.kind === kind).slice(-MOST_OF_A_KIND).reverse());
      files.replaceChildren(...(found.length ? shown.map((file) => fileLine(run.id, file)) : [el('li', { class: 'og-muted', text: 'No files yet.' })]));
    } catch (error) {
      files.replaceChildren(el('li', { class: 'og-muted', text: error.message }));
    }
  }

  async function resume(run) {
    try {
      await api('POST', `api/runs/${encodeURIComponent(run.id)}/resume`, {});
      toast('The run goes on.');
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  async function remove(run, path) {
    let frees = '';
    try {
      const { freed_bytes: freed, only_here_bytes: only } = await api('GET', `${path}/files`);
      frees = ` This frees ${format.bytes(freed)}.${only ? ` ${format.bytes(only)} of it are models and saves that exist nowhere else.` : ''}`;
    } catch (error) {
      if (error.status !== 404) { toast(error.message, 'bad'); return; }
    }
    const text = `Its settings, curve and log are deleted, together with the models and saves that it keeps.${frees} The output file and the workspace stay.`;
    if (!await confirmed(`Delete “${run.name || run.id}”?`, text, 'Delete')) return;
    try {
      await api('DELETE', path);
      if (viewed() === run.id) view(null);
      await load();
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  let known = '';
  async function load() {
    try {
      const answer = await api('GET', 'api/runs');
      runs = answer.runs || answer;
      draw();
    } catch (error) {
      if (error.status !== 0) say(empty, error.message);
    }
  }
  on('connected', load);
  on('training_state', () => {
    const { run_id: id, status, phase, progress, total_steps: total } = store.state || {};
    const going = list.querySelector(`[data-steps="${id}"]`);
    if (going) say(going, steps({ ...progress, total_steps: total }));
    const now = `${id} ${status} ${phase}`;
    if (now === known) return;
    known = now;
    load();
  });
  on('event', ({ event }) => { if (['model_saved', 'backup_made'].includes(event?.type)) load(); });
  load();
}

/** A file of a run as a link to download it. */
export function fileLine(runId, file) {
  return el('li', {},
    el('a', { class: 'og-file', href: url(`api/runs/${encodeURIComponent(runId)}/files/${encodeURIComponent(file.id)}`), download: file.folder ? `${file.name}.zip` : file.name },
      icon('download'), el('span', { text: file.name })),
    el('span', { class: 'og-muted og-small', text: [KINDS[file.kind] || file.kind, format.bytes(file.bytes), file.global_step ? `step ${format.count(file.global_step)}` : ''].filter(Boolean).join(' · ') }));
}
