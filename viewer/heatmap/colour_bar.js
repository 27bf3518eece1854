// The colours of a map and the bar that tells what they mean.

import { find, inkOf } from "../dom.js";

/** @import { Field } from "./rules.js" */

export const FIXED = "fixed scale";

/**
 * Index 0..255 into a table of colours for every value: 0..limit linear, as dala/explanation/render.py does.
 * @param {Field} field
 * @param {number} limit
 */
export function colourIndices(field, limit) {
  const { values } = field;
  const indices = new Uint8Array(values.length);
  const factor = 255 / limit;
  for (let i = 0; i < values.length; i++) {
    indices[i] = Math.trunc(Math.min(255, Math.max(0, values[i] * factor + 0.5)));
  }
  return indices;
}

/** The 256 colours of a map as words of RGBA, from their RGB bytes in base64. @param {string} text */
export function colourTable(text) {
  const table = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const colours = new Uint32Array(256);
  const bytes = new Uint8Array(colours.buffer);
  for (let i = 0; i < 256; i++) bytes.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  return colours;
}

/**
 * Ticks of a colour bar from 0 to the limit: the power of ten they are written in, and [value, text] of each.
 * @param {number} limit
 * @param {number} most
 */
export function ticks(limit, most) {
  let exponent = Math.floor(Math.log10(limit));
  if (exponent >= -2 && exponent <= 3) exponent = 0;
  const unit = 10 ** exponent;
  const power = 10 ** Math.floor(Math.log10(limit / most));
  const step = [1, 2, 5, 10, 20].map((factor) => factor * power).find((one) => limit / one <= most) ?? limit;
  const values = [0];
  for (let i = 1; i * step < limit * (1 - 1e-9); i++) values.push(i * step);
  values.push(limit);
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(limit / unit)));
  /** @type {[number, string][]} */
  const written = values.map((value) => [value, value ? (value / unit).toFixed(decimals) : "0"]);
  return { exponent, values: written };
}

export class ColourBar {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.title = find(root, ".bar-title", HTMLElement);
    this.ramp = find(root, ".ramp canvas", HTMLCanvasElement);
    this.ticks = find(root, ".ticks", HTMLElement);
    this.mark = find(root, ".mark", HTMLElement);
    this.word = find(this.mark, "span", HTMLElement);
  }

  /**
   * @param {Field} field
   * @param {number} limit the raw value of the last colour
   * @param {Uint32Array} colours
   * @param {string} target
   * @param {string} whose what the last colour is
   */
  draw(field, limit, colours, target, whose) {
    this.mark.hidden = this.ramp.hidden = !field.hasEvidence;
    this.ticks.replaceChildren();
    const words = field.hasEvidence
      ? `last colour: ${whose}`
      : "no positive evidence: nothing is coloured";
    this.title.textContent = `Grad-CAM, raw, towards ${target}; ${words}`;
    if (!field.hasEvidence) return;
    const ink = inkOf(this.ramp);
    const row = ink.createImageData(256, 1);
    new Uint32Array(row.data.buffer).set(colours);
    ink.putImageData(row, 0, 0);

    const { exponent, values } = ticks(limit, 5);
    if (exponent) this.title.textContent += `; x 1e${exponent}`;
    values.forEach(([value, text], index) => {
      // A number between the ends is left out where it would touch the last one.
      if (value < limit && value > 0.86 * limit) return;
      const tick = document.createElement("span");
      tick.style.left = `${(100 * value) / limit}%`;
      tick.textContent = index === values.length - 1 && field.maximum > limit ? `≥ ${text}` : text;
      this.ticks.append(tick);
    });
  }

  /** Where the threshold lies on the bar. @param {number} threshold @param {number} limit */
  point(threshold, limit) {
    const place = Math.min(1, threshold / limit);
    this.mark.style.left = `${100 * place}%`;
    this.word.textContent = threshold > limit ? "threshold: off the bar" : "threshold";
    this.mark.style.setProperty("--shift", `${-100 * Math.min(1, Math.max(0, (place - 0.06) / 0.88))}%`);
  }
}
