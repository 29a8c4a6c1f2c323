// What the page's scripts may take for granted of its document. Read by tsc only; the browser never gets this file.

// the page's document holds HTML and SVG only
interface Element extends HTMLOrSVGElement {
  /** Draw again what has changed: on nodes that show settings. */
  update: (...args: any[]) => any;
}

interface HTMLElement {
  /** Unfold what holds a setting and return its row. */
  reveal?: (path: string) => Element;
  /** What a person has unfolded in a list, and how to do so again in the one that replaces it. */
  unfolded?: () => any;
  unfold?: (was: any) => void;
}

interface ParentNode {
  // no selector of ours finds an element of an SVG
  querySelector<K extends keyof HTMLElementTagNameMap>(selectors: K): HTMLElementTagNameMap[K] | null;
  querySelector(selectors: string): HTMLInputElement | null;
  querySelectorAll<K extends keyof HTMLElementTagNameMap>(selectors: K): NodeListOf<HTMLElementTagNameMap[K]>;
  querySelectorAll(selectors: string): NodeListOf<HTMLInputElement>;
}

interface Window {
  og: unknown;
}

interface Document {
  getElementById(id: string): HTMLInputElement | null;
}
