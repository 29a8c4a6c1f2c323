// The other views of a dataset: its tags, problems, buckets, and the trash.

import { follow } from './data-annotate.js';
import { button, el, format, setText, setVisible, toast } from './dom.js';
import { api } from './live.js';

const PROBLEMS = {
  exact: ['Exact duplicates', 'Move the others to the trash'],
  similar: ['Similar images', 'Move the others to the trash'],
  broken: ['Broken images', 'Move to the trash'],
  small: ['Too small for the resolution', 'Exclude from training'],
  rotated: ['Rotated by metadata only', 'Write upright copies'],
  format: ['Formats that aren’t trained', 'Convert'],
};
const MAX_SHOWN = 100;

const query = (folder) => new URLSearchParams({ folder });

/** Tags with their number of images; a click filters, the buttons change captions. */
export async function tagsView(place, { images, filterTag, bulk }) {
  const answer = await api('POST', 'api/datasets/tags', { folder: images.folder, filter: images.filter, limit: 500 });
  const row = ([tag, count]) =>
    el(
      'li',
      {},
      button(tag, { kind: 'quiet og-data-tag', title: `Show images with “${tag}”`, onclick: () => filterTag(tag) }),
      el('span', { class: 'og-muted', text: format.count(count) }),
      images.writable &&
        button('Rename', { 'aria-label': `Rename ${tag}`, onclick: () => bulk({ kind: 'rename_tag', find: tag }) }),
      images.writable &&
        button('Remove', { 'aria-label': `Remove ${tag}`, onclick: () => bulk({ kind: 'remove_tags', tags: tag }) }),
    );
  const shown = answer.total > answer.tags.length ? `, the first ${answer.tags.length} shown` : '';
  place.replaceChildren(
    el('p', { class: 'og-muted', text: `${format.count(answer.total)} tags in ${format.count(answer.images)} images${shown}.` }),
    el('ul', { class: 'og-data-list' }, answer.tags.map(row)),
  );
}

function problemCard(kind, entries, { fix, ignore, writable }) {
  const [title, action] = PROBLEMS[kind];
  const item = ({ path, detail }) =>
    el('li', {}, el('span', { text: path }), el('span', { class: 'og-muted og-small', text: detail }));
  return el(
    'section',
    { class: 'og-data-problem', 'aria-label': title },
    el('h2', { text: `${title}: ${format.count(entries.length)}` }),
    el('ul', { class: 'og-data-list' }, entries.slice(0, MAX_SHOWN).map(item)),
    el(
      'div',
      { class: 'og-buttons' },
      button(action, { disabled: !writable, onclick: () => fix(kind) }),
      button('Ignore', { onclick: () => ignore(kind, entries) }),
    ),
  );
}

/** What an inspection found, with one operation for each kind. */
export async function problemsView(place, { images, changed }) {
  const statusLine = el('p', { role: 'status' });
  const found = el('div', {});
  const start = button('Inspect', { kind: 'primary', onclick: inspect });
  place.replaceChildren(
    el('p', { text: 'Find duplicates and images that can’t be trained well at the current resolution.' }),
    el('div', { class: 'og-buttons' }, start),
    statusLine,
    found,
  );
  async function inspect() {
    start.disabled = true;
    try {
      const { job, result } = await api('POST', 'api/datasets/inspection', { folder: images.folder });
      await follow(
        job,
        result,
        (now) => setText(statusLine, now.error || (now.state === 'running' ? `${now.doing}… ${now.done} of ${now.total}` : '')),
        () => !place.isConnected,
      );
      await draw();
    } catch (error) {
      setText(statusLine, error.message);
    }
    start.disabled = false;
  }
  const after = async (text) => {
    toast(text);
    changed();
    await draw();
  };
  async function fix(kind) {
    const answer = await api('POST', 'api/datasets/inspection/fix', { folder: images.folder, kind }).catch((error) =>
      toast(error.message, 'bad'),
    );
    if (answer) await after(`${answer.fixed} ${answer.fixed === 1 ? 'image' : 'images'} changed.`);
  }
  async function ignore(kind, entries) {
    await api('POST', 'api/datasets/inspection/ignore', {
      folder: images.folder,
      kind,
      images: entries.map((each) => each.path),
    });
    await after('Ignored until the files change.');
  }
  async function draw() {
    const report = await api('GET', `api/datasets/inspection?${query(images.folder)}`);
    const doubled = (kind) =>
      report.groups
        .filter((group) => group.kind === kind)
        .flatMap((group) =>
          group.images.filter((path) => path !== group.keep).map((path) => ({ path, detail: `like ${group.keep}` })),
        );
    const entries = (kind) => [...doubled(kind), ...report.problems.filter((each) => each.kind === kind)];
    const cards = Object.keys(PROBLEMS).filter((kind) => entries(kind).length);
    found.replaceChildren(...cards.map((kind) => problemCard(kind, entries(kind), { fix, ignore, writable: images.writable })));
    if (!report.inspected) return;
    const similar = report.similar ? '' : ' Similar images need the package ImageHash.';
    setText(
      statusLine,
      `${format.count(report.inspected)} images inspected. ${cards.length ? '' : 'No problems found.'}${similar}`,
    );
  }
  await draw();
}

/** What each image becomes at a resolution. */
export async function bucketsView(place, { images }) {
  const resolution = el('input', {
    type: 'text',
    class: 'og-text',
    id: 'og-data-resolution',
    placeholder: 'As in the settings',
    onchange: () => draw(),
  });
  const list = el('div', {});
  place.replaceChildren(el('label', { class: 'og-inline', for: resolution.id }, 'Resolution', resolution), list);
  function image(each) {
    const how = each.scale > 1 ? `upscaled ${each.scale.toFixed(2)} times` : `scaled to ${format.percent(each.scale * 100)}`;
    const cut = each.cropped > 0 ? `, ${format.percent(each.cropped * 100)} cropped` : '';
    return el(
      'li',
      {},
      el('span', { text: each.path }),
      el('span', { class: 'og-muted', text: `${each.width} × ${each.height} → ${each.bucket.join(' × ')}: ${how}${cut}` }),
    );
  }
  /** @param {number[] | null} bucket */
  async function draw(bucket = null) {
    try {
      const body = { folder: images.folder, filter: images.filter, resolution: resolution.value, bucket, limit: MAX_SHOWN };
      const view = await api('POST', 'api/datasets/buckets', body);
      const most = Math.max(1, ...view.resolutions.flatMap((each) => each.buckets.map((one) => one.images)));
      const bar = (one) =>
        el(
          'li',
          {},
          button(`${one.width} × ${one.height}`, {
            kind: 'quiet',
            onclick: () => draw([one.width, one.height]),
          }),
          el('meter', {
            max: String(most),
            value: String(one.images),
            'aria-label': `${one.images} images of ${one.width} × ${one.height}`,
          }),
          el('span', { class: 'og-muted', text: format.count(one.images) }),
        );
      const tables = view.resolutions.map((each) =>
        el(
          'section',
          {},
          el('h2', { text: `Resolution ${each.resolution}` }),
          el('ul', { class: 'og-data-list' }, each.buckets.map(bar)),
        ),
      );
      list.replaceChildren(
        ...tables,
        el('h2', { text: bucket ? `Images of ${bucket.join(' × ')}` : 'Images' }),
        el('ul', { class: 'og-data-list' }, view.images.map(image)),
      );
    } catch (error) {
      list.replaceChildren(el('p', { class: 'og-below-problem', text: error.message }));
    }
  }
  await draw();
  list.append(await balance());
}

/** How much of an epoch each concept is. */
async function balance() {
  const answer = await api('POST', 'api/concepts/statistics', {}).catch(() => null);
  const concepts = (answer?.concepts || []).filter((each) => each.enabled && each.per_epoch);
  if (!concepts.length) return el('p', { class: 'og-muted', text: 'No concept uses a dataset yet.' });
  const all = concepts.reduce((sum, each) => sum + each.per_epoch, 0);
  const row = (each) =>
    el(
      'li',
      {},
      el('span', { text: each.name || each.folder }),
      el('meter', { max: '1', value: String(each.per_epoch / all), 'aria-label': `Share of ${each.name || each.folder}` }),
      el('span', {
        class: 'og-muted',
        text: `${format.count(each.per_epoch)} images per epoch, ${format.percent((100 * each.per_epoch) / all)}`,
      }),
    );
  return el(
    'section',
    {},
    el('h2', { text: 'Balance between concepts' }),
    el('ul', { class: 'og-data-list' }, concepts.map(row)),
  );
}

/** What was deleted, and how to get it back. */
export async function trashView(place, { images, changed }) {
  const { entries } = await api('GET', `api/datasets/trash?${query(images.folder)}`);
  async function restore(entry) {
    try {
      const answer = await api('POST', 'api/datasets/trash/restore', { folder: images.folder, entry });
      toast(`${answer.restored} ${answer.restored === 1 ? 'file' : 'files'} restored.`);
      changed();
      await trashView(place, { images, changed });
    } catch (error) {
      toast(error.message, 'bad');
    }
  }
  const row = (entry) =>
    el(
      'li',
      {},
      el('span', {
        text: `${entry.reason}: ${entry.files.slice(0, 3).join(', ')}${entry.count > 3 ? ` and ${entry.count - 3} more` : ''}`,
      }),
      el('span', { class: 'og-muted og-small', text: format.time(entry.at) }),
      button('Restore', { disabled: !images.writable, onclick: () => restore(entry.id) }),
    );
  const list = el('ul', { class: 'og-data-list' }, entries.map(row));
  setVisible(list, entries.length > 0);
  place.replaceChildren(
    el('p', {
      class: 'og-muted',
      text: entries.length ? 'Deleted files stay in the folder .trash of the dataset.' : 'The trash is empty.',
    }),
    list,
  );
}
