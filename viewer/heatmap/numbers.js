// Numbers as Python writes them.

/**
 * A number with fixed decimals, an exact half rounded to even as Python rounds it.
 * @param {number} value
 * @param {number} decimals
 */
export function rounded(value, decimals) {
  const halves = value * 2 ** (decimals + 1);
  if (Math.abs(halves % 2) !== 1) return value.toFixed(decimals);
  const below = Math.floor(value * 10 ** decimals);
  return ((below % 2 ? below + 1 : below) / 10 ** decimals).toFixed(decimals);
}

/** Three significant figures, written as Python's `.3g`. @param {number} value */
export function general(value) {
  if (value === 0) return "0";
  const [digits, exponent] = value.toExponential(2).split("e");
  const power = Number(exponent);
  /** @param {string} text */
  const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < 3) return short(rounded(value, Math.max(0, 2 - power)));
  return `${short(digits)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/**
 * The longest of 1, 2, 5, 10, 20, ... micrometres that is no longer than `most`, and how it is written.
 * @param {number} most
 */
export function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const microns = ([5, 2, 1].find((digit) => digit * power <= most * (1 + 1e-9)) ?? 1) * power;
  const millimetres = microns >= 1000;
  const size = Number((millimetres ? microns / 1000 : microns).toPrecision(1));
  return { microns, text: `${size} ${millimetres ? "mm" : "µm"}` };
}
