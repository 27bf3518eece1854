"""Digital phantoms of film mammograms, whose breast and mass are known to the pixel: examples without a patient.

Nothing here is a radiograph and nothing here has a diagnosis. The phantoms of `FILMS` show glandular tissue that fans
out from the nipple, the pectoral muscle, and a mass.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.phantoms.tissue import Phantom

HEIGHT, WIDTH = 720, 540
FILMS = ("mammogram",)
NOTICE = "Drawn by code as a schematic of a mammogram: it is not a radiograph and has no diagnosis."
TITLE = "Lesion-like: a mass in a film"
DESCRIPTION = "A breast seen from the side, with muscle, glandular tissue and one dense mass with strands around it."
LIGHT = 255

Plane = NDArray[np.float32]


def draw_film(name: str = FILMS[0], seed: int = 0) -> Phantom:
    """The film phantom of that name (one of FILMS), 720 x 540; another seed gives another breast.

    Raises ValueError for an unknown name or a negative seed.
    """
    if name not in FILMS:
        raise ValueError(f"There is no film phantom '{name}'; there are {', '.join(FILMS)}.")
    if seed < 0:
        raise ValueError("The seed of a phantom is zero or a positive integer.")
    rng = np.random.default_rng([seed, 97])
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) / HEIGHT
    nipple = (0.5 + rng.uniform(-0.02, 0.04), 0.56 + rng.uniform(-0.03, 0.03))
    breast = ((x / nipple[0]) ** 2 + ((y - nipple[1]) / np.where(y < nipple[1], 0.52, 0.36)) ** 2) < 1
    depth = np.asarray(cv2.distanceTransform(breast.astype(np.uint8), cv2.DIST_L2, 5), np.float32) / HEIGHT

    # Thickness falls towards the skin, which is a thin bright line; fat is grey, strands of glandular tissue are light.
    density = 62 * np.tanh(depth / 0.035) + 26 * np.exp(-(((depth - 0.006) / 0.004) ** 2))
    angle, reach = np.arctan2(y - nipple[1], nipple[0] - x), np.hypot(nipple[0] - x, y - nipple[1])
    strands = np.abs(_fan(angle, reach, rng) + 0.5 * _noise(rng, 7)) < 0.25
    cone = np.exp(-((angle / 0.75) ** 2)) * np.clip(reach / 0.1, 0, 1) * np.exp(-((reach / 0.42) ** 4))
    density += cone * (30 + 12 * _noise(rng, 30) + 20 * cv2.GaussianBlur(strands.astype(np.float32), (0, 0), 1.6))
    density += 6 * _noise(rng, 16) + 4 * _noise(rng, 3)
    muscle = 0.26 - x - 0.42 * (y - 0.05)
    density += 58 / (1 + np.exp(-np.clip(muscle / 0.012, -60, 60)))

    centre = (0.24 + rng.uniform(-0.03, 0.05), nipple[1] + rng.uniform(-0.12, 0.02))
    turn, far = np.arctan2(y - centre[1], x - centre[0]), np.hypot(x - centre[0], y - centre[1])
    edge = 0.045 * (1 + 0.10 * np.sin(3 * turn + rng.uniform(0, 6)) + 0.06 * np.sin(7 * turn + rng.uniform(0, 6)))
    mass = far < edge
    density += 62 / (1 + np.exp(np.clip((far - edge) / 0.006, -60, 60)))
    spikes = np.cos(11 * turn + 2 * _noise(rng, 12)) > 0.93
    density += (
        34 * cv2.GaussianBlur(spikes.astype(np.float32), (0, 0), 1.5) * np.exp(-(far / 0.07)) * (far > 0.5 * edge)
    )

    light = np.where(breast, 40 + density, 22 + 3 * x)
    light = cv2.GaussianBlur(np.asarray(light, np.float32), (0, 0), 0.9) + rng.normal(0, 1.2, light.shape)
    image = np.clip(np.rint(light), 0, LIGHT).astype(np.uint8)
    cv2.putText(image, "L MLO", (400, 90), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (LIGHT,), 3, cv2.LINE_AA)
    image[560:600, 420:520] = 0
    pixels = np.repeat(image[..., None], 3, axis=2)
    lesion = np.asarray(mass & breast, bool)
    pixels.setflags(write=False)
    lesion.setflags(write=False)
    return Phantom(name, TITLE, f"{DESCRIPTION} {NOTICE}", pixels, lesion, seed)


def _noise(rng: np.random.Generator, sigma: float) -> Plane:
    """A smooth random field of mean 0 and standard deviation 1."""
    values = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), sigma)
    return np.asarray((values - values.mean()) / values.std(), np.float32)


def _fan(angle: Plane, reach: Plane, rng: np.random.Generator) -> Plane:
    """Waves across the angle seen from the nipple, so that their level lines run towards it."""
    waves = [np.sin(k * angle + 5 * reach + rng.uniform(0, 2 * np.pi)) / k**0.5 for k in (9, 14, 23, 37)]
    return np.asarray(np.sum(waves, axis=0), np.float32)
