// The New LoRA tab: from images to a run in four questions. Everything it decides is an ordinary setting.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { tryDemo } from './landing.js';
import { api, url } from './live.js';
import { images } from './new-lora-images.js';
import { models } from './new-lora-models.js';
import { sheet } from './sheet.js';
import { differenceTable } from './table.js';

const SUBJECTS = [
  ['PERSON', 'Person', 'One person, or one character'],
  ['STYLE', 'Style', 'How images look, whatever they show'],
  ['OBJECT', 'Object', 'A pet, a product, a building'],
  ['CONCEPT', 'Concept', 'A pose, a garment, anything else'],
];
const CAPTIONS = [
  ['TRIGGER_WORD', 'Trigger word', 'The same short caption for all images'],
  ['AUTOMATIC', 'Automatic', 'A model captions each image'],
  ['FILES', 'Manual', 'Your own text for each image, or uploaded text files'],
  ['NONE', 'None', 'For a style that is always on'],
];
const QUALITIES = [
  ['QUICK', 'Quick', 'A first impression'],
  ['BALANCED', 'Balanced', 'What most images need'],
  ['THOROUGH', 'Thorough', 'Takes twice as long; choose the best save afterwards'],
];
const PAUSE_MS = 250;

/** A group of radio buttons with an explanation each. */
function choice(name, legend, options, value, changed) {
  const inputs = options.map(([key, label, about]) => {
    const id = `og-new-${name}-${key}`;
    const input = el('input', {
      type: 'radio',
      name: `og-new-${name}`,
      value: key,
      checked: key === value,
      'aria-label': label,
      'aria-describedby': id,
    });
    input.addEventListener('change', () => changed(key));
    return el(
      'label',
      { class: 'og-new-option' },
      input,
      el('span', {}, el('b', { text: label }), el('span', { id, class: 'og-muted og-small', text: about })),
    );
  });
  return el(
    'fieldset',
    { class: 'og-new-options' },
    el('legend', { class: legend ? '' : 'og-sr', text: legend || name }),
    ...inputs,
  );
}

function section(number, title, ...content) {
  const errors = el('p', { class: 'og-new-error', role: 'alert', hidden: true });
  const id = `og-new-${number}`;
  const head = el('div', { class: 'og-card-head' }, el('h2', { id, text: `${number}. ${title}` }));
  const body = el('div', { class: 'og-card-body og-new-body' }, ...content, errors);
  return { node: el('section', { class: 'og-card', 'aria-labelledby': id }, head, body), errors };
}

function textField(label, attributes, about) {
  const id = `og-new-${label.toLowerCase().replaceAll(' ', '-')}`;
  const input = el('input', {
    type: 'text',
    class: 'og-text',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-label': label,
    'aria-describedby': id,
    ...attributes,
  });
  const line = el('span', { id, class: 'og-small og-muted', 'aria-live': 'polite', text: about });
  return { input, line, node: el('label', { class: 'og-new-field' }, el('b', { text: label }), input, line) };
}

/** The answers, the plan that follows from them, and where each error is shown. */
class Page {
  constructor() {
    this.answers = {
      name: '',
      folder: '',
      subject: 'PERSON',
      trigger_word: '',
      captions: 'TRIGGER_WORD',
      quality: 'BALANCED',
      preset: '',
    };
    this.timer = 0;
    this.asked = 0;
    this.checked = '';
    this.started = false; // errors of questions that nobody has answered yet aren't shown
    this.named = false;
    this.word = textField('Trigger word', { maxlength: '60' }, 'One word that calls up the LoRA in a prompt, such as ohwx.');
    this.word.input.addEventListener('input', () => this.set({ trigger_word: this.word.input.value.trim() }));
    this.title = textField('Name', { maxlength: '80' }, 'Of the file and of the run.');
    this.title.input.addEventListener('input', () => {
      this.named = true;
      this.set({ name: this.title.input.value });
    });
    this.captioning = 'TRIGGER_WORD';
    this.captions = loadedCaptions(this);
    this.images = images({
      name: () => this.answers.name.trim() || 'New LoRA',
      changed: (folder) => {
        if (!this.named) this.title.input.value = folder.split(/[\\/]/).filter(Boolean).pop() || '';
        this.set({ folder, name: this.title.input.value });
        this.captions.show(this.captioning);
      },
    });
    this.models = models((model) => {
      this.images.inspectAt(model.resolution);
      this.set({ preset: model.preset, base_model: model.own_base || '' });
    });
    this.summary = el('div', { class: 'og-new-summary', 'aria-live': 'polite' });
    this.start = button('Start', { icon: 'right', kind: 'primary', onclick: () => this.go(true) });
    this.form = button('Open in the form', { onclick: () => this.go(false) });
    this.export = button('Export for OneTrainer', { icon: 'download', onclick: () => this.download() });
    this.check = new PreFlightCheck();
    this.sections = this.cards();
    this.nodes = Object.values(this.sections).map(({ node }) => node);
  }

  /** The questions, by the answer that each error is about. */
  cards() {
    const set = (name) => (value) => this.set({ [name]: value });
    return {
      folder: section(1, 'Images', this.images.node),
      trigger_word: section(
        2,
        'What is it?',
        choice('subject', '', SUBJECTS, this.answers.subject, set('subject')),
        this.word.node,
        choice('captions', 'Captions', CAPTIONS, this.captioning, (mode) => this.caption(mode)),
        this.captions.node,
      ),
      preset: section(3, 'Base model', this.models.node),
      name: section(
        4,
        'Result',
        this.title.node,
        choice('quality', 'Training time', QUALITIES, this.answers.quality, set('quality')),
        this.summary,
        this.check.node,
        el('div', { class: 'og-new-end' }, this.start, this.form, this.export),
      ),
    };
  }

  /** Choose where captions come from. A model and a person both write text files. */
  caption(mode) {
    this.captioning = mode;
    this.set({ captions: mode === 'AUTOMATIC' ? 'FILES' : mode });
    this.captions.show(mode);
  }

  set(changes) {
    Object.assign(this.answers, changes);
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.plan();
      this.checkWord();
    }, PAUSE_MS);
  }

  async checkWord() {
    const word = this.answers.trigger_word;
    if (word === this.checked) return;
    this.checked = word;
    const usual = 'One word that calls up the LoRA in a prompt, such as ohwx.';
    const known = word && (await api('GET', `api/new_lora/trigger_word?word=${encodeURIComponent(word)}`).catch(() => null));
    if (word !== this.answers.trigger_word) return;
    const text = `“${word}” is a common word: the model already connects something with it. An unusual word works better.`;
    setText(this.word.line, known?.existing ? text : usual);
    this.word.line.classList.toggle('warn', Boolean(known?.existing));
  }

  async plan() {
    if (!this.answers.folder || !this.answers.preset) return;
    this.asked += 1;
    const number = this.asked;
    try {
      const plan = await api('POST', 'api/new_lora/plan', this.answers);
      if (number === this.asked) this.show(plan, []);
    } catch (error) {
      if (number === this.asked)
        this.show(null, error.errors?.length ? error.errors : [{ path: 'name', message: error.message }]);
    }
  }

  show(plan, errors) {
    for (const [path, { errors: line }] of Object.entries(this.sections)) {
      const found = errors.find((each) => each.path === path || (path === 'name' && !(each.path in this.sections)));
      const missing = !this.started && found && !this.answers[path];
      setText(line, found && !missing ? [found.message, found.suggestion].filter(Boolean).join('. ').replace('..', '.') : '');
      setVisible(line, Boolean(found) && !missing);
    }
    this.summary.replaceChildren(...(plan ? summaryOf(plan) : []));
    this.check.ask(plan ? { ...this.answers } : null);
  }

  async download() {
    try {
      const answer = await fetch(url('api/new_lora/export'), {
        method: 'POST',
        body: JSON.stringify(this.answers),
        headers: { 'Content-Type': 'application/json' },
        credentials: 'same-origin',
      });
      if (!answer.ok) throw new Error((await answer.json()).error);
      const link = el('a', { href: URL.createObjectURL(await answer.blob()), download: `${this.answers.name}.json` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  async go(start) {
    this.started = true;
    this.start.disabled = true;
    try {
      await api('POST', 'api/new_lora/settings', this.answers);
      if (start) await api('POST', 'api/training/start', { options: { name: this.answers.name } });
      location.hash = start ? '#training' : '#configuration';
    } catch (error) {
      this.show(null, error.errors || []);
      toast(error.whole || error.message, 'bad');
    }
    this.start.disabled = false;
  }
}

/** The captions part, loaded when a mode first needs it. */
function loadedCaptions(page) {
  const node = el('div');
  /** @type {any} */
  let part = null;
  async function show(mode) {
    const wanted = ['AUTOMATIC', 'FILES'].includes(mode) ? mode : '';
    if (!part && !wanted) return;
    part ||= import('./new-lora-captions.js').then(({ captions }) => {
      const made = captions({ word: () => page.answers.trigger_word, changed: () => page.set({}) });
      node.append(made.node);
      return made;
    });
    await (await part).show(wanted, page.answers.folder).catch((error) => toast(error.message, 'bad'));
  }
  return { node, show };
}

/** Results of the pre-flight check and the memory estimate, which take longer than the plan itself. */
class PreFlightCheck {
  constructor() {
    this.memory = el('p', { class: 'og-small og-muted' });
    this.found = el('ul', { class: 'og-new-found og-small' });
    this.node = el('div', { class: 'og-new-check', 'aria-live': 'polite' }, this.memory, this.found);
    this.asked = '';
  }

  async ask(answers) {
    const key = JSON.stringify(answers);
    if (key === this.asked) return;
    this.asked = key;
    setVisible(this.node, answers !== null);
    if (!answers) return;
    setText(this.memory, 'Checking the settings, and estimating the memory…');
    try {
      const found = await api('POST', 'api/new_lora/check', answers);
      if (key === this.asked) this.show(found);
    } catch (error) {
      if (key === this.asked) setText(this.memory, error.message);
    }
  }

  show(found) {
    const of = found.gpu_bytes ? ` of ${format.bytes(found.gpu_bytes)}` : '';
    const memory = found.peak_bytes ? `About ${format.bytes(found.peak_bytes)}${of} of memory. ` : '';
    setText(this.memory, memory + found.note);
    this.found.replaceChildren(
      ...found.findings.map((each) =>
        el('li', {
          class: each.severity === 'error' ? 'bad' : 'warn',
          text: [each.message, each.suggestion].filter(Boolean).join('. ').replaceAll('..', '.'),
        }),
      ),
    );
  }
}

/** Expected time, or why it isn't known. */
const timeOf = (plan) =>
  plan.seconds
    ? `About ${format.span(plan.seconds)}, at the speed of the run ${plan.seconds_from}.`
    : 'The time isn’t known before the first run of this model. The run shows it after a few steps.';

/** The settings that differ from the preset, as a table. */
const differencesOf = (plan) =>
  el(
    'details',
    { class: 'og-small' },
    el('summary', { text: `${format.count(plan.differences.length)} settings differ from the preset` }),
    differenceTable(plan.differences, 'Preset', 'Your LoRA'),
  );

const findingOf = (each) =>
  el('p', {
    class: `og-small ${each.severity === 'note' ? 'og-muted' : 'warn'}`,
    text: `${each.message}. ${each.suggestion}`,
  });

function summaryOf(plan) {
  const save = plan.changes.save_every;
  return [
    el(
      'p',
      {},
      el('b', { text: `${format.count(plan.steps)} steps` }),
      ` in ${format.count(plan.epochs)} epochs, with the preset ${plan.preset}. ${timeOf(plan)}`,
    ),
    ...plan.findings.map(findingOf),
    el('p', {
      class: 'og-small og-muted',
      text: `Samples and a save after every ${save === 1 ? 'epoch' : `${save} epochs`}. Prompts:`,
    }),
    el('ul', { class: 'og-small og-new-prompts' }, ...plan.prompts.map((text) => el('li', { text }))),
    differencesOf(plan),
  ];
}

export async function mount(place) {
  await sheet('new-lora.css');
  const page = new Page();
  const intro = el('p', {
    class: 'og-muted',
    text: 'Four questions, each with a sensible default. All settings remain available in the form.',
  });
  const demo = button('Try the demo', { onclick: tryDemo });
  const head = el('div', { class: 'og-new-head' }, intro, demo);
  place.append(el('h1', { class: 'og-sr', text: 'New LoRA' }), el('div', { class: 'og-new' }, head, ...page.nodes));
  page.models.load();
}
