// The dynamic threshold in the browser: dala/explanation/threshold.py once more, number for number.
//
// A slider cannot ask the server sixty times a second, so the rules exist twice; tests/viewer compares them. They agree
// exactly, not nearly: every sum is taken in the order of numpy's own, in float64, and rounded to float32 where numpy
// rounds. This file and viewer.js are served as one module, this one first.

const RELATIVE_NOISE = 2 ** -20;
const SMALLEST_NORMAL = 2 ** -126; // of float32
const OTSU_BINS = 256;
const NUMPY_BLOCK = 128; // numpy adds in pairs of blocks of this size ...
const NUMPY_BUFFER = 8192; // ... within buffers of this many values, where it turns float32 into float64

/** numpy's pairwise sum of `count` values from `start`. */
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

/** What `float32_array.sum(dtype=float64)` gives for the first `count` values. */
export function bufferedSum(values, count) {
  let sum = 0;
  for (let start = 0; start < count; start += NUMPY_BUFFER) {
    sum += pairwiseSum(values, start, Math.min(NUMPY_BUFFER, count - start));
  }
  return sum;
}

/** A signed field, row by row, with the statistics of its positive evidence; each is computed once, when first asked. */
export class Field {
  constructor(values, width, height) {
    Object.assign(this, { values, width, height });
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

  once(name, compute) {
    this.known ??= {};
    return (this.known[name] ??= compute());
  }

  get moments() {
    return this.once("moments", () => {
      const count = this.positive.length;
      const mean = this.total / count;
      const squares = Float64Array.from(this.positive, (value) => (value - mean) * (value - mean));
      return { mean, deviation: Math.sqrt(pairwiseSum(squares, 0, count) / count) };
    });
  }

  get ascending() {
    return this.once("ascending", () => this.values.slice().sort());
  }

  get ranked() {
    return this.once("ranked", () => {
      const strongest = this.positive.slice().sort().reverse();
      const held = new Float64Array(strongest.length);
      let sum = 0;
      for (let i = 0; i < held.length; i++) held[i] = sum += strongest[i];
      return { strongest, held };
    });
  }

  get otsu() {
    return this.once("otsu", () => {
      const low = this.positive.reduce((least, value) => Math.min(least, value), Infinity);
      const high = this.maximum;
      if (low === high) return low;
      const width = (high - low) / OTSU_BINS;
      const counts = new Float64Array(OTSU_BINS);
      for (const value of this.positive) counts[Math.min(Math.trunc((value - low) / width), OTSU_BINS - 1)] += 1;
      const moments = new Float64Array(OTSU_BINS);
      let moment = 0;
      for (let i = 0; i < OTSU_BINS; i++) moments[i] = moment += counts[i] * i;
      const between = new Float64Array(OTSU_BINS - 1);
      let below = 0;
      for (let i = 0; i < OTSU_BINS - 1; i++) {
        below += counts[i];
        const above = this.positive.length - below;
        const apart = moments[i] / below - (moment - moments[i]) / above;
        between[i] = below * above * (apart * apart);
      }
      const enough = Math.max(...between) * (1 - 1e-12);
      const first = between.findIndex((value) => value >= enough);
      const last = between.findLastIndex((value) => value >= enough);
      return low + width * ((first + last) / 2 + 1);
    });
  }
}

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
 * Apply a rule to a field: threshold (NaN without evidence), mask, keptArea, keptEvidence, regions (largest first, each
 * with area, evidence and the first pixel of its top row), dropped, reason, and regionAt(x, y): its index, or -1.
 * The mask is the field's own room and lives until the next call.
 */
export function threshold(field, rule, parameter, minimumArea) {
  const { start, end, parent, rows, mask, kept } = field.scratch;
  const { values, width, height } = field;
  mask.fill(0);
  const result = { threshold: NaN, mask, keptArea: 0, keptEvidence: 0, regions: [], dropped: 0, regionAt: () => -1 };
  if (!field.hasEvidence) {
    result.reason = "The map holds no positive evidence for this target, so there is nothing to show.";
    return result;
  }
  const limit = Math.fround(Math.max(0, FORMULAS[rule](field, parameter)));
  result.threshold = limit;

  // Runs of kept pixels, joined with the runs that they touch in the row above, also diagonally.
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
  const parts = new Map();
  for (let y = 0; y < height; y++) {
    for (let run = rows[y]; run < rows[y + 1]; run++) {
      const key = root(run);
      let part = parts.get(key);
      if (!part) parts.set(key, (part = { pixels: 0, sum: 0, x: start[run], y, block: Infinity, number: -1 }));
      part.pixels += end[run] - start[run];
      for (let i = y * width + start[run]; i < y * width + end[run]; i++) part.sum += values[i];
      // OpenCV numbers its parts by the first block of 2 x 2 pixels; only this tells equal ones apart.
      part.block = Math.min(part.block, (y >> 1) * width + (start[run] >> 1));
    }
  }
  const large = [...parts.values()].filter((part) => part.pixels >= minimumArea * values.length);
  for (const part of large) part.share = part.sum / field.total;
  large.sort((a, b) => b.pixels - a.pixels || b.share - a.share || a.block - b.block);
  large.forEach((part, number) => (part.number = number));

  let pixels = 0;
  for (let y = 0; y < height; y++) {
    for (let run = rows[y]; run < rows[y + 1]; run++) {
      if (parts.get(root(run)).number < 0) continue;
      for (let i = y * width + start[run]; i < y * width + end[run]; i++) {
        mask[i] = 1;
        kept[pixels++] = values[i];
      }
    }
  }
  result.regions = large.map(({ pixels, share, x, y }) => ({
    area: pixels / values.length,
    evidence: Math.min(1, share),
    x,
    y,
  }));
  result.dropped = parts.size - large.length;
  result.keptArea = pixels / values.length;
  result.keptEvidence = Math.min(1, bufferedSum(kept, pixels) / field.total);
  result.regionAt = (x, y) => {
    if (!(x >= 0 && y >= 0 && x < width && y < height)) return -1;
    for (let run = rows[y]; run < rows[y + 1]; run++) {
      if (start[run] <= x && x < end[run]) return parts.get(root(run)).number;
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
const EXITS = [
  [], [3, , , 0], [1, 0], [, 3, , 1], [, 2, 1], [1, 0, 3, 2], [2, , 0], [, , 3, 2],
  [, , 3, 2], [2, , 0], [3, 2, 1, 0], [, 2, 1], [, 3, , 1], [1, 0], [3, , , 0], [],
];

/**
 * Closed outlines of a mask, each a list x, y, x, y ... in pixels of the field (the first pixel's centre is .5, .5).
 * They follow the line where the bilinear field crosses the limit, and the image's edge.
 */
export function outlines(field, mask, limit) {
  const { values, width, height } = field;
  const { inside, seen } = field.scratch; // `seen`: a bit for each edge by which a cell was entered or left
  const wide = width + 2;
  seen.fill(0);
  for (let y = 0; y < height; y++) inside.set(mask.subarray(y * width, (y + 1) * width), (y + 1) * wide + 1);
  const code = (cell) =>
    inside[cell] | (inside[cell + 1] << 1) | (inside[cell + wide + 1] << 2) | (inside[cell + wide] << 3);
  const ends = [0, 1, 1, wide + 1, wide, wide + 1, 0, wide];
  const steps = [-wide, 1, wide, -1];

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

  const lines = [];
  for (let cell = 0; cell < inside.length - wide - 1; cell++) {
    // Nearly all cells lie within or without, and this is read sixty times a second.
    const corner = inside[cell];
    if (corner === inside[cell + 1] && corner === inside[cell + wide] && corner === inside[cell + wide + 1]) continue;
    const exits = EXITS[code(cell)];
    for (let edge = 0; edge < exits.length; edge++) {
      if (exits[edge] === undefined || seen[cell] & (1 << edge)) continue;
      const line = [];
      let [at, entry] = [cell, edge];
      do {
        const exit = EXITS[code(at)][entry];
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

/** Index 0..255 into a table of colours for every value: 0..limit linear, as dala/explanation/render.py does. */
export function colourIndices(field, limit) {
  const { values } = field;
  const indices = new Uint8Array(values.length);
  const factor = 255 / limit;
  for (let i = 0; i < values.length; i++) {
    indices[i] = Math.trunc(Math.min(255, Math.max(0, values[i] * factor + 0.5)));
  }
  return indices;
}

/** Ticks of a colour bar from 0 to the limit: the power of ten they are written in, and [value, text] of each. */
export function ticks(limit, most) {
  let exponent = Math.floor(Math.log10(limit));
  if (exponent >= -2 && exponent <= 3) exponent = 0;
  const unit = 10 ** exponent;
  const power = 10 ** Math.floor(Math.log10(limit / most));
  const step = [1, 2, 5, 10, 20].map((factor) => factor * power).find((one) => limit / one <= most);
  const values = [0];
  for (let i = 1; i * step < limit * (1 - 1e-9); i++) values.push(i * step);
  values.push(limit);
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(limit / unit)));
  return { exponent, values: values.map((value) => [value, value ? (value / unit).toFixed(decimals) : "0"]) };
}

/** A number with fixed decimals, an exact half rounded to even as Python rounds it. */
export function rounded(value, decimals) {
  const halves = value * 2 ** (decimals + 1);
  if (Math.abs(halves % 2) !== 1) return value.toFixed(decimals);
  const below = Math.floor(value * 10 ** decimals);
  return ((below % 2 ? below + 1 : below) / 10 ** decimals).toFixed(decimals);
}

/** Three significant figures, written as Python's `.3g`. */
export function general(value) {
  if (value === 0) return "0";
  const [digits, exponent] = value.toExponential(2).split("e");
  const power = Number(exponent);
  const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < 3) return short(rounded(value, Math.max(0, 2 - power)));
  return `${short(digits)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}
