// Reordering by drag: with a mouse, a pen or a finger, by the handle of a line.

/**
 * Let the lines of a list with `data-item` and a place be dragged by their `.og-queue-handle`.
 * `drop(id, to)` is called with where to: `{before: id}` or `{after: id}`.
 */
export function dragging(list, drop) {
  /** @type {{ line: HTMLElement, target: HTMLElement | null, below: boolean } | null} */
  let held = null;

  const lines = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll('[data-place]')]);
  const unmark = () => {
    for (const line of lines()) line.classList.remove('drop-before', 'drop-after');
  };

  function over(y) {
    if (!held) return;
    unmark();
    const others = lines().filter((line) => line !== held?.line);
    const next = others.find((line) => y < middle(line));
    held.target = next || others.at(-1) || null;
    held.below = !next;
    held.target?.classList.add(held.below ? 'drop-after' : 'drop-before');
  }

  function end(done) {
    if (!held) return;
    const { line, target, below } = held;
    held = null;
    unmark();
    line.classList.remove('dragged');
    delete list.dataset.dragging;
    const id = target?.dataset.item;
    drop(done && id ? line.dataset.item : '', below ? { after: id } : { before: id });
  }

  list.addEventListener('pointerdown', (event) => {
    const handle = event.target.closest?.('.og-queue-handle');
    const line = handle?.closest('[data-place]');
    if (!line || event.button !== 0) return;
    event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    held = { line, target: null, below: false };
    line.classList.add('dragged');
    list.dataset.dragging = 'yes';
  });
  list.addEventListener('pointermove', (event) => over(event.clientY));
  list.addEventListener('pointerup', () => end(true));
  list.addEventListener('pointercancel', () => end(false));
  list.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && held) end(false);
  });
}

const middle = (line) => {
  const { top, height } = line.getBoundingClientRect();
  return top + height / 2;
};
