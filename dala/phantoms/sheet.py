"""The sheet that tissue is drawn on: two stain concentrations, what has been learnt about the places, and the camera.

Stains become colour by the law of Beer and Lambert, I = I0 10^-(h H + e E), with the stain vectors of Ruifrok and
Johnston (Anal Quant Cytol Histol 2001; 23: 291-299), so that stain separation gives the drawn concentrations back. The
scale is that of BreakHis at 200X, about 0.35 um a pixel: a resting nucleus of 7 um is 20 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 460, 700
UM_PER_PIXEL = 0.35

# Optical density (red, green, blue) of one unit of stain. The third vector is Ruifrok's residual: a trace of it
# follows eosin, as in real sections, whose pink is warmer than the pure vector.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
RESIDUAL = np.array([0.27, 0.57, 0.78], np.float32)
RESIDUAL_OF_EOSIN = 0.16

Plane = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(eq=False)
class Sheet:
    """The section while it is drawn; every function below paints onto it in place."""

    rng: np.random.Generator
    h: Plane = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.float32))
    e: Plane = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.float32))
    across: Plane = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.float32))
    lesion: Mask = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), bool))
    chromatin: Plane = field(init=False)

    def __post_init__(self) -> None:
        fine, coarse = self.noise(1.1), self.noise(2.6)
        self.chromatin = np.clip(0.55 * fine + 0.6 * coarse, -2, 2)

    def noise(self, sigma: float, sigma_y: float | None = None) -> Plane:
        """A smooth random field of mean 0 and standard deviation 1; sigma in pixels along x (and y)."""
        sigma_y = sigma if sigma_y is None else sigma_y
        step_x, step_y = max(1, int(sigma / 3)), max(1, int(sigma_y / 3))
        shape = (HEIGHT // step_y + 2, WIDTH // step_x + 2)
        values = self.rng.standard_normal(shape).astype(np.float32)
        values = blurred(values, sigma / step_x, sigma_y / step_y)
        values = np.asarray(cv2.resize(values, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)
        return (values - values.mean()) / values.std()

    def lay(self, cover: Plane | Mask, h: Plane | float, e: Plane | float) -> None:
        """Replace both stains where cover (0..1) is high."""
        self.h += cover * (h - self.h)
        self.e += cover * (e - self.e)


def photograph(sheet: Sheet) -> NDArray[np.uint8]:
    """Section thickness, optics, lamp and camera."""
    rng = sheet.rng
    thickness = 1 + 0.06 * sheet.noise(60) + 0.03 * sheet.noise(4)
    # Every laboratory stains a little differently.
    h = rng.uniform(0.9, 1.08) * blurred(np.maximum(sheet.h, 0) * thickness, 0.95)
    e = rng.uniform(0.88, 1.08) * blurred(np.maximum(sheet.e, 0) * thickness, 1.0)
    density = h[..., None] * HAEMATOXYLIN + e[..., None] * (EOSIN + RESIDUAL_OF_EOSIN * RESIDUAL)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    lamp = 1 - 0.05 * ((x - rng.uniform(-0.2, 0.2)) ** 2 + (y - rng.uniform(-0.2, 0.2)) ** 2)
    light = np.array([246, 243, 247], np.float32) * lamp[..., None] * np.power(np.float32(10), -density)
    light += 0.35 * (light - cv2.GaussianBlur(light, (0, 0), 2.0))  # the camera sharpens
    grain = cv2.GaussianBlur(rng.standard_normal(light.shape).astype(np.float32), (0, 0), 0.6)
    return np.clip(np.rint(light + 3.0 * grain), 0, 255).astype(np.uint8)


def blurred(values: Plane, sigma: float, sigma_y: float = 0.0) -> Plane:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, sigmaY=sigma_y), np.float32)


def smoothstep(value: Plane, low: float, high: float) -> Plane:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def folded(value: Plane, limit: int) -> Plane:
    """The value sent back and forth between 0 and limit, so that a pattern goes on without a seam."""
    return np.asarray(np.abs((value + limit) % (2 * limit) - limit), np.float32)


def depth_in(mask: Mask) -> Plane:
    """Distance in pixels of a place in the mask from its edge; 0 outside."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def blob(sheet: Sheet, x: float, y: float, radius_x: float, radius_y: float, angle: float, wobble: float) -> Mask:
    """A rounded patch; wobble is the relative depth of its waves."""
    theta = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 1 + sum(
        wobble / order * np.cos(order * theta + sheet.rng.uniform(0, 2 * np.pi)) * sheet.rng.uniform(0.4, 1)
        for order in range(2, 7)
    )
    ellipse = np.stack([radius_x * radius * np.cos(theta), radius_y * radius * np.sin(theta)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _filled((turn @ ellipse).T + np.array([x, y]))


def opened_mask(mask: Mask, size: int) -> Mask:
    """The mask without what is narrower than a disc of that diameter."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(bool)


def _filled(points: NDArray[np.float64]) -> Mask:
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def places_in(sheet: Sheet, mask: Mask, spacing: float, jitter: float = 0.3) -> NDArray[np.float64]:
    """Places (x, y) in the mask on a shaken hexagonal grid: packed like cells, never on top of each other."""
    rows = np.arange(-spacing, HEIGHT + spacing, spacing * 0.87, dtype=np.float64)
    columns = np.arange(-spacing, WIDTH + spacing, spacing, dtype=np.float64)
    x, y = np.meshgrid(columns, rows)
    x[1::2] += spacing / 2
    points = np.stack([x.ravel(), y.ravel()], 1)
    points += sheet.rng.uniform(-jitter, jitter, points.shape) * spacing
    inside = (points >= 0).all(1) & (points[:, 0] < WIDTH) & (points[:, 1] < HEIGHT)
    points = points[inside]
    return points[mask[points[:, 1].astype(int), points[:, 0].astype(int)]]
