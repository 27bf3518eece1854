// What of a slide is seen: pure functions of a camera, so that they can be tested without a browser.

/**
 * `x`, `y`: the point of the slide at the canvas's middle, in pixels of level 0; `zoom`: CSS pixels for each of them.
 * @typedef {{x: number, y: number, zoom: number}} Camera
 * @typedef {{width: number, height: number}} Size
 * A tile: how often the slide was halved, its place, and (left, top, side) in pixels of level 0.
 * @typedef {{halvings: number, column: number, row: number, left: number, top: number, side: number}} Tile
 */

export const TILE = 256;
export const CLOSEST = 4; // CSS pixels for a pixel of level 0

/** @param {number} value @param {number} low @param {number} high */
export const within = (value, low, high) => Math.min(high, Math.max(low, value));

/** The camera that shows all of a slide. @param {Size} slide @param {Size} view @returns {Camera} */
export function whole(slide, view) {
  const zoom = Math.min(view.width / slide.width, view.height / slide.height);
  return { x: slide.width / 2, y: slide.height / 2, zoom };
}

/** A camera that shows something of the slide. @param {Camera} camera @param {Size} slide @param {Size} view @returns {Camera} */
export function held(camera, slide, view) {
  const zoom = within(camera.zoom, 0.8 * whole(slide, view).zoom, CLOSEST);
  return { x: within(camera.x, 0, slide.width), y: within(camera.y, 0, slide.height), zoom };
}

/** The point of the slide below a point of the canvas. @param {Camera} camera @param {Size} view @param {number} x @param {number} y */
export function under(camera, view, x, y) {
  return { x: camera.x + (x - view.width / 2) / camera.zoom, y: camera.y + (y - view.height / 2) / camera.zoom };
}

/** Zoomed so that the point of the slide at (x, y) of the canvas stays there.
 * @param {Camera} camera @param {Size} view @param {number} x @param {number} y @param {number} factor @returns {Camera} */
export function zoomed(camera, view, x, y, factor) {
  const zoom = Math.min(camera.zoom * factor, CLOSEST), fixed = under(camera, view, x, y);
  return { x: fixed.x - (x - view.width / 2) / zoom, y: fixed.y - (y - view.height / 2) / zoom, zoom };
}

/** The tiles that are seen, from the level whose pixels are just finer than the screen's.
 * @param {Camera} camera @param {Size} slide @param {Size} view @param {number} most @param {number} ratio @returns {Tile[]} */
export function tilesOf(camera, slide, view, most, ratio) {
  const halvings = within(Math.floor(Math.log2(1 / (camera.zoom * ratio)) + 0.01), 0, most), side = TILE * 2 ** halvings;
  const first = under(camera, view, 0, 0), last = under(camera, view, view.width, view.height), found = [];
  const columns = Math.ceil(slide.width / side) - 1, rows = Math.ceil(slide.height / side) - 1;
  for (let row = Math.max(0, Math.floor(first.y / side)); row <= Math.min(rows, Math.floor(last.y / side)); row++) {
    for (let column = Math.max(0, Math.floor(first.x / side)); column <= Math.min(columns, Math.floor(last.x / side)); column++) {
      found.push({ halvings, column, row, left: column * side, top: row * side, side });
    }
  }
  return found;
}

/** The tiles around those that are seen, of the same level. @param {Tile[]} seen @param {Size} slide @returns {Tile[]} */
export function around(seen, slide) {
  if (!seen.length) return [];
  const { halvings, side } = seen[0], columns = seen.map((tile) => tile.column), rows = seen.map((tile) => tile.row);
  const most = { column: Math.ceil(slide.width / side) - 1, row: Math.ceil(slide.height / side) - 1 }, found = [];
  const [left, right, top, bottom] = [Math.min(...columns), Math.max(...columns), Math.min(...rows), Math.max(...rows)];
  for (let row = Math.max(0, top - 1); row <= Math.min(most.row, bottom + 1); row++) {
    for (let column = Math.max(0, left - 1); column <= Math.min(most.column, right + 1); column++) {
      if (row >= top && row <= bottom && column >= left && column <= right) continue;
      found.push({ halvings, column, row, left: column * side, top: row * side, side });
    }
  }
  return found;
}

/** A round length in um and its CSS pixels, at most `room` wide. @param {number} zoom @param {number} um @param {number} room */
export function scaleBar(zoom, um, room) {
  const longest = (room / zoom) * um, power = 10 ** Math.floor(Math.log10(longest));
  const length = power * (longest >= 5 * power ? 5 : longest >= 2 * power ? 2 : 1);
  return { length, pixels: (length / um) * zoom, words: length >= 1000 ? `${length / 1000} mm` : `${length} µm` };
}
