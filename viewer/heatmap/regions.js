// The table of the marked regions: a row and its region in the image light up together, and a click goes there.

import { find } from "../dom.js";
import { rounded } from "./numbers.js";

/**
 * @import { HeatMap } from "./state.js"
 * @import { Listen } from "./mounted.js"
 */

export class RegionTable {
  #told = "";

  /**
   * @param {HTMLElement} root
   * @param {Listen} listen
   * @param {(number: number) => void} pick a region is pointed at, -1 none
   * @param {(number: number) => void} go a region is to be seen large
   */
  constructor(root, listen, pick, go) {
    this.all = find(root, ".regions", HTMLElement);
    this.body = find(root, ".regions tbody", HTMLElement);
    /** @param {Event} event */
    const numberOf = (event) => {
      const row = event.target instanceof Element ? event.target.closest("tr") : null;
      return row ? [...this.body.children].indexOf(row) : -1;
    };
    for (const kind of /** @type {const} */ (["pointerover", "focusin"])) {
      listen(this.body, kind, (event) => pick(numberOf(event)));
    }
    for (const kind of /** @type {const} */ (["pointerleave", "focusout"])) listen(this.body, kind, () => pick(-1));
    listen(this.body, "click", (event) => numberOf(event) >= 0 && go(numberOf(event)));
  }

  /** The rows, made anew where a number has changed. @param {HeatMap} map */
  draw(map) {
    const rows = map.result.regions.map((region, index) => [
      String(index + 1), rounded(100 * region.area, 1), rounded(100 * region.evidence, 1), map.boxOf(index).join(", "),
    ]);
    const told = JSON.stringify(rows);
    if (told === this.#told) return;
    this.#told = told;
    this.all.hidden = !rows.length;
    this.body.replaceChildren(...rows.map((row) => this.#row(row)));
    this.choose(map.chosen);
  }

  /** @param {string[]} cells */
  #row(cells) {
    const row = document.createElement("tr");
    const button = Object.assign(document.createElement("button"), {
      type: "button", textContent: cells[0], title: `Zoom to region ${cells[0]}`,
    });
    const head = Object.assign(document.createElement("th"), { scope: "row" });
    head.append(button);
    row.append(head, ...cells.slice(1).map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return row;
  }

  /** Which row is lit. @param {number} number */
  choose(number) {
    [...this.body.children].forEach((row, index) => row.classList.toggle("chosen", index === number));
  }
}
