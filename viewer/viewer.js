// The viewer: patch, Grad-CAM and DT Grad-CAM with one view; everything acts at once on the raw map that it holds.
//
// Streamlit calls the default export with the component's data: 4 bytes, little-endian, with the length of a JSON
// header, the header, and the parts that it names (pages/parts/second_opinion/viewer.py packs them). It is called again on every rerun.
// Settings go back as the component's state when a control is let go; nothing is sent while it moves.

const LENS_SHARE = 0.3; // radius, of the shorter side of a pane
const NARROW = 640; // CSS pixels
const LARGEST_PIXEL = 8; // CSS pixels that a pixel of the patch may fill
const PIXELS_SEEN_FROM = 3; // magnification from which pixels are shown as squares
const DARK = "#18181b";
const BAR_ROOM = 0.3; // of a pane's width, for the scale bar
const PANES = [["all", "All three"], ["patch", "Patch"], ["gradcam", "Grad-CAM"], ["dt", "DT Grad-CAM"]];
const KINDS = ["patch", "gradcam", "dt"];

const viewers = new WeakMap();
// What this tab has last set: a viewer that is taken down and put up again (another page, and back) goes on from there.
let remembered = { start: null, settings: null };
// Pixel size that a person has told, in micrometres: it holds for every image whose file does not tell its own.
let toldPixel = null;

export default function mount(component) {
  const { parentElement, data } = component;
  let viewer = viewers.get(parentElement);
  if (!viewer) viewers.set(parentElement, (viewer = new Viewer(parentElement.querySelector(".viewer"))));
  viewer.component = component;
  viewer.guarded(() => viewer.update(data));
  return () => {
    viewer.close();
    viewers.delete(parentElement);
  };
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.closing = new AbortController();
    this.find = (selector) => root.querySelector(selector);
    this.panes = Object.fromEntries(
      KINDS.map((kind) => {
        const figure = this.find(`[data-kind=${kind}]`);
        const [pane, canvas] = [figure.querySelector(".pane"), figure.querySelector("canvas")];
        const caption = figure.querySelector("figcaption");
        return [kind, { figure, pane, canvas, caption, cross: pane.querySelector(".cross"), ink: canvas.getContext("2d") }];
      }),
    );
    this.layers = { gradcam: document.createElement("canvas"), dt: document.createElement("canvas") };
    this.ground = document.createElement("canvas"); // the tissue under the present view, the same for all panes
    this.dirty = new Set();
    this.lens = { on: false, kind: null, x: 0, y: 0 };
    this.shown = null;
  }

  /** Whatever goes wrong is told to the server once, which shows the plain page instead. */
  guarded(work) {
    const failed = (error) => {
      if (this.failed) return;
      this.failed = true;
      this.component.setTriggerValue("failed", String(error?.message ?? error).slice(0, 200));
    };
    try {
      Promise.resolve(work()).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  on(target, kind, act, options = {}) {
    target.addEventListener(kind, (event) => this.guarded(() => act(event)), { signal: this.closing.signal, ...options });
  }

  close() {
    this.closing.abort();
    this.resized?.disconnect();
    this.closed = true;
  }

  // ---- what the server sent

  async update(data) {
    const length = new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
    this.followTheme();
    if (header.start === this.header?.start) return;
    const first = !this.header;
    this.header = header;
    // A copy begins at an address that float32 may be read from.
    const part = ({ offset, length: size }) => data.slice(4 + length + offset, 4 + length + offset + size);
    const bitmap = async (one) => one && createImageBitmap(new Blob([part(one)], { type: one.type }));
    const [display, detail] = await Promise.all([bitmap(header.image), bitmap(header.detail)]);
    if (this.closed || header !== this.header) return;

    const { width, height } = header.image;
    const changed = header.id !== this.id;
    Object.assign(this, { id: header.id, display, detail, width, height });
    this.fields = {};
    for (const { name, field, sign } of header.targets) {
      const values = new Float32Array(part(header.fields[field]).buffer);
      this.fields[name] = () => new Field(sign < 0 ? values.map((value) => -value) : values, width, height);
    }
    for (const layer of Object.values(this.layers)) Object.assign(layer, { width, height });
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    if (remembered.start !== header.start) remembered = { start: header.start, settings: header.settings };
    this.settings = { ...remembered.settings };
    if (changed) this.view = { zoom: 1, x: width / 2, y: height / 2 };
    if (first) this.build();
    this.fill();
    this.find(".starting").hidden = true;
    this.find(".stage").hidden = false;
    this.layout();
    this.touch("field");
  }

  followTheme() {
    const style = getComputedStyle(this.root);
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#fff";
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
    this.root.style.colorScheme = red + green + blue < 384 ? "dark" : "light";
    this.font = style.fontFamily;
    if (this.settings) this.touch();
  }

  // ---- controls

  build() {
    const { find, header } = this;
    const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
    const segment = (group, value, text) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value });
      label.append(input, text);
      return label;
    };
    find(".rule").append(...header.rules.map((rule) => option(rule.name, rule.label)));
    find(".colour-map").append(...Object.keys(header.colour_maps).map((name) => option(name, name)));
    find(".limit").append(...header.limits.map((limit) => option(limit, String(limit))));
    find(".targets .segments").append(...header.targets.map(({ name }) => segment("target", name, name)));
    find(".shown .segments").append(...PANES.map(([value, text]) => segment("shown", value, text)));

    this.on(find(".targets"), "change", ({ target }) => this.set({ target: target.value }, "field", true));
    this.on(find(".rule"), "change", ({ target }) => {
      this.set({ rule: target.value, parameter: this.rule(target.value).default }, "threshold", true);
    });
    for (const [name, part] of [["parameter", "threshold"], ["opacity", undefined]]) {
      const slider = find(`.${name}`);
      this.on(slider, "input", () => this.set({ [name]: Number(slider.value) }, part));
      this.on(slider, "change", () => this.set({ [name]: Number(slider.value) }, part, true));
      this.on(slider, "keydown", () => (this.typing = true));
      this.on(slider, "pointerdown", () => (this.typing = false));
    }
    this.on(find(".colour-map"), "change", ({ target }) => this.set({ colour_map: target.value }, "colours", true));
    this.on(find(".fixed"), "change", ({ target }) => {
      const above = header.limits.find((limit) => limit >= this.field.maximum) ?? header.limits.at(-1);
      this.set({ fixed: Boolean(target.value), limit: this.settings.limit ?? above }, "colours", true);
    });
    this.on(find(".limit"), "change", ({ target }) => this.set({ limit: Number(target.value) }, "colours", true));
    this.on(find(".pixel-um"), "change", ({ target }) => {
      toldPixel = Number(target.value) > 0 ? Number(target.value) : null;
      this.fill();
      this.touch();
    });
    this.on(find(".shown"), "change", ({ target }) => this.show(target.value));
    this.on(find(".lens"), "click", () => this.toggleLens());
    this.on(find(".in"), "click", () => this.zoom(1.5));
    this.on(find(".out"), "click", () => this.zoom(1 / 1.5));
    this.on(find(".fit"), "click", () => this.fit());
    find(".full").hidden = !document.fullscreenEnabled;
    this.on(find(".full"), "click", () =>
      document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen(),
    );
    this.on(document, "fullscreenchange", () => {
      find(".full").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
      this.layout();
    });
    const display = find(".display");
    this.on(display, "keydown", (event) => {
      if (event.key !== "Escape") return;
      display.open = false;
      find("summary").focus();
    });
    this.on(document, "pointerdown", (event) => {
      if (!event.composedPath().includes(display)) display.open = false;
    });
    for (const kind of KINDS) this.listen(kind);
    // A page that is being scrolled goes on scrolling when a pane comes under the pointer.
    let scrolled = -Infinity;
    this.on(window, "wheel", (event) => {
      const path = event.composedPath();
      const onPane = KINDS.some((kind) => path.includes(this.panes[kind].pane));
      const free = onPane && event.timeStamp - scrolled > 250 && !(this.view.zoom === 1 && event.deltaY > 0);
      if (!free && !event.ctrlKey) scrolled = event.timeStamp;
      event.scrollsPage = !free && !event.ctrlKey;
    }, { capture: true, passive: true });
    this.resized = new ResizeObserver(() => this.guarded(() => this.layout()));
    this.resized.observe(this.root);
  }

  rule(name) {
    return this.header.rules.find((rule) => rule.name === name);
  }

  /** A change of the settings; `part` is what must be computed anew, `done` sends it to the server. */
  set(change, part, done = false) {
    Object.assign(this.settings, change);
    if (done) this.fill();
    else this.fillSliders();
    this.touch(part);
    clearTimeout(this.sending);
    if (!done) return;
    // A held arrow key ends with one message, not with thirty.
    this.sending = setTimeout(() => this.guarded(() => {
      remembered = { start: this.header.start, settings: { ...this.settings } };
      this.component.setStateValue("settings", { start: this.header.start, ...this.settings });
      this.find(".said").textContent = this.summary();
    }), this.typing ? 150 : 0);
  }

  /** Puts the settings into the controls. */
  fill() {
    const { find, settings } = this;
    const rule = this.rule(settings.rule);
    find(`[name=target][value="${CSS.escape(settings.target)}"]`).checked = true;
    find(".rule").value = settings.rule;
    Object.assign(find(".parameter"), { min: rule.minimum, max: rule.maximum, step: rule.step });
    find(".parameter-name").textContent = `Dynamic threshold: ${rule.parameter} (${rule.unit})`;
    this.fillSliders();
    find(".parameter").setAttribute("aria-label", find(".parameter-name").textContent);
    find(".help").textContent = rule.help;
    find(".colour-map").value = settings.colour_map;
    find(".fixed").value = settings.fixed ? "fixed" : "";
    find(".limits").hidden = !settings.fixed;
    if (settings.limit !== null) find(".limit").value = settings.limit;
    find(".pixel-um").value = this.pixelSize ?? "";
    find(".pixel-um").disabled = this.header.patch.pixel_um !== null;
    this.panes.patch.caption.textContent = "Patch";
    this.panes.gradcam.caption.textContent = `Grad-CAM towards ${settings.target}`;
    this.panes.dt.caption.textContent = "DT Grad-CAM: above the threshold";
    for (const { pane, caption } of Object.values(this.panes)) {
      pane.setAttribute("aria-label", `${caption.textContent}. Arrows move, plus and minus zoom, 0 fits, L is the lens.`);
    }
  }

  fillSliders() {
    const { find, settings } = this;
    const decimals = (String(this.rule(settings.rule).step).split(".")[1] ?? "").length;
    for (const [name, digits] of [["parameter", decimals], ["opacity", 2]]) {
      const slider = find(`.${name}`);
      slider.value = settings[name];
      slider.style.setProperty("--filled", `${(100 * (settings[name] - slider.min)) / (slider.max - slider.min)}%`);
      find(`.${name}-value`).textContent = settings[name].toFixed(digits);
    }
  }

  // ---- numbers and layers, once a frame at most

  touch(part = "view") {
    this.dirty.add(part);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (!this.closed) this.guarded(() => this.work());
    });
  }

  work() {
    const { dirty, settings, header } = this;
    if (dirty.has("field")) this.field = this.fieldTowards(settings.target);
    const { field } = this;
    const fresh = dirty.has("field");
    if (fresh || dirty.has("colours")) {
      this.limit = settings.fixed ? settings.limit : field.maximum;
      this.indices = field.hasEvidence && colourIndices(field, this.limit);
      const table = Uint8Array.from(atob(header.colour_maps[settings.colour_map]), (letter) => letter.charCodeAt(0));
      this.colours = new Uint32Array(256);
      const bytes = new Uint8Array(this.colours.buffer);
      for (let i = 0; i < 256; i++) bytes.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
      this.paint("gradcam", (i) => field.values[i] > 0);
      this.drawBar();
    }
    if (fresh || dirty.has("threshold")) {
      this.result = threshold(field, settings.rule, settings.parameter, header.minimum_area);
      this.lines = new Path2D();
      for (const line of outlines(field, this.result.mask, this.result.threshold)) {
        this.lines.moveTo(line[0], line[1]);
        for (let i = 2; i < line.length; i += 2) this.lines.lineTo(line[i], line[i + 1]);
        this.lines.closePath();
      }
    }
    if (dirty.has("threshold") || fresh || dirty.has("colours")) {
      const { mask } = this.result;
      this.paint("dt", (i) => mask[i]);
      this.read();
    }
    // The tissue and the other two images do not depend on the threshold.
    const onlyThreshold = dirty.size === 1 && dirty.has("threshold");
    if (!onlyThreshold) this.drawGround();
    for (const kind of onlyThreshold ? ["dt"] : KINDS) this.draw(kind);
    dirty.clear();
  }

  fieldTowards(target) {
    const made = this.fields[target];
    return made instanceof Field ? made : (this.fields[target] = made());
  }

  paint(kind, seen) {
    const { pixels, indices, colours } = this;
    if (!indices) pixels.fill(0);
    else for (let i = 0; i < pixels.length; i++) pixels[i] = seen(i) ? colours[indices[i]] : 0;
    this.layers[kind].getContext("2d").putImageData(this.image, 0, 0);
  }

  read() {
    const { find, result } = this;
    const write = (name, text) => (find(name).textContent = text);
    write(".value-threshold", Number.isNaN(result.threshold) ? "none" : general(result.threshold));
    write(".value-area", `${rounded(100 * result.keptArea, 1)} %`);
    write(".value-evidence", `${rounded(100 * result.keptEvidence, 0)} %`);
    write(".value-regions", String(result.regions.length));
    write(".dropped", result.dropped ? ` (${result.dropped} tiny dropped)` : "");
    write(".reason", result.reason ?? "");
    if (!this.field.hasEvidence) return;
    const place = Math.min(1, result.threshold / this.limit);
    const mark = find(".mark");
    mark.style.left = `${100 * place}%`;
    mark.firstElementChild.textContent = result.threshold > this.limit ? "threshold: off the bar" : "threshold";
    mark.style.setProperty("--shift", `${-100 * Math.min(1, Math.max(0, (place - 0.06) / 0.88))}%`);
  }

  summary() {
    const text = (name) => this.find(name).textContent;
    return `Threshold ${text(".value-threshold")}, kept area ${text(".value-area")}, share of evidence ` +
      `${text(".value-evidence")}, regions ${text(".value-regions")}.`;
  }

  drawBar() {
    const { find, field, limit, settings } = this;
    const ramp = find(".ramp");
    const words = field.hasEvidence ? `last colour: ${settings.fixed ? "fixed scale" : "maximum of this image"}`
      : "no positive evidence: nothing is coloured";
    find(".ticks").replaceChildren();
    find(".mark").hidden = !field.hasEvidence;
    ramp.firstElementChild.hidden = !field.hasEvidence;
    find(".bar-title").textContent = `Grad-CAM, raw, towards ${settings.target}; ${words}`;
    if (!field.hasEvidence) return;
    const ink = ramp.firstElementChild.getContext("2d");
    const colours = ink.createImageData(256, 1);
    new Uint32Array(colours.data.buffer).set(this.colours);
    ink.putImageData(colours, 0, 0);

    const { exponent, values } = ticks(limit, 5);
    find(".bar-title").textContent += exponent ? `; x 1e${exponent}` : "";
    values.forEach(([value, text], index) => {
      // A number between the ends is left out where it would touch the last one.
      if (value < limit && value > 0.86 * limit) return;
      const tick = document.createElement("span");
      tick.style.left = `${(100 * value) / limit}%`;
      tick.textContent = index === values.length - 1 && field.maximum > limit ? `≥ ${text}` : text;
      find(".ticks").append(tick);
    });
  }

  // ---- panes

  show(shown) {
    this.shown = shown;
    this.layout();
  }

  layout() {
    if (!this.width || this.find(".stage").hidden) return;
    const { root, find } = this;
    const full = Boolean(document.fullscreenElement);
    const space = find(".stage").clientWidth;
    if (!space) return;
    const narrow = space < NARROW;
    root.classList.toggle("narrow", narrow);
    const shown = this.shown ?? (narrow ? "dt" : "all");
    find(`[name=shown][value=${shown}]`).checked = true;
    for (const kind of KINDS) this.panes[kind].figure.hidden = shown !== "all" && shown !== kind;
    const columns = shown === "all" && !narrow ? 3 : 1;
    const across = (space - 10 * (columns - 1)) / columns;
    const rest = find(".stage").offsetHeight - find(".panes").offsetHeight + 60;
    const most = Math.max(200, full ? window.innerHeight - rest : 0.72 * window.innerHeight);
    const tall = Math.round(Math.min(most, Math.max(0.35, this.height / this.width) * across));
    find(".panes").style.setProperty("--columns", columns);
    find(".panes").style.setProperty("--pane-height", `${tall}px`);
    const ratio = window.devicePixelRatio;
    for (const { pane, canvas } of Object.values(this.panes)) {
      const [width, height] = [Math.round(pane.clientWidth * ratio), Math.round(pane.clientHeight * ratio)];
      if (width && (canvas.width !== width || canvas.height !== height)) Object.assign(canvas, { width, height });
    }
    this.size = { width: across, height: tall };
    this.move();
  }

  /** CSS pixels for each pixel of the display image. */
  get scale() {
    return Math.min(this.size.width / this.width, this.size.height / this.height) * this.view.zoom;
  }

  /** Keeps the view inside its bounds and draws it. */
  move() {
    const { view, size, width, height } = this;
    const fitted = Math.min(size.width / width, size.height / height);
    const most = Math.max(8, (LARGEST_PIXEL * this.header.patch.width) / width / fitted);
    view.zoom = Math.min(most, Math.max(1, view.zoom));
    const bound = (centre, side, seen) => (seen >= side ? side / 2 : Math.min(side - seen / 2, Math.max(seen / 2, centre)));
    view.x = bound(view.x, width, size.width / this.scale);
    view.y = bound(view.y, height, size.height / this.scale);
    for (const { pane } of Object.values(this.panes)) pane.style.touchAction = view.zoom > 1 ? "none" : "pan-y";
    this.find(".zoom").textContent = `${Math.round((100 * this.scale * width) / this.header.patch.width)} %`;
    this.touch();
  }

  /** Micrometres of a pixel of the patch along a row: the file's, else what a person has told, else null. */
  get pixelSize() {
    return this.header.patch.pixel_um ?? toldPixel;
  }

  fit() {
    this.view.zoom = 1;
    this.move();
  }

  /** Zoom about a point of the pane (CSS pixels from its corner), which stays where it is. */
  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const before = this.toImage(x, y);
    this.view.zoom *= factor;
    this.move();
    const after = this.toImage(x, y);
    this.view.x += before.x - after.x;
    this.view.y += before.y - after.y;
    this.move();
  }

  pan(right, down) {
    this.view.x += right / this.scale;
    this.view.y += down / this.scale;
    this.move();
  }

  toImage(x, y) {
    const { view, size, scale } = this;
    return { x: (x - size.width / 2) / scale + view.x, y: (y - size.height / 2) / scale + view.y };
  }

  listen(kind) {
    const { pane } = this.panes[kind];
    const held = new Map();
    const place = (event) => {
      const box = pane.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    this.on(pane, "wheel", (event) => {
      if (event.scrollsPage) return;
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      const { x, y } = place(event);
      this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
      this.point(kind, x, y);
    }, { passive: false });
    this.on(pane, "pointerdown", (event) => {
      if (event.button) return;
      pane.setPointerCapture(event.pointerId);
      held.set(event.pointerId, place(event));
      pane.classList.add("held");
    });
    this.on(pane, "pointermove", (event) => {
      const now = place(event);
      const last = held.get(event.pointerId);
      if (last) {
        const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
        this.pan((last.x - now.x) / (other ? 2 : 1), (last.y - now.y) / (other ? 2 : 1));
        if (other) {
          const apart = (one) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
          this.zoom(apart(now) / apart(last), (now.x + other.x) / 2, (now.y + other.y) / 2);
        }
        held.set(event.pointerId, now);
      }
      this.point(kind, now.x, now.y);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.on(pane, end, (event) => {
        held.delete(event.pointerId);
        pane.classList.toggle("held", held.size > 0);
      });
    }
    this.on(pane, "pointerleave", () => this.point(null));
    this.on(pane, "focus", () => {
      if (pane.matches(":focus-visible")) this.point(kind, this.size.width / 2, this.size.height / 2);
    });
    this.on(pane, "blur", () => this.point(null));
    this.on(pane, "keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { width, height } = this.size;
      const act = {
        ArrowLeft: () => this.pan(-width / 8, 0),
        ArrowRight: () => this.pan(width / 8, 0),
        ArrowUp: () => this.pan(0, -height / 8),
        ArrowDown: () => this.pan(0, height / 8),
        "+": () => this.zoom(1.25),
        "=": () => this.zoom(1.25),
        "-": () => this.zoom(1 / 1.25),
        0: () => this.fit(),
        l: () => this.toggleLens(),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      // Streamlit has shortcuts of its own.
      event.stopPropagation();
      act();
      this.point(kind, width / 2, height / 2);
    });
  }

  toggleLens() {
    this.lens.on = !this.lens.on;
    this.find(".lens").setAttribute("aria-pressed", String(this.lens.on));
    this.touch();
  }

  /** The pointer, or the middle of a pane that has the keyboard: crosses in the other panes, lens, what lies there. */
  point(kind, x = 0, y = 0) {
    Object.assign(this.lens, { kind, x, y });
    for (const [other, { cross }] of Object.entries(this.panes)) {
      cross.style.visibility = kind && other !== kind ? "visible" : "hidden";
      cross.style.transform = `translate(${x}px, ${y}px)`;
    }
    this.tell(kind, x, y);
    if (this.lens.on) this.touch();
  }

  tell(kind, x, y) {
    const tip = this.find(".tip");
    const at = this.toImage(x, y);
    const [column, row] = [Math.floor(at.x), Math.floor(at.y)];
    const number = kind && kind !== "patch" && this.result ? this.result.regionAt(column, row) : -1;
    tip.hidden = number < 0;
    if (number < 0) return;
    const region = this.result.regions[number];
    const name = document.createElement("b");
    name.textContent = `Region ${number + 1}`;
    tip.replaceChildren(
      name,
      `: area ${rounded(100 * region.area, 1)} %, evidence ${rounded(100 * region.evidence, 1)} %; here ` +
        general(this.field.values[row * this.width + column]),
    );
    const [pane, all] = [this.panes[kind].pane.getBoundingClientRect(), this.find(".panes").getBoundingClientRect()];
    const left = Math.max(0, Math.min(pane.left - all.left + x + 16, all.width - tip.offsetWidth));
    tip.style.transform = `translate(${left}px, ${pane.top - all.top + y + 20}px)`;
  }

  draw(kind) {
    const { figure, canvas, ink } = this.panes[kind];
    if (figure.hidden || !canvas.width) return;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, canvas.width, canvas.height);
    this.content(kind, ink, canvas);
    if (this.lens.on && this.lens.kind === kind) {
      const ratio = window.devicePixelRatio;
      const circle = () => {
        ink.setTransform(ratio, 0, 0, ratio, 0, 0);
        ink.beginPath();
        ink.arc(this.lens.x, this.lens.y, LENS_SHARE * Math.min(this.size.width, this.size.height), 0, 2 * Math.PI);
      };
      ink.save();
      circle();
      ink.clip();
      this.content(kind === "patch" ? "dt" : "patch", ink, canvas);
      ink.restore();
      circle();
      this.stroke(ink, undefined, 1);
    }
    this.drawScale(ink, canvas);
    const { zoom, x, y } = this.view;
    canvas.dataset.view = [zoom, x, y].map((value) => value.toFixed(4)).join(" ");
  }

  /** A bar of a round length in the lower left corner, where the size of a pixel is known. */
  drawScale(ink, canvas) {
    canvas.dataset.scale = "";
    if (this.pixelSize === null) return;
    const ratio = window.devicePixelRatio;
    const micronsEach = (this.pixelSize * this.header.patch.width) / this.width / this.scale; // of a CSS pixel
    const { microns, text } = roundLength(micronsEach * BAR_ROOM * this.size.width);
    const long = microns / micronsEach;
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [left, down] = [10, this.size.height - 10];
    const bar = new Path2D();
    bar.rect(left, down - 4, long, 4);
    ink.lineWidth = 2;
    ink.strokeStyle = DARK;
    ink.stroke(bar);
    ink.fillStyle = "#fff";
    ink.fill(bar);
    ink.font = `600 12px ${this.font}`;
    ink.textAlign = "left";
    ink.textBaseline = "bottom";
    ink.lineWidth = 3;
    ink.strokeText(text, left, down - 6);
    ink.fillText(text, left, down - 6);
    canvas.dataset.scale = `${text} ${long.toFixed(2)}`;
  }

  /** How the image lies on a canvas under the present view: device pixels for each of its own, left and top edge. */
  place(canvas) {
    const scale = this.scale * window.devicePixelRatio;
    return [scale, canvas.width / 2 - this.view.x * scale, canvas.height / 2 - this.view.y * scale];
  }

  drawGround() {
    const { ground, width, height } = this;
    const seen = KINDS.map((kind) => this.panes[kind]).find(({ figure }) => !figure.hidden).canvas;
    Object.assign(ground, { width: seen.width, height: seen.height });
    const [scale, left, top] = this.place(ground);
    const source = this.detail && scale > 1 ? this.detail : this.display;
    const ink = ground.getContext("2d");
    ink.setTransform(scale, 0, 0, scale, left, top);
    ink.imageSmoothingQuality = "high";
    ink.imageSmoothingEnabled = (scale * width) / source.width < PIXELS_SEEN_FROM;
    ink.drawImage(source, 0, 0, width, height);
  }

  /** One of the three images, as it lies under the present view. */
  content(kind, ink, canvas) {
    const { result, indices } = this;
    const ratio = window.devicePixelRatio;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.drawImage(this.ground, 0, 0);
    if (kind === "patch" || !indices) return;
    const [scale, left, top] = this.place(canvas);
    ink.setTransform(scale, 0, 0, scale, left, top);
    ink.imageSmoothingEnabled = scale < PIXELS_SEEN_FROM;
    ink.globalAlpha = this.settings.opacity;
    ink.drawImage(this.layers[kind], 0, 0);
    ink.globalAlpha = 1;
    if (kind !== "dt") return;
    this.stroke(ink, this.lines, ratio / scale);
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.font = `600 ${12 * ratio}px ${this.font}`;
    ink.textAlign = "center";
    ink.textBaseline = "middle";
    result.regions.forEach((region, index) => {
      const text = String(index + 1);
      const [x, y] = [left + (region.x + 0.5) * scale, top + (region.y + 0.5) * scale];
      const [w, h] = [ink.measureText(text).width + 10 * ratio, 18 * ratio];
      if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) return;
      const [middle, centre] = [
        Math.min(canvas.width - w / 2 - 1, Math.max(w / 2 + 1, x)),
        Math.min(canvas.height - h / 2 - 1, Math.max(h / 2 + 1, y)),
      ];
      ink.fillStyle = DARK;
      ink.strokeStyle = "#fff";
      ink.lineWidth = ratio;
      ink.beginPath();
      ink.rect(middle - w / 2, centre - h / 2, w, h);
      ink.fill();
      ink.stroke();
      ink.fillStyle = "#fff";
      ink.fillText(text, middle, centre + ratio);
    });
  }

  /** A light line on a broader dark one is seen on dark nuclei as well as on white glass. */
  stroke(ink, path, pixel) {
    ink.lineJoin = "round";
    for (const [colour, width] of [[DARK, 3.5], ["#fff", 1.5]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = width * pixel;
      if (path) ink.stroke(path);
      else ink.stroke();
    }
  }
}

/** The longest of 1, 2, 5, 10, 20, ... micrometres that is no longer than `most`, and how it is written. */
function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const microns = [5, 2, 1].find((digit) => digit * power <= most * (1 + 1e-9)) * power;
  const size = microns >= 1000 ? [microns / 1000, "mm"] : [microns, "µm"];
  return { microns, text: `${Number(size[0].toPrecision(1))} ${size[1]}` };
}
