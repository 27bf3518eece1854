"""Draws cells: nuclei of every kind, mitoses, red cells, and the cytoplasm between nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.phantoms.sheet import HEIGHT, WIDTH, Mask, Sheet, blurred, smoothstep


@dataclass(frozen=True)
class Nucleus:
    """How nuclei of one kind look: sizes are half axes in pixels, densities are haematoxylin units."""

    long: tuple[float, float]
    short: tuple[float, float]
    wobble: float  # relative irregularity of the outline
    body: tuple[float, float]  # chromatin
    rim: float  # membrane, on top of the body
    texture: float  # clumping of the chromatin, relative to the body
    nucleolus: float  # chance of a visible one


RESTING = Nucleus((9, 12), (6.5, 8.5), 0.07, (0.40, 0.64), 0.13, 0.24, 0.2)
FLAT = Nucleus((8, 11), (2.6, 3.8), 0.05, (0.62, 0.80), 0.05, 0.12, 0.0)
SPINDLE = Nucleus((7, 15), (2.2, 4.0), 0.09, (0.38, 0.70), 0.04, 0.2, 0.0)
LYMPHOCYTE = Nucleus((7, 8.5), (6.5, 8), 0.03, (0.85, 1.05), 0.05, 0.20, 0.0)
VESICULAR = Nucleus((13, 18), (10, 13.5), 0.13, (0.30, 0.52), 0.24, 0.42, 0.75)
DARK = Nucleus((12, 19), (8, 13), 0.17, (0.58, 0.95), 0.08, 0.28, 0.1)
FILE = Nucleus((8.5, 12), (6.5, 9), 0.12, (0.48, 0.80), 0.12, 0.28, 0.25)
FLOATING = Nucleus((9.5, 13), (8, 10.5), 0.10, (0.42, 0.70), 0.16, 0.30, 0.35)


def draw_nucleus(sheet: Sheet, x: float, y: float, angle: float, kind: Nucleus, size: float = 1.0) -> None:
    rng = sheet.rng
    a, b = rng.uniform(*kind.long) * size, rng.uniform(*kind.short) * size
    body, reach = rng.uniform(*kind.body), int(a * (1 + 2 * kind.wobble)) + 4
    left, top = max(0, int(x) - reach), max(0, int(y) - reach)
    right, bottom = min(WIDTH, int(x) + reach + 1), min(HEIGHT, int(y) + reach + 1)
    if right <= left or bottom <= top:
        return
    dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * cosine + dy * sine) / np.float32(a), (dy * cosine - dx * sine) / np.float32(b)
    theta, rho = np.arctan2(v, u), np.hypot(u, v)
    outline = np.ones_like(rho)
    for order in (2, 3, 5):
        wave = kind.wobble * rng.uniform(0.3, 1) / order**0.5
        outline = outline + np.float32(wave) * np.cos(order * theta + np.float32(rng.uniform(0, 6.3)))
    depth = (outline - rho) * np.float32((a * b) ** 0.5)  # roughly pixels from the membrane inwards
    cover = smoothstep(depth, -1.3, 1.3)
    if not cover.any():
        return
    # Chromatin: a window of the common texture at a random place.
    ty, tx = rng.integers(0, HEIGHT - depth.shape[0]), rng.integers(0, WIDTH - depth.shape[1])
    chromatin = sheet.chromatin[ty : ty + depth.shape[0], tx : tx + depth.shape[1]]
    density = body * (1 + kind.texture * chromatin) + kind.rim * np.exp(-(((depth - 1.4) / 1.5) ** 2))
    eosin = np.full_like(density, 0.10)
    if rng.random() < kind.nucleolus:
        for _ in range(rng.integers(1, 3)):
            nx, ny = rng.uniform(-0.4, 0.4, 2)
            distance = np.hypot((u - nx) * a, (v - ny) * b)
            spot = np.exp(-((distance / rng.uniform(1.7, 2.6)) ** 2))
            density, eosin = density + 0.55 * spot, eosin + 0.18 * spot
    place = np.s_[top:bottom, left:right]
    solid = np.float32(rng.uniform(0.80, 0.95)) * cover  # not every nucleus lies in the focal plane
    sheet.h[place] += solid * (np.maximum(density, sheet.h[place] * 0.9) - sheet.h[place])
    sheet.e[place] += solid * (eosin - sheet.e[place])


def draw_mitosis(sheet: Sheet, x: float, y: float, angle: float) -> None:
    """A metaphase plate: a ragged dark bar in a cleared cell."""
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    sheet.lay(0.7 * np.exp(-(((xx - x) ** 2 + (yy - y) ** 2) / 14**2)), 0.06, 0.14)
    for offset in np.linspace(-9, 9, 7):
        px, py = x + offset * np.cos(angle), y + offset * np.sin(angle)
        kind = Nucleus((3.2, 4.6), (2.4, 3.4), 0.2, (1.1, 1.3), 0.0, 0.1, 0.0)
        draw_nucleus(sheet, px, py, angle + sheet.rng.uniform(0.8, 2.2), kind)


def draw_red_cell(sheet: Sheet, x: float, y: float, radius: float) -> None:
    """Only eosin, paler in the middle."""
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    distance = np.hypot(xx - np.float32(x), yy - np.float32(y))
    sheet.lay(smoothstep(radius - distance, -0.8, 0.8), 0.02, 0.56 - 0.22 * np.exp(-((distance / (0.5 * radius)) ** 2)))


def draw_cytoplasm(
    sheet: Sheet, region: Mask, spots: NDArray[np.float64], h: float, e: float, border: float, soft: float = 2.0
) -> None:
    """Granular cytoplasm over a region; cell borders, half way between the spots, are paler by `border`."""
    cover = smoothstep(blurred(region.astype(np.float32), soft), 0.25, 0.75)
    marks = np.ones((HEIGHT, WIDTH), np.uint8)
    marks[spots[:, 1].astype(int), spots[:, 0].astype(int)] = 0
    distance, labels = cv2.distanceTransformWithLabels(marks, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # Cells are not polygons: the map of who is nearest is bent.
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    bent_x, bent_y = x + 3.0 * sheet.noise(7), y + 3.0 * sheet.noise(7)
    labels = cv2.remap(labels.astype(np.float32), bent_x, bent_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    labels = labels.astype(np.int32)
    tone = sheet.rng.normal(0, 0.10, int(labels.max()) + 1).astype(np.float32)[labels]
    edges = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    line = blurred(edges.astype(np.float32), 1.1)
    line = np.clip(line / 0.4, 0, 1) * smoothstep(sheet.noise(9), -1.2, 0.6)
    grain = 1 + 0.14 * sheet.noise(1.6) + 0.14 * sheet.noise(5) + tone
    paler = (1 - border * line) * (1 - 0.12 * smoothstep(np.asarray(distance, np.float32), 8, 22))
    sheet.lay(cover, h * grain * paler, e * grain * paler)
