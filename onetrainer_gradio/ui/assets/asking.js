// What asks the server again whenever a setting that it depends on changes.

import { el, setText, setVisible } from './dom.js';

const BUSY_MS = 3000; // until a busy server is asked once more

/**
 * Ask the server again whenever what it depends on is another, also while someone types.
 * `depends` gives the paths, `ask` sends the values that are typed but not saved, `draw` shows the answer.
 */
export function asking(settings, node, depends, ask, draw, { after = 120 } = {}) {
  const problem = el('p', { class: 'og-below-problem', hidden: true });
  let key = '';
  let timer = 0;
  const shown = () => JSON.stringify(depends().map((path) => settings.shownValue(path)));
  const typed = () =>
    Object.fromEntries(
      depends()
        .filter((path) => settings.shownValue(path) !== settings.value(path))
        .map((path) => [path, settings.shownValue(path)]),
    );

  async function send() {
    const wanted = key;
    try {
      const answer = await ask(typed());
      if (wanted !== key) return;
      node.classList.remove('stale');
      setVisible(problem, false);
      draw(answer);
    } catch (error) {
      if (wanted !== key) return;
      node.classList.add('stale');
      setText(problem, error.errors?.[0]?.message || error.message);
      setVisible(problem, true);
      if (error.status === 0) key = '';
      else if (error.status === 503) timer = setTimeout(() => node.isConnected && send(), BUSY_MS);
    }
  }
  node.update = (fresh = false) => {
    const now = shown();
    if (now === key && !fresh) return;
    const first = !key;
    key = now;
    clearTimeout(timer);
    timer = setTimeout(send, first ? 0 : after);
  };
  // typing notifies nothing: the text is only in the drafts
  document.addEventListener('input', function listen(/** @type {any} */ event) {
    if (!node.isConnected) {
      if (key) document.removeEventListener('input', listen);
      return;
    }
    if (event.target.dataset?.path && depends().includes(event.target.dataset.path)) node.update();
  });
  return problem;
}
