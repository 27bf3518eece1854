// Images side by side under one view, one threshold and one scale of colours: the page of the heat map, its panes twice.
//
// The data are as state.js tells, but that `sides` holds what is one image's own. Nothing goes back to the server.

import { find } from "../dom.js";
import { ColourBar, FIXED } from "./colour_bar.js";
import { Controls } from "./controls.js";
import { Mounted, mounting } from "./mounted.js";
import { general, rounded } from "./numbers.js";
import { Panes } from "./panes.js";
import { HeatMap, bitmaps, unpack } from "./state.js";

/**
 * @import { Change, Header, Settings } from "./state.js"
 *
 * @typedef {{name: string, element: HTMLElement, panes: Panes, map: HeatMap}} Side
 * @typedef {Header & {sides: (Partial<Header> & {name: string})[]}} PairHeader
 */

const NARROW_PAIR = 640; // CSS pixels
const MOST_APART = 5; // so many times larger an image may be, in micrometres, for both to be seen at one scale

class Comparison extends Mounted {
  /** @type {Side[]} */ #sides = [];
  /** @type {{controls: Controls, bar: ColourBar, same: HTMLElement} | undefined} */ #parts;
  #start = "";
  #same = true;

  /** @override @param {Uint8Array} data */
  async update(data) {
    const { header, part } = unpack(data);
    this.followTheme();
    if (header.start === this.#start) return;
    this.#start = header.start;
    const pair = /** @type {PairHeader} */ (header);
    const headers = pair.sides.map((side) => ({ ...pair, ...side }));
    const pixels = await Promise.all(headers.map((one) => bitmaps(one, part)));
    if (this.closed || header.start !== this.#start) return;

    const maps = headers.map((one, index) => new HeatMap(one, part, ...pixels[index]));
    const common = Math.max(...maps.map((map) => map.strongest));
    for (const map of maps) map.common = Number.isFinite(common) ? common : null;
    if (!this.#parts) this.#build(maps);
    this.#sides.forEach((side, index) => {
      side.map = maps[index];
      side.panes.show(maps[index], true);
      find(side.element, ".whose", HTMLElement).textContent = pair.sides[index].name;
      find(side.element, ".answer", HTMLElement).textContent = headers[index].verdict;
    });
    this.#parts?.controls.fill(maps[0]);
    this.#name();
    find(this.root, ".starting", HTMLElement).hidden = true;
    find(this.root, ".stage", HTMLElement).hidden = false;
    this.#layout();
    this.touch("field");
  }

  /** The element of the page's one image becomes two. @param {HeatMap[]} maps */
  #build(maps) {
    const { root, listen } = this;
    root.classList.add("pair");
    if (maps.length > 1) root.setAttribute("aria-label", "Two heat maps side by side");
    const panes = find(root, ".panes", HTMLElement);
    const numbers = find(root, ".readings dl", HTMLElement);
    const sides = Object.assign(document.createElement("div"), { className: "sides" });
    panes.before(sides);
    sides.append(...maps.map(() => {
      const side = Object.assign(document.createElement("div"), { className: "side" });
      for (const kind of ["whose", "answer"]) side.append(Object.assign(document.createElement("p"), { className: kind }));
      const reason = Object.assign(document.createElement("p"), { className: "reason" });
      side.append(panes.cloneNode(true), numbers.cloneNode(true), reason);
      return side;
    }));
    for (const one of [panes, numbers, find(root, ":scope > .stage > .reason", HTMLElement)]) one.remove();
    /** @param {number} index @param {import("./panes.js").Look} look */
    const moved = (index, look) => this.#sides[1 - index]?.panes.follow(look);
    this.#sides = maps.map((map, index) => {
      const element = find(root, `.side:nth-child(${index + 1})`, HTMLElement);
      const pair = { whole: root, leads: !index, moved: /** @param {any} look */ (look) => moved(index, look) };
      const pick = /** @param {number} number */ (number) => this.#choose(index, number);
      return { name: "", element, map, panes: new Panes(element, listen, map, () => this.touch("view"), pick, pair) };
    });
    const controls = new Controls(
      root, listen, maps[0], (change, part, done) => this.#set(change, part, done), (shown) => {
        for (const { panes: one } of this.#sides) one.choose(shown);
        this.#layout();
      },
    );
    const same = Object.assign(document.createElement("button"), {
      type: "button", textContent: "Same scale", title: "Both at as many micrometres for each point of the screen",
    });
    find(root, ".fit", HTMLElement).before(same);
    listen(same, "click", () => {
      this.#same = !this.#same;
      this.#sides[0].panes.fit();
      this.#layout();
    });
    listen(find(root, ".reset", HTMLElement), "click", () => {
      this.#sides[0].panes.fit();
      this.#set({ ...this.#sides[0].map.header.usual }, "field", true);
    });
    this.offerFullScreen(() => this.#layout());
    this.whenResized([root, this.#sides[0].panes.page], () => this.#layout());
    this.#parts = { controls, bar: new ColourBar(root), same };
  }

  #layout() {
    const space = find(this.root, ".stage", HTMLElement).clientWidth;
    if (!space || !this.#parts) return;
    for (const { panes } of this.#sides) panes.layout();
    this.root.classList.toggle("narrow", space < NARROW_PAIR);
    const um = this.#sides.map(({ map }) => map.pixelSize && (map.pixelSize * map.header.patch.width) / map.width);
    const each = this.#sides.map(({ panes }, index) => panes.fits / (um[index] || NaN)); // CSS pixels of a micrometre
    const apart = Math.max(...each) / Math.min(...each);
    const known = apart <= MOST_APART; // false where one is not known
    const { same } = this.#parts;
    same.hidden = !known || this.#sides.length < 2;
    same.setAttribute("aria-pressed", String(this.#same));
    this.#sides.forEach(({ panes, map }, index) => panes.measure(
      this.#same && known
        ? { shrink: Math.min(...each) / each[index], x: um[index] || 1, y: um[index] || 1 }
        : { shrink: 1, x: 1 / map.width, y: 1 / map.height },
    ));
  }

  #name() {
    for (const { panes } of this.#sides) panes.name();
  }

  /** @param {Partial<Settings>} change @param {Change} part @param {boolean} [done] */
  #set(change, part, done = false) {
    for (const { map } of this.#sides) {
      const { target, ...others } = change;
      Object.assign(map.settings, others);
      if (target !== undefined && map.header.targets.some(({ name }) => name === target)) map.settings.target = target;
    }
    // For this tab, where both have the same classes.
    const classes = this.#sides.map(({ map }) => map.header.targets.map(({ name }) => name).join());
    if (done && classes[0] === classes[1]) this.#sides[0].map.remember();
    if (done) this.#parts?.controls.fill();
    else this.#parts?.controls.fillSliders();
    this.#name();
    this.touch(part);
  }

  /** A region is pointed at in one of the images. @param {number} index @param {number} number -1 none */
  #choose(index, number) {
    const side = this.#sides[index];
    if (!side || side.map.chosen === number) return;
    side.map.chosen = number;
    this.touch("threshold");
  }

  /** @override @param {Set<Change>} changed */
  work(changed) {
    const parts = this.#parts;
    if (!parts || !this.#sides.length) return false;
    for (const { map, panes, element } of this.#sides) {
      map.compute(changed);
      const { result } = map;
      /** @param {string} name @param {string} text */
      const write = (name, text) => (find(element, `.${name}`, HTMLElement).textContent = text);
      write("value-threshold", Number.isNaN(result.threshold) ? "none" : general(result.threshold));
      write("value-area", `${rounded(100 * result.keptArea, 1)} %`);
      write("value-evidence", `${rounded(100 * result.keptEvidence, 0)} %`);
      write("value-regions", String(result.regions.length));
      write("reason", result.reason);
      panes.draw(changed.size === 1 && changed.has("threshold"));
    }
    const { map } = this.#sides.find((side) => side.map.field.hasEvidence) ?? this.#sides[0];
    if (changed.has("field") || changed.has("colours")) {
      const own = this.#sides.length < 2 ? "maximum of this image" : "maximum of both images";
      const whose = map.settings.fixed ? FIXED : own;
      parts.bar.draw(map.field, map.limit, map.colours, map.settings.target, whose);
      parts.bar.mark.hidden = true; // each image has a threshold of its own
    }
    return true;
  }
}

export default mounting((root, component) => new Comparison(root, component));
