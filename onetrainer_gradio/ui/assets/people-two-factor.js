// Turn the authenticator app of an account on and off. Recovery codes are shown once.

import { button, el, toast } from './dom.js';
import { code, field, form, input, once, qr, sent } from './people-parts.js';

const password = () =>
  field('Current password', input({ name: 'password', type: 'password', autocomplete: 'current-password', required: true }));

/** Whether the app is on, with the form that changes it. `opened` is the account. */
export function twoFactor(opened) {
  const state = el('p', { role: 'status' });
  const place = el('div', {});
  const show = (found) => {
    const on = Boolean(found?.account?.two_factor);
    const left = found?.account?.recovery_codes;
    if (found?.account && !found.account.has_password) {
      state.textContent =
        'Your account has no password. Turn on a second factor at your sign-in provider, or set a password first.';
      return;
    }
    state.textContent = on ? `On. Unused recovery codes: ${left}.` : 'Off. Only the password is required.';
    place.replaceChildren(on ? off(draw) : button('Set up…', { kind: 'small', onclick: () => offer(place, draw) }));
  };
  const draw = async () => show(await sent('GET', 'api/account'));
  opened.then(show);
  return el('div', { class: 'og-people-factor' }, el('h3', { text: 'Authenticator app' }), state, place);
}

/** Show the QR code, and turn the app on with its first code. */
async function offer(place, draw) {
  const offered = await sent('POST', 'api/account/two-factor/offer', {});
  if (!offered) return;
  const first = input({ name: 'code', required: true, inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: 20 });
  const confirm = form('Turn on', [field('Code from the app', first), password()], async (values) => {
    const made = await sent('PUT', 'api/account/two-factor', { ...values, secret: offered.secret });
    if (!made) return;
    await draw();
    const codes = made.recovery_codes.join('\n');
    const done = button('Done', { kind: 'small', onclick: draw });
    place.replaceChildren(once('Recovery codes. Each one signs you in once without the app.', code(codes), done));
    toast('Authenticator app turned on.');
  });
  const cancel = button('Cancel', { kind: 'small', onclick: draw });
  place.replaceChildren(
    el('p', { text: 'Scan the QR code with an authenticator app, or enter the key in it. Then enter the code that it shows.' }),
    qr(offered.qr, 'QR code for the authenticator app'),
    code(offered.secret),
    confirm,
    cancel,
  );
  first.focus();
}

const off = (draw) =>
  form('Turn off', [password()], async (values) => {
    if (!(await sent('DELETE', 'api/account/two-factor', values))) return;
    await draw();
    toast('Authenticator app turned off.');
  });
