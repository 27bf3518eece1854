"""Draws structures: collagen and the cells in it, vessels, ducts, fat, and sheets of tumour-like cells."""

from __future__ import annotations

import cv2
import numpy as np

from dala.phantoms.cells import (
    DARK,
    FLAT,
    RESTING,
    SPINDLE,
    VESICULAR,
    Nucleus,
    draw_cytoplasm,
    draw_mitosis,
    draw_nucleus,
    draw_red_cell,
)
from dala.phantoms.sheet import (
    HEIGHT,
    WIDTH,
    Mask,
    Plane,
    Sheet,
    blob,
    blurred,
    depth_in,
    folded,
    opened_mask,
    places_in,
    smoothstep,
)


def draw_fibres(
    sheet: Sheet,
    angle: float,
    around: Mask | None = None,
    eosin: float = 0.30,
    wave: float = 16,
    bundle: float = 7,
    clefts: float = 1.1,
    blue: float = 0.035,
) -> None:
    """Collagen over the whole sheet: streaks along the level lines of a bent coordinate, split by pale clefts.

    Around the structures of a mask the fibres bend and run in parallel to their edge. clefts is the number of standard
    deviations below which a bundle opens: a higher number, fewer clefts.
    """
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    across = across + wave * sheet.noise(70) + 0.30 * wave * sheet.noise(24)
    if around is not None and around.any():
        outside = blurred(depth_in(~around), 9)
        near = 0.75 * np.exp(-outside / 20)
        across = across * (1 - near) + near * (1.2 * outside + 0.2 * across)
    sheet.across = across + 0.16 * wave * sheet.noise(13)
    across = sheet.across + 0.07 * wave * sheet.noise(5)  # the waves of single fibres

    def streaks(width: float, length: float) -> Plane:
        pattern = sheet.noise(length / 4, 3.0)
        return np.asarray(
            cv2.remap(
                pattern,
                folded(along / 4 + 40, WIDTH - 1),
                folded(across * (3.0 / width) + 7, HEIGHT - 1),
                cv2.INTER_LINEAR,
            ),
            np.float32,
        )

    wide, middle, fine = streaks(bundle, 42), streaks(bundle * 0.45, 30), streaks(1.3, 16)
    density = eosin * (1 + 0.16 * wide + 0.15 * middle + 0.16 * fine + 0.10 * sheet.noise(40) + 0.07 * sheet.noise(1.2))
    open_ = 0.55 * wide + 0.65 * middle + 0.30 * fine + 0.50 * sheet.noise(34) + 0.20 * sheet.noise(7)
    cleft = smoothstep(-open_, clefts, clefts + 0.7)
    density = np.maximum(density, 0.05) * (1 - 0.94 * cleft)
    sheet.h[:] = blue * (1 + 0.3 * middle + 0.3 * sheet.noise(20)) * (1 - 0.85 * cleft)
    sheet.e[:] = density


def fibre_direction(sheet: Sheet, x: float, y: float) -> float:
    """Direction of the fibres at a place."""
    i, j = int(np.clip(y, 2, HEIGHT - 3)), int(np.clip(x, 2, WIDTH - 3))
    gx = float(sheet.across[i, j + 2] - sheet.across[i, j - 2])
    gy = float(sheet.across[i + 2, j] - sheet.across[i - 2, j])
    return float(np.arctan2(gy, gx) + np.pi / 2)


def _solid(sheet: Sheet) -> Mask:
    """Where there is enough collagen around for a cell not to float in a cleft."""
    return cv2.blur(sheet.e, (13, 13)) > 0.11


def draw_fibroblasts(sheet: Sheet, free: Mask, spacing: float) -> None:
    for x, y in places_in(sheet, free & _solid(sheet), spacing, jitter=0.5):
        if sheet.rng.random() < 0.75:
            draw_nucleus(sheet, x, y, fibre_direction(sheet, x, y) + sheet.rng.normal(0, 0.12), SPINDLE)


def scatter_nuclei(sheet: Sheet, free: Mask, number: int, kind: Nucleus) -> None:
    places = np.argwhere(free & _solid(sheet))
    if len(places):
        for y, x in places[sheet.rng.integers(0, len(places), number)]:
            draw_nucleus(sheet, float(x), float(y), sheet.rng.uniform(0, np.pi), kind)


def place_for_vessel(sheet: Sheet, occupied: Mask) -> Mask:
    """A small oval in the widest free place."""
    room = depth_in(~occupied)
    room[:30], room[-30:], room[:, :40], room[:, -40:] = 0, 0, 0, 0
    y, x = np.unravel_index(int(room.argmax()), room.shape)
    radius = float(np.clip(0.55 * room.max(), 16, 30))
    return blob(sheet, float(x), float(y), radius, 0.68 * radius, sheet.rng.uniform(0, np.pi), 0.18)


def draw_vessel(sheet: Sheet, shape: Mask) -> None:
    """A capillary with red cells, lined by flat nuclei."""
    depth = depth_in(shape)
    sheet.lay(smoothstep(depth, 0, 2), 0.06, 0.34)
    sheet.lay(smoothstep(depth, 3, 5), 0.008, 0.03)
    for x, y in places_in(sheet, depth > 8, 14, jitter=0.35):
        if sheet.rng.random() < 0.8:
            draw_red_cell(sheet, x, y, sheet.rng.uniform(5.5, 7))
    _line_with_nuclei(sheet, depth, 2.0, 34, FLAT, along=True)


def _line_with_nuclei(sheet: Sheet, depth: Plane, level: float, spacing: float, kind: Nucleus, along: bool) -> None:
    """Nuclei on a level line of the depth, standing on the edge or (along) lying on it."""
    contours, _ = cv2.findContours((depth > level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    smooth = blurred(depth, 3)
    for contour in contours:
        points = contour[:, 0, :].astype(float)
        steps = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        number = int(length[-1] / spacing)
        if number < 3:
            continue
        places = (np.arange(number) + sheet.rng.uniform(-0.22, 0.22, number)) * length[-1] / number
        for index in np.searchsorted(length, places % length[-1]).clip(0, len(points) - 1):
            x, y = points[index] + sheet.rng.normal(0, 1.0, 2)
            i, j = int(np.clip(y, 3, HEIGHT - 4)), int(np.clip(x, 3, WIDTH - 4))
            gx, gy = float(smooth[i, j + 3] - smooth[i, j - 3]), float(smooth[i + 3, j] - smooth[i - 3, j])
            normal = np.arctan2(gy, gx)
            draw_nucleus(sheet, x, y, normal + (np.pi / 2 if along else 0) + sheet.rng.normal(0, 0.18), kind)


def draw_ducts(sheet: Sheet, shapes: list[Mask], thickness: float = 32, secretion: float = 0.5) -> None:
    """Benign-like ducts: basement membrane, flat outer cells, one even row of inner cells, open lumen.

    secretion is the chance of a plug of eosinophilic material in a lumen.
    """
    rng = sheet.rng
    union = np.logical_or.reduce(shapes)
    depth, outside = depth_in(union), depth_in(~union)
    sheet.lay(0.8 * np.exp(-(((outside - 3) / 2.2) ** 2)) * (~union), 0.05, 0.38)
    grain = 1 + 0.16 * sheet.noise(2) + 0.16 * sheet.noise(7)
    sheet.lay(smoothstep(depth, 0, 2), 0.15 * grain, 0.21 * grain)
    ragged = depth + 2.2 * sheet.noise(5)
    sheet.lay(smoothstep(ragged, thickness - 4, thickness - 2) * 0.5, 0.14, 0.34)  # the cells' upper border
    wisps = smoothstep(sheet.noise(4) + 0.8 * sheet.noise(14), 0.9, 2.4)
    sheet.lay(smoothstep(ragged, thickness, thickness + 2.5), 0.008, 0.012 + 0.10 * wisps)
    material = 0.34 + 0.04 * sheet.noise(6)
    for shape in shapes:
        own = np.where(shape, depth, 0)
        width = float(own.max()) - thickness
        if rng.random() < secretion and width > 16:
            y, x = np.unravel_index(int(own.argmax()), own.shape)
            radius = width * rng.uniform(0.4, 0.7)
            plug = blob(sheet, float(x), float(y), radius, radius * 0.7, rng.uniform(0, 3), 0.3)
            sheet.lay(smoothstep(depth_in(plug), 0, 3), 0.03, material)
    _line_with_nuclei(sheet, depth, 4.0, 27, FLAT, along=True)
    _line_with_nuclei(sheet, depth, thickness * 0.53, 19.5, RESTING, along=False)


def draw_fat(sheet: Sheet, region: Mask) -> None:
    """Adipose tissue: large empty cells, thin walls, a flat nucleus here and there."""
    spots = places_in(sheet, np.ones_like(region), 120, jitter=0.22)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = x + 9 * sheet.noise(45), y + 9 * sheet.noise(45)
    distances = np.stack([np.hypot(x - np.float32(px), y - np.float32(py)) for px, py in spots])
    distances = np.partition(distances, 2, axis=0)[:3]
    distances.sort(axis=0)
    wall = (distances[1] - distances[0]) / 2
    cover = smoothstep(blurred(region.astype(np.float32), 3), 0.3, 0.7)
    thin = np.exp(-((wall / 1.7) ** 2))
    corner = np.exp(-(((distances[2] - distances[0]) / 16) ** 2))
    stain = np.maximum(thin, corner)
    sheet.lay(cover, 0.006 + 0.05 * stain, 0.012 + 0.26 * stain)
    walls = np.argwhere((wall < 1.5) & region)
    if len(walls):
        for row, column in walls[sheet.rng.integers(0, len(walls), int(6 * region.mean()) + 2)]:
            gx = float(wall[row, min(column + 3, WIDTH - 1)] - wall[row, max(column - 3, 0)])
            gy = float(wall[min(row + 3, HEIGHT - 1), column] - wall[max(row - 3, 0), column])
            draw_nucleus(sheet, float(column), float(row), float(np.arctan2(gx, -gy)), FLAT)


def draw_tumour(sheet: Sheet, region: Mask) -> None:
    """A sheet of crowded, large, unequal nuclei without order; the region becomes lesion."""
    rng = sheet.rng
    depth = depth_in(region)
    spots = places_in(sheet, region & (depth > 8), 31, jitter=0.33)
    sheet.lesion |= region
    gap = np.exp(-((depth_in(~region) / 4) ** 2)) * (~region)  # cells shrink away from the stroma
    sheet.lay(0.75 * gap * smoothstep(sheet.noise(30), -0.5, 0.6), 0.01, 0.03)
    draw_cytoplasm(sheet, region, spots, 0.20, 0.27, 0.55)
    for x, y in spots[rng.permutation(len(spots))]:
        kind = DARK if rng.random() < 0.35 else VESICULAR
        size = float(np.clip(rng.lognormal(-0.05, 0.18), 0.62, 1.45))
        draw_nucleus(sheet, x, y, rng.uniform(0, np.pi), kind, size)
    deep = np.argwhere(depth > 20)
    if len(deep):
        for y, x in deep[rng.integers(0, len(deep), 1 + int(region.mean() * 4))]:
            draw_mitosis(sheet, float(x), float(y), rng.uniform(0, np.pi))


def apart(shapes: list[Mask]) -> list[Mask]:
    """The shapes without the margin of those before them, so that stroma stays between."""
    taken = np.zeros((HEIGHT, WIDTH), bool)
    kept = []
    for shape in shapes:
        free = shape & (depth_in(~taken) > 22) if taken.any() else shape
        opened = opened_mask(free, 41)  # takes away the thin horns that cutting leaves
        if opened.sum() > 3000:
            kept.append(opened)
            taken |= opened
    return kept
