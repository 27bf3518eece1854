// The controls above the panes: they show the settings and tell what a person changes; and the numbers below.

import { find } from "../dom.js";
import { general, rounded } from "./numbers.js";

/**
 * @import { Change, HeatMap, Settings } from "./state.js"
 * @import { Listen } from "./mounted.js"
 *
 * `done`: the control has been let go, so that the server is told.
 * @typedef {(change: Partial<Settings>, part: Change, done?: boolean) => void} Set_
 */

const PANES = [["all", "All three"], ["patch", "Patch"], ["gradcam", "Grad-CAM"], ["dt", "DT Grad-CAM"]];
const SLIDERS = /** @type {const} */ (["parameter", "opacity"]);
const PARTS = /** @type {const} */ ({ parameter: "threshold", opacity: "view" });

export class Controls {
  /** Whether a slider was last moved by keys: a held arrow key ends with one message, not with thirty. */
  typing = false;
  #map;

  /**
   * @param {HTMLElement} root
   * @param {Listen} listen
   * @param {HeatMap} map
   * @param {Set_} set
   * @param {(shown: string) => void} choose which panes are shown
   */
  constructor(root, listen, map, set, choose) {
    this.root = root;
    this.#map = map;
    const { header } = map;
    const rule = this.#select("rule");
    const colourMap = this.#select("colour-map");
    const fixed = this.#select("fixed");
    const limit = this.#select("limit");
    rule.append(...header.rules.map((one) => new Option(one.label, one.name)));
    colourMap.append(...Object.keys(header.colour_maps).map((name) => new Option(name, name)));
    limit.append(...header.limits.map((one) => new Option(String(one), String(one))));
    this.#segments("targets", "target", header.targets.map(({ name }) => [name, name]), listen, (target) => {
      set({ target }, "field", true);
    });
    this.#segments("shown", "shown", PANES, listen, choose);

    listen(rule, "change", () => {
      set({ rule: rule.value, parameter: this.#map.ruleOf(rule.value).default }, "threshold", true);
    });
    for (const name of SLIDERS) {
      const slider = this.#input(name);
      listen(slider, "input", () => set({ [name]: Number(slider.value) }, PARTS[name]));
      listen(slider, "change", () => set({ [name]: Number(slider.value) }, PARTS[name], true));
      listen(slider, "keydown", () => (this.typing = true));
      listen(slider, "pointerdown", () => (this.typing = false));
    }
    listen(colourMap, "change", () => set({ colour_map: colourMap.value }, "colours", true));
    listen(fixed, "change", () => {
      const { settings, strongest } = this.#map;
      const above = header.limits.find((one) => one >= strongest) ?? header.limits[header.limits.length - 1];
      set({ fixed: Boolean(fixed.value), limit: settings.limit ?? above }, "colours", true);
    });
    listen(limit, "change", () => set({ limit: Number(limit.value) }, "colours", true));
    const display = find(root, ".display", HTMLDetailsElement);
    listen(display, "keydown", (event) => {
      if (event.key !== "Escape") return;
      display.open = false;
      find(display, "summary", HTMLElement).focus();
    });
    listen(document, "pointerdown", (event) => {
      if (!event.composedPath().includes(display)) display.open = false;
    });
  }

  /** @param {string} name */
  #input(name) {
    return find(this.root, `.${name}`, HTMLInputElement);
  }

  /** @param {string} name */
  #select(name) {
    return find(this.root, `.${name}`, HTMLSelectElement);
  }

  /** @param {string} name @param {string} text */
  #write(name, text) {
    find(this.root, `.${name}`, HTMLElement).textContent = text;
  }

  /**
   * Radio buttons that lie side by side.
   * @param {string} place
   * @param {string} group
   * @param {string[][]} choices value and text of each
   * @param {Listen} listen
   * @param {(value: string) => void} chosen
   */
  #segments(place, group, choices, listen, chosen) {
    for (const [value, text] of choices) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value });
      listen(input, "change", () => chosen(value));
      label.append(input, text);
      find(this.root, `.${place} .segments`, HTMLElement).append(label);
    }
  }

  /** Puts the settings into the controls, of another map where one is given. */
  fill(map = this.#map) {
    this.#map = map;
    const { settings, rule } = map;
    find(this.root, `[name=target][value="${CSS.escape(settings.target)}"]`, HTMLInputElement).checked = true;
    this.#select("rule").value = settings.rule;
    const name = `Dynamic threshold: ${rule.parameter} (${rule.unit})`;
    this.#write("parameter-name", name);
    const parameter = this.#input("parameter");
    Object.assign(parameter, { min: rule.minimum, max: rule.maximum, step: rule.step, ariaLabel: name });
    this.fillSliders();
    this.#write("help", rule.help);
    find(this.root, ".help", HTMLElement).title = rule.help;
    this.#select("colour-map").value = settings.colour_map;
    this.#select("fixed").value = settings.fixed ? "fixed" : "";
    find(this.root, ".limits", HTMLElement).hidden = !settings.fixed;
    if (settings.limit !== null) this.#select("limit").value = String(settings.limit);
  }

  fillSliders() {
    const { settings, rule } = this.#map;
    const digits = { parameter: (String(rule.step).split(".")[1] ?? "").length, opacity: 2 };
    for (const name of SLIDERS) {
      const slider = this.#input(name);
      slider.value = String(settings[name]);
      const filled = (settings[name] - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
      slider.style.setProperty("--filled", `${100 * filled}%`);
      this.#write(`${name}-value`, settings[name].toFixed(digits[name]));
    }
  }

  /** The numbers of what the threshold keeps. */
  read() {
    const { result } = this.#map;
    this.#write("value-threshold", Number.isNaN(result.threshold) ? "none" : general(result.threshold));
    this.#write("value-area", `${rounded(100 * result.keptArea, 1)} %`);
    this.#write("value-evidence", `${rounded(100 * result.keptEvidence, 0)} %`);
    this.#write("value-regions", String(result.regions.length));
    this.#write("dropped", result.dropped ? ` (${result.dropped} tiny dropped)` : "");
    this.#write("reason", result.reason);
  }

  /** The same in a sentence, for whoever hears the page. */
  say() {
    /** @param {string} name */
    const text = (name) => find(this.root, `.value-${name}`, HTMLElement).textContent;
    this.#write("said", `Threshold ${text("threshold")}, kept area ${text("area")}, share of evidence ` +
      `${text("evidence")}, regions ${text("regions")}.`);
  }
}
