// Search in the settings: by label, by the names that other trainers use, by configuration key, then by help text.

import { api } from './live.js';

const words = (text) =>
  text
    .toLowerCase()
    .split(/[^\p{L}\p{N}.+-]+/u)
    .flatMap((word) => [word, ...word.split(/[.+-]/)])
    .filter(Boolean);
/** A key such as `concepts[].image.enable_random_flip`, as text. */
const keyWords = (path) =>
  path
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(Boolean);
// "batch_size", "batch size" and "batch-size" are one name
const flat = (name) =>
  name
    .toLowerCase()
    .replace(/[\s_.-]+/g, ' ')
    .trim();
const begins = (terms, asked) => asked.every((word) => terms.some((term) => term.startsWith(word)));

/** What a field can be found by, made once. */
function entryOf({ schema, label, path, help = '' }, aliases, groupTitle) {
  const labelWords = words(label);
  const aliasWords = aliases.flatMap((alias) => words(alias.replaceAll('_', ' ')));
  const key = keyWords(path);
  return {
    label: flat(label),
    aliases: aliases.map(flat),
    path: path.toLowerCase(),
    key: flat(path.split('.').pop()),
    labelWords,
    aliasWords,
    keyWords: key,
    named: [...labelWords, ...aliasWords, ...key],
    all: [
      ...labelWords,
      ...aliasWords,
      ...key,
      ...words(
        [help, groupTitle, ...(schema.enum || []), ...Object.values(schema['x-enum-labels'] || {})]
          .join(' ')
          .replaceAll('_', ' '),
      ),
    ],
  };
}

/** How close an entry is to a query: 0 is closest, Infinity is no match. Exact label, exact other name or key, label, other name, key, help. */
function distance(entry, query, asked) {
  const name = flat(query);
  const tests = [
    () => entry.label === name,
    () => entry.aliases.includes(name) || entry.key === name || entry.path === query,
    () => entry.label.startsWith(name),
    () => begins(entry.labelWords, asked),
    () => begins(entry.aliasWords, asked),
    () => begins(entry.keyWords, asked) || entry.path.includes(query),
    () => begins(entry.named, asked),
    () => begins(entry.all, asked),
  ];
  const at = tests.findIndex((test) => test());
  return at < 0 ? Infinity : at;
}

/** `(query) -> {fields, within, unseen}`, each sorted by how close it is; `within` are settings of the elements of a list. */
export async function searcher(settings, fields, titleOf) {
  // without them search still works by label, key and help
  const { aliases } = await api('GET', 'api/config/aliases').catch(() => ({ aliases: {} }));
  const paths = new Map(fields.map((field) => [field, field.path]));
  for (const [list, inner] of settings.inner) for (const field of inner) paths.set(field, `${list}[].${field.path}`);
  const made = new Map();
  const entry = (field) => {
    if (!made.has(field)) made.set(field, entryOf(field, aliases[paths.get(field)] || [], titleOf(field.group)));
    return made.get(field);
  };
  const levels = ['basic', 'advanced', 'expert'];
  return (typed) => {
    const query = typed.trim().toLowerCase();
    const asked = query.split(/[\s_]+/).filter(Boolean);
    const ranked = (list, fieldOf) =>
      list
        .map((item, order) => {
          const field = fieldOf(item);
          // at the same distance: what can be used now, then what most people need, then the order of the form
          return {
            item,
            far: distance(entry(field), query, asked),
            unused: Number(!settings.applies(field)),
            level: levels.indexOf(field.level),
            order,
          };
        })
        .filter(({ far }) => far < Infinity)
        .sort((a, b) => a.far - b.far || a.unused - b.unused || a.level - b.level || a.order - b.order);
    const found = ranked(fields, (field) => field);
    const within = ranked(
      [...settings.inner].flatMap(([list, inner]) => inner.map((field) => ({ list, field }))),
      ({ field }) => field,
    );
    const unseen = Object.entries({ ...settings.schema['x-not-offered'], ...settings.elsewhere }).filter(
      ([path, why]) => path.toLowerCase().includes(query) || begins([...keyWords(path), ...words(why)], asked),
    );
    return {
      fields: found.map(({ item }) => item),
      within: within.map(({ item }) => item),
      unseen,
      withinFirst: Boolean(within.length) && within[0].far < (found[0]?.far ?? Infinity),
    };
  };
}
