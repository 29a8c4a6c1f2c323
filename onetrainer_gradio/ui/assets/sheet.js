// Style sheets of parts that the first view does not need.

const asked = new Map();

/** Fetch a style sheet that lies beside this file; resolves when it applies, also when it cannot be fetched. */
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
