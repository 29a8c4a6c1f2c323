// Publish: the result of a run on the Hugging Face Hub, with a model card that is shown before anything is uploaded.

import { button, confirmed, el, format, setText, setVisible } from './dom.js';
import { labeled } from './labeled.js';
import { api } from './live.js';
import { sheet } from './sheet.js';

const POLL_MS = 500;
const field = (label, input, wide = false) => labeled(label, input, wide ? 'og-hub-wide' : '');
const text = (maxlength, more = {}) => el('input', { type: 'text', maxlength, autocomplete: 'off', ...more });

/** The fields of the form, and the request that they describe. */
class Form {
  constructor() {
    this.repository = text(200, { spellcheck: 'false' });
    this.visibility = el(
      'select',
      {},
      el('option', { value: 'private', text: 'Private: only you' }),
      el('option', { value: 'public', text: 'Public: everyone' }),
    );
    this.word = text(200);
    this.license = text(60, { placeholder: 'Same as the base model', spellcheck: 'false' });
    this.settings = el('input', { type: 'checkbox', checked: true });
    this.description = el('textarea', { rows: 2, maxlength: 10000 });
    this.ownLicense = el('textarea', { rows: 3, maxlength: 100000 });
    this.card = el('textarea', { rows: 12, maxlength: 100000, class: 'og-hub-card', spellcheck: 'false' });
    this.edited = false;
    this.card.addEventListener('input', () => {
      this.edited = true;
    });
    this.node = el(
      'div',
      { class: 'og-hub-form' },
      field('Repository', this.repository),
      field('Who can see it', this.visibility),
      field('Trigger word', this.word),
      field('License', this.license),
      field('Description', this.description, true),
      el(
        'label',
        { class: 'og-hub-check og-hub-wide' },
        this.settings,
        el('span', { text: 'Add the training settings, without paths' }),
      ),
      el(
        'details',
        { class: 'og-hub-wide' },
        el('summary', { text: 'Another license text' }),
        el('div', { class: 'og-hub-form' }, field('Text of LICENSE.md', this.ownLicense, true)),
      ),
    );
  }

  request() {
    return {
      repository: this.repository.value.trim(),
      private: this.visibility.value === 'private',
      trigger_word: this.word.value.trim(),
      license: this.license.value.trim().toLowerCase(),
      description: this.description.value,
      license_text: this.ownLicense.value,
      settings: this.settings.checked,
      card: this.edited ? this.card.value : '',
    };
  }

  /** Show what a preview found. */
  fill(shown, first) {
    if (first) {
      this.repository.value = shown.repository;
      this.word.value = shown.trigger_word;
    }
    if (!this.edited) this.card.value = shown.card;
  }
}

/** Fill a section of the page of a run. */
export async function publishing(place, id) {
  await sheet('hub.css');
  const path = `api/runs/${encodeURIComponent(id)}`;
  const form = new Form();
  const account = el('p', { class: 'og-small og-muted', role: 'status' });
  const files = el('tbody');
  const wrong = el('p', { class: 'bad', role: 'alert' });
  const list = el('ul', { class: 'og-hub-list' });
  const publish = button('Publish', { icon: 'right', kind: 'primary', onclick: () => send() });
  const show = button('Update preview', { onclick: () => preview() });

  async function preview(first = false) {
    setText(wrong, '');
    try {
      const request = first ? {} : form.request();
      const shown = await api('POST', `${path}/publish`, { ...request, preview: true });
      form.fill(shown, first);
      setText(account, accountOf(shown));
      files.replaceChildren(
        ...shown.files.map((file) => el('tr', {}, el('td', { text: file.path }), el('td', { text: format.bytes(file.bytes) }))),
      );
    } catch (error) {
      setText(wrong, error.whole || error.message);
    }
  }

  async function send(revision = false) {
    setText(wrong, '');
    publish.disabled = true;
    try {
      const started = await api('POST', `${path}/publish`, { ...form.request(), new_revision: revision });
      list.prepend(line(path, started));
    } catch (error) {
      const exists = error.status === 409 && !revision;
      if (exists && (await confirmed('Publish a new revision?', error.message, 'Publish'))) await send(true);
      else if (!exists) setText(wrong, error.whole || error.message);
    }
    publish.disabled = false;
  }

  place.append(
    account,
    form.node,
    el(
      'details',
      {},
      el('summary', { text: 'Model card and files' }),
      el(
        'div',
        { class: 'og-hub-form' },
        field('README.md', form.card, true),
        el('table', { class: 'og-hub-wide og-small og-hub-files', 'aria-label': 'Files' }, files),
      ),
    ),
    wrong,
    el('div', { class: 'og-buttons' }, publish, show),
    list,
  );
  await preview(true);
  const known = (await api('GET', `${path}/publications`)).publications;
  list.append(...known.map((each) => line(path, each)));
}

function accountOf({ account, exists, problem, suggestion }) {
  if (problem) return `${problem.replace(/\.?$/, '.')} ${suggestion}`;
  return `Publishes as ${account.name}.${exists ? ' The repository already exists.' : ''}`;
}

/** A publication that follows its progress until it has ended. */
function line(path, first) {
  const status = el('span', { role: 'status' });
  const bar = el('progress', { max: '1', value: '0', 'aria-label': 'Uploaded' });
  const link = el('a', { href: first.url, target: '_blank', rel: 'noopener noreferrer', text: first.repository });
  const address = `${path}/publications/${first.id}`;
  const stop = button('Stop', { kind: 'small', onclick: () => api('POST', `${address}/stop`).catch(() => {}) });
  const node = el('li', { class: 'og-hub-line' }, link, bar, status, stop);

  function draw(now) {
    const running = now.state === 'running';
    setVisible(bar, running);
    setVisible(stop, running);
    bar.value = now.total ? now.done / now.total : 0;
    setText(status, running ? `${now.doing || 'Starting'}… ${format.bytes(now.done)} of ${format.bytes(now.total)}` : ended(now));
    status.className = now.state === 'failed' ? 'bad' : 'og-muted og-small';
    if (running) window.setTimeout(follow, POLL_MS);
  }
  async function follow() {
    if (!node.isConnected) return;
    try {
      draw(await api('GET', address));
    } catch (error) {
      setText(status, error.message);
    }
  }
  draw(first);
  return node;
}

const ended = (now) =>
  ({
    done: `Published${now.at ? ` ${format.time(now.at)}` : ''}${now.private ? ', private' : ''}`,
    stopped: 'Stopped. Nothing was published.',
    failed: [now.error, now.suggestion].filter(Boolean).join(' '),
  })[now.state] || now.state;
