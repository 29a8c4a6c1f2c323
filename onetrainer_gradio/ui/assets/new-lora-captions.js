// The captions of a new LoRA: written manually or by a model, which shows the captions before and after.

import { example, firstLocal, follow, wordsOf } from './data-annotate.js';
import { button, el, format, setText, setVisible } from './dom.js';
import { api, url } from './live.js';

const PAGE = 20;

/** A text field for the caption of an image, saved when it is left. */
function row(folder, image, changed) {
  const wrong = el('span', { class: 'og-small bad', role: 'alert' });
  const field = el('textarea', {
    class: 'og-text',
    rows: '2',
    spellcheck: 'true',
    placeholder: 'No caption',
    'aria-label': `Caption of ${image.path}`,
  });
  field.value = image.caption || '';
  field.readOnly = image.caption_cut || Boolean(image.caption_problem);
  let version = image.caption_version;
  field.addEventListener('change', async () => {
    try {
      const answer = await api('PUT', 'api/datasets/captions', { folder, image: image.path, text: field.value, version });
      version = answer.version;
      setText(wrong, '');
      changed();
    } catch (error) {
      setText(wrong, error.message);
    }
  });
  const shown = image.thumbnail ? el('img', { src: url(image.thumbnail), alt: image.path, loading: 'lazy' }) : el('span');
  return el('li', {}, shown, el('div', { class: 'og-new-text' }, field, wrong));
}

/** The captions of all images, a page at a time. */
class Written {
  constructor(changed) {
    this.changed = changed;
    this.list = el('ul', { class: 'og-new-captions' });
    this.more = button('Show more images', { kind: 'small', hidden: true, onclick: () => this.next() });
    this.node = el('div', { class: 'og-new-body' }, this.list, this.more);
    this.folder = '';
  }

  async open(folder) {
    this.folder = folder;
    this.list.replaceChildren();
    if (folder) await this.next();
  }

  async next() {
    const { folder } = this;
    const offset = this.list.childElementCount;
    const page = await api('POST', 'api/datasets/images', { folder, offset, limit: PAGE });
    if (folder !== this.folder || offset !== this.list.childElementCount) return;
    this.list.append(...page.images.map((image) => row(folder, image, this.changed)));
    setVisible(this.more, this.list.childElementCount < page.matches);
  }
}

/** A model that captions the images that have no caption yet. */
class Automatic {
  constructor(word, ended) {
    this.word = word;
    this.ended = ended;
    this.folder = '';
    this.job = '';
    this.resume = '';
    /** @type {any[]} */
    this.models = [];
    this.choice = el('select', { 'aria-label': 'Caption model', onchange: () => this.picked() });
    this.about = el('span', { class: 'og-small og-muted' });
    this.all = el('input', { type: 'checkbox', onchange: () => this.picked() });
    this.run = button('Caption the images', { onclick: () => this.start() });
    this.stop = button('Stop', { hidden: true, onclick: () => api('POST', `api/datasets/jobs/${this.job}/stop`, {}) });
    this.bar = el('progress', { hidden: true, 'aria-label': 'Captions' });
    this.status = el('p', { role: 'status', class: 'og-small' });
    this.examples = el('ul', { class: 'og-new-examples', tabindex: '0', 'aria-label': 'Captions before and after' });
    this.node = el(
      'div',
      { class: 'og-new-body' },
      el('label', { class: 'og-new-field' }, el('b', { text: 'Caption model' }), this.choice, this.about),
      el('label', { class: 'og-new-inline' }, this.all, 'Replace captions that are already there'),
      el('div', { class: 'og-new-end' }, this.run, this.stop, this.bar),
      this.status,
      this.examples,
    );
  }

  picked() {
    const model = this.models[Number(this.choice.value)];
    const where = model.local || model.about.includes('GB') ? '' : ' It is downloaded first.';
    setText(this.about, model.about + where);
    this.resume = '';
  }

  async open(folder) {
    if (folder !== this.folder) {
      this.examples.replaceChildren();
      setText(this.status, '');
    }
    this.folder = folder;
    this.run.disabled = !folder;
    if (this.models.length) return;
    this.models = (await api('GET', 'api/datasets/models?task=caption')).models;
    this.choice.replaceChildren(...this.models.map((each, at) => el('option', { value: String(at), text: each.title })));
    this.choice.value = String(firstLocal(this.models));
    this.picked();
  }

  show(job, result) {
    const active = job.state === 'running';
    setVisible(this.bar, active);
    setVisible(this.stop, active);
    this.run.disabled = active;
    if (job.total) Object.assign(this.bar, { max: job.total, value: job.done });
    const [first] = result.skipped || [];
    const skipped = first ? ` ${format.count(result.skipped.length)} couldn’t be captioned. ${first.join(': ')}` : '';
    setText(this.status, wordsOf(job) + skipped);
    this.examples.replaceChildren(...(result.examples || []).slice(0, PAGE).map(example));
  }

  async start() {
    const model = this.models[Number(this.choice.value)];
    const asked = { kind: model.kind, model: model.name, replace: this.all.checked, before: this.word(), resume: this.resume };
    this.run.disabled = true;
    try {
      const { job, result } = await api('POST', 'api/datasets/annotate', { folder: this.folder, task: 'caption', ...asked });
      this.job = job.id;
      const end = await follow(job, result, (...now) => this.show(...now));
      this.resume = end.job.state === 'stopped' ? job.id : '';
      setText(this.run.lastChild, this.resume ? 'Resume' : 'Caption the images');
    } catch (error) {
      setText(this.status, [error.message, error.errors?.[0]?.suggestion].filter(Boolean).join('. ').replace('..', '.'));
    }
    this.run.disabled = false;
    this.ended();
  }
}

/** `word()` is the trigger word, `changed()` follows each change of captions; `show(mode, folder)` opens what a mode needs. */
export function captions({ word, changed }) {
  const written = new Written(changed);
  const automatic = new Automatic(word, async () => {
    changed();
    await written.open(automatic.folder);
  });
  const node = el('div', { class: 'og-new-body', hidden: true }, automatic.node, written.node);
  async function show(mode, folder) {
    setVisible(node, mode !== '');
    setVisible(automatic.node, mode === 'AUTOMATIC');
    if (mode === 'AUTOMATIC') await automatic.open(folder);
    if (mode) await written.open(folder);
  }
  return { node, show };
}
