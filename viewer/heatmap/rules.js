// The dynamic threshold in the browser: dala/explanation/threshold.py once more, number for number.
//
// A slider cannot ask the server sixty times a second, so the rules exist twice; tests/viewer compares them. They agree
// exactly, not nearly: every sum is taken in the order of numpy's own, in float64, and rounded to float32 where numpy
// rounds.

const RELATIVE_NOISE = 2 ** -20;
const SMALLEST_NORMAL = 2 ** -126; // of float32
const OTSU_BINS = 256;
const NUMPY_BLOCK = 128; // numpy adds in pairs of blocks of this size ...
const NUMPY_BUFFER = 8192; // ... within buffers of this many values, where it turns float32 into float64

/** @typedef {Float32Array | Float64Array} Floats */

/**
 * A region: its share 0..1 of the image and of the evidence, and the first pixel of its top row,
 * and its box (left, top, right, bottom; right and bottom exclusive), all in pixels of the field.
 * @typedef {{area: number, evidence: number, x: number, y: number, box: number[]}} Region
 *
 * What a rule gives: the threshold (NaN without evidence), the mask (the field's own room, which lives until the next
 * call), shares 0..1 of the image and of the evidence, regions (largest first), how many were dropped as too small, why
 * nothing is marked, and the index of the region at a pixel, or -1.
 * @typedef {{threshold: number, mask: Uint8Array, keptArea: number, keptEvidence: number, regions: Region[],
 *   dropped: number, reason: string, regionAt: (x: number, y: number) => number}} Result
 */

/**
 * numpy's pairwise sum of `count` values from `start`.
 * @param {Floats} values
 * @param {number} start
 * @param {number} count
 * @returns {number}
 */
export function pairwiseSum(values, start, count) {
  if (count < 8) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += values[start + i];
    return sum;
  }
  if (count <= NUMPY_BLOCK) {
    let [a, b, c, d, e, f, g, h] = values.subarray(start, start + 8);
    const whole = count - (count % 8);
    for (let i = start + 8; i < start + whole; i += 8) {
      a += values[i];
      b += values[i + 1];
      c += values[i + 2];
      d += values[i + 3];
      e += values[i + 4];
      f += values[i + 5];
      g += values[i + 6];
      h += values[i + 7];
    }
    let sum = a + b + (c + d) + (e + f + (g + h));
    for (let i = start + whole; i < start + count; i++) sum += values[i];
    return sum;
  }
  let half = count >> 1;
  half -= half % 8;
  return pairwiseSum(values, start, half) + pairwiseSum(values, start + half, count - half);
}

/**
 * What `float32_array.sum(dtype=float64)` gives for the first `count` values.
 * @param {Floats} values
 * @param {number} count
 */
export function bufferedSum(values, count) {
  let sum = 0;
  for (let start = 0; start < count; start += NUMPY_BUFFER) {
    sum += pairwiseSum(values, start, Math.min(NUMPY_BUFFER, count - start));
  }
  return sum;
}

/** A signed field, row by row, with the statistics of its positive evidence; each is computed once, when first asked. */
export class Field {
  /** @type {{mean: number, deviation: number} | undefined} */ #moments;
  /** @type {Float32Array | undefined} */ #ascending;
  /** @type {{strongest: Float32Array, held: Float64Array} | undefined} */ #ranked;
  /** @type {number | undefined} */ #otsu;

  /** @param {Float32Array} values @param {number} width @param {number} height */
  constructor(values, width, height) {
    this.values = values;
    this.width = width;
    this.height = height;
    let low = Infinity;
    let high = -Infinity;
    for (let i = 0; i < values.length; i++) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    this.maximum = high;
    this.hasEvidence = high > Math.max(RELATIVE_NOISE * -low, SMALLEST_NORMAL);
    this.positive = values.filter((value) => value > 0);
    this.total = bufferedSum(this.positive, this.positive.length);
    // Room for the parts of a mask, kept from one move of the slider to the next.
    const runs = height * Math.ceil(width / 2);
    this.scratch = {
      start: new Int32Array(runs),
      end: new Int32Array(runs),
      parent: new Int32Array(runs),
      rows: new Int32Array(height + 1),
      mask: new Uint8Array(width * height),
      kept: new Float64Array(width * height),
      inside: new Uint8Array((width + 2) * (height + 2)),
      seen: new Uint8Array((width + 2) * (height + 2)),
    };
  }

  get moments() {
    if (this.#moments) return this.#moments;
    const count = this.positive.length;
    const mean = this.total / count;
    const squares = Float64Array.from(this.positive, (value) => (value - mean) * (value - mean));
    return (this.#moments = { mean, deviation: Math.sqrt(pairwiseSum(squares, 0, count) / count) });
  }

  get ascending() {
    return (this.#ascending ??= this.values.slice().sort());
  }

  get ranked() {
    if (this.#ranked) return this.#ranked;
    const strongest = this.positive.slice().sort().reverse();
    const held = new Float64Array(strongest.length);
    let sum = 0;
    for (let i = 0; i < held.length; i++) held[i] = sum += strongest[i];
    return (this.#ranked = { strongest, held });
  }

  get otsu() {
    return (this.#otsu ??= otsu(this.positive, this.maximum));
  }
}

/** Otsu's threshold of positive values. @param {Float32Array} positive @param {number} high their maximum */
function otsu(positive, high) {
  const low = positive.reduce((least, value) => Math.min(least, value), Infinity);
  if (low === high) return low;
  const width = (high - low) / OTSU_BINS;
  const counts = new Float64Array(OTSU_BINS);
  for (const value of positive) counts[Math.min(Math.trunc((value - low) / width), OTSU_BINS - 1)] += 1;
  const moments = new Float64Array(OTSU_BINS);
  let moment = 0;
  for (let i = 0; i < OTSU_BINS; i++) moments[i] = moment += counts[i] * i;
  const between = new Float64Array(OTSU_BINS - 1);
  let below = 0;
  for (let i = 0; i < OTSU_BINS - 1; i++) {
    below += counts[i];
    const above = positive.length - below;
    const apart = moments[i] / below - (moment - moments[i]) / above;
    between[i] = below * above * (apart * apart);
  }
  const enough = Math.max(...between) * (1 - 1e-12);
  const first = between.findIndex((value) => value >= enough);
  const last = between.findLastIndex((value) => value >= enough);
  return low + width * ((first + last) / 2 + 1);
}

/** @type {Record<string, (field: Field, parameter: number) => number>} */
const FORMULAS = {
  mean_std: (field, k) => field.moments.mean + k * field.moments.deviation,
  evidence: (field, percent) => {
    const { strongest, held } = field.ranked;
    const wanted = (percent / 100) * held[held.length - 1];
    let [low, high] = [0, held.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (held[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return strongest[low];
  },
  otsu: (field, factor) => factor * field.otsu,
  percentile: (field, percent) => {
    const sorted = field.ascending;
    const position = (sorted.length - 1) * (percent / 100);
    const below = Math.floor(position);
    if (below >= sorted.length - 1) return sorted[sorted.length - 1];
    const [left, right, share] = [sorted[below], sorted[below + 1], position - below];
    const step = Math.fround(right - left);
    // numpy interpolates float32 in float32, from the nearer end.
    return share < 0.5
      ? Math.fround(left + Math.fround(step * Math.fround(share)))
      : Math.fround(right - Math.fround(step * Math.fround(1 - share)));
  },
  fixed: (field, fraction) => fraction * field.maximum,
};

/**
 * Apply a rule to a field; regions below `minimumArea` of the image are dropped.
 * @param {Field} field
 * @param {string} rule
 * @param {number} parameter
 * @param {number} minimumArea
 */
export function threshold(field, rule, parameter, minimumArea) {
  const { start, end, parent, rows, mask, kept } = field.scratch;
  const { values, width, height } = field;
  mask.fill(0);
  /** @type {Result} */
  const result = {
    threshold: NaN, mask, keptArea: 0, keptEvidence: 0, regions: [], dropped: 0, reason: "", regionAt: () => -1,
  };
  if (!field.hasEvidence) {
    result.reason = "The map holds no positive evidence for this target, so there is nothing to show.";
    return result;
  }
  const limit = Math.fround(Math.max(0, FORMULAS[rule](field, parameter)));
  result.threshold = limit;

  // Runs of kept pixels, joined with the runs that they touch in the row above, also diagonally.
  /** @param {number} run */
  const root = (run) => {
    while (parent[run] !== run) run = parent[run] = parent[parent[run]];
    return run;
  };
  let count = 0;
  for (let y = 0, i = 0; y < height; y++) {
    let above = y ? rows[y - 1] : 0;
    const first = (rows[y] = count);
    for (let x = 0; x < width; x++, i++) {
      if (!(values[i] >= limit && values[i] > 0)) continue;
      start[count] = x;
      while (x < width && values[i] >= limit && values[i] > 0) x++, i++;
      x--, i--;
      end[count] = x + 1;
      parent[count] = count;
      while (above < first && end[above] < start[count]) above++;
      for (let other = above; other < first && start[other] <= end[count]; other++) {
        const [a, b] = [root(other), root(count)];
        if (a < b) parent[b] = a;
        else parent[a] = b;
      }
      count++;
    }
  }
  rows[height] = count;

  // Evidence of each part, added up in the order of the image as numpy.bincount does.
  /** @type {{pixels: number, sum: number, share: number, x: number, y: number, box: number[], block: number,
   *   number: number}[]} */
  const parts = []; // sparse, by the first run of each
  for (let y = 0; y < height; y++) {
    for (let run = rows[y]; run < rows[y + 1]; run++) {
      const part = (parts[root(run)] ??= {
        pixels: 0, sum: 0, share: 0, x: start[run], y, box: [width, y, 0, 0], block: Infinity, number: -1,
      });
      const { box } = part;
      [box[0], box[2], box[3]] = [Math.min(box[0], start[run]), Math.max(box[2], end[run]), y + 1];
      part.pixels += end[run] - start[run];
      for (let i = y * width + start[run]; i < y * width + end[run]; i++) part.sum += values[i];
      // OpenCV numbers its parts by the first block of 2 x 2 pixels; only this tells equal ones apart.
      part.block = Math.min(part.block, (y >> 1) * width + (start[run] >> 1));
    }
  }
  const all = Object.values(parts);
  const large = all.filter((part) => part.pixels >= minimumArea * values.length);
  for (const part of large) part.share = part.sum / field.total;
  large.sort((a, b) => b.pixels - a.pixels || b.share - a.share || a.block - b.block);
  large.forEach((part, number) => (part.number = number));

  let pixels = 0;
  for (let y = 0; y < height; y++) {
    for (let run = rows[y]; run < rows[y + 1]; run++) {
      if (parts[root(run)].number < 0) continue;
      for (let i = y * width + start[run]; i < y * width + end[run]; i++) {
        mask[i] = 1;
        kept[pixels++] = values[i];
      }
    }
  }
  result.regions = large.map(({ pixels, share, x, y, box }) => ({
    area: pixels / values.length,
    evidence: Math.min(1, share),
    x,
    y,
    box,
  }));
  result.dropped = all.length - large.length;
  result.keptArea = pixels / values.length;
  result.keptEvidence = Math.min(1, bufferedSum(kept, pixels) / field.total);
  result.regionAt = (x, y) => {
    if (!(x >= 0 && y >= 0 && x < width && y < height)) return -1;
    for (let run = rows[y]; run < rows[y + 1]; run++) {
      if (start[run] <= x && x < end[run]) return parts[root(run)].number;
    }
    return -1;
  };
  if (!large.length) {
    result.reason = result.dropped
      ? `All parts above the threshold are smaller than ${100 * minimumArea} % of the image.`
      : "The threshold lies above the strongest evidence of this map.";
  }
  return result;
}

// The other edge that a line through a cell crosses, by the corners inside (1 top left, 2 top right, 4 bottom right,
// 8 bottom left) and the edge of entry (0 top, 1 right, 2 bottom, 3 left). Corners that touch diagonally are one region.
/** @type {(number | undefined)[][]} */
const EXITS = [
  [], [3, , , 0], [1, 0], [, 3, , 1], [, 2, 1], [1, 0, 3, 2], [2, , 0], [, , 3, 2],
  [, , 3, 2], [2, , 0], [3, 2, 1, 0], [, 2, 1], [, 3, , 1], [1, 0], [3, , , 0], [],
];

/**
 * Closed outlines of a mask, each a list x, y, x, y ... in pixels of the field (the first pixel's centre is .5, .5).
 * They follow the line where the bilinear field crosses the limit, and the image's edge.
 * @param {Field} field
 * @param {Uint8Array} mask
 * @param {number} limit
 */
export function outlines(field, mask, limit) {
  const { values, width, height } = field;
  const { inside, seen } = field.scratch; // `seen`: a bit for each edge by which a cell was entered or left
  const wide = width + 2;
  seen.fill(0);
  for (let y = 0; y < height; y++) inside.set(mask.subarray(y * width, (y + 1) * width), (y + 1) * wide + 1);
  /** @param {number} cell */
  const code = (cell) =>
    inside[cell] | (inside[cell + 1] << 1) | (inside[cell + wide + 1] << 2) | (inside[cell + wide] << 3);
  const ends = [0, 1, 1, wide + 1, wide, wide + 1, 0, wide];
  const steps = [-wide, 1, wide, -1];

  /** @type {(line: number[], cell: number, edge: number) => void} */
  const point = (line, cell, edge) => {
    const first = cell + ends[2 * edge];
    const second = cell + ends[2 * edge + 1];
    const a = inside[first] ? first : second; // the pixel within, and the one without
    const b = inside[first] ? second : first;
    const ax = (a % wide) - 1;
    const ay = Math.floor(a / wide) - 1;
    const bx = (b % wide) - 1;
    const by = Math.floor(b / wide) - 1;
    let share = 0.5;
    if (bx >= 0 && by >= 0 && bx < width && by < height) {
      const value = values[ay * width + ax];
      share = (value - limit) / (value - values[by * width + bx]);
    }
    line.push(ax + 0.5 + share * (bx - ax), ay + 0.5 + share * (by - ay));
  };

  /** @type {number[][]} */
  const lines = [];
  for (let cell = 0; cell < inside.length - wide - 1; cell++) {
    // Nearly all cells lie within or without, and this is read sixty times a second.
    const corner = inside[cell];
    if (corner === inside[cell + 1] && corner === inside[cell + wide] && corner === inside[cell + wide + 1]) continue;
    const exits = EXITS[code(cell)];
    for (let edge = 0; edge < exits.length; edge++) {
      if (exits[edge] === undefined || seen[cell] & (1 << edge)) continue;
      /** @type {number[]} */
      const line = [];
      let [at, entry] = [cell, edge];
      do {
        const exit = /** @type {number} */ (EXITS[code(at)][entry]);
        seen[at] |= (1 << entry) | (1 << exit);
        point(line, at, exit);
        at += steps[exit];
        entry = (exit + 2) % 4;
      } while (at !== cell || entry !== edge);
      lines.push(line);
    }
  }
  return lines;
}
