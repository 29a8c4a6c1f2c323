// The title and the icon of the page: state and percent of the run, for whoever looks at another tab.

// tone of a state -> the color of the icon; the same in light and dark, since the browser's tabs have their own theme
const COLORS = { busy: '#3558d4', warn: '#b26a00', good: '#1d7f46', bad: '#c0392b', idle: '#5f6673' };
const MARKS = { good: 'M8 17l5 5 11-12', bad: 'M16 7v11M16 24v1', idle: 'M11 9v14M21 9v14', warn: 'M11 9v14M21 9v14' };
const RING = 2 * Math.PI * 13;

/** An icon as an address: the percent in a ring, or a sign for how the run ended. */
export function iconOf({ tone, active, fraction, percent }) {
  const color = COLORS[tone] || COLORS.idle;
  const number = percent.replace('%', '');
  const ring = active
    ? `<circle cx="16" cy="16" r="13" fill="none" stroke="#fff" stroke-width="3" stroke-dasharray="${(RING * fraction).toFixed(1)} 99" transform="rotate(-90 16 16)"/>`
    : '';
  const sign =
    active && tone === 'busy'
      ? `<text x="16" y="21" text-anchor="middle" font-family="sans-serif" font-weight="700" font-size="${number.length > 2 ? 10 : 13}" fill="#fff">${number}</text>`
      : `<path d="${MARKS[tone] || MARKS.idle}" fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" stroke-linejoin="round"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="${color}"/>${ring}${sign}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** A title that begins with what matters most, since a tab shows little of it. */
export const titleOf = ({ active, percent, label }) => `${active ? `${percent} ` : ''}${label} – OneTrainer panel`;

let shown = '';

/** Show a state, as `describe` of `words.js` returns it. */
export function show(words) {
  document.title = titleOf(words);
  const address = iconOf(words);
  if (address === shown) return;
  shown = address;
  document.querySelector('link[rel=icon]')?.setAttribute('href', address);
}
