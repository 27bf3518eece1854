// What every viewer of maps does with its place on the page: it listens as long as it is there, tells the server once of
// what goes wrong, follows the page's theme, and draws once a frame at most.

import { find, inkOf } from "../dom.js";

/**
 * @import { Component } from "../dom.js"
 * @import { Change } from "./state.js"
 *
 * Listens as long as the viewer is there, and tells the server of what goes wrong.
 * @typedef {<K extends keyof HTMLElementEventMap>(target: EventTarget, kind: K,
 *   act: (event: HTMLElementEventMap[K]) => unknown, options?: AddEventListenerOptions) => void} Listen
 */

export class Mounted {
  /** @type {AbortController} */ #closing = new AbortController();
  /** @type {Set<Change>} */ #changed = new Set();
  #failed = false;
  #frame = 0;

  /** @param {HTMLElement} root @param {Component<Uint8Array>} component */
  constructor(root, component) {
    this.root = root;
    this.component = component;
    // The style sheet gives this property, which nothing shows, the page's ground and the shortest transition there is.
    this.listen(root, "transitionend", (event) => {
      if (event.target === root && event.propertyName === "text-decoration-color") this.followTheme();
    });
  }

  get closed() {
    return this.#closing.signal.aborted;
  }

  /** Whatever goes wrong is told to the server once, which shows the plain page instead. @param {() => unknown} work */
  guarded(work) {
    /** @param {unknown} error */
    const failed = (error) => {
      if (this.#failed) return;
      this.#failed = true;
      const said = error instanceof Error ? error.message : String(error);
      this.component.setTriggerValue("failed", said.slice(0, 200));
    };
    try {
      Promise.resolve(work()).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** @type {Listen} */
  listen = (target, kind, act, options = {}) => {
    const heard = /** @param {any} event */ (event) => this.guarded(() => act(event));
    target.addEventListener(kind, heard, { signal: this.#closing.signal, ...options });
  };

  /** In the next frame, when a size has changed: a layout inside the observer's own would be told of itself.
   * @param {(Element | null)[]} elements @param {() => void} layout */
  whenResized(elements, layout) {
    const resized = new ResizeObserver(() => requestAnimationFrame(() => !this.closed && this.guarded(layout)));
    for (const one of elements) if (one) resized.observe(one);
    this.#closing.signal.addEventListener("abort", () => resized.disconnect());
  }

  /** The button that fills the screen. @param {() => void} layout */
  offerFullScreen(layout) {
    const full = find(this.root, ".full", HTMLElement);
    full.hidden = !document.fullscreenEnabled;
    const change = () => document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen();
    this.listen(full, "click", change);
    this.listen(document, "fullscreenchange", () => {
      full.setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
      layout();
    });
  }

  close() {
    this.#closing.abort();
  }

  followTheme() {
    const probe = inkOf(document.createElement("canvas"));
    probe.fillStyle = getComputedStyle(this.root).getPropertyValue("--st-background-color").trim() || "#fff";
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
    this.root.style.colorScheme = red + green + blue < 384 ? "dark" : "light";
    this.touch("view");
  }

  /** Computes and draws once a frame at most. @param {Change} part */
  touch(part) {
    this.#changed.add(part);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.closed) return;
      this.guarded(() => {
        if (this.work(this.#changed)) this.#changed.clear();
      });
    });
  }

  /** @param {Set<Change>} _changed @returns {boolean} whether there was something to work on */
  work(_changed) {
    return false;
  }

  /** @param {Uint8Array} _data */
  async update(_data) {}
}

/**
 * What Streamlit calls with a component's data, and again on every rerun.
 * @param {(root: HTMLElement, component: Component<Uint8Array>) => Mounted} made
 */
export function mounting(made) {
  /** @type {WeakMap<Node, Mounted>} */
  const viewers = new WeakMap();
  return (/** @type {Component<Uint8Array>} */ component) => {
    const { parentElement, data } = component;
    const viewer = viewers.get(parentElement) ?? made(find(parentElement, ".viewer", HTMLElement), component);
    viewers.set(parentElement, viewer);
    viewer.component = component;
    viewer.guarded(() => viewer.update(data));
    return () => {
      viewer.close();
      viewers.delete(parentElement);
    };
  };
}
