// A whole slide: three layers (tissue, map of a scan, field), all gestures and keys; a field that is asked about is sent
// as the state `picked`.

import { find, inkOf, stroke } from "../dom.js";
import { around, held, scaleBar, tilesOf, under, whole, zoomed } from "./camera.js";

/**
 * @import { Component } from "../dom.js"
 * @import { Camera, Tile } from "./camera.js"
 *
 * `address`: of its tiles, up to the number of halvings. `grid`: columns and rows of fields, and their width and height in
 * pixels of level 0. `cells`: of a scan [column, row, state], a state being a key of `colours`. `flight`: the region to
 * fly to, by a number that changes with every wish.
 * @typedef {{id: string, address: string, width: number, height: number, halvings: number, um: number | null,
 *   grid: {columns: number, rows: number, width: number, height: number} | null, picked: [number, number] | null,
 *   cells: [number, number, string][], colours: Record<string, string>,
 *   flight: {number: string, box: [number, number, number, number]} | null}} Data
 */

const TALLEST = 0.6; // of the window
const STILL = 5; // CSS pixels that a click may move
const KEPT = 400; // tiles
const AT_ONCE = 6; // tiles that are asked for
const AHEAD_AT_ONCE = 2; // of those that are not seen yet
const RESTING = 150; // ms without a move, after which it is drawn finely and tiles around are asked for
const STEP = 1.5; // of a zoom by key or button
const HATCHED = "not sure";
const OUTLINED = "#0072b2", LOST = "#8b8b96";

/** @type {WeakMap<Node, Slide>} */
const slides = new WeakMap();
// Where this tab was looking: a viewer that is taken down and put up again goes on from there.
const remembered = { id: "", camera: /** @type {Camera | null} */ (null), flight: "" };

/** @param {Component<Data>} component */
export default function mount(component) {
  const { parentElement, data } = component;
  const slide = slides.get(parentElement) ?? new Slide(find(parentElement, ".slide", HTMLElement), component);
  slides.set(parentElement, slide);
  slide.component = component;
  slide.update(data);
  return () => {
    slide.close();
    slides.delete(parentElement);
  };
}

/** Diagonal lines, as on the printed map and as wide at every zoom: the tissue is seen between them.
 * @param {CanvasRenderingContext2D} ink @param {string} colour @param {number} pixel of the screen, in those of `ink` */
function hatched(ink, colour, pixel) {
  const tile = document.createElement("canvas"), pen = inkOf(tile);
  tile.width = tile.height = 16;
  pen.strokeStyle = colour;
  pen.lineWidth = 3;
  for (const shift of [-16, 0, 16]) {
    pen.moveTo(shift - 4, 20);
    pen.lineTo(shift + 20, -4);
  }
  pen.stroke();
  const lines = ink.createPattern(tile, "repeat");
  lines?.setTransform(new DOMMatrix().scale(pixel / 2));
  return lines ?? colour;
}

class Slide {
  #ending = new AbortController();
  /** @type {Map<string, HTMLImageElement>} */ #tiles = new Map();
  /** @type {string[]} */ #wanted = [];
  /** @type {string[]} */ #ahead = [];
  /** @type {Set<string>} */ #seen = new Set();
  #asked = 0;
  #resting = true;
  #lost = false; // whether a tile in sight did not come
  #fits = true; // whether all of the slide is shown, however large the canvas is
  #rest = 0;
  #view = { width: 0, height: 0 };
  /** @type {Camera | null} */ #camera = null;
  /** @type {[number, number] | null} */ #ghost = null;
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  #moved = 0;
  #frame = 0;

  /** @param {HTMLElement} root @param {Component<Data>} component */
  constructor(root, component) {
    this.component = component;
    this.root = root;
    this.data = { ...component.data, id: "" };
    this.canvas = find(root, "canvas", HTMLCanvasElement);
    this.said = find(root, ".said", HTMLElement);
    this.layer = find(root, ".layer", HTMLElement);
    this.opacity = find(root, ".opacity", HTMLInputElement);
    const signal = { signal: this.#ending.signal };
    this.canvas.addEventListener("pointerdown", (event) => this.#press(event), signal);
    this.canvas.addEventListener("pointermove", (event) => this.#move(event), signal);
    this.canvas.addEventListener("pointerup", (event) => this.#release(event), signal);
    this.canvas.addEventListener("pointercancel", (event) => this.#pointers.delete(event.pointerId), signal);
    this.canvas.addEventListener("pointerleave", () => { this.#ghost = null; this.#draw(); }, signal);
    this.canvas.addEventListener("wheel", (event) => this.#wheel(event), { ...signal, passive: false });
    this.canvas.addEventListener("dblclick", (event) => event.preventDefault(), signal);
    this.canvas.addEventListener("keydown", (event) => this.#key(event), signal);
    find(root, ".in", HTMLElement).addEventListener("click", () => this.#zoom(STEP), signal);
    find(root, ".out", HTMLElement).addEventListener("click", () => this.#zoom(1 / STEP), signal);
    find(root, ".all", HTMLElement).addEventListener("click", () => this.#all(), signal);
    this.opacity.addEventListener("input", () => this.#draw(), signal);
    this.resized = new ResizeObserver(() => this.#layout());
    this.resized.observe(root);
  }

  close() {
    this.#ending.abort();
    this.resized.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#rest);
  }

  /** @param {Data} data */
  update(data) {
    const fresh = data.id !== this.data.id;
    this.data = data;
    if (fresh) {
      this.#tiles.clear();
      this.#wanted = this.#ahead = [];
      this.#lost = false;
      this.#camera = remembered.id === data.id ? remembered.camera : null;
      this.#fits = !this.#camera;
      remembered.id = data.id;
    }
    this.layer.hidden = !data.cells.length;
    this.#layout();
    if (data.flight && data.flight.number !== remembered.flight) {
      remembered.flight = data.flight.number;
      const [left, top, right, bottom] = data.flight.box, { width, height } = this.#view;
      const zoom = 0.5 * Math.min(width / (right - left), height / (bottom - top));
      this.#look({ x: (left + right) / 2, y: (top + bottom) / 2, zoom });
    }
    this.#tell();
  }

  #layout() {
    const width = this.root.clientWidth, height = Math.round(Math.min(TALLEST * window.innerHeight, 0.8 * width));
    if (!width) return;
    this.#view = { width, height };
    this.canvas.style.height = `${height}px`;
    const ratio = window.devicePixelRatio;
    const size = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
    if (this.canvas.width !== size.width || this.canvas.height !== size.height) Object.assign(this.canvas, size);
    if (this.#fits || !this.#camera) this.#all();
    else this.#look(this.#camera);
  }

  /** @param {Camera} camera */
  #look(camera) {
    this.#camera = remembered.camera = held(camera, this.data, this.#view);
    this.#fits = false;
    this.#resting = false;
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => { this.#resting = true; this.#draw(); }, RESTING);
    this.#draw();
  }

  #all() {
    this.#look(whole(this.data, this.#view));
    this.#fits = true;
    remembered.camera = null;
  }

  /** @param {number} factor */
  #zoom(factor) {
    if (this.#camera) this.#look(zoomed(this.#camera, this.#view, this.#view.width / 2, this.#view.height / 2, factor));
  }

  // Gestures and keys

  /** @param {PointerEvent} event */
  #press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.#pointers.size === 1) this.#moved = 0;
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const { offsetX: x, offsetY: y } = event, before = this.#pointers.get(event.pointerId), camera = this.#camera;
    if (!camera) return;
    if (!before) {
      this.#ghost = this.#at(x, y);
      return this.#draw();
    }
    const others = [...this.#pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    this.#moved += Math.hypot(x - before.x, y - before.y);
    this.#pointers.set(event.pointerId, { x, y });
    if (others.length) {
      const [other] = others;
      const factor = Math.hypot(x - other.x, y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
      return this.#look(zoomed(camera, this.#view, (x + other.x) / 2, (y + other.y) / 2, factor));
    }
    if (this.#moved > STILL) this.#look({ ...camera, x: camera.x - (x - before.x) / camera.zoom, y: camera.y - (y - before.y) / camera.zoom });
  }

  /** @param {PointerEvent} event */
  #release(event) {
    this.#pointers.delete(event.pointerId);
    if (this.#moved <= STILL && !this.#pointers.size) this.#pick(this.#at(event.offsetX, event.offsetY));
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    if (this.#camera) this.#look(zoomed(this.#camera, this.#view, event.offsetX, event.offsetY, 2 ** (-event.deltaY / 300)));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, [number, number]>} */
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key], grid = this.data.grid, camera = this.#camera;
    if (!camera || event.ctrlKey || event.metaKey || event.altKey) return;
    if (step && grid && !event.shiftKey) {
      const [column, row] = this.#ghost ?? this.data.picked ?? this.#fieldAt(camera.x, camera.y) ?? [0, 0];
      this.#ghost = [Math.min(grid.columns - 1, Math.max(0, column + step[0])), Math.min(grid.rows - 1, Math.max(0, row + step[1]))];
      this.#follow(this.#ghost);
    } else if (step) {
      this.#look({ ...camera, x: camera.x + (60 * step[0]) / camera.zoom, y: camera.y + (60 * step[1]) / camera.zoom });
    } else if (event.key === "+" || event.key === "=") this.#zoom(STEP);
    else if (event.key === "-") this.#zoom(1 / STEP);
    else if (event.key === "0" || event.key === "Home") this.#all();
    else if (event.key === "Enter" || event.key === " ") this.#pick(this.#ghost ?? this.#fieldAt(camera.x, camera.y));
    else return;
    event.preventDefault();
  }

  /** Keeps a field in sight. @param {[number, number]} field */
  #follow([column, row]) {
    const { grid } = this.data, camera = this.#camera, { width, height } = this.#view;
    if (!grid || !camera) return;
    const x = (column + 0.5) * grid.width, y = (row + 0.5) * grid.height;
    const seen = Math.abs(x - camera.x) * camera.zoom < 0.45 * width && Math.abs(y - camera.y) * camera.zoom < 0.45 * height;
    this.#look(seen ? camera : { ...camera, x, y });
  }

  /** @param {number} x @param {number} y @returns {[number, number] | null} */
  #at(x, y) {
    if (!this.#camera) return null;
    const point = under(this.#camera, this.#view, x, y);
    return this.#fieldAt(point.x, point.y);
  }

  /** @param {number} x @param {number} y @returns {[number, number] | null} */
  #fieldAt(x, y) {
    const { grid, width, height } = this.data;
    if (!grid || x < 0 || y < 0 || x >= width || y >= height) return null;
    return [Math.min(grid.columns - 1, Math.floor(x / grid.width)), Math.min(grid.rows - 1, Math.floor(y / grid.height))];
  }

  /** @param {[number, number] | null} field */
  #pick(field) {
    if (!field) return;
    this.data.picked = field;
    this.component.setStateValue("picked", field);
    this.#draw();
    this.#tell();
  }

  // Drawing

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    const camera = this.#camera, { width } = this.#view;
    if (!camera || !width) return;
    const ink = inkOf(this.canvas), ratio = this.canvas.width / width;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.fillStyle = "#e9e9ec";
    ink.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const scale = camera.zoom * ratio;
    ink.setTransform(scale, 0, 0, scale, this.canvas.width / 2 - camera.x * scale, this.canvas.height / 2 - camera.y * scale);
    ink.fillStyle = "#fff";
    ink.fillRect(0, 0, this.data.width, this.data.height);
    this.#paintTiles(ink, camera, ratio);
    this.#paintCells(ink, 1 / camera.zoom);
    const fields = [{ at: this.#ghost, colour: "#fff", line: 1 }, { at: this.data.picked, colour: OUTLINED, line: 3 }];
    for (const { at, colour, line } of fields) {
      if (!at || !this.data.grid) continue;
      const path = new Path2D(), { left, top } = this.#corner(at);
      path.rect(left, top, this.data.grid.width, this.data.grid.height);
      stroke(ink, path, { pixel: 1 / camera.zoom, width: line, colour });
    }
    this.#paintBar(ink, camera, ratio);
  }

  /** @param {[number, number]} field */
  #corner([column, row]) {
    const { grid, width, height } = this.data;
    if (!grid) return { left: 0, top: 0 };
    return { left: Math.max(0, Math.min(column * grid.width, width - grid.width)), top: Math.max(0, Math.min(row * grid.height, height - grid.height)) };
  }

  /** Sharp tiles, and coarse ones below as long as one of them is missing; while it moves, quickly.
   * @param {CanvasRenderingContext2D} ink @param {Camera} camera @param {number} ratio */
  #paintTiles(ink, camera, ratio) {
    const { data } = this, view = this.#view, small = { width: view.width / 8, height: view.height / 8 };
    const sharp = tilesOf(camera, data, view, data.halvings, ratio);
    const coarse = tilesOf({ ...camera, zoom: camera.zoom / 8 }, data, small, data.halvings, ratio);
    const missing = sharp.filter((tile) => !this.#there(tile)).length;
    ink.imageSmoothingQuality = this.#resting && !missing ? "high" : "low";
    for (const tile of missing ? [...coarse, ...sharp] : sharp) {
      const image = this.#there(tile), one = 2 ** tile.halvings;
      if (!image && this.#tiles.get(this.#addressOf(tile))?.complete) {
        ink.fillStyle = LOST; // no glass where something may be
        ink.fillRect(tile.left, tile.top, Math.min(tile.side, data.width - tile.left), Math.min(tile.side, data.height - tile.top));
      }
      if (image) ink.drawImage(image, tile.left, tile.top, Math.min(image.naturalWidth * one, data.width - tile.left), Math.min(image.naturalHeight * one, data.height - tile.top));
    }
    this.canvas.dataset.missing = `${missing}`;
    this.#seen = new Set([...coarse, ...sharp].map((tile) => this.#addressOf(tile)));
    this.#wanted = this.#unknown([...coarse, ...sharp]);
    this.#ahead = this.#resting ? this.#unknown(around(sharp, data)) : [];
    this.#ask();
  }

  /** @param {Tile} tile */
  #addressOf(tile) {
    return `${this.data.address}${tile.halvings}/${tile.column}_${tile.row}.jpg`;
  }

  /** The image of a tile that has come. @param {Tile} tile */
  #there(tile) {
    const image = this.#tiles.get(this.#addressOf(tile));
    return image?.complete && image.naturalWidth ? image : null;
  }

  /** The addresses of tiles that nobody has asked for. @param {Tile[]} tiles */
  #unknown(tiles) {
    return tiles.map((tile) => this.#addressOf(tile)).filter((address) => !this.#tiles.has(address));
  }

  /** What is seen first, then, a few at a time, what lies around it. */
  #ask() {
    while (this.#asked < (this.#wanted.length ? AT_ONCE : AHEAD_AT_ONCE)) {
      const address = this.#wanted.shift() ?? this.#ahead.shift();
      if (!address) return;
      if (this.#tiles.has(address)) continue;
      const image = new Image();
      this.#asked++;
      this.#tiles.set(address, image);
      const done = () => { this.#asked--; this.#ask(); };
      image.onload = () => { done(); if (this.#seen.has(address)) this.#draw(); };
      image.onerror = () => {
        if (!this.#seen.has(address)) this.#tiles.delete(address); // asked for again, and told of, when it is in sight
        else this.#lose();
        done();
      };
      image.src = address;
      if (this.#tiles.size > KEPT) this.#tiles.delete(/** @type {string} */ (this.#tiles.keys().next().value));
    }
  }

  #lose() {
    this.#lost = true;
    this.#tell();
    this.#draw();
  }

  /** @param {CanvasRenderingContext2D} ink @param {number} pixel of the screen, in the slide's */
  #paintCells(ink, pixel) {
    const { grid, cells, colours } = this.data;
    if (!grid || !cells.length) return;
    const lines = hatched(ink, colours[HATCHED] ?? "#888", pixel);
    ink.globalAlpha = Number(this.opacity.value);
    for (const [column, row, state] of cells) {
      ink.fillStyle = state === HATCHED ? lines : colours[state] ?? "#888";
      const left = column * grid.width, top = row * grid.height;
      const width = Math.min(grid.width, this.data.width - left), height = Math.min(grid.height, this.data.height - top);
      ink.fillRect(left, top, width, height);
    }
    ink.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} ink @param {Camera} camera @param {number} ratio */
  #paintBar(ink, camera, ratio) {
    if (this.data.um === null) return;
    const bar = scaleBar(camera.zoom, this.data.um, 140), left = 14, bottom = this.#view.height - 14;
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    const path = new Path2D();
    path.moveTo(left, bottom);
    path.lineTo(left + bar.pixels, bottom);
    stroke(ink, path, { width: 3 });
    ink.font = "600 13px sans-serif";
    ink.lineWidth = 3;
    ink.strokeStyle = "#18181b";
    ink.strokeText(bar.words, left, bottom - 8);
    ink.fillStyle = "#fff";
    ink.fillText(bar.words, left, bottom - 8);
  }

  #tell() {
    const { picked, grid } = this.data;
    if (this.#lost) {
      this.said.textContent = "What is grey could not be read: the file is damaged there. If that is all of the slide, it may also have changed or be out of reach: choose it again.";
      return;
    }
    this.said.textContent = !grid ? "Tell the pixel size, and fields can be asked about." : picked
      ? `Field in column ${picked[0] + 1} of ${grid.columns}, row ${picked[1] + 1} of ${grid.rows}.`
      : "Click a field for a second opinion. Drag moves, the wheel zooms; keys: arrows, Enter, + and −.";
  }
}
