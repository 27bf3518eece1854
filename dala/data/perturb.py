"""Perturbations of an image with a strength: what another laboratory, camera or user does to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
FRAME = (700, 460)  # width and height of BreakHis's field; its 224 x 224 edition is squeezed
# Ruifrok & Johnston 2001, rows haematoxylin, eosin, residual: optical density of R, G, B for one unit of dye.
HED = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]], np.float32)
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class Perturbation:
    """A perturbation of an (H, W, 3) uint8 image, its levels in ascending order, and the one that changes nothing."""

    name: str
    unit: str
    about: str
    levels: tuple[float, ...]
    neutral: float | None
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """The image after a round through JPEG."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian blur, sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def noise(pixels: Pixels, random: np.random.Generator, level: float) -> Pixels:
    """Independent Gaussian noise of a standard deviation in grey levels."""
    return np.clip(pixels + random.normal(0, level, pixels.shape), 0, 255).astype(np.uint8)


def scaled(pixels: Pixels, factor: Any) -> Pixels:
    """Grey levels times a factor (or one a channel), clipped as a camera does."""
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


def restain(pixels: Pixels, amounts: NDArray[np.float64]) -> Pixels:
    """Amounts of haematoxylin, eosin and residual multiplied in optical density (Ruifrok & Johnston 2001)."""
    return from_density((dyes(pixels) * amounts) @ HED)


def dyes(pixels: Pixels) -> NDArray[np.float64]:
    """Amounts of haematoxylin, eosin and residual in each pixel."""
    return density(pixels) @ np.linalg.inv(HED)


def density(pixels: Pixels) -> NDArray[np.float64]:
    """Optical density of each channel, 0 for white, by the natural logarithm (Beer and Lambert)."""
    return -np.log(np.maximum(pixels, 1) / 255.0)


def from_density(density: NDArray[np.float64]) -> Pixels:
    """The image of an optical density."""
    return np.clip(255 * np.exp(-density), 0, 255).astype(np.uint8)


def hue(pixels: Pixels, degrees: float) -> Pixels:
    """Every colour turned around the grey axis of HSV by an angle, saturation and value kept."""
    hsv = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + degrees) % 360
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.asarray(np.clip(255 * turned, 0, 255).round(), np.uint8)


def saturation(pixels: Pixels, factor: float) -> Pixels:
    """Distance from each pixel's own grey (BT.601) times a factor; 0 is a grey image."""
    grey = (pixels @ GREY)[..., None]
    return np.asarray(np.clip(grey + factor * (pixels - grey), 0, 255).round(), np.uint8)


def rotated(pixels: Pixels, degrees: float, frame: tuple[int, int] = FRAME) -> Pixels:
    """Turned around the centre in the proportions of the field (`frame`: its width and height), mirrored beyond its
    borders."""
    (width, height), (high, wide) = frame, pixels.shape[:2]
    # The field's pixels in its own proportions, turned, and squeezed again: one affine map from output to input.
    across, down = wide / width, high / height
    squeeze = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])  # centres of pixels
    turn = np.vstack([cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1), [0, 0, 1]])
    return _warped(pixels, squeeze @ turn @ np.linalg.inv(squeeze))


def magnified(pixels: Pixels, factor: float) -> Pixels:
    """As through a lens of `factor` times the magnification: the middle enlarged, or all of it smaller and mirrored
    beyond its borders."""
    if factor < 1:  # an antialiased reduction first
        sigma = 0.5 * np.sqrt(1 / factor**2 - 1)
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.uint8)
    down, right = ((side - 1) / 2 * (1 - factor) for side in pixels.shape[:2])
    return _warped(pixels, np.array([[factor, 0, right], [0, factor, down], [0, 0, 1]]))


def cropped(pixels: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """A frame of this share of the area, of the field's shape, anywhere in the image, enlarged to its size."""
    sides = np.array(pixels.shape[:2])
    high, wide = np.maximum(1, np.round(sides * np.sqrt(share)).astype(int)).tolist()
    top, left = random.integers(0, sides - (high, wide) + 1).tolist()
    part = pixels[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(part, sides[::-1].tolist(), interpolation=cv2.INTER_CUBIC), np.uint8)


def _warped(pixels: Pixels, forward: NDArray[np.float64]) -> Pixels:
    """The image under an affine map of pixel coordinates, input to output."""
    height, width = pixels.shape[:2]
    warped = cv2.warpAffine(pixels, forward[:2], (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, np.uint8)


PERTURBATIONS = (
    Perturbation("haematoxylin", "times", "its optical density times a factor, eosin kept", (0.5, 0.7, 1, 1.4, 2), 1,
                 lambda p, level, _: restain(p, np.array([level, 1.0, 1.0]))),
    Perturbation("eosin", "times", "its optical density times a factor, haematoxylin kept", (0.5, 0.7, 1, 1.4, 2), 1,
                 lambda p, level, _: restain(p, np.array([1.0, level, 1.0]))),
    Perturbation("hue", "degrees", "all colours turned in HSV", (-30, -15, -5, 0, 5, 15, 30), 0,
                 lambda p, level, _: hue(p, level)),
    Perturbation("saturation", "times", "distance from grey times a factor", (0, 0.5, 0.75, 1, 1.25, 1.5, 2), 1,
                 lambda p, level, _: saturation(p, level)),
    Perturbation("brightness", "times", "grey levels times a factor, clipped", (0.6, 0.8, 0.9, 1, 1.1, 1.2, 1.4), 1,
                 lambda p, level, _: scaled(p, level)),
    Perturbation("blur", "px", "Gaussian, sigma in pixels of the 224 px image", (0, 0.5, 1, 1.5, 2, 3), 0,
                 lambda p, level, _: blur(p, level)),
    Perturbation("JPEG", "quality", "saved at 224 px, which is harsher than at the microscope's size",
                 (30, 40, 50, 65, 80, 95), None, lambda p, level, _: jpeg(p, round(level))),
    Perturbation("rotation", "degrees", "about the centre, mirrored at the borders", (0, 5, 15, 45, 90), 0,
                 lambda p, level, _: rotated(p, level)),
    Perturbation("crop", "of the area", "a frame anywhere in the image, enlarged",
                 (0.25, 0.5, 0.75, 0.9, 1), 1, cropped),
    Perturbation("magnification", "times", "the middle enlarged, or all of it smaller and mirrored at the borders",
                 (0.5, 0.7, 1, 1.4, 2), 1, lambda p, level, _: magnified(p, level)),
)  # fmt: skip
