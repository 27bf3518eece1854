// An image on which its reader points at a place or draws around it; one mark, sent as the state `mark`.
//
// Data: { id, image (data URL), width, height, marks: [{ points, colour, dash, text }], locked }. A mark is a list of
// points in shares 0..1 of width and height: one for a place, several for an outline. `marks` are drawn and cannot be
// moved; where `locked`, nothing can be marked.

const STEP = 0.02, LARGE_STEP = 0.1; // of the image, for the arrow keys
const STILL = 6; // CSS pixels that a click may move
const APART = 3; // CSS pixels between the corners of an outline
const MOST = 1500;
const TALLEST = 0.72; // of the window
const INVITATION = "Click a place, or draw around it. Keys: arrows move a cross, Enter sets it, Delete clears.";

const markers = new WeakMap();
// What this tab has marked: a marker that is taken down and put up again goes on from there.
let remembered = { id: null, points: [] };

export default function mount(component) {
  const { parentElement, data } = component;
  let marker = markers.get(parentElement);
  if (!marker) markers.set(parentElement, (marker = new Marker(parentElement.querySelector(".marker"))));
  marker.component = component;
  marker.update(data);
  return () => {
    marker.close();
    markers.delete(parentElement);
  };
}

class Marker {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.said = root.querySelector(".said");
    this.clearing = root.querySelector(".clear");
    this.ending = new AbortController();
    this.points = [];
    this.cross = null;
    const on = (target, kind, act) => target.addEventListener(kind, act, { signal: this.ending.signal });
    on(this.canvas, "pointerdown", (event) => this.press(event));
    on(this.canvas, "pointermove", (event) => this.drag(event));
    on(this.canvas, "pointerup", (event) => this.release(event));
    on(this.canvas, "pointercancel", () => this.cancel());
    on(this.canvas, "keydown", (event) => this.key(event));
    on(this.canvas, "blur", () => { this.cross = null; this.draw(); });
    on(this.clearing, "click", () => { this.set([]); this.canvas.focus(); });
    this.resized = new ResizeObserver(() => this.layout());
    this.resized.observe(root);
  }

  close() {
    this.ending.abort();
    this.resized.disconnect();
  }

  update(data) {
    const fresh = data.id !== this.data?.id;
    this.data = data;
    if (fresh) {
      if (remembered.id !== data.id) remembered = { id: data.id, points: [] };
      this.points = remembered.points;
      this.cross = this.press_ = null;
      this.image = new Image();
      this.image.onload = () => this.draw();
      this.image.src = data.image;
    }
    this.canvas.style.cursor = data.locked ? "default" : "";
    this.canvas.tabIndex = data.locked ? -1 : 0;
    this.layout();
    this.tell();
  }

  layout() {
    if (!this.data) return;
    const { width, height } = this.data;
    const scale = Math.min(this.root.clientWidth / width, (TALLEST * window.innerHeight) / height);
    this.size = [Math.floor(width * scale), Math.floor(height * scale)];
    const ratio = window.devicePixelRatio;
    Object.assign(this.canvas.style, { width: `${this.size[0]}px`, height: `${this.size[1]}px` });
    const [across, down] = this.size.map((side) => Math.round(side * ratio));
    if (this.canvas.width !== across || this.canvas.height !== down) Object.assign(this.canvas, { width: across, height: down });
    this.draw();
  }

  draw() {
    const ink = this.canvas.getContext("2d");
    if (!this.size?.[0] || !this.image?.complete) return;
    const ratio = this.canvas.width / this.size[0];
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.imageSmoothingQuality = "high";
    ink.drawImage(this.image, 0, 0, ...this.size);
    for (const mark of this.data.marks) for (const points of mark.outlines) this.outline(ink, points, mark.colour, mark.dash, true, 1.5);
    if (this.points.length) this.outline(ink, this.points, "#ffffff", [], !this.press_);
    if (this.press_?.path.length > 1) this.outline(ink, this.press_.path, "#ffffff", [], false);
    if (this.cross) this.target(ink, this.cross, "#ffffff");
    this.canvas.dataset.drawn = String(Number(this.canvas.dataset.drawn ?? 0) + 1);
  }

  // Every line is light on dark, so that it is seen on nuclei and on glass.
  outline(ink, points, colour, dash, closed, width = 2) {
    if (points.length === 1) return this.target(ink, points[0], colour);
    const path = new Path2D();
    for (const [x, y] of points) path.lineTo(x * this.size[0], y * this.size[1]);
    if (closed) path.closePath();
    this.stroke(ink, path, colour, dash, width);
  }

  target(ink, [x, y], colour) {
    const [left, top] = [x * this.size[0], y * this.size[1]];
    const path = new Path2D();
    path.arc(left, top, 9, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      path.moveTo(left + 4 * dx, top + 4 * dy);
      path.lineTo(left + 14 * dx, top + 14 * dy);
    }
    this.stroke(ink, path, colour, []);
  }

  stroke(ink, path, colour, dash, width = 2) {
    ink.lineJoin = ink.lineCap = "round";
    ink.setLineDash([]);
    Object.assign(ink, { strokeStyle: "#18181b", lineWidth: 2 * width });
    ink.stroke(path);
    ink.setLineDash(dash);
    Object.assign(ink, { strokeStyle: colour, lineWidth: width });
    ink.stroke(path);
    ink.setLineDash([]);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const inside = (value) => Math.min(1, Math.max(0, value));
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  }

  press(event) {
    if (this.data.locked || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.cross = null;
    this.press_ = { id: event.pointerId, path: [this.place(event)], moved: false };
  }

  drag(event) {
    const press = this.press_;
    if (press?.id !== event.pointerId) return;
    const now = this.place(event);
    const away = ([x, y]) => Math.hypot((now[0] - x) * this.size[0], (now[1] - y) * this.size[1]);
    press.moved ||= away(press.path[0]) > STILL;
    if (away(press.path.at(-1)) < APART || press.path.length >= MOST) return;
    press.path.push(now);
    if (press.moved) this.points = [];
    this.draw();
  }

  release(event) {
    const press = this.press_;
    if (press?.id !== event.pointerId) return;
    this.press_ = null;
    this.set(press.moved && press.path.length > 2 ? press.path : [press.path[0]]);
  }

  cancel() {
    this.press_ = null;
    this.points = remembered.points;
    this.draw();
  }

  key(event) {
    if (this.data.locked) return;
    const step = event.shiftKey ? LARGE_STEP : STEP;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const start = this.cross ?? (this.points.length === 1 ? this.points[0] : [0.5, 0.5]);
      this.cross = start.map((value, axis) => Math.min(1, Math.max(0, value + moves[event.key][axis])));
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") {
      const place = this.cross ?? [0.5, 0.5];
      this.cross = null;
      this.set([place]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.set([]);
    } else return;
    event.preventDefault();
  }

  set(points) {
    this.points = points.map((point) => point.map((value) => Math.round(value * 1e4) / 1e4));
    remembered = { id: this.data.id, points: this.points };
    this.component.setStateValue("mark", { id: this.data.id, points: this.points });
    this.tell();
    this.draw();
  }

  tell() {
    const { points, data } = this;
    this.clearing.hidden = data.locked || !points.length;
    const marked = points.length > 1 ? "An area is marked." : "A place is marked.";
    this.said.textContent = data.locked ? data.legend : points.length ? marked : INVITATION;
    this.canvas.setAttribute("aria-label", `${data.title}. ${data.locked ? data.legend : INVITATION}`);
  }
}
