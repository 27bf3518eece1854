"""The plainest film that the preprocessing must understand: half an ellipse with texture at the chest wall."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def film(
    *,
    right: bool = False,
    background: int = 20,
    label: bool = True,
    box: bool = True,
    frame: int = 0,
    size: int = 299,
    seed: int = 0,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A film (size, size) uint8 and where its breast is, bool: centre at mid-height, half-axes .55 and .35 of the side.

    `label`: white letters beside the breast; `box`: a black rectangle over the name; `frame`: white lines at each edge.
    """
    y, x = np.mgrid[:size, :size] / size
    breast = ((x / 0.55) ** 2 + ((y - 0.5) / 0.35) ** 2) < 1
    light = np.full((size, size), background, dtype=np.float32)
    noise = cv2.GaussianBlur(
        np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32), (0, 0), size / 40
    )
    light[breast] = (130 + 20 * noise / noise.std())[breast].clip(85, 190)
    image = cv2.GaussianBlur(light, (0, 0), 1).clip(0, 255).astype(np.uint8)
    if box:
        image[round(0.88 * size) : round(0.95 * size), round(0.7 * size) : round(0.9 * size)] = 0
    if label:
        place = (round(0.7 * size), round(0.15 * size))
        cv2.putText(image, "LCC", place, cv2.FONT_HERSHEY_SIMPLEX, size / 299, (255,), 3)
    if frame:
        image[:frame] = image[-frame:] = 255
        image[:, :frame] = image[:, -frame:] = 255
    return (image[:, ::-1].copy(), breast[:, ::-1].copy()) if right else (image, breast)
