// What both components do with the page: find an element, listen, and draw a line that is seen on any ground.

/**
 * What Streamlit gives a component.
 * @template D
 * @typedef {{parentElement: HTMLElement | ShadowRoot, data: D, setStateValue: (name: string, value: unknown) => void,
 *   setTriggerValue: (name: string, value: unknown) => void}} Component
 */

export const DARK = "#18181b";

/**
 * The element of that kind below a root. Raises where there is none.
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} kind
 */
export function find(root, selector, kind) {
  const found = root.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`${selector} is missing`);
  return found;
}

/** @param {HTMLCanvasElement} canvas */
export function inkOf(canvas) {
  const ink = canvas.getContext("2d");
  if (!ink) throw new Error("A canvas gives no 2d context");
  return ink;
}

/**
 * A line on a broader dark one: it is seen on dark nuclei as well as on white glass. Widths in units of `pixel`.
 * @param {CanvasRenderingContext2D} ink
 * @param {Path2D} path
 * @param {{pixel?: number, width?: number, colour?: string, dash?: number[]}} [style]
 */
export function stroke(ink, path, { pixel = 1, width = 1.5, colour = "#fff", dash = [] } = {}) {
  ink.lineJoin = ink.lineCap = "round";
  Object.assign(ink, { strokeStyle: DARK, lineWidth: (width + 2) * pixel });
  ink.stroke(path);
  ink.setLineDash(dash);
  Object.assign(ink, { strokeStyle: colour, lineWidth: width * pixel });
  ink.stroke(path);
  ink.setLineDash([]);
}
