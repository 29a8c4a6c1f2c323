// All runs: how each ended, its progress, its files, and buttons to resume or delete it.

import { button, causeLink, confirmed, el, format, icon, openDialog, setText, setVisible, toast } from './dom.js';
import { api, on, store, url, view, viewed } from './live.js';
import { ending, engineName } from './words.js';

const KINDS = { model: 'Final model', save: 'Intermediate save', backup: 'Backup', sample: 'Sample' };
const TITLES = { model: 'Output', save: 'Saves', backup: 'Backups', sample: 'Samples' };
// how many of a kind are shown at first, and how many more each time
const PAGES = { model: 6, save: 6, backup: 6, sample: 24 };
const AT_FIRST = 8;
const MORE = 50;
const MOST_PER_PAGE = 1000;

export function mount(place) {
  const list = el('div', { class: 'og-runs' });
  const empty = el(
    'p',
    { class: 'og-empty' },
    'No runs yet. Choose a preset under ',
    el('a', { href: '#configuration', dataset: { ogTab: 'configuration' }, text: 'Configuration' }),
    ', then press Start.',
  );
  const more = button('Show more', {
    kind: 'small',
    onclick: () => {
      wanted += MORE;
      load();
    },
  });
  const every = el('a', { class: 'og-small', href: '#runs', dataset: { ogTab: 'runs' }, text: 'All runs' });
  place.append(
    el(
      'section',
      { class: 'og-card', 'aria-label': 'Runs' },
      el('h2', { text: 'Runs' }),
      empty,
      list,
      el('div', { class: 'og-buttons' }, more, every),
    ),
  );

  setVisible(more, false);
  let runs = [];
  let wanted = AT_FIRST;
  /** @type {any} */
  let next = null;
  let total = 0;
  const opened = new Set();
  let drawn = new Map(); // run -> what its line was made of, and the line

  function draw() {
    setVisible(empty, runs.length === 0);
    setVisible(more, Boolean(next));
    more.title = `${format.count(runs.length)} of ${format.count(total)} runs shown`;
    // what did not change stays as it is, with what was unfolded and ticked in it
    /** @type {[string, any][]} */
    const nodes = runs.map((run) => {
      const of = JSON.stringify([run, Boolean(run.error) && viewed() === run.id]);
      return [run.id, drawn.get(run.id)?.of === of ? drawn.get(run.id) : { of, node: line(run) }];
    });
    drawn = new Map(nodes);
    const [now, wanted_] = [[...list.children], nodes.map(([, { node }]) => node)];
    if (now.length !== wanted_.length || now.some((node, at) => node !== wanted_[at])) list.replaceChildren(...wanted_);
  }

  function line(run) {
    const [label, tone] = ending(run);
    const cause = run.end?.error?.message || run.error || '';
    const body = el('div', { class: 'og-run-body' });
    const node = el(
      'details',
      { class: 'og-run', open: opened.has(run.id) },
      el(
        'summary',
        {},
        el('span', { class: 'og-badge', dataset: { tone }, text: label }),
        run.damaged ? el('span', { class: 'og-badge', dataset: { tone: 'bad' }, title: run.damaged, text: 'Damaged' }) : '',
        el('span', { class: 'og-run-name', text: run.name || run.id }),
        el(
          'span',
          { class: 'og-muted og-small og-run-facts' },
          el(
            'span',
            { class: 'og-run-engine', title: 'Training engine' },
            el('span', { class: 'og-sr', text: 'Training engine: ' }),
            engineName(run),
          ),
          el('span', { dataset: { steps: run.id }, text: steps(run) }),
          el('span', { class: 'og-run-when', text: format.time(run.created_at ?? run.started_at) }),
        ),
      ),
      body,
    );
    const fill = () => {
      opened.add(run.id);
      contents(body, run, cause);
    };
    node.addEventListener('toggle', () => {
      if (node.open) fill();
      else opened.delete(run.id);
    });
    if (node.open) fill();
    return node;
  }

  function steps(run) {
    const done = run.global_step || 0;
    return run.total_steps ? `${format.count(done)} of ${format.count(run.total_steps)} steps` : `${format.count(done)} steps`;
  }

  async function contents(body, run, cause) {
    const path = `api/runs/${encodeURIComponent(run.id)}`;
    const files = el('div', { class: 'og-run-files' }, el('p', { class: 'og-muted og-small', text: 'Loading files…' }));
    const may = !run.active;
    const goOn = may && button('Resume from last backup', { icon: 'right', kind: 'small', onclick: () => resume(run) });
    body.replaceChildren(
      el('p', { class: 'og-muted og-mono og-small', text: run.id }),
      !cause ? '' : viewed() === run.id ? el('p', {}, causeLink()) : el('p', { class: 'og-cause', text: cause }),
      run.damaged ? el('p', { class: 'og-cause', text: `Files of this run are damaged. ${run.damaged}` }) : '',
      files,
      el(
        'div',
        { class: 'og-buttons' },
        button('Show chart', {
          icon: 'chart',
          kind: 'small',
          onclick: () => {
            view(run.id);
            document.getElementById('og-chart')?.scrollIntoView({ block: 'center' });
          },
        }),
        button('Open page', {
          kind: 'small',
          title: 'Charts, replay, files and backups of this run',
          onclick: () => {
            location.hash = `#runs/${encodeURIComponent(run.id)}`;
          },
        }),
        button('Compare settings', {
          icon: 'swap',
          kind: 'small',
          title: 'Compare this run’s settings with the form',
          dataset: { ogTab: 'configuration' },
          onclick: () => {
            // the form may not be there yet: it looks here when it comes
            sessionStorage.setItem('og-compare', run.id);
            document.dispatchEvent(new CustomEvent('og-compare'));
          },
        }),
        goOn,
        may &&
          button('Delete', {
            icon: 'trash',
            kind: 'small',
            title: 'Delete this run’s record',
            onclick: () => remove(run, path),
          }),
      ),
    );
    try {
      const answer = await api('GET', `${path}/files`);
      const found = answer.files || [];
      // a run that was itself resumed can be resumed from the same backup
      if (goOn) setVisible(goOn, Boolean(run.resumes_run) || found.some((file) => file.kind === 'backup'));
      files.replaceChildren(...filesOf(run, found, answer.missing || []));
    } catch (error) {
      files.replaceChildren(el('p', { class: 'og-muted', text: error.message }));
    }
  }

  async function resume(run, epochs) {
    try {
      await api('POST', `api/runs/${encodeURIComponent(run.id)}/resume`, epochs ? { epochs } : {});
      toast('Run resumed.');
    } catch (error) {
      const over = error.errors?.find(({ code, path }) => code === 'nothing-left-to-train' && path === 'epochs');
      const more = over && (await moreEpochs(over));
      if (more) resume(run, more);
      else if (!over) toast(error.message, 'bad');
    }
  }

  /** Ask for more epochs of a finished run; resolves to the total number, or null. */
  function moreEpochs({ message, value }) {
    return new Promise((resolve) => {
      const input = el('input', { type: 'number', min: 1, step: 1, value: 2 * (value || 1), required: true });
      const form = el(
        'form',
        { method: 'dialog' },
        el('h2', { text: 'Resume with more epochs?' }),
        el('p', { text: message }),
        el('label', { class: 'og-field' }, el('span', { class: 'og-label', text: 'Total epochs' }), input),
        el(
          'div',
          { class: 'og-dialog-buttons' },
          button('Cancel', { type: 'button', onclick: () => dialog.close() }),
          button('Resume', { kind: 'primary', type: 'submit' }),
        ),
      );
      const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Resume with more epochs' }, form);
      form.addEventListener('submit', () => resolve(Number(input.value)));
      openDialog(dialog, () => resolve(null));
    });
  }

  async function remove(run, path) {
    let frees = '';
    try {
      const { freed_bytes: freed, only_here_bytes: only } = await api('GET', `${path}/files`);
      frees = ` This frees ${format.bytes(freed)}.${only ? ` ${format.bytes(only)} of that are models and saves that exist only here.` : ''}`;
    } catch (error) {
      if (error.status !== 404) {
        toast(error.message, 'bad');
        return;
      }
    }
    const text = `Deletes the settings, metrics and log of this run, and its copies of models and saves.${frees} The output file and the workspace are kept.`;
    if (!(await confirmed(`Delete “${run.name || run.id}”?`, text, 'Delete'))) return;
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
      const found = [];
      /** @type {any} */
      let cursor = null;
      let page;
      do {
        const after = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
        page = await api('GET', `api/runs?limit=${Math.min(wanted - found.length, MOST_PER_PAGE)}${after}`);
        found.push(...page.runs);
        cursor = page.next_cursor;
      } while (cursor && found.length < wanted);
      [runs, next, total] = [found, cursor, page.total];
      draw();
    } catch (error) {
      if (error.status !== 0) setText(empty, error.message);
    }
  }
  on('connected', load);
  on('training_state', () => {
    const { run_id: id, status, phase, progress, total_steps: total } = store.state || {};
    const going = list.querySelector(`[data-steps="${id}"]`);
    if (going) setText(going, steps({ ...progress, total_steps: total }));
    const now = `${id} ${status} ${phase}`;
    if (now === known) return;
    known = now;
    load();
  });
  on('event', ({ run_id: id, event }) => {
    if (!['model_saved', 'backup_created'].includes(event?.type)) return;
    drawn.delete(id); // it has more files now
    load();
  });
  on('view', draw);
  load();
}

/** All files of a run: by kind, newest first, in pages, with a zip of all, of a kind, and of the selected ones. */
function filesOf(run, found, missing) {
  if (!found.length && !missing.length) return [el('p', { class: 'og-muted', text: 'No files yet.' })];
  const ticked = new Map();
  const chosen = el('a', { class: 'og-button small', hidden: true, download: true }, icon('download'), el('span', {}));
  const tick = (file) =>
    el('input', {
      type: 'checkbox',
      'aria-label': `Select ${file.name}`,
      onchange: ({ target }) => {
        if (target.checked) ticked.set(file.id, file);
        else ticked.delete(file.id);
        setVisible(chosen, ticked.size > 0);
        chosen.href = zipOf(run.id, { ids: [...ticked.keys()].join(',') });
        setText(chosen.lastChild, `Download ${ticked.size} selected (${format.bytes(sum([...ticked.values()]))})`);
      },
    });
  const line = (file) => el('li', {}, tick(file), ...fileParts(run.id, file, file.kind === 'model' ? run.final_model_title : ''));
  const tile = (file) =>
    el(
      'li',
      { class: 'og-shot' },
      el(
        'a',
        { href: fileAddress(run.id, file), download: file.name, title: `Download ${file.name}` },
        el('img', {
          src: url(`api/samples/${encodeURIComponent(`${run.id}.${file.id}`)}/thumbnail?w=128`),
          loading: 'lazy',
          decoding: 'async',
          alt: `Sample at step ${file.global_step}`,
          width: 128,
          height: 128,
        }),
      ),
      el('label', { class: 'og-inline' }, tick(file), el('span', { text: `Step ${format.count(file.global_step)}` })),
    );
  const kinds = Object.keys(TITLES).flatMap((kind) => {
    const all = found.filter((file) => file.kind === kind).reverse();
    if (!all.length) return [];
    const list = el('ul', { class: kind === 'sample' ? 'og-shots' : 'og-files' });
    const more = button('', { kind: 'small', onclick: next });
    function next() {
      const at = list.childElementCount;
      list.append(...all.slice(at, at + PAGES[kind]).map(kind === 'sample' ? tile : line));
      const left = all.length - list.childElementCount;
      setVisible(more, left > 0);
      more.replaceChildren(
        el('span', { text: `Show ${format.count(Math.min(left, PAGES[kind]))} more of ${format.count(left)}` }),
      );
    }
    next();
    return [
      el(
        'div',
        { class: 'og-card-head' },
        el('h3', { text: TITLES[kind] }),
        el('span', { class: 'og-muted og-small', text: `${format.count(all.length)} · ${format.bytes(sum(all))}` }),
        all.length > 1 && el('a', { class: 'og-small', href: zipOf(run.id, { kind }), download: true, text: 'Download as zip' }),
      ),
      list,
      more,
    ];
  });
  const gone = missing.length
    ? [
        el(
          'ul',
          { class: 'og-files' },
          missing.map((file) => el('li', { class: 'og-muted og-small', text: `${file.name}: ${file.why}` })),
        ),
      ]
    : [];
  return [
    ...kinds,
    ...gone,
    el(
      'div',
      { class: 'og-buttons' },
      found.length > 1 &&
        el(
          'a',
          { class: 'og-button small', href: zipOf(run.id, {}), download: true },
          icon('download'),
          el('span', { text: `Download all ${format.count(found.length)} files (${format.bytes(sum(found))})` }),
        ),
      chosen,
    ),
  ];
}

const sum = (files) => files.reduce((total, file) => total + (file.bytes || 0), 0);
const zipOf = (runId, query) => url(`api/runs/${encodeURIComponent(runId)}/files.zip?${new URLSearchParams(query)}`);
const fileAddress = (runId, file) => url(`api/runs/${encodeURIComponent(runId)}/files/${encodeURIComponent(file.id)}`);

function fileParts(runId, file, title) {
  const facts = title
    ? [title, format.bytes(file.bytes)]
    : [KINDS[file.kind] || file.kind, format.bytes(file.bytes), file.global_step ? `step ${format.count(file.global_step)}` : ''];
  return [
    el(
      'a',
      { class: 'og-file', href: fileAddress(runId, file), download: file.folder ? `${file.name}.zip` : file.name },
      icon('download'),
      el('span', { text: file.name }),
    ),
    el('span', { class: 'og-muted og-small', text: facts.filter(Boolean).join(' · ') }),
  ];
}

/** A download link for a file of a run; `title` replaces the name of its kind. */
export function fileLine(runId, file, title = '') {
  return el('li', {}, fileParts(runId, file, title));
}
