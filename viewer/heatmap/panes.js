// Patch, Grad-CAM and DT Grad-CAM under one view: zoom, pan, lens, what lies under the pointer, and the drawing of them.

import { DARK, find, inkOf, stroke } from "../dom.js";
import { listenTo } from "./gestures.js";
import { general, rounded, roundLength } from "./numbers.js";

/**
 * @import { HeatMap } from "./state.js"
 * @import { Listen } from "./mounted.js"
 *
 * @typedef {"patch" | "gradcam" | "dt"} Kind
 * @typedef {{figure: HTMLElement, pane: HTMLElement, canvas: HTMLCanvasElement, caption: HTMLElement,
 *   cross: HTMLElement}} Pane
 *
 * What another viewer can follow: the zoom, how far the centre is from the image's middle in units that both know, and
 * whether the lens is on.
 * @typedef {{zoom: number, right: number, down: number, lens: boolean}} Look
 *
 * For one of two: the element that holds both and their buttons; whether these buttons are this one's; what is called
 * when its look has changed.
 * @typedef {{whole?: HTMLElement, leads?: boolean, moved?: (look: Look) => void}} Pair
 */

const LENS_SHARE = 0.3; // radius, of the shorter side of a pane
const NARROW = 640; // CSS pixels
const LARGEST_PIXEL = 8; // CSS pixels that a pixel of the patch may fill
const PIXELS_SEEN_FROM = 3; // magnification from which pixels are shown as squares
const BAR_ROOM = 0.3; // of a pane's width, for the scale bar
const GAP = 10; // CSS pixels between two panes
const LEAST_HEIGHT = 200; // of a pane, where the window has no room for it
const BELOW = 30; // CSS pixels below the panes, for their captions

/** @type {Kind[]} */
export const KINDS = ["patch", "gradcam", "dt"];

export class Panes {
  #font;
  /** @type {HeatMap} */ #map;
  /** @type {Record<Kind, Pane>} */ #panes;
  #redraw;
  #ground = document.createElement("canvas"); // the tissue under the present view, the same for all panes
  #lens = { on: false, kind: /** @type {Kind | null} */ (null), x: 0, y: 0 };
  #view = { zoom: 1, x: 0, y: 0 }; // centre in pixels of the displayed image
  #size = { width: 1, height: 1 }; // of a pane, in CSS pixels
  #units = { shrink: 1, x: 1, y: 1 }; // of the fitted image; and a pixel of the displayed image, in units of a Look
  #following = false;
  /** @type {string | null} */ #shown = null;

  /**
   * @param {HTMLElement} root
   * @param {Listen} listen
   * @param {HeatMap} map
   * @param {() => void} redraw asks for a frame
   * @param {(number: number) => void} pick a region is pointed at, -1 none
   * @param {Pair} [pair]
   */
  constructor(root, listen, map, redraw, pick, { whole = root, leads = true, moved = () => {} } = {}) {
    this.root = root;
    this.whole = whole;
    this.leads = leads;
    this.moved = moved;
    this.pick = pick;
    const place = root.getRootNode();
    const host = place instanceof ShadowRoot ? place.host : root;
    this.scroller = host.closest("[data-testid=stMain]");
    this.page = this.scroller?.querySelector("[data-testid=stMainBlockContainer]") ?? null;
    this.stage = find(whole, ".stage", HTMLElement);
    this.all = find(root, ".panes", HTMLElement);
    this.tip = find(root, ".tip", HTMLElement);
    this.percent = find(whole, ".zoom", HTMLElement);
    this.lensButton = find(whole, ".lens", HTMLElement);
    this.#font = getComputedStyle(root).fontFamily;
    this.#map = map;
    this.#redraw = redraw;
    /** @param {Kind} kind @returns {[Kind, Pane]} */
    const paneOf = (kind) => {
      const figure = find(root, `[data-kind=${kind}]`, HTMLElement);
      const pane = find(figure, ".pane", HTMLElement);
      const canvas = find(pane, "canvas", HTMLCanvasElement);
      return [kind, {
        figure, pane, canvas, caption: find(figure, "figcaption", HTMLElement), cross: find(pane, ".cross", HTMLElement),
      }];
    };
    this.#panes = /** @type {Record<Kind, Pane>} */ (Object.fromEntries(KINDS.map(paneOf)));
    this.show(map, true);
    for (const kind of KINDS) this.#listen(kind, listen);
    // A page that is being scrolled goes on scrolling when a pane comes under the pointer.
    let scrolled = -Infinity;
    /** @type {WheelEvent | null} */
    this.passing = null;
    listen(window, "wheel", (event) => {
      const path = event.composedPath();
      const onPane = KINDS.some((kind) => path.includes(this.#panes[kind].pane));
      const free = onPane && event.timeStamp - scrolled > 250 && !(this.#view.zoom === 1 && event.deltaY > 0);
      const passes = !free && !event.ctrlKey;
      if (passes) scrolled = event.timeStamp;
      this.passing = passes ? event : null;
    }, { capture: true, passive: true });
    if (!leads) return;
    listen(find(whole, ".in", HTMLElement), "click", () => this.zoom(1.5));
    listen(find(whole, ".out", HTMLElement), "click", () => this.zoom(1 / 1.5));
    listen(find(whole, ".fit", HTMLElement), "click", () => this.fit());
    listen(this.lensButton, "click", () => this.toggleLens());
  }

  /** @param {HeatMap} map @param {boolean} anew whether it is of another image, which is seen whole at first */
  show(map, anew) {
    this.#map = map;
    if (anew) this.#view = { zoom: 1, x: map.width / 2, y: map.height / 2 };
  }

  /** Captions, also for whoever hears them. */
  name() {
    const { patch, gradcam, dt } = this.#panes;
    patch.caption.textContent = "Patch";
    gradcam.caption.textContent = `Grad-CAM towards ${this.#map.settings.target}`;
    dt.caption.textContent = "DT Grad-CAM: above the threshold";
    for (const { pane, caption } of [patch, gradcam, dt]) {
      pane.setAttribute("aria-label", `${caption.textContent}. Arrows move, plus and minus zoom, 0 fits, L is the lens.`);
    }
  }

  /** @param {string} shown a kind, or "all" */
  choose(shown) {
    this.#shown = shown;
    this.layout();
  }

  layout() {
    const space = this.all.clientWidth;
    if (!space) return; // hidden
    const narrow = space < NARROW;
    this.root.classList.toggle("narrow", narrow);
    const bare = !this.#map.header.targets.length;
    const shown = bare ? "patch" : this.#shown ?? (narrow ? "dt" : "all");
    if (!bare) find(this.whole, `[name=shown][value=${shown}]`, HTMLInputElement).checked = true;
    for (const kind of KINDS) this.#panes[kind].figure.hidden = shown !== "all" && shown !== kind;
    const columns = shown === "all" && !narrow ? 3 : 1;
    const across = (space - GAP * (columns - 1)) / columns;
    const rest = this.stage.offsetHeight - this.all.offsetHeight + 60;
    const most = document.fullscreenElement
      ? Math.max(200, window.innerHeight - rest)
      : Math.max(LEAST_HEIGHT, Math.min((narrow ? 0.45 : 0.72) * window.innerHeight, columns > 1 ? this.#room() : Infinity));
    const tall = Math.round(Math.min(most, Math.max(0.35, this.#map.height / this.#map.width) * across));
    this.all.style.setProperty("--columns", String(columns));
    this.all.style.setProperty("--pane-height", `${tall}px`);
    const ratio = window.devicePixelRatio;
    for (const { pane, canvas } of Object.values(this.#panes)) {
      const [width, height] = [Math.round(pane.clientWidth * ratio), Math.round(pane.clientHeight * ratio)];
      if (width && (canvas.width !== width || canvas.height !== height)) Object.assign(canvas, { width, height });
    }
    this.#size = { width: across, height: tall };
    this.#move();
  }

  /** CSS pixels from the top of the panes to the end of the window, while the page is not scrolled. */
  #room() {
    const top = this.all.getBoundingClientRect().top + (this.scroller?.scrollTop ?? window.scrollY);
    return window.innerHeight - top - BELOW;
  }

  // ---- the view

  /** CSS pixels for each pixel of the displayed image, when all of it is seen. */
  get fits() {
    return Math.min(this.#size.width / this.#map.width, this.#size.height / this.#map.height);
  }

  get #fitted() {
    return this.fits * this.#units.shrink;
  }

  get #scale() {
    return this.#fitted * this.#view.zoom;
  }

  /** Pixels of the patch for each of the displayed image. */
  get #finer() {
    return this.#map.header.patch.width / this.#map.width;
  }

  /** Keeps the view inside its bounds and draws it. */
  #move() {
    const [view, size, { width, height }] = [this.#view, this.#size, this.#map];
    const most = Math.max(8, (LARGEST_PIXEL * this.#finer) / this.#fitted);
    view.zoom = Math.min(most, Math.max(1, view.zoom));
    /** @type {(centre: number, side: number, seen: number) => number} */
    const bound = (centre, side, seen) =>
      seen >= side ? side / 2 : Math.min(side - seen / 2, Math.max(seen / 2, centre));
    view.x = bound(view.x, width, size.width / this.#scale);
    view.y = bound(view.y, height, size.height / this.#scale);
    for (const { pane } of Object.values(this.#panes)) pane.style.touchAction = view.zoom > 1 ? "none" : "pan-y";
    if (this.leads) this.percent.textContent = `${Math.round((100 * this.#scale) / this.#finer)} %`;
    this.#redraw();
    if (!this.#following) this.moved(this.#look);
  }

  /** @returns {Look} */
  get #look() {
    const { zoom, x, y } = this.#view;
    const [right, down] = [(x - this.#map.width / 2) * this.#units.x, (y - this.#map.height / 2) * this.#units.y];
    return { zoom, right, down, lens: this.#lens.on };
  }

  /** Looks as another viewer does. @param {Look} look */
  follow({ zoom, right, down, lens }) {
    const { width, height } = this.#map;
    Object.assign(this.#view, { zoom, x: width / 2 + right / this.#units.x, y: height / 2 + down / this.#units.y });
    this.#lens.on = lens;
    if (this.leads) this.lensButton.setAttribute("aria-pressed", String(lens));
    this.#following = true;
    this.#move();
    this.#following = false;
  }

  /** How small the fitted image is, 0..1, and what a pixel of it is in units of a Look.
   * @param {{shrink: number, x: number, y: number}} units */
  measure(units) {
    this.#units = units;
    this.#following = true;
    this.#move();
    this.#following = false;
  }

  fit() {
    this.#view.zoom = 1;
    this.#move();
  }

  /** Zoom about a point of the pane (CSS pixels from its corner), which stays where it is. */
  zoom(/** @type {number} */ factor, x = this.#size.width / 2, y = this.#size.height / 2) {
    const before = this.#toImage(x, y);
    this.#view.zoom *= factor;
    this.#move();
    const after = this.#toImage(x, y);
    this.#view.x += before.x - after.x;
    this.#view.y += before.y - after.y;
    this.#move();
  }

  /** A region in the middle, half as wide as the pane. @param {number} number */
  goTo(number) {
    const [left, top, right, bottom] = this.#map.result.regions[number].box;
    const [width, height] = [right - left, bottom - top];
    const { width: across, height: down } = this.#size;
    this.#view.zoom = Math.min(across / width, down / height) / (2 * this.#fitted);
    Object.assign(this.#view, { x: (left + right) / 2, y: (top + bottom) / 2 });
    this.#move();
  }

  /** @param {number} right @param {number} down in CSS pixels */
  pan(right, down) {
    this.#view.x += right / this.#scale;
    this.#view.y += down / this.#scale;
    this.#move();
  }

  /** @param {number} x @param {number} y */
  #toImage(x, y) {
    const [view, size, scale] = [this.#view, this.#size, this.#scale];
    return { x: (x - size.width / 2) / scale + view.x, y: (y - size.height / 2) / scale + view.y };
  }

  // ---- pointer and keys

  /** @param {Kind} kind @param {Listen} listen */
  #listen(kind, listen) {
    listenTo(this.#panes[kind].pane, listen, {
      size: () => this.#size,
      passing: () => this.passing,
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      pan: (right, down) => this.pan(right, down),
      fit: () => this.fit(),
      lens: () => this.toggleLens(),
      point: (x, y) => this.#point(x === null ? null : kind, x ?? 0, y ?? 0),
    });
  }

  toggleLens() {
    this.#lens.on = !this.#lens.on;
    this.lensButton.setAttribute("aria-pressed", String(this.#lens.on));
    this.#redraw();
    this.moved(this.#look);
  }

  /** The pointer, or the middle of a pane that has the keyboard: crosses in the other panes, lens, what lies there. */
  #point(/** @type {Kind | null} */ kind, x = 0, y = 0) {
    Object.assign(this.#lens, { kind, x, y });
    for (const other of KINDS) {
      const { cross } = this.#panes[other];
      cross.style.visibility = kind && other !== kind ? "visible" : "hidden";
      cross.style.transform = `translate(${x}px, ${y}px)`;
    }
    const { tip } = this;
    const at = this.#toImage(x, y);
    const [column, row] = [Math.floor(at.x), Math.floor(at.y)];
    const { result, field } = this.#map;
    const number = kind && kind !== "patch" ? result.regionAt(column, row) : -1;
    tip.hidden = number < 0;
    this.pick(number);
    if (kind && number >= 0) {
      const region = result.regions[number];
      const name = document.createElement("b");
      name.textContent = `Region ${number + 1}`;
      const here = general(field.values[row * this.#map.width + column]);
      const [area, evidence] = [rounded(100 * region.area, 1), rounded(100 * region.evidence, 1)];
      tip.replaceChildren(name, `: area ${area} %, evidence ${evidence} %; here ${here}`);
      const [pane, all] = [this.#panes[kind].pane.getBoundingClientRect(), this.all.getBoundingClientRect()];
      const left = Math.max(0, Math.min(pane.left - all.left + x + 16, all.width - tip.offsetWidth));
      tip.style.transform = `translate(${left}px, ${pane.top - all.top + y + 20}px)`;
    }
    if (this.#lens.on) this.#redraw();
  }

  // ---- drawing

  /** @param {boolean} onlyDt the tissue and the other two images do not depend on the threshold */
  draw(onlyDt) {
    if (!onlyDt) this.#drawGround();
    /** @type {Kind[]} */
    const changed = onlyDt ? ["dt"] : KINDS;
    for (const kind of changed) this.#drawPane(kind);
  }

  /** @param {Kind} kind */
  #drawPane(kind) {
    const { figure, canvas } = this.#panes[kind];
    if (figure.hidden || !canvas.width) return;
    const [ink, lens, ratio] = [inkOf(canvas), this.#lens, window.devicePixelRatio];
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, canvas.width, canvas.height);
    this.#content(kind, ink, canvas);
    if (lens.on && lens.kind === kind) {
      const circle = new Path2D();
      circle.arc(lens.x, lens.y, LENS_SHARE * Math.min(this.#size.width, this.#size.height), 0, 2 * Math.PI);
      ink.save();
      ink.setTransform(ratio, 0, 0, ratio, 0, 0);
      ink.clip(circle);
      this.#content(kind === "patch" ? "dt" : "patch", ink, canvas);
      ink.restore();
      ink.setTransform(ratio, 0, 0, ratio, 0, 0);
      stroke(ink, circle);
    }
    this.#drawScale(ink, canvas);
    const { zoom, x, y } = this.#view;
    canvas.dataset.view = [zoom, x, y].map((value) => value.toFixed(4)).join(" ");
  }

  /** A bar of a round length in the lower left corner, where the size of a pixel is known. */
  #drawScale(/** @type {CanvasRenderingContext2D} */ ink, /** @type {HTMLCanvasElement} */ canvas) {
    canvas.dataset.scale = "";
    const { pixelSize } = this.#map;
    if (pixelSize === null) return;
    const micronsEach = (pixelSize * this.#finer) / this.#scale; // of a CSS pixel
    const { microns, text } = roundLength(micronsEach * BAR_ROOM * this.#size.width);
    const long = microns / micronsEach;
    const ratio = window.devicePixelRatio;
    const [left, down] = [10, this.#size.height - 10];
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.lineJoin = "round";
    Object.assign(ink, { lineWidth: 2, strokeStyle: DARK, fillStyle: "#fff" });
    ink.strokeRect(left, down - 4, long, 4);
    ink.fillRect(left, down - 4, long, 4);
    Object.assign(ink, { font: `600 12px ${this.#font}`, textAlign: "left", textBaseline: "bottom", lineWidth: 3 });
    ink.strokeText(text, left, down - 6);
    ink.fillText(text, left, down - 6);
    canvas.dataset.scale = `${text} ${long.toFixed(2)}`;
  }

  /**
   * How the image lies on a canvas under the present view: device pixels for each of its own, left and top edge.
   * @param {HTMLCanvasElement} canvas
   */
  #place(canvas) {
    const scale = this.#scale * window.devicePixelRatio;
    return [scale, canvas.width / 2 - this.#view.x * scale, canvas.height / 2 - this.#view.y * scale];
  }

  #drawGround() {
    const [map, ground] = [this.#map, this.#ground];
    const seen = KINDS.map((kind) => this.#panes[kind]).find(({ figure }) => !figure.hidden);
    if (!seen) return;
    Object.assign(ground, { width: seen.canvas.width, height: seen.canvas.height });
    const [scale, left, top] = this.#place(ground);
    const source = map.detail && scale > 1 ? map.detail : map.display;
    const ink = inkOf(ground);
    ink.setTransform(scale, 0, 0, scale, left, top);
    ink.imageSmoothingQuality = "high";
    ink.imageSmoothingEnabled = (scale * map.width) / source.width < PIXELS_SEEN_FROM;
    ink.drawImage(source, 0, 0, map.width, map.height);
  }

  /**
   * One of the three images, as it lies under the present view.
   * @param {Kind} kind
   * @param {CanvasRenderingContext2D} ink
   * @param {HTMLCanvasElement} canvas
   */
  #content(kind, ink, canvas) {
    const map = this.#map;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.drawImage(this.#ground, 0, 0);
    if (kind === "patch" || !map.indices) return;
    const [scale, left, top] = this.#place(canvas);
    ink.setTransform(scale, 0, 0, scale, left, top);
    ink.imageSmoothingEnabled = scale < PIXELS_SEEN_FROM;
    ink.globalAlpha = map.settings.opacity;
    ink.drawImage(map.layers[kind], 0, 0);
    ink.globalAlpha = 1;
    if (kind !== "dt") return;
    const ratio = window.devicePixelRatio;
    stroke(ink, map.lines, { pixel: ratio / scale });
    const chosen = map.outlines[map.chosen];
    if (chosen) stroke(ink, chosen, { pixel: ratio / scale, width: 4.5 });
    ink.setTransform(1, 0, 0, 1, 0, 0);
    Object.assign(ink, { font: `600 ${12 * ratio}px ${this.#font}`, textAlign: "center", textBaseline: "middle" });
    map.result.regions.forEach((region, index) => {
      const text = String(index + 1);
      const [x, y] = [left + (region.x + 0.5) * scale, top + (region.y + 0.5) * scale];
      const [w, h] = [ink.measureText(text).width + 10 * ratio, 18 * ratio];
      if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) return;
      const middle = Math.min(canvas.width - w / 2 - 1, Math.max(w / 2 + 1, x));
      const centre = Math.min(canvas.height - h / 2 - 1, Math.max(h / 2 + 1, y));
      const [paper, letters] = index === map.chosen ? ["#fff", DARK] : [DARK, "#fff"];
      Object.assign(ink, { fillStyle: paper, strokeStyle: letters, lineWidth: ratio });
      ink.fillRect(middle - w / 2, centre - h / 2, w, h);
      ink.strokeRect(middle - w / 2, centre - h / 2, w, h);
      ink.fillStyle = letters;
      ink.fillText(text, middle, centre + ratio);
    });
  }
}
