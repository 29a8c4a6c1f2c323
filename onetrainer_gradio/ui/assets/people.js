// The account of who is signed in, and for owners: people, links and the audit log. Loaded when first opened.

import { button, confirmed, el, openDialog, toast } from './dom.js';
import { api, url } from './live.js';
import { sheet } from './sheet.js';

const ROLES = ['viewer', 'operator', 'owner'];
const SCOPES = { viewer: ['read'], operator: ['read', 'run'], owner: ['read', 'run', 'admin'] };
const AUDIT = 50;

const day = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleDateString() : 'never');
const field = (label, control) => el('label', { class: 'og-people-field' }, el('span', { text: label }), control);
const input = (attributes) => el('input', { type: 'text', ...attributes });
const options = (values, chosen) => values.map((value) => el('option', { value, text: value, selected: value === chosen }));
const choice = (values, chosen, more = {}) => el('select', more, options(values, chosen));

/** Send a request; an error becomes a message. Returns the answer, or null. */
async function sent(method, path, body) {
  try {
    return await api(method, path, body);
  } catch (error) {
    toast(error.message, 'bad');
    return null;
  }
}

/** Open the dialog. */
export async function open() {
  const [session] = await Promise.all([sent('GET', 'api/session'), sheet('people.css')]);
  if (!session) return;
  const close = button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() });
  const parts = [['Account', account(session)]];
  if (session.role === 'owner') parts.push(['People', people(session)], ['Links', links()], ['Audit log', audit()]);
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-people', 'aria-label': 'Account and people' },
    el('div', { class: 'og-dialog-head' }, el('h2', { class: 'og-grow', text: session.name || 'Account' }), close),
    ...parts.map(([title, body]) => el('details', { open: title === 'Account' }, el('summary', { text: `${title}` }), body)),
  );
  openDialog(dialog);
}

/** A form whose submission sends a request. */
function form(label, parts, submit) {
  const node = el(
    'form',
    { class: 'og-people-form' },
    ...parts,
    el('button', { class: 'og-button primary', type: 'submit', text: label }),
  );
  node.addEventListener('submit', async (event) => {
    event.preventDefault();
    await submit(Object.fromEntries(new FormData(node)), node);
  });
  return node;
}

/** Something that is shown only once. */
function once(title, ...children) {
  return el(
    'div',
    { class: 'og-people-once', role: 'status' },
    el('strong', { text: `${title} It is shown only now.` }),
    ...children,
  );
}

const copied = (text) =>
  button('Copy', { icon: 'copy', onclick: () => navigator.clipboard.writeText(text).then(() => toast('Copied.')) });
const code = (text) => el('div', { class: 'og-people-line' }, el('code', { text }), copied(text));

function account(session) {
  const place = el('div', {});
  const tokens = el('ul', { class: 'og-people-list', 'aria-label': 'API tokens' });
  const shown = el('div', {});
  place.append(el('p', { text: `Role: ${session.role}` }));
  if (session.kind === 'account') place.append(password());
  if (session.kind === 'link') return place;
  const draw = async () => {
    const found = await sent('GET', 'api/account');
    const lines = (found?.tokens ?? []).map((token) =>
      line(
        `${token.name} (${token.scope})`,
        `expires ${day(token.expires)}, last used ${day(token.last_used)}`,
        'Revoke',
        async () => {
          await sent('DELETE', `api/account/tokens/${token.id}`);
          await draw();
        },
      ),
    );
    tokens.replaceChildren(...(lines.length ? lines : [el('li', { text: 'No tokens yet.' })]));
  };
  const name = input({ name: 'name', required: true, maxlength: 80 });
  const days = input({ name: 'days', type: 'number', min: 1, max: 366, value: 30 });
  const scopes = choice(SCOPES[session.role], 'read', { name: 'scope' });
  const add = form('Create token', [field('Name', name), field('Scope', scopes), field('Days', days)], async (values, node) => {
    const made = await sent('POST', 'api/account/tokens', { ...values, days: Number(values.days) });
    if (!made) return;
    shown.replaceChildren(once('This is the token.', code(made.secret)));
    node.reset();
    await draw();
  });
  place.append(el('h3', { text: 'API tokens' }), tokens, shown, add);
  draw();
  return place;
}

function password() {
  const current = input({ name: 'current', type: 'password', autocomplete: 'current-password', required: true });
  const fresh = input({
    name: 'new',
    type: 'password',
    autocomplete: 'new-password',
    minlength: 8,
    maxlength: 256,
    required: true,
  });
  const parts = [field('Current password', current), field('New password', fresh)];
  return form('Change password', parts, async (values, node) => {
    if (await sent('POST', 'api/account/password', values)) {
      node.reset();
      toast('Password changed. Other sessions have ended.');
    }
  });
}

function line(title, text, action, act, ...controls) {
  const press = button(action, { kind: 'small', 'aria-label': `${action} ${title}`, onclick: act });
  const words = el('span', { class: 'og-grow' }, el('strong', { text: title }), el('span', { class: 'og-people-soft', text }));
  return el('li', { class: 'og-people-line' }, words, ...controls, press);
}

function people(session) {
  const list = el('ul', { class: 'og-people-list', 'aria-label': 'People' });
  const draw = async () => {
    const found = await sent('GET', 'api/people');
    list.replaceChildren(...(found?.people ?? []).map((person) => personLine(person, draw)));
  };
  draw();
  if (!session.accounts) return el('p', { text: 'This panel has no accounts. Start it with --accounts to add people.' });
  const name = input({ name: 'name', required: true, maxlength: 64, autocomplete: 'off' });
  const first = input({
    name: 'password',
    type: 'password',
    minlength: 8,
    maxlength: 256,
    required: true,
    autocomplete: 'new-password',
  });
  const parts = [field('Name', name), field('Role', choice(ROLES, 'viewer', { name: 'role' })), field('First password', first)];
  const add = form('Add person', parts, async (values, node) => {
    if (!(await sent('POST', 'api/people', values))) return;
    node.reset();
    await draw();
  });
  return el('div', {}, list, add);
}

function personLine(person, draw) {
  const where = `api/people/${person.id}`;
  const role = choice(ROLES, person.role, { 'aria-label': `Role of ${person.name}` });
  role.addEventListener('change', async () => {
    await sent('PATCH', where, { role: role.value });
    await draw();
  });
  const remove = async () => {
    const sure = await confirmed(`Remove “${person.name}”?`, 'Their sessions and tokens end. Their runs stay.', 'Remove');
    if (sure) await sent('DELETE', where);
    await draw();
  };
  const factor = person.two_factor ? ', authenticator app' : '';
  return line(person.name, `last seen ${day(person.last_seen)}${factor}`, 'Remove', remove, role);
}

function links() {
  const list = el('ul', { class: 'og-people-list', 'aria-label': 'Links' });
  const shown = el('div', {});
  const draw = async () => {
    const found = await sent('GET', 'api/links');
    const lines = (found?.links ?? []).map((link) =>
      line(link.name, `${link.shows}, ${link.role}, expires ${day(link.expires)}`, 'Revoke', async () => {
        await sent('DELETE', `api/links/${link.id}`);
        await draw();
      }),
    );
    list.replaceChildren(...(lines.length ? lines : [el('li', { text: 'No links yet.' })]));
  };
  const run = input({ name: 'run_id', maxlength: 200, placeholder: 'ID of the run' });
  const shows = choice(['panel', 'gallery', 'run'], 'panel', { name: 'shows' });
  const name = input({ name: 'name', required: true, maxlength: 80 });
  const days = input({ name: 'days', type: 'number', min: 1, max: 366, value: 7 });
  const runField = field('Run', run);
  runField.hidden = true;
  shows.addEventListener('change', () => {
    runField.hidden = shows.value !== 'run';
  });
  const role = choice(['viewer', 'operator'], 'viewer', { name: 'role' });
  const parts = [field('Name', name), field('Opens', shows), runField, field('Role', role), field('Days', days)];
  const add = form('Create link', parts, async (values) => {
    const body = { ...values, days: Number(values.days), run_id: values.shows === 'run' ? values.run_id : '' };
    const made = await sent('POST', 'api/links', body);
    if (!made) return;
    shown.replaceChildren(once('This is the link.', code(made.address), qr(made.qr)));
    await draw();
  });
  draw();
  return el('div', {}, list, shown, add);
}

/** The QR code as an image: markup from an answer never becomes part of the document. */
function qr(svg) {
  const named = svg.includes('xmlns=') ? svg : svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"');
  return el('img', { class: 'og-people-qr', alt: 'QR code of the link', src: `data:image/svg+xml,${encodeURIComponent(named)}` });
}

function audit() {
  const list = el('ul', { class: 'og-people-list', 'aria-label': 'Audit log' });
  let before = null;
  const more = button('Show older entries', { onclick: () => draw() });
  const draw = async () => {
    const found = await sent('GET', `api/audit?limit=${AUDIT}${before ? `&before=${before}` : ''}`);
    const lines = (found?.entries ?? []).map((entry) => {
      const when = new Date(entry.at * 1000).toLocaleString();
      return el('li', {}, el('strong', { text: entry.who }), ` ${entry.action} ${entry.target} (${entry.status}), ${when}`);
    });
    list.append(...lines);
    before = found?.next_before ?? null;
    if (!before) more.remove();
  };
  draw();
  const save = el('a', { href: url('api/audit/export?form=csv'), download: 'audit.csv', text: 'Download as CSV' });
  return el('div', {}, list, more, el('p', {}, save));
}
