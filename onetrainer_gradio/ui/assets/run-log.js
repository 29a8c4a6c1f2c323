// What a run printed, and its warnings and errors.

import { button, el, format, icon } from './dom.js';
import { api, url } from './live.js';

const MOST = 500;
const PART = 64 * 1024;

/** The end of the console log, with what comes before it on demand. */
export async function logOf(place, id) {
  const path = `api/runs/${encodeURIComponent(id)}/log`;
  const text = el('pre', { class: 'og-log', tabindex: 0, role: 'region', 'aria-label': 'Log of the run' });
  const found = await api('GET', path);
  let { offset: first } = found;
  text.textContent = found.text || 'The log is empty.';
  const earlier = button('Show earlier lines', {
    kind: 'small',
    hidden: first === 0,
    onclick: async () => {
      const start = Math.max(0, first - PART);
      const part = await api('GET', `${path}?offset=${start}`);
      // the part may reach into what is shown; positions are in bytes
      const bytes = new TextEncoder().encode(part.text).slice(0, first - start);
      text.prepend(new TextDecoder().decode(bytes));
      first = start;
      earlier.hidden = first === 0;
    },
  });
  const download = el(
    'a',
    { class: 'og-button small', href: url(`${path}.txt`), download: true },
    icon('download'),
    el('span', { text: 'Download log' }),
  );
  place.append(text, el('div', { class: 'og-buttons' }, earlier, download));
  text.scrollTop = text.scrollHeight;
}

/** The warnings of a run and its end, oldest first. */
export async function warningsOf(place, id) {
  const types = 'warning_issued,backup_failed,save_failed,run_ended';
  const { events } = await api('GET', `api/runs/${encodeURIComponent(id)}/journal?limit=${MOST}&types=${types}`);
  const lines = events
    .map((event) => [event.at, event.message || event.error?.message, event.error?.suggestion])
    .filter(([, text]) => text);
  if (!lines.length) {
    place.append(el('p', { class: 'og-empty', text: 'No warnings or errors.' }));
    return;
  }
  place.append(
    el(
      'ul',
      { class: 'og-run-events' },
      lines.map(([at, text, suggestion]) =>
        el(
          'li',
          {},
          el('time', { class: 'og-muted', text: format.time(at) }),
          el('span', { text: [text, suggestion].filter(Boolean).join(' ') }),
        ),
      ),
    ),
  );
}
