// Settings with several values: lists of objects as cards, name-value pairs, maps with fixed keys, JSON.

import { idOf, read } from './control.js';
import { button, el, setText, setVisible } from './dom.js';
import { message } from './message.js';
import { copyOf, jsonOf, same, shownAs, textOf } from './settings.js';

// from how many cards on there is a filter
const FILTER_FROM = 5;

const ONE = { concepts: 'concept', samples: 'sample prompt', additional_embeddings: 'embedding' };
const TITLES = {
  concepts: (item) => item.name || item.path || 'New concept',
  samples: (item) => item.prompt || 'Empty prompt',
  additional_embeddings: (item) => item.placeholder || item.model_name || 'New embedding',
};

// what a list shows beside its settings, loaded when it comes into view
const BESIDE = { concepts: (list) => import('./editors.js').then((editors) => editors.concepts(list)) };

/** A list of objects: each card folds out into its settings, by group; cards can be switched off, copied, moved, removed.
 * `row` makes the row of a setting. */
export function list(settings, field, row) {
  const { path } = field;
  const one = ONE[path] || 'entry';
  const titleOf = TITLES[path] || (() => one);
  const inner = settings.inner.get(path);
  const groups = settings.schema['x-groups'].filter((group) => group['x-of'] === path);
  const cards = el('div', { class: 'og-cards' });
  const errors = el('div', { class: 'og-errors', id: `${idOf(path)}-error` });
  const empty = el('p', { class: 'og-empty' });
  const back = button('Reset', { icon: 'reset', kind: 'small', onclick: () => settings.edit(path, settings.baseValue(path)) });
  const filter = el('input', {
    type: 'search',
    placeholder: 'Filter',
    'aria-label': `Filter: ${field.label}`,
    oninput: () => node.update(),
  });
  const items = () => settings.shownValue(path) || [];
  const node = el(
    'div',
    { class: 'og-list', dataset: { row: path } },
    el(
      'div',
      { class: 'og-card-head' },
      el('div', { class: 'og-grow' }, el('h3', { text: field.label }), el('p', { class: 'og-help', text: field.help })),
      filter,
      back,
      button(`Add ${one}`, {
        icon: 'add',
        kind: 'small',
        onclick: () => {
          open.add(items().length);
          change([...items(), settings.newElement(field)]);
        },
      }),
    ),
    errors,
    empty,
    cards,
  );
  let open = new Set(items().length === 1 ? [0] : []);
  const unfolded = new Set(groups.slice(0, 1).map((group) => group.key));
  let pinned = '';
  let drawn = -1;
  /** @type {any} */
  let beside = null;

  const change = (next) => settings.edit(path, next);
  /** Move, copy or remove cards: `order` has the old place of each, and the open ones stay open. */
  function arrange(next, order) {
    open = new Set(order.flatMap((old, at) => (open.has(old) ? [at] : [])));
    change(next);
  }
  const move = (at, to) => {
    const order = items().map((_, index) => index);
    order.splice(to, 0, ...order.splice(at, 1));
    arrange(
      order.map((old) => items()[old]),
      order,
    );
  };

  function section(group, prefix) {
    const rows = inner
      .filter((each) => each.group === group.key && each.path !== 'enabled')
      .map((each) => ({ ...each, path: prefix + each.path }));
    const body = el('div', { class: 'og-section-body' });
    const count = el('span', { class: 'og-muted og-small' });
    const details = el(
      'details',
      { class: 'og-section', open: groups.length === 1 || unfolded.has(group.key) },
      el('summary', { hidden: groups.length === 1 }, el('span', { text: group.title }), count),
      body,
    );
    details.addEventListener('toggle', () => {
      if (details.open) unfolded.add(group.key);
      else unfolded.delete(group.key);
      details.update();
    });
    details.update = () => {
      const applying = rows.filter((each) => settings.applies(each, prefix));
      const wanted = applying.filter(
        (each) =>
          settings.levels.has(each.level) ||
          settings.changed(each.path) ||
          each.path === pinned ||
          settings.errorsAt(each.path).length,
      );
      setVisible(details, wanted.length > 0);
      const changed = applying.filter((each) => settings.changed(each.path)).length;
      setText(count, changed ? `${changed} changed` : '');
      if (!details.open) {
        if (body.childElementCount) body.replaceChildren();
        return applying.length - wanted.length;
      }
      if ([...body.children].map((child) => child.dataset.row).join() !== wanted.map((each) => each.path).join()) {
        const have = new Map([...body.children].map((child) => [child.dataset.row, child]));
        body.replaceChildren(...wanted.map((each) => have.get(each.path) || row(settings, each, prefix)));
      }
      for (const child of body.children) child.update();
      return applying.length - wanted.length;
    };
    return details;
  }

  function card(item, at) {
    const prefix = `${path}.${at}.`;
    const title = el('span', { class: 'og-card-title' });
    const body = el('div', { class: 'og-card-body' });
    const more = el('p', { class: 'og-muted og-small og-more' });
    const use =
      'enabled' in item &&
      el(
        'label',
        { class: 'og-inline' },
        el('input', {
          type: 'checkbox',
          role: 'switch',
          class: 'og-switch',
          checked: item.enabled,
          id: idOf(`${prefix}enabled`),
          dataset: { path: `${prefix}enabled`, kind: 'boolean' },
        }),
        el('span', { class: 'og-sr', text: `Enable this ${one}` }),
      );
    const look = beside?.card(at);
    const details = el(
      'details',
      { class: 'og-item', open: open.has(at) },
      el('summary', {}, look?.thumb, el('span', { class: 'og-item-words' }, title, look?.line)),
      body,
    );
    let sections = [];
    const fill = () => {
      if (!sections.length) {
        sections = groups.map((group) => section(group, prefix));
        body.replaceChildren(...(look ? [look.body] : []), ...sections, more);
        look?.update();
      }
      const hidden = sections.reduce((sum, each) => sum + each.update(), 0);
      setText(more, hidden ? `${hidden} more ${hidden === 1 ? 'setting' : 'settings'} under Advanced and Expert.` : '');
    };
    const clear = () => {
      sections = [];
      body.replaceChildren();
    };
    // known at once: an update may come before the event that the card was folded out
    details.firstChild?.addEventListener('click', () => {
      if (details.open) open.delete(at);
      else open.add(at);
    });
    details.addEventListener('toggle', () => {
      if (details.open) {
        open.add(at);
        fill();
      } else {
        open.delete(at);
        clear();
      }
    });
    const up = button('', { icon: 'up', title: `Move this ${one} up`, kind: 'quiet small', onclick: () => move(at, at - 1) });
    const down = button('', {
      icon: 'down',
      title: `Move this ${one} down`,
      kind: 'quiet small',
      onclick: () => move(at, at + 1),
    });
    const wrap = el(
      'div',
      { class: 'og-item-wrap' },
      details,
      el(
        'div',
        { class: 'og-item-tools' },
        use,
        up,
        down,
        button('', {
          icon: 'copy',
          title: `Duplicate this ${one}`,
          kind: 'quiet small',
          onclick: () => {
            const order = items().map((_, index) => index);
            order.splice(at + 1, 0, -1);
            arrange(
              order.map((old) => (old < 0 ? copyOf(items()[at], field.schema.items) : items()[old])),
              order,
            );
          },
        }),
        button('', {
          icon: 'trash',
          title: `Remove this ${one}`,
          kind: 'quiet small',
          onclick: () => {
            const order = items()
              .map((_, index) => index)
              .filter((old) => old !== at);
            arrange(
              order.map((old) => items()[old]),
              order,
            );
          },
        }),
      ),
    );
    wrap.update = () => {
      const now = items()[at];
      if (!now) return;
      setText(title, titleOf(now));
      wrap.classList.toggle('off', now.enabled === false);
      const box = use ? use.querySelector('input') : null;
      if (box) box.checked = now.enabled;
      up.disabled = at === 0;
      down.disabled = at === items().length - 1;
      wrap.classList.toggle(
        'bad',
        settings.findings.some((finding) => finding.severity === 'error' && finding.path.startsWith(prefix)),
      );
      const words = filter.value.trim().toLowerCase();
      setVisible(
        wrap,
        (!beside || beside.passes(now)) &&
          (!words || JSON.stringify([now.name, now.path, now.prompt, now.placeholder, now.type]).toLowerCase().includes(words)),
      );
      if (details.open !== open.has(at)) details.open = open.has(at);
      if (details.open) fill();
      look?.update();
    };
    return wrap;
  }

  node.update = () => {
    const now = items();
    if (drawn !== now.length) {
      drawn = now.length;
      cards.replaceChildren(...now.map(card));
    }
    beside?.update();
    for (const each of cards.children) each.update();
    setVisible(filter, now.length >= FILTER_FROM);
    setVisible(empty, now.length === 0);
    setText(empty, `No ${one}s yet.`);
    const changed = settings.changed(path);
    node.classList.toggle('changed', changed);
    setVisible(back, changed && settings.baseValue(path) !== undefined);
    errors.replaceChildren(...settings.errorsAt(path).map((error) => message(settings, path, error)));
  };

  /** What a person has unfolded and typed in the filter; `unfold` sets it in a list that replaces this one. */
  node.unfolded = () => ({ cards: open, sections: unfolded, words: filter.value });
  node.unfold = (was) => {
    open = new Set(was.cards);
    for (const key of was.sections) unfolded.add(key);
    filter.value = was.words;
    drawn = -1;
    node.update();
  };

  /** Fold out what holds a path within the list, and give its row. */
  node.reveal = (wanted) => {
    const [index, ...rest] = wanted.slice(path.length + 1).split('.');
    const at = Number(index);
    if (!cards.children[at]) return node;
    pinned = wanted;
    filter.value = '';
    open.add(at);
    const group = inner.find((each) => each.path === rest.join('.'))?.group;
    if (group) unfolded.add(group);
    const details = cards.children[at].querySelector('details');
    if (details) details.open = true;
    node.update();
    if (group)
      for (const each of cards.children[at].querySelectorAll('details'))
        if (
          each.matches('.og-section') &&
          each.querySelector('summary span')?.textContent === groups.find((other) => other.key === group).title
        )
          each.open = true;
    node.update();
    return node.querySelector(`[data-row="${CSS.escape(wanted)}"]`) || cards.children[at];
  };
  node.update();
  BESIDE[path]?.({ settings, path, items, change, arrange, update: () => node.update() }).then((made) => {
    beside = made;
    empty.before(made.head);
    drawn = -1;
    const focused = node.contains(document.activeElement) && document.activeElement?.id;
    node.update();
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  });
  return node;
}

/** A list of `{key, value}` texts: a line for each, one more to begin with. */
export function pairs(settings, field) {
  const { path } = field;
  const lines = el('div', { class: 'og-pairs-lines' });
  const node = el(
    'div',
    { class: 'og-pairs', role: 'group', 'aria-label': field.label },
    lines,
    button('Add', {
      icon: 'add',
      kind: 'small',
      onclick: () => {
        lines.append(line({ key: '', value: '' }));
        lines.lastElementChild?.querySelector('input')?.focus();
      },
    }),
  );
  const present = () =>
    [...lines.children]
      .map((each) => {
        const [key, value] = each.querySelectorAll('input');
        return { key: key.value.trim(), value: value.value };
      })
      .filter((pair) => pair.key);
  const send = () => settings.edit(path, present());

  function line(pair) {
    const made = el(
      'div',
      { class: 'og-pair' },
      el('input', {
        type: 'text',
        class: 'og-text',
        value: textOf(pair.key),
        placeholder: 'name',
        'aria-label': 'Name',
        spellcheck: 'false',
        onchange: send,
      }),
      el('input', {
        type: 'text',
        class: 'og-text',
        value: textOf(pair.value),
        placeholder: 'value',
        'aria-label': 'Value',
        spellcheck: 'false',
        onchange: send,
      }),
      button('', {
        icon: 'trash',
        title: 'Remove row',
        kind: 'quiet small',
        onclick: () => {
          made.remove();
          send();
        },
      }),
    );
    return made;
  }
  return {
    node,
    wide: true,
    put() {
      const value = settings.shownValue(path) || [];
      if (node.contains(document.activeElement) || same(value, present())) return;
      lines.replaceChildren(...value.map(line));
    },
  };
}

/** A list or object as JSON. A text that is none stays as it was typed, with what is wrong below it. */
export function json(settings, field) {
  const { path } = field;
  const nullable = [field.schema.type].flat().includes('null');
  const input = el('textarea', {
    rows: 3,
    class: 'og-json',
    id: idOf(path),
    spellcheck: 'false',
    autocomplete: 'off',
    placeholder: nullable ? 'Default' : undefined,
    dataset: { path, kind: 'json', ...(nullable ? { nullable: 'yes' } : {}) },
    'aria-describedby': `${idOf(path)}-help ${idOf(path)}-error`,
  });
  return {
    node: input,
    wide: true,
    put() {
      if (document.activeElement === input && settings.drafts.get(path)?.state === 'typing') return;
      const value = settings.shownValue(path);
      if (!same(read(input), value)) input.value = typeof value === 'string' ? value : value === null ? '' : jsonOf(value);
    },
  };
}

const TRUTH = { true: true, false: false };

/** An object with fixed keys: an input for each applicable key. An empty input means the default. */
export function map(settings, field) {
  const { path, schema } = field;
  const node = el('div', { class: 'og-map', role: 'group', 'aria-label': field.label });
  const keys = () => Object.entries(schema['x-keys']).filter(([, key]) => settings.applies({ shown: key['x-shown'] || {} }));
  const usual = () => settings.schema['x-optimizers'][settings.value('optimizer.optimizer')]?.auxiliary || {};

  function send(key, of, text) {
    const value = { ...(settings.shownValue(path) || {}) };
    const number = Number(text.trim().replace(',', '.'));
    if (text.trim() === '') delete value[key];
    else if ([of.type].flat().includes('boolean')) value[key] = TRUTH[text];
    else value[key] = [of.type].flat().includes('string') || Number.isNaN(number) ? text : number;
    settings.edit(path, value);
  }
  function line([key, of]) {
    const held = settings.shownValue(path)?.[key];
    const normal = shownAs(usual()[key]);
    const onchange = ({ target }) => send(key, of, target.value);
    const boolean = [of.type].flat().includes('boolean');
    const input = boolean
      ? el(
          'select',
          { onchange },
          el('option', { value: '', text: `default (${normal})` }),
          el('option', { value: 'true', text: 'on' }),
          el('option', { value: 'false', text: 'off' }),
        )
      : el('input', {
          type: 'text',
          class: 'og-number',
          placeholder: `default: ${normal}`,
          spellcheck: 'false',
          autocomplete: 'off',
          onchange,
        });
    input.value = textOf(held);
    return el('label', { class: 'og-field', title: of.description }, el('span', { class: 'og-label', text: of.title }), input);
  }
  let drawn = '';
  return {
    node,
    wide: true,
    put() {
      const key = JSON.stringify([settings.value('optimizer.optimizer'), settings.shownValue(path)]);
      if (drawn === key || node.contains(document.activeElement)) return;
      drawn = key;
      node.replaceChildren(...keys().map(line));
    },
  };
}
