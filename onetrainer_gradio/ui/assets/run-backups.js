// The backups of a run: size, step, whole or not, pinned; resume from one, or delete old ones by a rule with a preview.

import { button, confirmed, el, format, openDialog, setText, toast } from './dom.js';
import { labeled } from './labeled.js';
import { api } from './live.js';
import { pathLine } from './path-line.js';
import { queueable, startOrQueue } from './start-or-queue.js';
import { differenceTable, tableHead } from './table.js';

const pathOf = (id) => `api/runs/${encodeURIComponent(id)}/backups`;

/** Fill `place` with the backups of a run; `run()` is what the server sent of it last. */
export async function backups(place, id, run) {
  const body = el('div');
  place.append(body, rule(id, draw));
  async function draw() {
    const { backups: found } = await api('GET', pathOf(id));
    if (!found.length) {
      body.replaceChildren(el('p', { class: 'og-empty', text: 'No backups.' }));
      return;
    }
    body.replaceChildren(
      el(
        'div',
        { class: 'og-scroll', tabindex: 0, role: 'region', 'aria-label': 'Table of backups' },
        el(
          'table',
          { class: 'og-table og-backup-table' },
          tableHead(['Step', 'Epoch', 'Created', 'Size', 'State', 'Pinned', 'Path', 'Use']),
          el(
            'tbody',
            {},
            found.reverse().map((backup) => line(id, backup, run, draw)),
          ),
        ),
      ),
    );
  }
  await draw();
}

function line(id, backup, run, redraw) {
  const pin = el('input', {
    type: 'checkbox',
    'aria-label': `Pin the backup at step ${backup.global_step}`,
    title: backup.deletable ? 'Keep this backup when old ones are deleted' : 'The panel never deletes this backup',
    checked: backup.pinned,
    'data-og-needs': 'operator',
    disabled: !backup.deletable,
    onchange: async () => {
      try {
        await api('PATCH', `${pathOf(id)}/${backup.id}`, { pinned: pin.checked });
      } catch (error) {
        toast(error.message, 'bad');
        redraw();
      }
    },
  });
  const state = backup.whole ? 'Whole' : backup.problem;
  const resume = button('Resume…', {
    kind: 'small',
    'data-og-needs': 'operator',
    disabled: !backup.whole,
    onclick: () => openResume(id, backup, run()),
  });
  const make = button('Make it the result…', {
    kind: 'small',
    'data-og-needs': 'operator',
    disabled: !backup.whole,
    onclick: async () => (await import('./run-result.js')).makeResult(id, backup),
  });
  const cells = [
    format.count(backup.global_step),
    format.count(backup.epoch),
    format.time(backup.at),
    backup.exists ? format.bytes(backup.bytes) : '–',
    el('span', { class: backup.whole ? 'og-good' : 'bad', text: state }),
    pin,
    pathLine(backup.written_to),
    el('div', { class: 'og-buttons' }, resume, run().config.training_method === 'LORA' && make),
  ];
  return el(
    'tr',
    {},
    cells.map((cell) => el('td', {}, cell)),
  );
}

/** Delete old backups by a rule: first a preview, then a question. */
function rule(id, redraw) {
  const last = el('input', { type: 'number', min: 1, max: 10000, value: 2, required: true, id: `og-keep-last-${id}` });
  const every = el('input', { type: 'number', min: 0, value: 0, required: true, id: `og-keep-every-${id}` });
  const preview = el('div', { role: 'status' });
  const values = () => ({ keep_last: Number(last.value), keep_every: Number(every.value) });
  async function show(event) {
    event.preventDefault();
    try {
      const found = await api('POST', `${pathOf(id)}/prune`, values());
      preview.replaceChildren(...planned(found, () => remove(found)));
    } catch (error) {
      preview.replaceChildren(el('p', { class: 'bad', text: error.whole || error.message }));
    }
  }
  async function remove({ delete: gone, freed_bytes: freed }) {
    const text = `${format.bytes(freed)} are freed. ${gone
      .map((each) => each.name)
      .slice(0, 10)
      .join(', ')}${gone.length > 10 ? ' and more' : ''}`;
    if (!(await confirmed(`Delete ${gone.length} ${gone.length === 1 ? 'backup' : 'backups'}?`, text, 'Delete'))) return;
    try {
      const done = await api('POST', `${pathOf(id)}/prune`, { ...values(), ids: gone.map((each) => each.id) });
      toast(`${format.count(done.deleted.length)} deleted, ${format.bytes(done.freed_bytes)} freed.`);
      for (const { name, error } of done.failed) toast(`${name}: ${error}`, 'bad');
      preview.replaceChildren();
      redraw();
    } catch (error) {
      toast(error.message, 'bad');
    }
  }
  return el(
    'form',
    { class: 'og-prune', 'data-og-needs': 'owner', onsubmit: show },
    el('h4', { text: 'Delete old backups' }),
    el('label', { class: 'og-inline' }, el('span', { text: 'Keep the newest' }), last),
    el('label', { class: 'og-inline' }, el('span', { text: 'and one per (steps, 0: none)' }), every),
    el('button', { type: 'submit', class: 'og-button small', text: 'Preview' }),
    preview,
  );
}

function planned({ keep, delete: gone, freed_bytes: freed }, remove) {
  const line = ({ name, global_step: step, bytes, reason }) =>
    el('li', { text: [`Step ${format.count(step)}`, format.bytes(bytes), name, reason].filter(Boolean).join(' · ') });
  return [
    el('p', { text: gone.length ? `Deletes ${format.count(gone.length)}, frees ${format.bytes(freed)}:` : 'Nothing to delete.' }),
    el('ul', { class: 'og-small' }, gone.map(line)),
    el('p', { text: `Keeps ${format.count(keep.length)}:` }),
    el('ul', { class: 'og-small og-muted' }, keep.map(line)),
    gone.length ? button('Delete…', { icon: 'trash', kind: 'small', onclick: remove }) : '',
  ];
}

/** Resume from a backup, with the settings of the run or of the form; what differs is shown. */
function openResume(id, backup, run) {
  const source = el(
    'select',
    { onchange: draw },
    el('option', { value: 'run', text: 'Those of the run' }),
    el('option', { value: 'current', text: 'Those in the form' }),
  );
  const epochs = el('input', { type: 'number', min: 1, step: 1, value: run.config.epochs ?? 1, required: true });
  const differs = el('div', { class: 'og-diff-body' });
  const wrong = el('p', { class: 'bad', role: 'alert' });
  const submit = el('button', { type: 'submit', class: 'og-button primary' });
  const form = el(
    'form',
    { method: 'dialog', onsubmit: start },
    el('h2', { text: `Resume at step ${format.count(backup.global_step)}` }),
    el('p', { class: 'og-muted og-small', text: backup.name }),
    labeled('Settings of the new run', source),
    labeled('Total epochs', epochs),
    differs,
    queueable(submit, 'Resume'),
    wrong,
    el('div', { class: 'og-dialog-buttons' }, button('Cancel', { onclick: () => dialog.close() }), submit),
  );
  const dialog = el('dialog', { class: 'og-dialog', 'aria-label': 'Resume from a backup' }, form);
  async function draw() {
    if (source.value === 'run') {
      differs.replaceChildren(el('p', { class: 'og-muted og-small', text: 'The new run has the settings of this run.' }));
      return;
    }
    const { differences } = await api('GET', `api/config/diff?${new URLSearchParams({ left: `run:${id}`, right: 'current' })}`);
    differs.replaceChildren(
      differences.length
        ? differenceTable(differences, 'This run', 'New run')
        : el('p', { class: 'og-muted og-small', text: 'No differences.' }),
    );
  }
  async function start(event) {
    event.preventDefault();
    setText(wrong, '');
    const body = { backup: backup.id, epochs: Number(epochs.value), settings: source.value };
    try {
      await startOrQueue(`api/runs/${encodeURIComponent(id)}/resume`, body, 'Run resumed.');
      dialog.close();
    } catch (error) {
      setText(wrong, error.whole || error.message);
    }
  }
  openDialog(dialog);
  draw();
}
