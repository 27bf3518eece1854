// One image with its maps under the present settings: what the server sent, and what follows from a change of them.

import { inkOf } from "../dom.js";
import { colourIndices, colourTable } from "./colour_bar.js";
import { Field, outlines, threshold } from "./rules.js";

/**
 * Where a part lies behind the header.
 * @typedef {{offset: number, length: number}} Place
 * @typedef {Place & {type: string}} ImagePlace
 * @typedef {(place: Place) => Uint8Array<ArrayBuffer>} Parts
 *
 * As pages/parts/session.py: `limit` is the raw value of the last colour of a fixed scale.
 * @typedef {{target: string, rule: string, parameter: number, opacity: number, colour_map: string, fixed: boolean,
 *   limit: number | null}} Settings
 *
 * A rule as dala/explanation/threshold.py offers it.
 * @typedef {{name: string, label: string, parameter: string, unit: string, help: string, minimum: number,
 *   maximum: number, default: number, step: number}} Rule
 *
 * What pages/parts/second_opinion/viewer.py packs. `colour_maps` are RGB bytes in base64.
 * `usual`: the settings to begin with; `verdict`: the answer in a line. Without targets there is only the image.
 * @typedef {{start: string, id: string, verdict: string, usual: Settings, settings: Settings, rules: Rule[], limits: number[], minimum_area: number,
 *   patch: {width: number, height: number, pixel_um: number | null}, colour_maps: Record<string, string>,
 *   image: ImagePlace & {width: number, height: number}, detail: ImagePlace | null, fields: Place[],
 *   targets: {name: string, field: number, sign: number}[]}} Header
 *
 * What a change of the settings, or of the view, makes it necessary to compute or draw anew.
 * @typedef {"field" | "threshold" | "colours" | "view"} Change
 */

/** What this tab has last set: a viewer that is taken down and put up again (another page, and back) goes on from there. */
const remembered = { start: "", settings: /** @type {Settings | null} */ (null) };

/**
 * The data of the component: 4 bytes, little-endian, with the length of a JSON header, the header, the parts it names.
 * @param {Uint8Array} data
 */
export function unpack(data) {
  const length = new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
  /** @type {Header} */
  const header = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
  /** @type {Parts} */
  const part = ({ offset, length: size }) => {
    // A copy begins at an address that float32 may be read from.
    const copy = new Uint8Array(size);
    copy.set(data.subarray(4 + length + offset, 4 + length + offset + size));
    return copy;
  };
  return { header, part };
}

/**
 * The image as it is displayed, and its own pixels where those are more.
 * @param {Header} header
 * @param {Parts} part
 * @returns {Promise<[ImageBitmap, ImageBitmap | null]>}
 */
export async function bitmaps({ image, detail }, part) {
  /** @param {ImagePlace} one */
  const bitmap = (one) => createImageBitmap(new Blob([part(one)], { type: one.type }));
  return Promise.all([bitmap(image), detail && bitmap(detail)]);
}

export class HeatMap {
  /** @type {Map<string, Field>} */ #fields = new Map();
  /** @type {Parts} */ #part;
  /** @type {Uint32Array} */ #pixels;
  /** The last colour where it is not fixed, if it is not this image's own maximum. @type {number | null} */ common = null;

  /**
   * @param {Header} header
   * @param {Parts} part
   * @param {ImageBitmap} display
   * @param {ImageBitmap | null} detail the patch's own pixels, where the displayed image has fewer
   */
  constructor(header, part, display, detail) {
    this.header = header;
    this.display = display;
    this.detail = detail;
    this.#part = part;
    this.width = header.image.width;
    this.height = header.image.height;
    this.settings = { ...(remembered.start === header.start && remembered.settings || header.settings) };
    const layer = () => Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    this.layers = { gradcam: layer(), dt: layer() };
    this.image = new ImageData(this.width, this.height);
    this.#pixels = new Uint32Array(this.image.data.buffer);
    this.limit = 0;
    /** @type {Uint8Array | null} */
    this.indices = null;
    this.colours = new Uint32Array(256);
    this.field = this.#towards(this.settings.target);
    this.result = this.#applied();
    /** @type {Path2D[]} */
    this.outlines = [];
    this.lines = this.#outlined();
    this.chosen = -1;
  }

  get rule() {
    return this.ruleOf(this.settings.rule);
  }

  /** Micrometres of a pixel of the patch along a row, null where they are not known. */
  get pixelSize() {
    return this.header.patch.pixel_um;
  }

  /** @param {string} name */
  ruleOf(name) {
    const found = this.header.rules.find((rule) => rule.name === name);
    if (!found) throw new Error(`There is no rule ${name}`);
    return found;
  }

  /** The raw value of the last colour where it is not fixed: the maximum of the maps towards all classes, for one scale
   * holds for each; of both images where two are compared. */
  get strongest() {
    if (this.common !== null) return this.common;
    const fields = this.header.targets.map(({ name }) => this.#towards(name));
    return Math.max(...fields.filter((one) => one.hasEvidence).map((one) => one.maximum));
  }

  remember() {
    Object.assign(remembered, { start: this.header.start, settings: { ...this.settings } });
  }

  /** Everything that depends on what has changed. @param {Set<Change>} changed */
  compute(changed) {
    const { settings, header } = this;
    const fresh = changed.has("field");
    const colours = fresh || changed.has("colours");
    const cut = fresh || changed.has("threshold");
    if (fresh) this.field = this.#towards(settings.target);
    const { field } = this;
    if (colours) {
      this.limit = settings.fixed && settings.limit !== null ? settings.limit : this.strongest;
      this.indices = field.hasEvidence ? colourIndices(field, this.limit) : null;
      this.colours = colourTable(header.colour_maps[settings.colour_map]);
      this.#paint(this.layers.gradcam, (i) => field.values[i] > 0);
    }
    if (cut) {
      this.result = this.#applied();
      this.lines = this.#outlined();
    }
    const { mask } = this.result;
    if (colours || cut) this.#paint(this.layers.dt, (i) => mask[i] > 0);
  }

  /** @param {string} target */
  #towards(target) {
    const known = this.#fields.get(target);
    if (known) return known;
    if (!this.header.targets.length) return new Field(new Float32Array(this.width * this.height), this.width, this.height);
    const one = this.header.targets.find(({ name }) => name === target);
    if (!one) throw new Error(`There is no map towards ${target}`);
    const values = new Float32Array(this.#part(this.header.fields[one.field]).buffer);
    const field = new Field(one.sign < 0 ? values.map((value) => -value) : values, this.width, this.height);
    this.#fields.set(target, field);
    return field;
  }

  #applied() {
    const { rule, parameter } = this.settings;
    return threshold(this.field, rule, parameter, this.header.minimum_area);
  }

  #outlined() {
    const lines = new Path2D();
    this.outlines = this.result.regions.map(() => new Path2D());
    for (const line of outlines(this.field, this.result.mask, this.result.threshold)) {
      const one = new Path2D();
      for (let i = 0; i < line.length; i += 2) one[i ? "lineTo" : "moveTo"](line[i], line[i + 1]);
      one.closePath();
      lines.addPath(one);
      this.outlines[this.#regionBeside(line[0], line[1])]?.addPath(one);
    }
    return lines;
  }

  /** The region whose outline goes through a point: it lies between a pixel within and one without. */
  #regionBeside(/** @type {number} */ x, /** @type {number} */ y) {
    const around = [[0, 0], [-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]];
    const found = around.map(([right, down]) => this.result.regionAt(Math.floor(x + right), Math.floor(y + down)));
    return Math.max(...found);
  }

  /** A region's box in pixels of the patch, rounded outwards. @param {number} number */
  boxOf(number) {
    const { patch } = this.header;
    const [left, top, right, bottom] = this.result.regions[number].box;
    const [across, down] = [patch.width / this.width, patch.height / this.height];
    return [Math.floor(left * across), Math.floor(top * down), Math.ceil(right * across), Math.ceil(bottom * down)];
  }

  /** @param {HTMLCanvasElement} layer @param {(i: number) => boolean} seen */
  #paint(layer, seen) {
    const [pixels, indices, colours] = [this.#pixels, this.indices, this.colours];
    if (!indices) pixels.fill(0);
    else for (let i = 0; i < pixels.length; i++) pixels[i] = seen(i) ? colours[indices[i]] : 0;
    inkOf(layer).putImageData(this.image, 0, 0);
  }
}
