// The New LoRA tab: from images to a run in four questions. Everything it decides is an ordinary setting.

import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';
import { images } from './new-lora-images.js';
import { models } from './new-lora-models.js';
import { sheet } from './sheet.js';

const SUBJECTS = [
  ['PERSON', 'Person', 'One person, or one character'],
  ['STYLE', 'Style', 'How images look, whatever they show'],
  ['OBJECT', 'Object', 'A pet, a product, a building'],
  ['CONCEPT', 'Concept', 'A pose, a garment, anything else'],
];
const CAPTIONS = [
  ['TRIGGER_WORD', 'Trigger word', 'The same short caption for all images'],
  ['FILES', 'Text files', 'The text file next to each image; write or generate them on the Data tab'],
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
    this.images = images({
      name: () => this.answers.name.trim() || 'New LoRA',
      changed: (folder) => {
        if (!this.named) this.title.input.value = folder.split(/[\\/]/).filter(Boolean).pop() || '';
        this.set({ folder, name: this.title.input.value });
      },
    });
    this.models = models((model) => this.set({ preset: model.preset }));
    this.summary = el('div', { class: 'og-new-summary', 'aria-live': 'polite' });
    this.start = button('Start', { icon: 'right', kind: 'primary', onclick: () => this.go(true) });
    this.form = button('Open in the form', { onclick: () => this.go(false) });
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
        choice('captions', 'Captions', CAPTIONS, this.answers.captions, set('captions')),
      ),
      preset: section(3, 'Base model', this.models.node),
      name: section(
        4,
        'Result',
        this.title.node,
        choice('quality', 'Training time', QUALITIES, this.answers.quality, set('quality')),
        this.summary,
        el('div', { class: 'og-new-end' }, this.start, this.form),
      ),
    };
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

function summaryOf(plan) {
  const save = plan.changes.save_every;
  return [
    el(
      'p',
      {},
      el('b', { text: `${format.count(plan.steps)} steps` }),
      ` in ${format.count(plan.epochs)} epochs, with the preset ${plan.preset}.`,
    ),
    el('p', {
      class: 'og-small og-muted',
      text: `Samples and a save after every ${save === 1 ? 'epoch' : `${save} epochs`}. Prompts:`,
    }),
    el('ul', { class: 'og-small og-new-prompts' }, ...plan.prompts.map((text) => el('li', { text }))),
    ...plan.findings.map((each) => el('p', { class: 'og-small warn', text: `${each.message}. ${each.suggestion}` })),
  ];
}

export async function mount(place) {
  await sheet('new-lora.css');
  const page = new Page();
  const intro = el('p', {
    class: 'og-muted',
    text: 'Four questions, each with a good answer already given. The form has all settings afterwards.',
  });
  const demo = button('Try the demo', { onclick: tryDemo });
  const head = el('div', { class: 'og-new-head' }, intro, demo);
  place.append(el('h1', { class: 'og-sr', text: 'New LoRA' }), el('div', { class: 'og-new' }, head, ...page.nodes));
  page.models.load();
}

async function tryDemo() {
  try {
    await api('POST', 'api/training/start', { config: 'Demo LoRA', options: { name: 'Demo' } });
    location.hash = '#training';
  } catch (error) {
    toast(error.whole || error.message, 'bad');
  }
}
