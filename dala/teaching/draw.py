"""Images of small maps on tissue, cell by cell, as they are: uint8 RGB arrays."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.explanation.render import COLOUR_MAPS

Pixels = NDArray[np.uint8]
Plane = NDArray[np.floating]

AGAINST, NEITHER, TOWARDS = (0, 114, 178), (244, 244, 244), (213, 94, 0)  # Okabe and Ito's blue and vermilion
STRENGTH = 0.7


def activation_cells(image: Pixels, values: Plane, limit: float) -> Pixels:
    """Values (h, w) from 0 to `limit` as viridis cells over the grey image (H, W, 3); the same size."""
    scale = np.clip(np.maximum(values, 0) / limit if limit > 0 else np.zeros_like(values), 0, 1)
    colours = COLOUR_MAPS["viridis"][np.round(255 * scale).astype(np.uint8)]
    return _over(image, colours)


def signed_cells(image: Pixels, values: Plane, limit: float) -> Pixels:
    """Values (h, w) from -limit to limit as cells from blue over pale to vermilion over the grey image."""
    scale = np.clip(values / limit if limit > 0 else np.zeros_like(values), -1, 1)[..., None]
    ends = np.where(scale < 0, np.array(AGAINST), np.array(TOWARDS))
    colours = np.array(NEITHER) + np.abs(scale) * (ends - np.array(NEITHER))
    return _over(image, np.round(colours).astype(np.uint8))


def _over(image: Pixels, colours: Pixels) -> Pixels:
    height, width = image.shape[:2]
    enlarged = cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(grey, 1 - STRENGTH, enlarged, STRENGTH, 0), np.uint8)
