"""Is this an image that a model may analyse? Checks of the pixels alone, each with a named reason in one sentence.

The checks look at the square views that the network is shown, not at the file: a large image that is a little out of
focus may be sharp at the size that counts. Each is a line far outside what true images do, so that hardly any of them
is refused; how many are, and what slips through, is measured by `dala gate` (evidence/gate_breakhis.json).
What the pixels alone cannot tell is left to `dala.gate.familiarity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

HISTOLOGY = "H&E histology of the breast, bright field"
MAMMOGRAM = "mammogram, digitised film"

Plane = NDArray[np.floating]
DENSITY: NDArray[np.float32] = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)


@dataclass(frozen=True)
class Reason:
    """Why an image is outside a model's competence: a name for machines, a sentence for people."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Histology:
    """What the checks of a histology view measure; shares and ratios are pure numbers, levels are grey levels 0..255.

    bright      level that 1 % of the pixels exceed, after a slight blur
    mean        mean level
    clipped     share of pixels with all channels at 254 or 255
    structure   share of places whose surroundings (Gaussian, sigma 4 px) vary by a standard deviation of 4 or more
    chroma      mean difference of the largest and the smallest channel
    ink         share of pixels in colours that neither dye nor blood has: black (a nucleus that dark is still purple),
                or absorbing red more than green, or deep red
    magenta     slope of the green density's excess over red and blue on the mean density, plus 0.3 times that of
                red over blue: 0.6 for haematoxylin, 2.3 for eosin, below 0 for diaminobenzidine brown. A slope does not
                change with the colour of the lamp.
    other       the larger of: share of the tissue that absorbs blue clearly more than green, as diaminobenzidine does;
                a quarter of the share that absorbs red more than green, which pale haematoxylin does too
    grain       detail below 1 px over detail of 1 to 2 px: noise has more than any lens gives
    sharpness   detail below 1 px over detail of 2 to 3 px: blur takes the finest first
    """

    bright: float
    mean: float
    clipped: float
    structure: float
    chroma: float
    ink: float
    magenta: float
    other: float
    grain: float
    sharpness: float


@dataclass(frozen=True)
class Film:
    """What the checks of a mammogram measure: as in `Histology`; `texture` is detail of 1 to 6 px over the contrast."""

    bright: float
    chroma: float
    contrast: float
    texture: float


def measure_histology(view: NDArray[np.uint8]) -> Histology:
    """Measurements of one view, (H, W, 3) uint8 RGB, about 224 pixels a side."""
    red, green, blue = _channels(view)
    grey = (red + green + blue) / 3
    smooth = _blurred(grey, 1.0)
    mean = _blurred(smooth, 4.0)
    variation = np.sqrt(np.maximum(_blurred(smooth * smooth, 4.0) - mean * mean, 0))
    octaves = [grey, *(_blurred(grey, sigma) for sigma in (0.8, 1.6, 3.2))]
    fine, middle, coarse = (float(np.abs(octaves[i] - octaves[i + 1]).mean()) for i in range(3))
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    densities = _densities(view)
    smoothed = tuple(_blurred(plane, 1.0) for plane in densities)
    return Histology(
        bright=float(np.percentile(smooth, 99)),
        mean=float(grey.mean()),
        clipped=float((smallest >= 254).mean()),
        structure=float((variation > 4).mean()),
        chroma=float((largest - smallest).mean()),
        ink=_ink(grey, largest - smallest, *densities),
        magenta=_magenta(*smoothed),
        other=_other(*smoothed),
        # A tenth of a grey level keeps the ratios finite on a plain area, which another check refuses.
        grain=fine / (middle + 0.1),
        sharpness=fine / (coarse + 0.1),
    )


# In this order: what makes the next measurements meaningless comes first.
HISTOLOGY_CHECKS: tuple[tuple[str, Callable[[Histology], bool], str], ...] = (
    ("too_dark", lambda m: m.bright < 140, "The image is too dark."),
    ("blank", lambda m: m.structure < 0.03, "This is blank glass or a plain area: there is nothing to assess."),
    ("little_tissue", lambda m: m.structure < 0.12, "There is too little tissue in the image."),
    (
        "too_bright",
        lambda m: m.clipped > 0.45 or m.mean > 240,
        "Most of the image is white: it is overexposed, washed out, or not a photograph of tissue.",
    ),
    ("grey", lambda m: m.chroma < 5, "The image is grey: the model needs the pink and purple of an H&E patch."),
    ("ink", lambda m: m.ink > 0.08, "Much of the image has colours that H&E tissue does not have, such as ink."),
    (
        "stain",
        lambda m: m.magenta < 0.15 or m.other > 0.17,
        "The colours are not those of H&E: this is another stain, has swapped colour channels, or is not histology.",
    ),
    ("noise", lambda m: m.grain > 1.85, "The image is too noisy: its finest details are noise and not tissue."),
    (
        "out_of_focus",
        lambda m: m.sharpness < 0.3,
        "The image is out of focus, or enlarged from too few pixels: its finest details are missing.",
    ),
)

FILM_CHECKS: tuple[tuple[str, Callable[[Film], bool], str], ...] = (
    ("coloured", lambda m: m.chroma > 5, "The image is coloured: a mammogram is grey."),
    ("too_dark", lambda m: m.bright < 100, "The film is too dark."),
    ("blank", lambda m: m.contrast < 8, "This is a plain area: there is no breast in it."),
    ("no_film", lambda m: m.texture > 0.18, "This does not have the smooth shades of a mammogram."),
)


def histology_reason(view: NDArray[np.uint8]) -> Reason | None:
    """Why a view, (H, W, 3) uint8 RGB, is no H&E patch that can be analysed; None where nothing speaks against it."""
    m = measure_histology(view)
    return next((Reason(name, sentence) for name, fails, sentence in HISTOLOGY_CHECKS if fails(m)), None)


def measure_film(view: NDArray[np.uint8]) -> Film:
    """Measurements of one view of a mammogram, (H, W, 3) uint8, about 224 pixels a side."""
    red, green, blue = _channels(view)
    smooth = _blurred((red + green + blue) / 3, 1.0)
    contrast = float(smooth.std())
    return Film(
        bright=float(np.percentile(smooth, 99)),
        chroma=float((np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)).mean()),
        contrast=contrast,
        texture=float(np.abs(smooth - _blurred(smooth, 6.4)).mean()) / (contrast + 0.1),
    )


def film_reason(view: NDArray[np.uint8]) -> Reason | None:
    """Why a view is no mammogram that can be analysed; None where nothing speaks against it."""
    m = measure_film(view)
    return next((Reason(name, sentence) for name, fails, sentence in FILM_CHECKS if fails(m)), None)


# Which images a model may analyse is written in its card: `input.modality` is one of these.
CHECKS: Mapping[str, Callable[[NDArray[np.uint8]], Reason | None]] = MappingProxyType(
    {HISTOLOGY: histology_reason, MAMMOGRAM: film_reason}
)


def _channels(view: NDArray[np.uint8]) -> tuple[Plane, Plane, Plane]:
    # Planes of their own: sums over an axis of three are slow.
    red, green, blue = (np.ascontiguousarray(view[..., k], np.float32) for k in range(3))
    return red, green, blue


def _densities(view: NDArray[np.uint8]) -> tuple[Plane, Plane, Plane]:
    """Optical density (natural logarithm) of each channel."""
    red, green, blue = (np.asarray(cv2.LUT(plane, DENSITY), np.float32) for plane in cv2.split(view))
    return red, green, blue


def _blurred(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _ink(grey: Plane, colour: Plane, red: Plane, green: Plane, blue: Plane) -> float:
    """By the mean of a pixel's channels, their difference, and the optical densities."""
    black = (grey < 20) | ((grey < 60) & (colour < 30))
    cold = (red - green > 0.35) | ((red > 1.6) & (red > green))  # blue ink over tissue is only a little colder
    deep_red = (red < 0.8) & (green > 1.6) & (blue > 1.3)
    return float((black | cold | deep_red).mean())


def _magenta(red: Plane, green: Plane, blue: Plane) -> float:
    """By smoothed optical densities."""
    mean = (red + green + blue) / 3
    mean = mean - mean.mean()
    spread = float((mean * mean).mean()) + 1e-6
    excess = float((mean * (green - (red + blue) / 2)).mean()) / spread
    return excess + 0.3 * float((mean * (red - blue)).mean()) / spread


def _other(red: Plane, green: Plane, blue: Plane) -> float:
    """By smoothed optical densities."""
    tissue = (red + green + blue) / 3 > 0.2
    count = int(tissue.sum()) + 1
    brown, cold = ((blue > green + 0.1) & tissue).sum() / count, ((red > green) & tissue).sum() / count
    return float(max(brown, cold / 4))
