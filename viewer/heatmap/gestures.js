// Wheel, fingers, mouse and keys on a pane: what they mean for its view.

/**
 * @import { Listen } from "./mounted.js"
 *
 * What a pane can do. `size`: in CSS pixels. `passing`: the wheel event that scrolls the page and not the pane, if any.
 * `point`: where the pointer is, null where it has left.
 * @typedef {{size: () => {width: number, height: number}, passing: () => WheelEvent | null,
 *   zoom: (factor: number, x?: number, y?: number) => void, pan: (right: number, down: number) => void,
 *   fit: () => void, lens: () => void, point: (x: number | null, y?: number) => void}} Acts
 */

/** @param {HTMLElement} pane @param {Listen} listen @param {Acts} acts */
export function listenTo(pane, listen, { size, passing, zoom, pan, fit, lens, point }) {
  /** @type {Map<number, {x: number, y: number}>} */
  const held = new Map();
  /** @param {MouseEvent} event */
  const place = (event) => {
    const box = pane.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  listen(pane, "wheel", (event) => {
    if (event === passing()) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const { x, y } = place(event);
    zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
    point(x, y);
  }, { passive: false });
  listen(pane, "pointerdown", (event) => {
    if (event.button) return;
    pane.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    pane.classList.add("held");
  });
  listen(pane, "pointermove", (event) => {
    const now = place(event);
    const last = held.get(event.pointerId);
    if (last) {
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      pan((last.x - now.x) / (other ? 2 : 1), (last.y - now.y) / (other ? 2 : 1));
      if (other) {
        /** @param {{x: number, y: number}} one */
        const apart = (one) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
        zoom(apart(now) / apart(last), (now.x + other.x) / 2, (now.y + other.y) / 2);
      }
      held.set(event.pointerId, now);
    }
    point(now.x, now.y);
  });
  for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
    listen(pane, end, (event) => {
      held.delete(event.pointerId);
      pane.classList.toggle("held", held.size > 0);
    });
  }
  listen(pane, "pointerleave", () => point(null));
  listen(pane, "focus", () => {
    if (pane.matches(":focus-visible")) point(size().width / 2, size().height / 2);
  });
  listen(pane, "blur", () => point(null));
  listen(pane, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = size();
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => pan(-width / 8, 0),
      ArrowRight: () => pan(width / 8, 0),
      ArrowUp: () => pan(0, -height / 8),
      ArrowDown: () => pan(0, height / 8),
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(1 / 1.25),
      0: fit,
      l: lens,
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has shortcuts of its own.
    keys[event.key]();
    point(width / 2, height / 2);
  });
}
