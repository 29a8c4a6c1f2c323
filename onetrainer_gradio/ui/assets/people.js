// The account of who is signed in, and for owners: people, links and the audit log. Loaded when first opened.

import { button, confirmed, el, openDialog, setText, toast } from './dom.js';
import { url } from './live.js';
import { linkForm } from './people-link.js';
import { choice, code, day, field, form, input, line, once, sent } from './people-parts.js';
import { fairShare, quotas, used } from './people-quotas.js';
import { twoFactor } from './people-two-factor.js';
import { sheet } from './sheet.js';

const ROLES = ['viewer', 'operator', 'owner'];
const SCOPES = { viewer: ['read'], operator: ['read', 'run'], owner: ['read', 'run', 'admin'] };
const AUDIT = 50;

async function signOut() {
  await sent('POST', 'api/logout');
  location.assign(url('login'));
}

/** Open the dialog. */
export async function open() {
  const [session] = await Promise.all([sent('GET', 'api/session'), sheet('people.css')]);
  if (!session) return;
  const own = session.kind === 'link' ? null : await sent('GET', 'api/account'); // what comes later would move what is below
  const close = button('', { icon: 'close', title: 'Close', kind: 'quiet', onclick: () => dialog.close() });
  const leave = button('Log out', { icon: 'leave', kind: 'small', onclick: signOut });
  const parts = [['Account', account(session, Promise.resolve(own))]];
  if (session.role === 'owner') parts.push(['People', people(session)], ['Links', links()], ['Audit log', audit()]);
  const dialog = el(
    'dialog',
    { class: 'og-dialog og-people', 'aria-label': 'Account and people' },
    el('div', { class: 'og-dialog-head' }, el('h2', { class: 'og-grow', text: session.name || 'Account' }), leave, close),
    ...parts.map(([title, body]) => el('details', { open: title === 'Account' }, el('summary', { text: `${title}` }), body)),
  );
  openDialog(dialog);
}

/** The account of `session`; `opened` gives its data. */
function account(session, opened) {
  const place = el('div', {});
  const tokens = el('ul', { class: 'og-people-list', 'aria-label': 'API tokens' });
  const shown = el('div', {});
  const usage = el('p', {});
  place.append(el('p', { text: `Role: ${session.role}` }), usage);
  if (session.kind === 'link') return place;
  const again = () => place.replaceWith(account(session, sent('GET', 'api/account')));
  if (session.kind === 'account') place.append(password(opened, again), twoFactor(opened), sessions(opened));
  const show = (found) => {
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
    const own = found?.account ? used({ ...found.account, usage: found.usage }) : '';
    setText(usage, own ? `Used: ${own}` : '');
    tokens.replaceChildren(...(lines.length ? lines : [el('li', { text: 'No tokens yet.' })]));
  };
  const draw = async () => show(await sent('GET', 'api/account'));
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
  opened.then(show);
  return place;
}

/** The form for a new password. An account of a sign-in provider has none at first; then `first` follows. */
function password(opened, first) {
  const place = el('div', {});
  opened.then((found) => {
    if (found) place.append(found.account?.has_password ? changedPassword() : firstPassword(first));
  });
  return place;
}

function newPassword() {
  const attributes = { name: 'new', type: 'password', autocomplete: 'new-password', minlength: 8, maxlength: 256 };
  return field('New password', input({ ...attributes, required: true }));
}

const firstPassword = (done) =>
  form('Set password', [newPassword()], async (values) => {
    if (!(await sent('POST', 'api/account/password', values))) return;
    toast('Password set.');
    done();
  });

function changedPassword() {
  const current = input({ name: 'current', type: 'password', autocomplete: 'current-password', required: true });
  return form('Change password', [field('Current password', current), newPassword()], async (values, node) => {
    if (await sent('POST', 'api/account/password', values)) {
      node.reset();
      toast('Password changed. Other sessions have ended.');
    }
  });
}

/** The browsers that are signed in as this person. */
function sessions(opened) {
  const list = el('ul', { class: 'og-people-list', 'aria-label': 'Sessions' });
  const show = (found) => {
    const lines = (found?.sessions ?? []).map(({ id, address, created, expires, current }) => {
      const title = `${address || 'Unknown address'}${current ? ' (this browser)' : ''}`;
      return line(title, `since ${day(created)}, expires ${day(expires)}`, current ? 'Log out' : 'End', async () => {
        await sent('DELETE', `api/account/sessions/${id}`);
        if (current) location.assign(url('login'));
        else await draw();
      });
    });
    list.replaceChildren(...lines);
  };
  const draw = async () => show(await sent('GET', 'api/account'));
  opened.then(show);
  return el('div', {}, el('h3', { text: 'Sessions' }), list);
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
  return el('div', {}, list, add, fairShare());
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
  const end = async () => {
    if (await sent('DELETE', `${where}/sessions`)) toast(`All sessions of ${person.name} have ended.`);
  };
  const reset = async () => {
    const sure = await confirmed(`Turn off the app of “${person.name}”?`, 'Only their password is required then.', 'Turn off');
    if (sure) await sent('DELETE', `${where}/two-factor`);
    await draw();
  };
  const small = (text, onclick) => button(text, { kind: 'small', 'aria-label': `${text}: ${person.name}`, onclick });
  const more = [small('End sessions', end), ...(person.two_factor ? [small('Turn off app', reset)] : [])];
  const { show, save } = quotas(person, draw);
  const words = [`last seen ${day(person.last_seen)}${factor}`, used(person)].filter(Boolean).join(', ');
  const node = line(person.name, words, 'Remove', remove, role, show, ...more);
  node.classList.add('og-people-person');
  node.append(save);
  return node;
}

function links() {
  const list = el('ul', { class: 'og-people-list', 'aria-label': 'Links' });
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
  draw();
  return el('div', {}, list, linkForm(draw));
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
