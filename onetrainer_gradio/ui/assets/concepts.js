// What concept cards show in addition to their settings: a thumbnail, dataset statistics, and an augmentation preview.
//
// One request covers all folders. It is sent when the list comes into view and when something it depends on changes.

import { button, el, format, icon, setText, setVisible } from './dom.js';
import { api, on, url } from './live.js';

const LOOK_AFTER_MS = 300;
const GO_ON_AFTER_MS = 400;
const MOST_LOOKS = 50;
const DRAW_AFTER_MS = 250;
// with the original a full row
const VARIANTS = 5;
const TOOLS_FROM = 3;
const MOST_BUCKETS = 12;
// settings of a concept that its statistics depend on
const OF_CONCEPT = ['path', 'include_subdirectories', 'enabled', 'type', 'balancing', 'balancing_strategy'];
const OF_RUN = [
  'model_type',
  'resolution',
  'batch_size',
  'aspect_ratio_bucketing',
  'epochs',
  'multi_gpu',
  'device_indexes',
  'frames',
];
// what a preview depends on, in addition to the concept itself
const OF_DRAW = ['model_type', 'resolution', 'aspect_ratio_bucketing', 'latent_caching', 'masked_training'];

const plural = (count, one, many = `${one}s`) => `${format.count(count)} ${count === 1 ? one : many}`;
const by = (width, height) => `${width} × ${height}`;

const SORTS = {
  name: ['Name', (item) => (item.name || item.path).toLowerCase()],
  path: ['Folder', (item) => item.path.toLowerCase()],
  type: ['Type', (item) => item.type],
  enabled: ['Enabled first', (item) => Number(!item.enabled)],
  images: ['Most images first', (_item, told) => -(told?.images ?? -1)],
};

/** The head of the list of concepts, and a part for each card. */
export function concepts(list) {
  const { settings, path, items } = list;
  const told = new Map();
  const unfolded = new Set(['look']);
  /** @type {any} */
  let total = null;
  let key = '';
  let timer = 0;
  let failed = '';
  let looks = 0;

  const sums = el('p', { class: 'og-concept-sums', role: 'status' });
  const lost = el('p', { class: 'og-note', hidden: true });
  const again = button('Rescan', {
    icon: 'reset',
    kind: 'small',
    title: 'Rescan the dataset folders',
    onclick: () => look(true),
  });
  const type = el('select', { 'aria-label': 'Filter by type', onchange: () => list.update() });
  const used = el(
    'select',
    { 'aria-label': 'Filter by enabled', onchange: () => list.update() },
    el('option', { value: '', text: 'Enabled and disabled' }),
    el('option', { value: 'on', text: 'Enabled' }),
    el('option', { value: 'off', text: 'Disabled' }),
  );
  const sort = el(
    'select',
    { 'aria-label': 'Sort concepts', onchange: sorted },
    el('option', { value: '', text: 'Sort by…' }),
    Object.entries(SORTS).map(([name, [words]]) => el('option', { value: name, text: words })),
  );
  const all = button('', { kind: 'small', onclick: useAll });
  const tools = el('div', { class: 'og-concept-tools', role: 'group', 'aria-label': 'Filter and sort' }, type, used, sort, all);
  const head = el('div', { class: 'og-concept-head' }, el('div', { class: 'og-grow' }, sums, lost), tools, again);

  /** The statistics of a card’s folder, even if the card was moved since the scan. */
  function known(at) {
    const folder = items()[at]?.path;
    const mine = told.get(at);
    return mine?.folder === folder ? mine : [...told.values()].find((each) => each.folder === folder);
  }

  function sorted() {
    const [, of] = SORTS[sort.value];
    sort.value = '';
    const now = items();
    const ranks = now.map((item, at) => of(item, known(at)));
    const order = now.map((_, at) => at).sort((a, b) => (ranks[a] < ranks[b] ? -1 : ranks[a] > ranks[b] ? 1 : a - b));
    list.arrange(
      order.map((at) => now[at]),
      order,
    );
  }

  function useAll() {
    const some = items().some((item) => !item.enabled);
    list.change(items().map((item) => ({ ...item, enabled: some })));
  }

  function passes(item) {
    return (!type.value || item.type === type.value) && (!used.value || item.enabled === (used.value === 'on'));
  }

  async function look(anew = false) {
    clearTimeout(timer);
    if (anew) looks = 0;
    const wanted = key;
    again.disabled = true;
    try {
      const answer = await api('POST', 'api/concepts/statistics', {});
      if (wanted !== key) return;
      told.clear();
      for (const each of answer.concepts) told.set(each.index, each);
      ({ total } = answer);
      failed = '';
      looks += 1;
      if (!answer.complete && looks < MOST_LOOKS && head.isConnected) timer = setTimeout(look, GO_ON_AFTER_MS);
    } catch (error) {
      failed = error.message;
      const off = on('connected', () => {
        off();
        if (head.isConnected) look(true);
      });
    }
    again.disabled = false;
    list.update();
  }

  /** Rescan when something that the statistics depend on changes. */
  function keep() {
    const saved = settings.value(path) || [];
    const now = JSON.stringify([
      OF_RUN.map((name) => settings.value(name)),
      saved.map((item) => [
        ...OF_CONCEPT.map((name) => item[name]),
        item.text.prompt_source,
        item.text.prompt_path,
        item.image.enable_resolution_override && item.image.resolution_override,
      ]),
    ]);
    if (now === key) return;
    const first = !key;
    key = now;
    looks = 0;
    clearTimeout(timer);
    timer = setTimeout(look, first ? 0 : LOOK_AFTER_MS);
  }

  function update() {
    keep();
    const now = items();
    setVisible(head, now.length > 0);
    setVisible(tools, now.length >= TOOLS_FROM);
    const types = [...new Set(now.map((item) => item.type))];
    if (type.dataset.types !== types.join()) {
      type.dataset.types = types.join();
      const held = type.value;
      const words = settings.inner.get(path).find((field) => field.path === 'type').schema['x-enum-labels'] || {};
      type.replaceChildren(
        el('option', { value: '', text: 'All types' }),
        ...types.map((each) => el('option', { value: each, text: words[each] || each })),
      );
      type.value = types.includes(held) ? held : '';
    }
    setVisible(type, types.length > 1 || Boolean(type.value));
    setText(
      all.querySelector('span') || all.appendChild(el('span', {})),
      now.some((item) => !item.enabled) ? 'Enable all' : 'Disable all',
    );
    if (failed) {
      setText(sums, `Couldn’t scan the folders: ${failed}`);
      setVisible(lost, false);
      return;
    }
    if (!total) {
      setText(sums, now.length ? 'Scanning folders…' : '');
      return;
    }
    const steps = total.steps_per_epoch === null ? '' : ` in ${plural(total.steps_per_epoch, 'step')}`;
    const parts = [
      `${plural(total.images, 'image')} in ${plural(total.concepts, 'enabled concept')}`,
      `${format.count(total.per_epoch)} per epoch${steps}`,
    ];
    if (steps) parts.push(`${plural(total.steps, 'step')} in ${plural(total.epochs, 'epoch')}`);
    setText(sums, total.concepts ? parts.join(' · ') : 'No concepts enabled.');
    const short = (total.buckets || []).filter((bucket) => bucket.left);
    setVisible(lost, short.length > 0);
    if (short.length)
      setText(
        lost,
        `${plural(total.left, 'image')} per epoch ${total.left === 1 ? 'is' : 'are'} dropped because ${total.left === 1 ? 'its' : 'their'} ${short.length === 1 ? 'bucket doesn’t' : 'buckets don’t'} fill a batch of ${total.batch}: ${short
          .slice(0, 3)
          .map((bucket) => `${bucket.left} in ${by(bucket.width, bucket.height)}`)
          .join(', ')}${short.length > 3 ? '…' : ''}.`,
      );
  }

  /** What a card shows: `picture` and `line` in its head, `body` above its settings. */
  function card(at) {
    const thumb = el('span', { class: 'og-concept-thumb' }, icon('folder'));
    const line = el('span', { class: 'og-concept-line' });
    const facts = el('div', { class: 'og-section-body og-folder' });
    const stage = el('div', { class: 'og-section-body' });
    const fold = (name, title, body) => {
      const details = el(
        'details',
        { class: 'og-section', open: unfolded.has(name), dataset: { part: name } },
        el('summary', {}, el('span', { text: title })),
        body,
      );
      details.addEventListener('toggle', () => {
        if (details.open) unfolded.add(name);
        else unfolded.delete(name);
        if (details.isConnected) opened();
      });
      return details;
    };
    const looked = fold('look', 'Dataset statistics', facts);
    const drawing = fold('draw', 'Augmentation preview', stage);
    const body = el('div', { class: 'og-concept' }, looked, drawing);
    const draw = preview(settings, `${path}.${at}`, at, stage);
    let shown = '';
    let filled = '';

    function opened() {
      if (looked.open) fill();
      if (drawing.open) draw.update();
    }

    function fill() {
      const mine = known(at);
      const now = JSON.stringify([mine, total?.batch]);
      if (now === filled) return;
      filled = now;
      facts.replaceChildren(...(mine ? statistics(mine) : [el('p', { class: 'og-muted', text: 'Scanning the folder…' })]));
    }

    return {
      thumb,
      line,
      body,
      update() {
        const mine = known(at);
        const now = mine?.thumbnail || '';
        if (now !== shown) {
          shown = now;
          thumb.replaceChildren(
            now
              ? el('img', {
                  src: url(`${now}?w=192`),
                  alt: '',
                  width: 56,
                  height: 56,
                  onerror: () => thumb.replaceChildren(icon('folder')),
                })
              : icon('folder'),
          );
        }
        line.replaceChildren(...words(mine, items()[at]));
        if (body.isConnected) opened();
      },
    };
  }

  return { head, card, passes, update };
}

/** The line below the name of a concept. */
function words(mine, item) {
  if (!mine) return [el('span', { class: 'og-muted', text: '…' })];
  if (mine.problem) return [el('span', { class: 'bad', text: mine.problem })];
  const parts = [[plural(mine.images + mine.videos, mine.videos ? 'file' : 'image') + (mine.complete ? '' : ' so far')]];
  if (item?.enabled && mine.per_epoch !== mine.images + mine.videos && item.type !== 'VALIDATION')
    parts.push([`${format.count(mine.per_epoch)} per epoch`]);
  if (mine.captions.missing) parts.push([`${format.count(mine.captions.missing)} without caption`, 'warn']);
  if (mine.captions.unreadable.length) parts.push(['unreadable captions', 'bad']);
  if (mine.broken.count) parts.push([`${format.count(mine.broken.count)} broken`, 'bad']);
  if (mine.masks) parts.push([plural(mine.masks, 'mask')]);
  return parts.map(([text, tone]) => el('span', { class: tone || 'og-muted', text }));
}

const SOURCES = { concept: 'single text file', filename: 'image file names' };

function statistics(mine) {
  if (mine.problem) return [el('p', { class: 'og-below-problem', text: mine.problem })];
  const { captions, sizes, broken } = mine;
  const rows = [];
  const row = (name, text, tone, more) =>
    rows.push(
      el(
        'div',
        {},
        el('dt', { text: name }),
        el('dd', { class: tone }, el('span', { text }), more && el('small', { class: 'og-muted', text: more })),
      ),
    );
  const formats = Object.entries(mine.formats)
    .map(([name, count]) => `${format.count(count)} ${name}`)
    .join(', ');
  row(
    'Files',
    `${plural(mine.images, 'image')}${mine.videos ? `, ${plural(mine.videos, 'video')}` : ''}`,
    '',
    [formats, format.bytes(mine.bytes)].filter(Boolean).join(' · '),
  );
  if (broken.count)
    row('Broken', plural(broken.count, 'file'), 'bad', broken.first.map(([name, why]) => `${name}: ${why}`).join('; '));
  if (mine.skipped.count)
    row(
      'Skipped',
      plural(mine.skipped.count, 'file'),
      'warn',
      mine.skipped.first.map(([name, why]) => `${name}: ${why}`).join('; '),
    );
  if (captions.source !== 'sample') row('Captions', SOURCES[captions.source]);
  else {
    const without = captions.without.join(', ') + (captions.missing > captions.without.length ? '…' : '');
    const bad = captions.missing || captions.empty || captions.unreadable.length || captions.converted.count;
    row(
      'Captions',
      [
        captions.missing ? `${format.count(captions.missing)} missing` : bad ? '' : 'one per image',
        captions.empty && `${format.count(captions.empty)} empty`,
        captions.unreadable.length && `unreadable: ${captions.unreadable.join(', ')}`,
        captions.converted.count && `${format.count(captions.converted.count)} not UTF-8`,
      ]
        .filter(Boolean)
        .join(', '),
      bad ? 'warn' : '',
      [
        without,
        captions.words &&
          (captions.words[0] === captions.words[2]
            ? `${captions.words[0]} words each`
            : `${captions.words[0]} to ${captions.words[2]} words, ${captions.words[1]} on average`),
      ]
        .filter(Boolean)
        .join(' · '),
    );
  }
  if (mine.masks || mine.conditions)
    row(
      'Masks and conditioning images',
      [mine.masks && plural(mine.masks, 'mask'), mine.conditions && plural(mine.conditions, 'conditioning image')]
        .filter(Boolean)
        .join(', '),
    );
  if (sizes)
    row(
      'Sizes',
      by(...sizes.smallest) === by(...sizes.largest)
        ? `all ${by(...sizes.largest)}`
        : `${by(...sizes.smallest)} to ${by(...sizes.largest)}`,
      '',
      by(...sizes.smallest) === by(...sizes.largest) ? '' : `median ${by(...sizes.middle)}`,
    );
  if (mine.enabled) row('Images per epoch', format.count(mine.per_epoch));
  return [
    el('dl', { class: 'og-folder-list' }, rows),
    captions.tags.length > 0 &&
      el(
        'div',
        { class: 'og-tags' },
        el('h5', { text: 'Most common tags' }),
        el(
          'ul',
          {},
          captions.tags.map(([tag, count]) =>
            el('li', {}, el('span', { text: tag }), el('small', { class: 'og-muted', text: format.count(count) })),
          ),
        ),
      ),
    ...mine.resolutions.map((each) => shapes(each)),
  ].filter(Boolean);
}

/** The buckets at a resolution, as bars with their aspect ratio. */
function shapes({ resolution, small, buckets }) {
  const most = Math.max(...buckets.map((bucket) => bucket.images));
  const longest = (bucket) => Math.max(bucket.width, bucket.height);
  const line = (bucket) =>
    el(
      'li',
      {},
      el('i', {
        class: 'og-shape',
        style: `width: ${(18 * bucket.width) / longest(bucket)}px; height: ${(18 * bucket.height) / longest(bucket)}px`,
      }),
      el('span', { class: 'og-shape-name', text: by(bucket.width, bucket.height) }),
      el('span', { class: 'og-share' }, el('i', { style: `width: ${(100 * bucket.images) / most}%` })),
      el('span', { class: 'og-shape-count', text: format.count(bucket.images) }),
    );
  return el(
    'div',
    { class: 'og-shapes' },
    el('h5', { text: `Buckets at resolution ${resolution}` }),
    el('ul', {}, buckets.slice(0, MOST_BUCKETS).map(line)),
    buckets.length > MOST_BUCKETS &&
      el('p', { class: 'og-muted og-small', text: `and ${buckets.length - MOST_BUCKETS} more buckets` }),
    small > 0 &&
      el('p', {
        class: 'og-note',
        text: `${plural(small, 'image')} ${small === 1 ? 'has' : 'have'} less than half the pixels of this resolution and will be upscaled.`,
      }),
  );
}

/** An image, and several random augmentations of it with captions. Updates while settings are typed. */
function preview(settings, path, at, place) {
  let imageIndex = 0;
  let seed = 0;
  let key = '';
  let timer = 0;
  const name = el('span', { class: 'og-draw-file' });
  const back = button('', { icon: 'left', kind: 'quiet small', title: 'Previous image', onclick: () => step(-1) });
  const on = button('', { icon: 'right', kind: 'quiet small', title: 'Next image', onclick: () => step(1) });
  const again = button('New preview', {
    icon: 'reset',
    kind: 'small',
    onclick: () => {
      seed += 1;
      update(true);
    },
  });
  const problem = el('p', { class: 'og-below-problem', hidden: true });
  const grid = el('div', { class: 'og-draws' });
  const notes = el('div', {});
  place.replaceChildren(el('div', { class: 'og-draw-head' }, back, on, name, again), problem, grid, notes);
  place.addEventListener('keydown', ({ key: pressed }) => {
    if (pressed === 'ArrowLeft') step(-1);
    if (pressed === 'ArrowRight') step(1);
  });

  let count = 0;
  function step(by_) {
    if (count) {
      imageIndex = (imageIndex + by_ + count) % count;
      update(true);
    }
  }

  const depends = () => JSON.stringify([OF_DRAW.map((each) => settings.shownValue(each)), settings.shownValue(path)]);

  async function ask() {
    const wanted = key;
    // what is typed and not saved yet; a folder is looked into when it is saved
    const typed = Object.fromEntries(
      [...settings.drafts]
        .filter(([each]) => (each.startsWith(`${path}.`) && each !== `${path}.path`) || OF_DRAW.includes(each))
        .map(([each, draft]) => [each, draft.value]),
    );
    try {
      const answer = await api('POST', 'api/concepts/preview', {
        index: at,
        image_index: imageIndex,
        seed,
        variants: VARIANTS,
        changes: typed,
      });
      if (wanted !== key) return;
      setVisible(problem, false);
      put(answer);
    } catch (error) {
      if (wanted !== key) return;
      if (error.status === 0) key = '';
      setText(problem, error.errors?.[0]?.message || error.message);
      setVisible(problem, true);
      grid.classList.add('stale');
    }
  }

  function put(answer) {
    count = answer.images;
    grid.classList.remove('stale');
    setVisible(back, count > 1);
    setVisible(on, count > 1);
    setText(name, `${answer.file} · ${answer.image_index + 1} of ${format.count(count)}`);
    const figure = (image, title, changes, text) =>
      el(
        'figure',
        { class: 'og-drawn' },
        el('img', { src: image, alt: [answer.file, title, ...changes].join(', ') }),
        el(
          'figcaption',
          {},
          el('b', { text: title }),
          changes.length > 0 && el('span', { class: 'og-muted', text: changes.join(', ') }),
          el('p', { class: text ? '' : 'warn', text: text || 'No caption' }),
        ),
      );
    const random = new Set(answer.variants.map((each) => JSON.stringify(each))).size > 1;
    grid.replaceChildren(
      figure(answer.image, `Original ${by(answer.width, answer.height)}`, [], answer.captions.join('\n')),
      ...answer.variants
        .slice(0, random ? VARIANTS : 1)
        .map((each) => figure(each.image, by(each.width, each.height), each.changes, each.caption)),
    );
    const texts = random ? answer.notes : ['No random augmentation is enabled, so every image looks like this.'];
    notes.replaceChildren(...texts.map((text) => el('p', { class: 'og-muted og-small', text })));
  }

  function update(anew = false) {
    const now = `${depends()} ${imageIndex} ${seed}`;
    if (now === key && !anew) return;
    const first = !key;
    key = now;
    clearTimeout(timer);
    timer = setTimeout(ask, first || anew ? 0 : DRAW_AFTER_MS);
  }

  document.addEventListener('input', function listen(/** @type {any} */ event) {
    if (!place.isConnected) {
      if (key) document.removeEventListener('input', listen);
      return;
    }
    const typed = event.target.dataset?.path || '';
    if (place.offsetParent && (typed.startsWith(`${path}.`) || OF_DRAW.includes(typed))) update();
  });
  return { update };
}
