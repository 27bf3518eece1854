"""Where there is tissue on a slide: by what the glass lets through, at 8 um per pixel, and without any filling-in.

Glass is the median of the bright pixels without colour, and everything is measured as optical density (natural
logarithm) against it, channel by channel: a yellow lamp or a grey scanner changes nothing. Haematoxylin and eosin both
absorb green most; pens, the slide's edge and dust do not. A threshold on saturation, as other tools have it, takes
nearly every pen stroke for tissue and misses pale stroma.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import SlideError
from dala.intake.image import who_is
from dala.slides.reader import OVERVIEW_UM, Overview, Slide
from dala.slides.tiled import Pixels

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

BRIGHT, NEUTRAL = 160, 26  # of a grey level that glass has at least, and of its channels' difference at most
LEAST_GLASS = 0.01  # share of what was scanned; every bright-field slide has some
LOWEST, HIGHEST = 0.015, 0.05  # of the optical density, averaged over the channels, above which there is something
COLD, WARM, SLACK = 1.3, 1.15, 0.02  # how much more than green tissue may absorb red, and blue
OPAQUE, GREY = 1.6, 0.12  # mean density of what lets nothing through; spread of the channels of what has no colour
LEAST_MM2 = 0.01  # of a piece
STRIP = 2**20  # pixels that are looked at at once: of a large slide all of them would take a gigabyte


@dataclass(frozen=True, eq=False)
class Tissue:
    """`mask` (h, w) bool over the slide's overview, of `downsample` (x, y) pixels of level 0 each; `mm2` of tissue,
    None without a pixel size; the colour of the `glass`."""

    mask: Mask
    downsample: tuple[float, float]
    mm2: float | None
    glass: tuple[float, float, float]


def find_tissue(slide: Slide) -> Tissue:
    """The tissue of a slide by its overview.

    Raises SlideError: "damaged" where nothing of the overview can be read, "colours" where no glass is: other colours
    than the file says, or fluorescence. No tissue is an empty mask.
    """
    overview = slide.overview
    if not overview.scanned.any():
        raise SlideError("damaged", f"{who_is(slide.name)} is damaged: none of its overview can be read.")
    glass = glass_of(overview)
    if glass is None:
        raise SlideError(
            "colours",
            f"{who_is(slide.name)} shows no glass: its colours are not those of a bright-field slide (fluorescence, or "
            "a file that names the wrong colours), and it is not scanned.",
        )
    um = slide.um
    pixel_mm2 = OVERVIEW_UM**2 / 1e6
    if um is not None:
        pixel_mm2 = overview.downsample[0] * um.columns * overview.downsample[1] * um.rows / 1e6
    mask = tissue_mask(overview.pixels, glass, max(1, round(LEAST_MM2 / pixel_mm2))) & overview.scanned
    return Tissue(mask, overview.downsample, None if um is None else float(mask.sum() * pixel_mm2), glass)


def glass_of(overview: Overview) -> tuple[float, float, float] | None:
    """The colour of the glass: the median of bright pixels without colour. None if less than `LEAST_GLASS` are that."""
    total, levels = 0, np.zeros(3 * 255 + 1, np.int64)
    for rows in _strips(overview.pixels):
        seen, neutral = _neutral(overview, rows)
        total += seen
        levels += np.bincount(neutral.sum(1, dtype=np.int64), minlength=len(levels))
    if not levels.any() or levels.sum() < LEAST_GLASS * total:
        return None
    # Pale tissue may be bright and nearly without colour too, but what is brightest is glass.
    middle, colours = _median(levels), np.zeros((3, 256), np.int64)
    for rows in _strips(overview.pixels):
        _, neutral = _neutral(overview, rows)
        glass = neutral[neutral.sum(1, dtype=np.int64) >= middle]
        for channel in range(3):
            colours[channel] += np.bincount(glass[:, channel], minlength=256)
    return _median(colours[0]), _median(colours[1]), _median(colours[2])


def _strips(pixels: NDArray[Any]) -> Iterator[slice]:
    """Rows of an image, so many at a time that what is made of them stays small."""
    height, width = pixels.shape[:2]
    step = max(1, STRIP // width)
    yield from (slice(start, start + step) for start in range(0, height, step))


def _neutral(overview: Overview, rows: slice) -> tuple[int, Pixels]:
    """How many pixels of these rows were scanned, and those of them (n, 3) that are bright and without colour."""
    seen = overview.pixels[rows][overview.scanned[rows]]
    least, most = seen.min(1), seen.max(1)
    return len(seen), seen[(least >= BRIGHT) & (most - least <= NEUTRAL)]


def _median(counts: NDArray[np.int64]) -> float:
    """Of whole numbers, by how often each of them occurs."""
    before, total = np.cumsum(counts), int(counts.sum())
    low, high = (int(np.searchsorted(before, place, "right")) for place in ((total - 1) // 2, total // 2))
    return (low + high) / 2


def tissue_mask(pixels: Pixels, glass: tuple[float, float, float], least: int) -> Mask:
    """Tissue in an overview (h, w, 3); pieces of fewer than `least` pixels are dropped."""
    white = np.array(glass, np.float32)
    mean, found = np.empty(pixels.shape[:2], np.float32), np.empty(pixels.shape[:2], bool)
    for rows in _strips(pixels):
        density = -np.log(np.maximum(pixels[rows].astype(np.float32), 1) / white)
        red, green, blue = (np.asarray(density[..., channel]) for channel in range(3))
        mean[rows] = average = density.mean(2)
        spread = density.max(2) - density.min(2)
        found[rows] = (red <= COLD * green + SLACK) & (blue <= WARM * green + SLACK)
        found[rows] &= (average < OPAQUE) & (spread > GREY * average)
    found &= mean > threshold_of(mean)
    del mean
    # By hand: with a kernel of even size OpenCV's own opening moves everything by a pixel.
    square = np.ones((2, 2), np.uint8)
    opened = cv2.dilate(cv2.erode(found.astype(np.uint8), square, anchor=(0, 0)), square, anchor=(1, 1))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = np.asarray(stats[:, cv2.CC_STAT_AREA] >= least)
    large[0] = False
    return np.asarray(large[parts] if count > 1 else np.zeros(opened.shape, bool))


def threshold_of(mean: Floats) -> float:
    """Half of Otsu's threshold between glass and the rest, within `LOWEST` and `HIGHEST`."""
    scaled = np.empty(mean.shape, np.uint8)
    for rows in _strips(mean):
        scaled[rows] = np.clip(mean[rows] * 255, 0, 255)
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(min(max(otsu / 255 / 2, LOWEST), HIGHEST))
