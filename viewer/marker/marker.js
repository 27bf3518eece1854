// An image on which its reader points at a place or draws around it; one mark, sent as the state `mark`.

import { find, inkOf, stroke } from "../dom.js";

/**
 * @import { Component } from "../dom.js"
 *
 * A place in shares 0..1 of width and height. A mark is a list of them: one for a place, several for an outline.
 * @typedef {[number, number]} Point
 *
 * `image` is a data URL. `marks` are drawn and cannot be moved; where `locked`, nothing can be marked.
 * @typedef {{id: string, image: string, width: number, height: number, title: string, legend: string, locked: boolean,
 *   marks: {outlines: Point[][], colour: string, dash: number[]}[]}} Data
 */

const STEP = 0.02, LARGE_STEP = 0.1; // of the image, for the arrow keys
const STILL = 6; // CSS pixels that a click may move
const APART = 3; // CSS pixels between the corners of an outline
const MOST = 1500;
const TALLEST = 0.72; // of the window
const INVITATION = "Click a place, or draw around it. Keys: arrows move a cross, Enter sets it, Delete clears.";

/** @type {WeakMap<Node, Marker>} */
const markers = new WeakMap();
// What this tab has marked: a marker that is taken down and put up again goes on from there.
const remembered = { id: "", points: /** @type {Point[]} */ ([]) };

/** @param {Component<Data>} component */
export default function mount(component) {
  const { parentElement, data } = component;
  const marker = markers.get(parentElement) ?? new Marker(find(parentElement, ".marker", HTMLElement), component);
  markers.set(parentElement, marker);
  marker.component = component;
  marker.update(data);
  return () => {
    marker.close();
    markers.delete(parentElement);
  };
}

/** @param {number} value */
const inside = (value) => Math.min(1, Math.max(0, value));

class Marker {
  #ending = new AbortController();
  #image = new Image();
  #size = { width: 0, height: 0 }; // CSS pixels
  /** @type {Point[]} */ #points = [];
  /** @type {Point | null} */ #cross = null;
  /** @type {{id: number, path: Point[], moved: boolean} | null} */ #press = null;

  /** @param {HTMLElement} root @param {Component<Data>} component */
  constructor(root, component) {
    this.root = root;
    this.component = component;
    this.data = { ...component.data, id: "" }; // none is shown yet
    this.canvas = find(root, "canvas", HTMLCanvasElement);
    this.said = find(root, ".said", HTMLElement);
    this.clearing = find(root, ".clear", HTMLElement);
    const signal = { signal: this.#ending.signal };
    this.canvas.addEventListener("pointerdown", (event) => this.#begin(event), signal);
    this.canvas.addEventListener("pointermove", (event) => this.#drag(event), signal);
    this.canvas.addEventListener("pointerup", (event) => this.#release(event), signal);
    this.canvas.addEventListener("pointercancel", () => this.#cancel(), signal);
    this.canvas.addEventListener("keydown", (event) => this.#key(event), signal);
    this.canvas.addEventListener("blur", () => { this.#cross = null; this.#draw(); }, signal);
    this.clearing.addEventListener("click", () => { this.#set([]); this.canvas.focus(); }, signal);
    this.resized = new ResizeObserver(() => this.#layout());
    this.resized.observe(root);
  }

  close() {
    this.#ending.abort();
    this.resized.disconnect();
  }

  /** @param {Data} data */
  update(data) {
    const fresh = data.id !== this.data.id;
    this.data = data;
    if (fresh) {
      if (remembered.id !== data.id) Object.assign(remembered, { id: data.id, points: [] });
      this.#points = remembered.points;
      this.#cross = this.#press = null;
      this.#image = new Image();
      this.#image.onload = () => this.#draw();
      this.#image.src = data.image;
    }
    this.canvas.style.cursor = data.locked ? "default" : "";
    this.canvas.tabIndex = data.locked ? -1 : 0;
    this.#layout();
    this.#tell();
  }

  #layout() {
    const scale = Math.min(this.root.clientWidth / this.data.width, (TALLEST * window.innerHeight) / this.data.height);
    const [width, height] = [Math.floor(this.data.width * scale), Math.floor(this.data.height * scale)];
    this.#size = { width, height };
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    const ratio = window.devicePixelRatio;
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== across || this.canvas.height !== down) {
      Object.assign(this.canvas, { width: across, height: down });
    }
    this.#draw();
  }

  #draw() {
    const [{ width, height }, press] = [this.#size, this.#press];
    if (!width || !this.#image.complete || !this.#image.src) return;
    const ink = inkOf(this.canvas);
    const ratio = this.canvas.width / width;
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.imageSmoothingQuality = "high";
    ink.drawImage(this.#image, 0, 0, width, height);
    for (const { outlines, colour, dash } of this.data.marks) {
      for (const points of outlines) stroke(ink, this.#path(points, true), { colour, dash });
    }
    if (this.#points.length) stroke(ink, this.#path(this.#points, !press), { width: 2 });
    if (press && press.path.length > 1) stroke(ink, this.#path(press.path, false), { width: 2 });
    if (this.#cross) stroke(ink, this.#path([this.#cross], false), { width: 2 });
    this.canvas.dataset.drawn = String(Number(this.canvas.dataset.drawn ?? 0) + 1);
  }

  /** An outline, or the sign for a single place. @param {Point[]} points @param {boolean} closed */
  #path(points, closed) {
    const path = new Path2D();
    const placed = points.map(([x, y]) => [x * this.#size.width, y * this.#size.height]);
    if (placed.length > 1) {
      for (const [x, y] of placed) path.lineTo(x, y);
      if (closed) path.closePath();
      return path;
    }
    for (const [left, top] of placed) {
      path.arc(left, top, 9, 0, 2 * Math.PI);
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        path.moveTo(left + 4 * dx, top + 4 * dy);
        path.lineTo(left + 14 * dx, top + 14 * dy);
      }
    }
    return path;
  }

  /** @param {PointerEvent} event @returns {Point} */
  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    if (this.data.locked || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#cross = null;
    this.#press = { id: event.pointerId, path: [this.#place(event)], moved: false };
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const press = this.#press;
    if (press?.id !== event.pointerId) return;
    const now = this.#place(event);
    /** @param {Point} point */
    const away = ([x, y]) => Math.hypot((now[0] - x) * this.#size.width, (now[1] - y) * this.#size.height);
    press.moved ||= away(press.path[0]) > STILL;
    if (away(press.path[press.path.length - 1]) < APART || press.path.length >= MOST) return;
    press.path.push(now);
    if (press.moved) this.#points = [];
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #release(event) {
    const press = this.#press;
    if (press?.id !== event.pointerId) return;
    this.#press = null;
    this.#set(press.moved && press.path.length > 2 ? press.path : [press.path[0]]);
  }

  #cancel() {
    this.#press = null;
    this.#points = remembered.points;
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (this.data.locked) return;
    const step = event.shiftKey ? LARGE_STEP : STEP;
    /** @type {Record<string, Point>} */
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const [x, y] = this.#cross ?? (this.#points.length === 1 ? this.#points[0] : [0.5, 0.5]);
      const [right, down] = moves[event.key];
      this.#cross = [inside(x + right), inside(y + down)];
      this.#draw();
    } else if (event.key === "Enter" || event.key === " ") {
      const place = this.#cross ?? [0.5, 0.5];
      this.#cross = null;
      this.#set([place]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.#set([]);
    } else return;
    event.preventDefault();
  }

  /** @param {Point[]} points */
  #set(points) {
    /** @param {number} value */
    const short = (value) => Math.round(value * 1e4) / 1e4;
    this.#points = points.map(([x, y]) => [short(x), short(y)]);
    Object.assign(remembered, { id: this.data.id, points: this.#points });
    this.component.setStateValue("mark", { ...remembered });
    this.#tell();
    this.#draw();
  }

  #tell() {
    const { locked, legend, title } = this.data;
    const marked = this.#points.length;
    this.clearing.hidden = locked || !marked;
    const state = marked > 1 ? "An area is marked." : "A place is marked.";
    this.said.textContent = locked ? legend : marked ? state : INVITATION;
    this.canvas.setAttribute("aria-label", `${title}. ${locked ? legend : INVITATION}`);
  }
}
