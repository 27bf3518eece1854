// The heat map viewer: patch, Grad-CAM and DT Grad-CAM; everything acts at once on the raw map that it holds.
//
// Streamlit calls the default export with the component's data (state.js tells what they are) and again on every rerun.
// Settings go back as the component's state when a control is let go; nothing is sent while it moves.

import { find, inkOf } from "../dom.js";
import { ColourBar } from "./colour_bar.js";
import { Controls } from "./controls.js";
import { Panes } from "./panes.js";
import { RegionTable } from "./regions.js";
import { HeatMap, unpack } from "./state.js";

/**
 * @import { Component } from "../dom.js"
 * @import { Change, ImagePlace, Settings } from "./state.js"
 *
 * Listens as long as the viewer is there, and tells the server of what goes wrong.
 * @typedef {<K extends keyof HTMLElementEventMap>(target: EventTarget, kind: K,
 *   act: (event: HTMLElementEventMap[K]) => unknown, options?: AddEventListenerOptions) => void} Listen
 */

/** @type {WeakMap<Node, Viewer>} */
const viewers = new WeakMap();

/** @param {Component<Uint8Array>} component */
export default function mount(component) {
  const { parentElement, data } = component;
  const known = viewers.get(parentElement);
  const viewer = known ?? new Viewer(find(parentElement, ".viewer", HTMLElement), component);
  viewers.set(parentElement, viewer);
  viewer.component = component;
  viewer.guarded(() => viewer.update(data));
  return () => {
    viewer.close();
    viewers.delete(parentElement);
  };
}

class Viewer {
  /** @type {AbortController} */ #closing = new AbortController();
  /** @type {Set<Change>} */ #changed = new Set();
  /** @type {HeatMap | undefined} */ #map;
  /** @type {{panes: Panes, controls: Controls | null, bar: ColourBar, table: RegionTable} | undefined} */ #parts;
  /** @type {ResizeObserver | undefined} */ #resized;
  #start = "";
  #failed = false;
  #frame = 0;
  #sending = 0;

  /** @param {HTMLElement} root @param {Component<Uint8Array>} component */
  constructor(root, component) {
    this.root = root;
    this.component = component;
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

  close() {
    this.#closing.abort();
    this.#resized?.disconnect();
  }

  /** @param {Uint8Array} data */
  async update(data) {
    const { header, part } = unpack(data);
    this.#followTheme();
    if (header.start === this.#start) return;
    this.#start = header.start;
    /** @param {ImagePlace | null} one */
    const bitmap = async (one) => one && createImageBitmap(new Blob([part(one)], { type: one.type }));
    const [display, detail] = await Promise.all([bitmap(header.image), bitmap(header.detail)]);
    if (this.#closing.signal.aborted || header.start !== this.#start || !display) return;

    const map = new HeatMap(header, part, display, detail);
    const anew = map.header.id !== this.#map?.header.id;
    this.#map = map;
    const { panes, controls } = (this.#parts ??= this.#build(map));
    panes.show(map, anew);
    if (anew) panes.scroller?.scrollTo({ top: 0 }); // on a phone it was chosen far below where it is seen
    controls?.fill(map);
    find(this.root, ".verdict", HTMLElement).textContent = header.verdict;
    panes.name();
    find(this.root, ".starting", HTMLElement).hidden = true;
    find(this.root, ".stage", HTMLElement).hidden = false;
    panes.layout();
    this.#touch("field");
  }

  #followTheme() {
    const probe = inkOf(document.createElement("canvas"));
    probe.fillStyle = getComputedStyle(this.root).getPropertyValue("--st-background-color").trim() || "#fff";
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
    this.root.style.colorScheme = red + green + blue < 384 ? "dark" : "light";
    this.#touch("view");
  }

  /** @param {HeatMap} map */
  #build(map) {
    const [{ root, listen }, redraw] = [this, () => this.#touch("view")];
    const panes = new Panes(root, listen, map, redraw, (number) => this.#choose(number));
    const bare = !map.header.targets.length;
    root.classList.toggle("bare", bare);
    const controls = bare ? null : new Controls(
      root, listen, map, (change, part, done) => this.#set(change, part, done), (shown) => panes.choose(shown),
    );
    const table = new RegionTable(root, listen, (number) => this.#choose(number), (number) => panes.goTo(number));
    listen(find(root, ".reset", HTMLElement), "click", () => {
      panes.fit();
      if (this.#map) this.#set({ ...this.#map.header.usual }, "field", true);
    });
    const full = find(root, ".full", HTMLElement);
    full.hidden = !document.fullscreenEnabled;
    listen(full, "click", () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
    listen(document, "fullscreenchange", () => {
      full.setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
      panes.layout();
    });
    // In the next frame: a layout inside the observer's own would be told of itself.
    this.#resized = new ResizeObserver(() => requestAnimationFrame(() => this.guarded(() => panes.layout())));
    this.#resized.observe(root);
    if (panes.page) this.#resized.observe(panes.page);
    return { panes, controls, bar: new ColourBar(root), table };
  }

  /**
   * A change of the settings; `part` is what must be computed anew, `done` sends it to the server.
   * @param {Partial<Settings>} change
   * @param {Change} part
   * @param {boolean} [done]
   */
  #set(change, part, done = false) {
    const [map, parts] = [this.#map, this.#parts];
    if (!map || !parts) return;
    const { panes, controls } = parts;
    Object.assign(map.settings, change);
    if (done) controls?.fill();
    else controls?.fillSliders();
    panes.name();
    this.#touch(part);
    clearTimeout(this.#sending);
    if (!done) return;
    this.#sending = setTimeout(() => this.guarded(() => {
      map.remember();
      this.component.setStateValue("settings", { start: map.header.start, ...map.settings });
      controls?.say();
    }), controls?.typing ? 150 : 0);
  }

  /** A region is pointed at, in the image or in the table. @param {number} number -1 none */
  #choose(number) {
    if (!this.#map || this.#map.chosen === number) return;
    this.#map.chosen = number;
    this.#parts?.table.choose(number);
    this.#touch("threshold");
  }

  /** Computes and draws once a frame at most. @param {Change} part */
  #touch(part) {
    this.#changed.add(part);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#closing.signal.aborted) this.guarded(() => this.#work());
    });
  }

  #work() {
    const [map, parts, changed] = [this.#map, this.#parts, this.#changed];
    if (!map || !parts) return;
    map.compute(changed);
    const { field, limit, result, settings } = map;
    if (changed.has("field") || changed.has("colours")) {
      parts.bar.draw(field, limit, map.colours, settings.target, settings.fixed);
    }
    if (field.hasEvidence) parts.bar.point(result.threshold, limit);
    parts.controls?.read();
    parts.table.draw(map);
    parts.panes.draw(changed.size === 1 && changed.has("threshold"));
    changed.clear();
    this.root.dataset.drawn = map.header.id;
  }
}
