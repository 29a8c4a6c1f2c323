// The settings of a run and how they differ from those of any other run, of the form, or of the defaults.

import { el, format, setText } from './dom.js';
import { api } from './live.js';
import { differenceTable } from './table.js';

const RUNS = 100;
const SEARCH_MS = 250;

const option = (value, text) => el('option', { value, text });

/** A list of the newest runs, and a search for the others. The chosen run stays in it. */
function otherRuns(id) {
  const group = el('optgroup', { label: 'Runs' });
  const search = el('input', {
    type: 'search',
    placeholder: 'Search runs',
    autocomplete: 'off',
    'aria-label': 'Search runs to compare with',
    oninput: () => {
      clearTimeout(later);
      later = setTimeout(offer, SEARCH_MS);
    },
  });
  /** @type {any} */
  let later = 0;
  async function offer() {
    const wanted = search.value.trim();
    const query = new URLSearchParams({ limit: String(RUNS), archived: 'all', search: wanted });
    const { runs } = await api('GET', `api/runs?${query}`);
    if (wanted !== search.value.trim()) return;
    const made = runs
      .filter((run) => run.id !== id)
      .map((run) => option(`run:${run.id}`, `${run.name || run.id}, ${format.time(run.created_at)}`));
    const kept = [...group.querySelectorAll('option:checked')].filter((old) => !made.some((each) => each.value === old.value));
    const chosen = group.closest('select')?.value;
    group.replaceChildren(...kept, ...made);
    for (const each of made) if (each.value === chosen) each.selected = true;
  }
  return { group, search, offer };
}

export async function differencesOf(place, id) {
  const { group, search, offer } = otherRuns(id);
  await offer();
  const against = el('select', { onchange: draw }, option('current', 'the form'), option('defaults', 'the defaults'), group);
  const count = el('p', { class: 'og-muted og-small', role: 'status' });
  const body = el('div');
  const label = el('label', { class: 'og-inline' }, el('span', { text: 'Compare with' }), against);
  place.append(el('div', { class: 'og-buttons' }, label, el('span', {}, search)), count, body);
  let asked = 0;
  async function draw() {
    asked += 1;
    const mine = asked;
    const query = new URLSearchParams({ left: `run:${id}`, right: against.value });
    try {
      const { differences } = await api('GET', `api/config/diff?${query}`);
      if (mine !== asked) return;
      const { length } = differences;
      setText(
        count,
        length ? `${format.count(length)} ${length === 1 ? 'setting differs' : 'settings differ'}.` : 'No differences.',
      );
      const title = against.selectedOptions[0].textContent || '';
      body.replaceChildren(length ? differenceTable(differences, 'This run', title) : '');
    } catch (error) {
      if (mine === asked) setText(count, error.message);
    }
  }
  await draw();
}
