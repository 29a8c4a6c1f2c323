// The statistics of a concept's folder: files, captions, sizes and buckets.

import { el, format } from './dom.js';

const MAX_BUCKETS = 12;
/** @type {Record<string, string>} */
const SOURCES = { concept: 'single text file', filename: 'image file names' };

/**
 * @param {number} count
 * @param {string} one
 */
export const plural = (count, one, many = `${one}s`) => `${format.count(count)} ${count === 1 ? one : many}`;
/**
 * @param {number} width
 * @param {number} height
 */
export const by = (width, height) => `${width} × ${height}`;

/** @param {any[]} parts */
const joined = (parts, between = ', ') => parts.filter(Boolean).join(between);
/** @param {[string, string][]} files */
const reasons = (files) => files.map(([name, why]) => `${name}: ${why}`).join('; ');

/**
 * @param {string} name
 * @param {string} text
 */
const row = (name, text, tone = '', more = '') =>
  el(
    'div',
    {},
    el('dt', { text: name }),
    el('dd', { class: tone }, el('span', { text }), more && el('small', { class: 'og-muted', text: more })),
  );

/** @param {any} mine */
export function statistics(mine) {
  if (mine.problem) return [el('p', { class: 'og-below-problem', text: mine.problem })];
  const { broken, skipped, masks, conditions, sizes } = mine;
  const rows = [
    files(mine),
    broken.count && row('Broken', plural(broken.count, 'file'), 'bad', reasons(broken.first)),
    skipped.count && row('Skipped', plural(skipped.count, 'file'), 'warn', reasons(skipped.first)),
    captionRow(mine.captions),
    (masks || conditions) &&
      row(
        'Masks and conditioning images',
        joined([masks && plural(masks, 'mask'), conditions && plural(conditions, 'conditioning image')]),
      ),
    sizes && sizeRow(sizes),
    mine.enabled && row('Images per epoch', format.count(mine.per_epoch)),
  ].filter(Boolean);
  const { tags } = mine.captions;
  const common = el('div', { class: 'og-tags' }, el('h5', { text: 'Most common tags' }), el('ul', {}, tags.map(tag)));
  return [
    el('dl', { class: 'og-folder-list' }, rows),
    ...(tags.length ? [common] : []),
    .../** @type {any[]} */ (mine.resolutions).map(shapes),
  ];
}

/** @param {[string, number]} tag */
const tag = ([name, count]) =>
  el('li', {}, el('span', { text: name }), el('small', { class: 'og-muted', text: format.count(count) }));

/** @param {any} mine */
function files({ images, videos, formats, bytes }) {
  const kinds = /** @type {[string, number][]} */ (Object.entries(formats)).map(
    ([name, count]) => `${format.count(count)} ${name}`,
  );
  const text = joined([plural(images, 'image'), videos && plural(videos, 'video')]);
  return row('Files', text, '', joined([kinds.join(', '), format.bytes(bytes)], ' · '));
}

/** @param {any} captions */
function captionRow({ source, missing, empty, unreadable, converted, without, words }) {
  if (source !== 'sample') return row('Captions', SOURCES[source]);
  const bad = missing || empty || unreadable.length || converted.count;
  const text = joined([
    missing ? `${format.count(missing)} missing` : bad ? '' : 'one per image',
    empty && `${format.count(empty)} empty`,
    unreadable.length && `unreadable: ${unreadable.join(', ')}`,
    converted.count && `${format.count(converted.count)} not UTF-8`,
  ]);
  const names = without.join(', ') + (missing > without.length ? '…' : '');
  const [least, middle, most] = words || [];
  const lengths = least === most ? `${least} words each` : `${least} to ${most} words, ${middle} on average`;
  return row('Captions', text, bad ? 'warn' : '', joined([names, words && lengths], ' · '));
}

/** @param {Record<string, [number, number]>} sizes */
function sizeRow({ smallest, middle, largest }) {
  const [least, most] = [by(...smallest), by(...largest)];
  if (least === most) return row('Sizes', `all ${most}`);
  return row('Sizes', `${least} to ${most}`, '', `median ${by(...middle)}`);
}

/**
 * The buckets at a resolution, as bars with their aspect ratio.
 * @param {{resolution: string, small: number, buckets: {width: number, height: number, images: number}[]}} shapes
 */
function shapes({ resolution, small, buckets }) {
  const most = Math.max(...buckets.map((bucket) => bucket.images));
  const longest = (/** @type {{width: number, height: number}} */ bucket) => Math.max(bucket.width, bucket.height);
  const line = (/** @type {{width: number, height: number, images: number}} */ bucket) =>
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
    el('ul', {}, buckets.slice(0, MAX_BUCKETS).map(line)),
    buckets.length > MAX_BUCKETS &&
      el('p', { class: 'og-muted og-small', text: `and ${buckets.length - MAX_BUCKETS} more buckets` }),
    small > 0 &&
      el('p', {
        class: 'og-note',
        text: `${plural(small, 'image')} ${small === 1 ? 'has' : 'have'} less than half the pixels of this resolution and will be upscaled.`,
      }),
  );
}
