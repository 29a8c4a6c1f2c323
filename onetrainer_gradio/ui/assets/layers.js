// The layers that a filter matches: counted at once, listed on demand.

import { asking } from './asking.js';
import { button, el, format, setText, setVisible } from './dom.js';
import { api } from './live.js';

const PREFIX = { training: '', quantization: 'quantization.' };

export function layers(settings, of) {
  const paths = ['model_type', ...['layer_filter', 'layer_filter_regex', 'layer_filter_preset'].map((name) => PREFIX[of] + name)];
  const fill = el('i', {});
  const bar = el('div', { class: 'og-share', 'aria-hidden': 'true' }, fill);
  const count = el('p', { class: 'og-layer-count', role: 'status' });
  const parts = el('ul', { class: 'og-layer-patterns' });
  const note = el('p', { class: 'og-note', hidden: true });
  const table = el('div', { class: 'og-layer-list', hidden: true, tabindex: 0, role: 'region', 'aria-label': 'Layers' });
  const more = button('Show layers', {
    icon: 'down',
    kind: 'small',
    'aria-expanded': 'false',
    onclick: () => {
      listed = !listed;
      put();
    },
  });
  const head = el('div', { class: 'og-layer-head' }, count, bar, more);
  const node = el(
    'section',
    { class: 'og-figure og-layers', 'aria-label': 'Layers matched by the filter' },
    head,
    parts,
    note,
    table,
  );
  let listed = false;
  /** @type {any} */
  let found = null;
  head.after(
    asking(
      settings,
      node,
      () => paths,
      (changes) => api('POST', 'api/config/layers', { changes, of }),
      (answer) => {
        found = answer;
        put();
      },
    ),
  );

  function put() {
    const known = found?.known;
    setVisible(bar, Boolean(known));
    setVisible(more, Boolean(known));
    if (!found) return;
    if (!known) {
      setText(count, 'Layer names for this model type aren’t available until the model is loaded.');
      for (const each of [parts, note, table]) setVisible(each, false);
      return;
    }
    const all = found.taken === found.total;
    const part = settings.schema.properties[found.part]?.title || found.part;
    setText(
      count,
      all
        ? `All ${format.count(found.total)} layers of the ${named(part)}`
        : `${format.count(found.taken)} of ${format.count(found.total)} layers of the ${named(part)}`,
    );
    fill.style.width = `${found.total ? (100 * found.taken) / found.total : 0}%`;
    node.classList.toggle('none', found.taken === 0);
    const plain = found.patterns.length === 1 && found.patterns[0].pattern === '';
    setVisible(parts, !plain);
    parts.replaceChildren(...(plain ? [] : found.patterns.map(pattern)));
    setVisible(note, !found.exact);
    setText(note, `${found.model} comes in several sizes. The number of blocks may differ; the layer names don’t.`);
    more.setAttribute('aria-expanded', String(listed));
    setText(more.querySelector('span'), listed ? 'Hide layers' : 'Show layers');
    setVisible(table, listed);
    if (listed) list();
  }

  function pattern({ pattern: text, taken, late }) {
    const why = taken
      ? `${format.count(taken)} ${taken === 1 ? 'layer' : 'layers'}`
      : late
        ? 'none (already matched by an earlier pattern)'
        : 'no match';
    return el(
      'li',
      { class: taken ? '' : 'bad' },
      el('code', { text: text || '(everything else)' }),
      el('span', { class: 'og-muted', text: why }),
    );
  }

  function list() {
    const line = (kind) =>
      el(
        'li',
        { class: kind.taken ? '' : 'off' },
        el('code', {}, ...parted(kind.name)),
        el('span', {
          text:
            kind.taken === kind.total
              ? format.count(kind.total)
              : kind.taken
                ? `${kind.taken} of ${kind.total}`
                : `0 of ${kind.total}`,
        }),
      );
    const taken = found.kinds.filter((kind) => kind.taken);
    const rest = found.kinds.filter((kind) => !kind.taken);
    const block = (title, kinds) => kinds.length && [el('h5', { text: title }), el('ul', {}, kinds.map(line))];
    table.replaceChildren(...[block('Matched', taken), block('Not matched', rest)].filter(Boolean).flat());
  }
  return node;
}

const named = (part) => (/^[A-Z][a-z]/.test(part) ? part.toLowerCase() : part);

/** Name parts that may be broken at the dots. */
function parted(name) {
  return name.split('.').flatMap((part, at) => (at ? [el('wbr', {}), `.${part}`] : [part]));
}
