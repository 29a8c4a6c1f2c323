// Style sheets of parts that the first view does not need.

const asked = new Map();

/** Load a style sheet next to this file; resolves when it applies, also if it can't be loaded. */
export function sheet(name) {
  if (!asked.has(name)) {
    asked.set(
      name,
      new Promise((resolve) => {
        const link = document.createElement('link');
        link.rel = 'stylesheet';
        link.href = new URL(`./${name}`, import.meta.url).href;
        link.onload = resolve;
        link.onerror = resolve;
        document.head.append(link);
      }),
    );
  }
  return asked.get(name);
}
