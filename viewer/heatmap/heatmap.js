// The heat map viewer: patch, Grad-CAM and DT Grad-CAM; everything acts at once on the raw map that it holds.
//
// Streamlit calls the default export with the component's data (state.js tells what they are) and again on every rerun.
// Settings go back as the component's state when a control is let go; nothing is sent while it moves.

import { find } from "../dom.js";
import { ColourBar, FIXED } from "./colour_bar.js";
import { Controls } from "./controls.js";
import { Mounted, mounting } from "./mounted.js";
import { Panes } from "./panes.js";
import { RegionTable } from "./regions.js";
import { HeatMap, bitmaps, unpack } from "./state.js";

/** @import { Change, Settings } from "./state.js" */

class Viewer extends Mounted {
  /** @type {HeatMap | undefined} */ #map;
  /** @type {{panes: Panes, controls: Controls | null, bar: ColourBar, table: RegionTable} | undefined} */ #parts;
  #start = "";
  #sending = 0;

  /** @override @param {Uint8Array} data */
  async update(data) {
    const { header, part } = unpack(data);
    this.followTheme();
    if (header.start === this.#start) return;
    this.#start = header.start;
    const [display, detail] = await bitmaps(header, part);
    if (this.closed || header.start !== this.#start) return;

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
    this.touch("field");
  }

  /** @param {HeatMap} map */
  #build(map) {
    const [{ root, listen }, redraw] = [this, () => this.touch("view")];
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
    this.offerFullScreen(() => panes.layout());
    this.whenResized([root, panes.page], () => panes.layout());
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
    this.touch(part);
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
    this.touch("threshold");
  }

  /** @override @param {Set<Change>} changed */
  work(changed) {
    const [map, parts] = [this.#map, this.#parts];
    if (!map || !parts) return false;
    map.compute(changed);
    const { field, limit, result, settings } = map;
    if (changed.has("field") || changed.has("colours")) {
      parts.bar.draw(field, limit, map.colours, settings.target, settings.fixed ? FIXED : "maximum of this image");
    }
    if (field.hasEvidence) parts.bar.point(result.threshold, limit);
    parts.controls?.read();
    parts.table.draw(map);
    parts.panes.draw(changed.size === 1 && changed.has("threshold"));
    this.root.dataset.drawn = map.header.id;
    return true;
  }
}

export default mounting((root, component) => new Viewer(root, component));
