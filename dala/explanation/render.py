"""Images of an explanation: overlay, contours, colour bar; the same for the page, the command line and exports.

Pure functions from arrays to uint8 RGB arrays; no argument is written. Colour is linear in the raw map: 0 is the first
colour, the limit is the last one, nothing is stretched in between. Where the map is not positive, the tissue stays
as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dala.errors import DataError
from dala.explanation.threshold import Regions, has_evidence

Pixels = NDArray[np.uint8]
FloatField = NDArray[np.float32]

DARK, LIGHT = (24, 24, 27), (255, 255, 255)
BAR_PAPER, BAR_INK, BAR_FAINT = (248, 248, 248), (38, 38, 43), (150, 150, 156)
MINIMUM_BAR_HEIGHT = 200
SMALL_TEXT = 0.85


def _look_up_table(code: int) -> Pixels:
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    table = np.ascontiguousarray(np.asarray(cv2.applyColorMap(ramp, code), dtype=np.uint8)[:, 0, ::-1])
    table.flags.writeable = False
    return table


def _between(anchors: str) -> Pixels:
    """256 colours, evenly between the anchors: RGB, two hexadecimal digits a channel."""
    given = np.frombuffer(bytes.fromhex(anchors), np.uint8).reshape(-1, 3)
    places, along = np.linspace(0, 255, len(given)), np.arange(256)
    table = np.stack([np.round(np.interp(along, places, given[:, one])) for one in range(3)], -1).astype(np.uint8)
    table.flags.writeable = False
    return table


# benchmarks/colour_map.py makes it. Haematoxylin and eosin are blue, purple and pink: it has none of these, from
# blue-green over green to yellow, so that a map stands out on tissue from its first colour to its last.
VERDANT = (
    "065d580d635c10695f126e62137464147a66157f68168469178a6a188f6a19946a1a9a691b9f681ca5651dab621eb05e20b658"
    "21bb5123c14826c63d31cc3144d1255ad61e70da1e83de1f95e221a5e622b4ea23c3ee24d1f225dff526ecf928f9fc2b"
)
DEFAULT_COLOUR_MAP = "verdant"
COLOUR_MAPS: Mapping[str, Pixels] = MappingProxyType(
    {
        "verdant": _between(VERDANT),
        "viridis": _look_up_table(cv2.COLORMAP_VIRIDIS),
        "magma": _look_up_table(cv2.COLORMAP_MAGMA),
        "inferno": _look_up_table(cv2.COLORMAP_INFERNO),
        "cividis": _look_up_table(cv2.COLORMAP_CIVIDIS),
    }
)
"""Perceptually uniform colour maps, (256, 3) uint8 RGB, read-only."""


@dataclass(frozen=True, eq=False)
class Panels:
    """The images of one explanation, uint8 RGB: patch, Grad-CAM and DT Grad-CAM of one size, and their colour bar.

    limit: the raw value of the last colour, 0 if the map has no positive evidence and nothing is coloured.
    """

    patch: Pixels
    gradcam: Pixels
    dt: Pixels
    bar: Pixels
    limit: float


def panels(
    image: Pixels,
    field: FloatField,
    regions: Regions,
    limit: float | None = None,
    colour_map: str = DEFAULT_COLOUR_MAP,
    opacity: float = 0.5,
    title: str = "",
    strongest: float = 0.0,
) -> Panels:
    """Everything the page shows and the command line writes, from one call.

    image: (H, W, 3) uint8 RGB at display size. field: (H, W) float32, the signed map enlarged to that size, and
    regions: what `threshold` made of this very field. limit: raw value of the last colour, the same for all images
    to be compared; None takes this image's own maximum. The bar says which. title: a line on the bar, such as
    "towards malignant". strongest: the maximum of the image's other fields, if one scale is to hold for all of them.
    A field without positive evidence colours nothing, and the bar says so.
    """
    own = limit is None
    if not has_evidence(field):
        _check(image, field, opacity)
        height = max(MINIMUM_BAR_HEIGHT, image.shape[0])
        return Panels(image.copy(), image.copy(), image.copy(), _empty_bar(height, title), 0.0)
    maximum = float(field.max())
    top = max(maximum, strongest) if limit is None else limit
    caption = "top: maximum of this image" if own else "top: fixed scale"
    bar = colour_bar(
        top,
        colour_map,
        regions.threshold,
        max(MINIMUM_BAR_HEIGHT, image.shape[0]),
        title=title,
        caption=caption,
        clipped=maximum > top,
    )
    return Panels(
        image.copy(),
        overlay(image, field, top, colour_map, opacity),
        dt_overlay(image, field, regions, top, colour_map, opacity),
        bar,
        top,
    )


def overlay(
    image: Pixels, field: FloatField, limit: float, colour_map: str = DEFAULT_COLOUR_MAP, opacity: float = 0.5
) -> Pixels:
    """Grad-CAM over the image, (H, W, 3): (1 - opacity) * tissue + opacity * colour wherever the field is positive.

    The opacity is the same for every positive value. An opacity that grows with the value would multiply the map with
    itself, and the colours would no longer be those of the bar.
    """
    _check(image, field, opacity)
    return _blend(image, field, field > 0, limit, colour_map, opacity)


def dt_overlay(
    image: Pixels,
    field: FloatField,
    regions: Regions,
    limit: float,
    colour_map: str = DEFAULT_COLOUR_MAP,
    opacity: float = 0.5,
) -> Pixels:
    """DT Grad-CAM, (H, W, 3): colour inside the kept regions only, each outlined and numbered as in `regions.regions`.

    Outside, the tissue is untouched but for the outlines. They are a light line on a broader dark one, so that they are
    seen on dark nuclei as well as on white glass. Region 1 is the largest.
    """
    _check(image, field, opacity)
    if regions.mask.shape != field.shape:
        raise ValueError(f"The regions belong to a field of {regions.mask.shape}, not to one of {field.shape}.")
    result = _blend(image, field, regions.mask, limit, colour_map, opacity)
    light = max(1, round(min(field.shape) / 300))
    lines = [contour[:, None, :] for region in regions.regions for contour in region.contours]
    for colour, thickness in ((DARK, light + 2), (LIGHT, light)):
        cv2.drawContours(result, lines, -1, colour, thickness, cv2.LINE_AA)
    size = int(np.clip(min(field.shape) / 28, 11, 40))
    for number, region in enumerate(regions.regions, start=1):
        outline = region.contours[0]
        x, y = outline[np.argmin(outline[:, 1])]
        _tag(result, str(number), int(x), int(y), size)
    return result


def spread_overlay(
    image: Pixels, spread: FloatField, unstable: NDArray[np.bool_], limit: float, colour_map: str = DEFAULT_COLOUR_MAP
) -> Pixels:
    """The spread of a map over the image, (H, W, 3), on the colours of the map itself, hatched where it is unstable.

    spread (H, W) float32 >= 0 in the map's raw units; `limit` is the map's own last colour, so that a spread as strong
    as the strongest evidence has that colour. The hatch is drawn in dark and light, to be seen on any tissue.
    """
    result = _blend(image, spread, spread > 0, limit, colour_map, 0.6)
    width = max(1, min(image.shape[:2]) // 200)
    rows, columns = np.indices(unstable.shape)
    line = (rows + columns) // width % 7
    result[unstable & (line == 0)] = LIGHT
    result[unstable & (line == 1)] = DARK
    return result


def colour_bar(
    limit: float,
    colour_map: str,
    threshold: float | None,
    height: int,
    title: str = "",
    caption: str = "",
    clipped: bool = False,
) -> Pixels:
    """A vertical colour bar, (height, W, 3), with the map's raw units from 0 to the limit and a mark at the threshold.

    Small or large units are written as a number and a power of ten. title stands above, caption below. clipped: some
    values lie above the limit, which is then written with ">=". The bar has a light paper of its own and so reads the
    same on a light and on a dark page. Raises ValueError for a limit that is no positive number or too small a height.
    """
    colours(np.zeros((1, 1), dtype=np.float32), limit, colour_map)
    paper, size, (top, bottom) = _paper(height, title, caption)
    small = round(SMALL_TEXT * size)
    left, right = size, size + round(1.6 * size)
    paper[top:bottom, left:right] = colours(_ramp(bottom - top, limit)[:, None], limit, colour_map)
    cv2.rectangle(paper, (left - 1, top - 1), (right, bottom), BAR_INK, 1)

    exponent = math.floor(math.log10(limit))
    exponent = 0 if -2 <= exponent <= 3 else exponent
    unit = 10.0**exponent

    def row(value: float) -> int:
        return round(bottom - 0.5 - value / limit * (bottom - top))

    ends = row(limit), row(0.0)
    labels = [(y - 0.6 * size, y + 0.6 * size) for y in ends]
    if threshold is not None and math.isfinite(threshold):
        y = row(min(threshold, limit))
        words = [_number(threshold / unit, max(threshold, limit / 100) / unit), "threshold"]
        if threshold > limit:
            words.append("off the bar")
        else:
            cv2.line(paper, (left - 1, y), (right + size // 2, y), LIGHT, 3)
            cv2.line(paper, (left - size // 2, y), (right + size // 2, y), DARK, max(1, size // 9))
        # Beside its mark, but never over the numbers at the two ends.
        first = int(np.clip(y - size // 2, ends[0] + 1.3 * size, ends[1] - 2.3 * size))
        for index, text in enumerate(words):
            _write(paper, text, right + round(0.8 * size), first + index * size, small if index else size, BAR_INK)
        labels.append((first - 0.6 * size, first + (len(words) - 0.4) * size))
    step = _tick_step(limit, max(2, (bottom - top) // (3 * size)))
    for value in (limit, 0.0, *(index * step for index in range(1, math.ceil(limit / step)))):
        y = row(value)
        span = (y - 0.6 * size, y + 0.6 * size)
        # A tick between the ends is left out if its number would touch another one.
        if 0 < value < limit and any(span[0] < end and start < span[1] for start, end in labels):
            continue
        labels.append(span)
        cv2.line(paper, (right, y), (right + size // 4, y), BAR_INK, 1)
        number = _number(value / unit, limit / unit)
        _write(paper, f">= {number}" if clipped and value == limit else number, right + size // 2, y, size, BAR_INK)
    if exponent:
        _write(paper, f"x 1e{exponent}", right + size // 2, top - size, small, BAR_INK)
    return paper


def encode_png(array: Pixels) -> bytes:
    """A uint8 RGB array as PNG: pixels only, no metadata, the same bytes for the same array."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError("Only a uint8 array of the shape (height, width, 3) can be written as PNG.")
    return cv2.imencode(".png", cv2.cvtColor(array, cv2.COLOR_RGB2BGR))[1].tobytes()


def _check(image: Pixels, field: FloatField, opacity: float) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError("An image is a uint8 array of the shape (height, width, 3).")
    if image.shape[:2] != field.shape:
        raise ValueError(f"The map of {field.shape} does not have the size of the image, {image.shape[:2]}.")
    if not 0 <= opacity <= 1:
        raise DataError(f"The opacity lies between 0 and 1, not at {opacity:g}.")


def colours(field: FloatField, limit: float, colour_map: str) -> Pixels:
    """Colours of a signed field, (H, W, 3) uint8 RGB: 0..limit linear over the 256 colours, beyond either end the last.

    Raises DataError for an unknown colour map or a limit that is no positive number.
    """
    if colour_map not in COLOUR_MAPS:
        raise DataError(f"There is no colour map named {colour_map!r}; choose one of {', '.join(COLOUR_MAPS)}.")
    if not (math.isfinite(limit) and limit > 0):
        raise DataError(f"The upper end of the colours must be a positive number, not {limit:g}.")
    # Divided in float64: 255 / limit overflows float32 for the smallest maps.
    index = np.clip(field * np.float64(255 / limit) + 0.5, 0, 255).astype(np.uint8)
    return COLOUR_MAPS[colour_map][index]


def _blend(
    image: Pixels, field: FloatField, where: NDArray[np.bool_], limit: float, colour_map: str, opacity: float
) -> Pixels:
    mixed = cv2.addWeighted(image, 1 - opacity, colours(field, limit, colour_map), opacity, 0)
    result = image.copy()
    np.copyto(result, np.asarray(mixed, dtype=np.uint8), where=where[:, :, None])
    return result


def _ramp(rows: int, limit: float) -> FloatField:
    """The value at the middle of each row of the bar, from the top (near the limit) to the bottom (near 0)."""
    return (limit * (1 - (np.arange(rows) + 0.5) / rows)).astype(np.float32)


def _tick_step(limit: float, most: int) -> float:
    """The smallest 1, 2 or 5 times a power of ten that cuts 0..limit into at most `most` parts."""
    power = 10.0 ** math.floor(math.log10(limit / most))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if limit / (factor * power) <= most)


def _number(value: float, largest: float) -> str:
    """Three figures of the largest value, so that all numbers of a scale have the same decimals."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(largest)))}f}"


def _paper(height: int, title: str, caption: str) -> tuple[Pixels, int, tuple[int, int]]:
    """Blank bar with title and caption: (pixels, text size, (first, last + 1) row of the coloured part)."""
    if height < MINIMUM_BAR_HEIGHT:
        raise ValueError(f"A colour bar needs a height of at least {MINIMUM_BAR_HEIGHT} pixels, not {height}.")
    size = int(np.clip(height / 30, 11, 40))
    width = 10 * size
    paper = np.full((height, width, 3), BAR_PAPER, dtype=np.uint8)
    small = round(SMALL_TEXT * size)
    above = ["Grad-CAM, raw", *_wrapped(title, small, width - 2 * small)]
    below = _wrapped(caption, small, width - 2 * small)
    line = round(1.25 * small)
    for index, text in enumerate(above):
        _write(paper, text, size - 1, size + index * line, small, BAR_INK)
    for index, text in enumerate(reversed(below)):
        _write(paper, text, size - 1, height - size - index * line, small, BAR_INK)
    return paper, size, (round(2.6 * size) + len(above) * line, height - round(1.4 * size) - len(below) * line)


def _empty_bar(height: int, title: str) -> Pixels:
    """The bar of a map that colours nothing: it says so instead of showing a scale."""
    paper, size, (top, bottom) = _paper(height, title, "no positive evidence: nothing is coloured")
    cv2.rectangle(paper, (size - 1, top - 1), (size + round(1.6 * size), bottom), BAR_FAINT, 1)
    return paper


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and _letters(f"{lines[-1]} {word}", size).shape[1] <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@lru_cache(maxsize=256)
def _letters(text: str, size: int) -> FloatField:
    """Coverage 0..1 of a line of text, tightly cropped, in Pillow's own font: the same on every machine."""
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    line = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(line).text((-left, -top), text, fill=255, font=font)
    coverage = np.asarray(line, dtype=np.float32) / np.float32(255)
    coverage.flags.writeable = False
    return coverage


def _write(pixels: Pixels, text: str, left: int, middle: int, size: int, colour: tuple[int, int, int]) -> None:
    """Write a line into `pixels`, its capitals centred on the row `middle`; what does not fit is cut off."""
    coverage = _letters(text, size)
    top = middle - round(_letters("0", size).shape[0] / 2)
    top, left = max(0, top), max(0, left)
    window = pixels[top : top + coverage.shape[0], left : left + coverage.shape[1]]
    share = coverage[: window.shape[0], : window.shape[1], None]
    window[:] = np.rint(window * (1 - share) + np.asarray(colour, dtype=np.float32) * share).astype(np.uint8)


def _tag(pixels: Pixels, text: str, x: int, y: int, size: int) -> None:
    """A numbered tag centred on a point of an outline, moved inwards where it would leave the image."""
    rows, cols = _letters(text, size).shape
    height, width = rows + size // 2 + 2, max(cols + size // 2 + 4, rows + size // 2 + 2)
    top = int(np.clip(y - height // 2, 0, max(0, pixels.shape[0] - height - 1)))
    left = int(np.clip(x - width // 2, 0, max(0, pixels.shape[1] - width - 1)))
    cv2.rectangle(pixels, (left, top), (left + width, top + height), DARK, -1)
    cv2.rectangle(pixels, (left, top), (left + width, top + height), LIGHT, 1)
    _write(pixels, text, left + (width - cols + 1) // 2, top + height // 2 + 1, size, LIGHT)
