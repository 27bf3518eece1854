"""Drawn tissue without glands or tumour, and drawn nothing: what no model should call malignant.

Nothing here is tissue and nothing here has a diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dala.phantoms.cells import SPINDLE
from dala.phantoms.sheet import HEIGHT, WIDTH, Sheet, blurred, photograph
from dala.phantoms.structures import draw_fat, draw_fibres, draw_fibroblasts, scatter_nuclei

Pixels = NDArray[np.uint8]


def _everywhere() -> NDArray[np.bool_]:
    return np.ones((HEIGHT, WIDTH), bool)


def _stroma(rng: np.random.Generator) -> Pixels:
    """Collagen with a fibroblast here and there."""
    sheet = Sheet(rng)
    draw_fibres(sheet, rng.uniform(0, np.pi), eosin=rng.uniform(0.22, 0.36), clefts=rng.uniform(0.8, 1.3))
    draw_fibroblasts(sheet, _everywhere(), rng.uniform(36, 70))
    return photograph(sheet)


def _fat(rng: np.random.Generator) -> Pixels:
    """Adipose tissue from edge to edge."""
    sheet = Sheet(rng)
    draw_fat(sheet, _everywhere())
    return photograph(sheet)


def _muscle(rng: np.random.Generator) -> Pixels:
    """Broad straight eosin-rich bundles, close together, with slender nuclei."""
    sheet = Sheet(rng)
    draw_fibres(sheet, rng.uniform(0, np.pi), eosin=rng.uniform(0.40, 0.52), wave=6, bundle=18, clefts=1.9, blue=0.03)
    scatter_nuclei(sheet, _everywhere(), int(rng.integers(25, 60)), SPINDLE)
    return photograph(sheet)


def _glass(rng: np.random.Generator) -> Pixels:
    """A lamp through clear glass, a little uneven and tinted, with the camera's grain."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    lamp = 1 - rng.uniform(0, 0.06) * ((x - rng.uniform(-0.4, 0.4)) ** 2 + (y - rng.uniform(-0.4, 0.4)) ** 2)
    return _bytes(rng.uniform(225, 252, 3) * lamp[..., None] + rng.normal(0, rng.uniform(0.3, 3), (HEIGHT, WIDTH, 3)))


def _dusty_glass(rng: np.random.Generator) -> Pixels:
    """Clear glass with specks and a hair out of focus."""
    light = _glass(rng).astype(np.float64)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(int(rng.integers(3, 12))):
        far = np.hypot(x - rng.uniform(0, WIDTH), y - rng.uniform(0, HEIGHT)) / rng.uniform(2, 14)
        light *= 1 - rng.uniform(0.1, 0.5) * np.exp(-(far**2))[..., None]
    angle = rng.uniform(0, np.pi)
    hair = (x - rng.uniform(0, WIDTH)) * np.sin(angle) - (y - rng.uniform(0, HEIGHT)) * np.cos(angle)
    light *= 1 - 0.25 * np.exp(-((hair / 5) ** 2))[..., None]
    return _bytes(light)


def _grey(rng: np.random.Generator) -> Pixels:
    """One grey with grain: a closed shutter, an empty frame."""
    return _bytes(np.full((HEIGHT, WIDTH, 3), rng.uniform(10, 235)) + rng.normal(0, 2, (HEIGHT, WIDTH, 1)))


def _one_colour(rng: np.random.Generator) -> Pixels:
    """The colour of eosin, of haematoxylin or between them, without any structure."""
    pink, blue = np.array([225.0, 150, 190]), np.array([120.0, 90, 160])
    mix = rng.uniform(0, 1)
    colour = mix * pink + (1 - mix) * blue + rng.uniform(-20, 20, 3)
    return _bytes(colour + rng.normal(0, rng.uniform(0.5, 4), (HEIGHT, WIDTH, 3)))


def _noise(rng: np.random.Generator) -> Pixels:
    """Noise of every pixel by itself, in all colours or in those of the stains."""
    if rng.random() < 0.5:
        return rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return _bytes(np.array([190.0, 130, 180]) + rng.normal(0, rng.uniform(15, 60), (HEIGHT, WIDTH, 3)))


def _clouds(rng: np.random.Generator) -> Pixels:
    """Smooth noise in the colours of the stains, on any scale from a nucleus to a field."""
    sigma = float(np.exp(rng.uniform(np.log(4), np.log(60))))
    density = np.stack([blurred(rng.standard_normal((HEIGHT, WIDTH)), sigma) for _ in range(2)], -1)
    density = np.clip(0.25 + 0.15 * density / density.std(), 0, None) @ np.array(
        [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]
    )
    return _bytes(245 * 10**-density)


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_DRAWINGS: MappingProxyType[str, Callable[[np.random.Generator], Pixels]] = MappingProxyType(
    {
        "white glass": _glass,
        "dusty glass": _dusty_glass,
        "grey": _grey,
        "one colour": _one_colour,
        "noise": _noise,
        "clouds": _clouds,
        "stroma": _stroma,
        "fat": _fat,
        "muscle": _muscle,
    }
)
NORMAL = tuple(_DRAWINGS)


def draw_normal(name: str, seed: int = 0) -> Pixels:
    """The drawing of that name (one of NORMAL), (460, 700, 3) uint8 at 0.35 um per pixel; another seed, another field.

    Raises ValueError for an unknown name or a negative seed.
    """
    if name not in _DRAWINGS:
        raise ValueError(f"There is no drawing '{name}'; there are {', '.join(NORMAL)}.")
    if seed < 0:
        raise ValueError("The seed of a drawing is zero or a positive integer.")
    return _DRAWINGS[name](np.random.default_rng([seed, 211, NORMAL.index(name)]))
