"""Digital phantoms of H&E: schematic tissue with a known lesion mask, for examples that need no download.

Nothing here is tissue and nothing here has a diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.phantoms.cells import FILE, FLOATING, LYMPHOCYTE, draw_cytoplasm, draw_nucleus
from dala.phantoms.sheet import (
    HEIGHT,
    WIDTH,
    Mask,
    Sheet,
    blob,
    blurred,
    depth_in,
    opened_mask,
    photograph,
    places_in,
    smoothstep,
)
from dala.phantoms.structures import (
    apart,
    draw_ducts,
    draw_fat,
    draw_fibres,
    draw_fibroblasts,
    draw_tumour,
    draw_vessel,
    fibre_direction,
    place_for_vessel,
    scatter_nuclei,
)

NOTICE = "Drawn by code as a schematic of H&E: it is not tissue and has no diagnosis."


@dataclass(frozen=True, eq=False)
class Phantom:
    """A drawn image.

    pixels       uint8 (460, 700, 3) RGB, read-only
    lesion_mask  bool (460, 700), read-only: the drawn tumour-like cells and the cytoplasm between them; empty in a
                 benign-like phantom. Stroma and mucin around them are outside.
    """

    name: str
    title: str
    description: str
    pixels: NDArray[np.uint8]
    lesion_mask: Mask
    seed: int


@lru_cache(maxsize=8)  # half a second each; nobody can change one
def draw(name: str, seed: int = 0) -> Phantom:
    """The phantom of that name (one of PHANTOMS); another seed, a non-negative integer, gives another field of view.

    Raises ValueError for an unknown name or a negative seed.
    """
    if name not in _DRAWINGS:
        raise ValueError(f"There is no phantom '{name}'; there are {', '.join(PHANTOMS)}.")
    if seed < 0:
        raise ValueError("The seed of a phantom is zero or a positive integer.")
    drawing = _DRAWINGS[name]
    sheet = Sheet(np.random.default_rng([seed, PHANTOMS.index(name)]))
    drawing.paint(sheet)
    pixels, lesion = photograph(sheet), sheet.lesion
    pixels.setflags(write=False)
    lesion.setflags(write=False)
    return Phantom(name, drawing.title, f"{drawing.description} {NOTICE}", pixels, lesion, seed)


def _paint_ducts(sheet: Sheet) -> None:
    rng = sheet.rng
    places = [(110, 110), (300, 95), (520, 130), (190, 320), (400, 300), (600, 350)]
    ducts = [
        blob(
            sheet,
            x + rng.uniform(-25, 25),
            y + rng.uniform(-20, 20),
            rng.uniform(58, 84),
            rng.uniform(48, 64),
            rng.uniform(0, np.pi),
            0.16,
        )
        for x, y in places
    ]
    shapes = apart(ducts)
    vessel = place_for_vessel(sheet, np.logical_or.reduce(shapes))
    everything = np.logical_or.reduce([*shapes, vessel])
    draw_fibres(sheet, rng.uniform(-0.5, 0.5), everything, eosin=0.27, clefts=0.85)
    free = depth_in(~everything) > 12
    draw_fibroblasts(sheet, free, 44)
    scatter_nuclei(sheet, free, 9, LYMPHOCYTE)
    draw_vessel(sheet, vessel)
    draw_ducts(sheet, shapes)


def _paint_fibroadenoma(sheet: Sheet) -> None:
    rng = sheet.rng
    shapes = []
    for x, y, turn in ((170, 130, 0.5), (480, 110, -0.4), (330, 330, 0.1), (610, 330, 1.0)):
        t = np.linspace(-1, 1, 60)
        bend, phase, angle = rng.uniform(45, 75), rng.uniform(0, 6.3), turn + rng.uniform(-0.3, 0.3)
        px, py = t * rng.uniform(110, 145), bend * np.sin(2.4 * t + phase) - bend * np.sin(phase)
        line = np.stack([x + px * np.cos(angle) - py * np.sin(angle), y + px * np.sin(angle) + py * np.cos(angle)], 1)
        canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.polylines(canvas, [np.rint(line).astype(np.int32)], False, 1, thickness=int(rng.integers(56, 66)))
        shapes.append(canvas.astype(bool))
    shapes = apart(shapes)
    everything = np.logical_or.reduce(shapes)
    draw_fibres(sheet, rng.uniform(0, np.pi), everything, eosin=0.16, wave=30, bundle=5, clefts=1.1, blue=0.07)
    free = depth_in(~everything) > 10
    draw_fibroblasts(sheet, free, 31)
    draw_ducts(sheet, shapes, thickness=25, secretion=0)


def _paint_sheets(sheet: Sheet) -> None:
    rng = sheet.rng
    angle = rng.uniform(-0.5, 0.5)
    stroma = sheet.noise(42, 34) + 0.35 * sheet.noise(16)
    region = stroma < np.quantile(stroma, 0.62)
    region = opened_mask(region, 37)
    draw_fibres(sheet, angle, region, eosin=0.33, clefts=1.0)
    free = depth_in(~region) > 7
    draw_fibroblasts(sheet, free, 34)
    scatter_nuclei(sheet, free, 26, LYMPHOCYTE)
    draw_tumour(sheet, region)


def _paint_files(sheet: Sheet) -> None:
    rng = sheet.rng
    draw_fibres(sheet, rng.uniform(-0.7, 0.7), eosin=0.33, wave=22, clefts=1.25)
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    draw_fibroblasts(sheet, everywhere, 52)
    rows: list[list[tuple[float, float, float]]] = []
    taken = np.ones((HEIGHT, WIDTH), np.uint8)
    for x, y in places_in(sheet, everywhere, 74, jitter=0.4):
        row: list[tuple[float, float, float]] = []
        heading = fibre_direction(sheet, x, y) + (np.pi if rng.random() < 0.5 else 0)
        for _ in range(rng.integers(4, 10)):
            if not (0 <= x < WIDTH and 0 <= y < HEIGHT) or not taken[int(y), int(x)]:
                break
            turn = fibre_direction(sheet, x, y)
            turn += np.pi if np.cos(turn - heading) < 0 else 0  # the level line has two directions; keep going
            heading = turn
            row.append((x, y, heading))
            step = rng.uniform(18, 23)
            x, y = x + step * np.cos(heading), y + step * np.sin(heading) + rng.normal(0, 1)
        if len(row) >= 2:
            rows.append(row)
            for px, py, _ in row:
                cv2.circle(taken, (int(px), int(py)), 24, 0, -1)
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row in rows:
        for px, py, heading in row:
            axes = (14, 11)
            cv2.ellipse(canvas, (int(px), int(py)), axes, float(np.degrees(heading)), 0, 360, 1, -1)
    region = canvas.astype(bool)
    sheet.lesion |= region
    centres = np.array([(px, py) for row in rows for px, py, _ in row]).clip(0, (WIDTH - 1, HEIGHT - 1))
    gap = np.exp(-((depth_in(~region) / 3) ** 2)) * (~region)
    sheet.lay(0.7 * gap * smoothstep(sheet.noise(18), -0.4, 0.5), 0.01, 0.04)
    draw_cytoplasm(sheet, region, centres, 0.14, 0.25, 0.5, soft=1.5)
    for row in rows:
        for px, py, heading in row:
            draw_nucleus(sheet, px, py, heading + rng.normal(0, 0.35), FILE, float(rng.uniform(0.85, 1.12)))


def _paint_mixed(sheet: Sheet) -> None:
    rng = sheet.rng
    nest = blob(sheet, 205 + rng.uniform(-20, 20), 235, 150, 175, rng.uniform(-0.3, 0.3), 0.22)
    ducts = [
        blob(sheet, x + rng.uniform(-15, 15), y, rng.uniform(60, 76), rng.uniform(50, 60), rng.uniform(0, 3), 0.15)
        for x, y in ((475, 100), (500, 260), (460, 400))
    ]
    shapes = apart([nest, *ducts])
    nest, ducts = shapes[0], shapes[1:]
    everything = np.logical_or.reduce(shapes)
    draw_fibres(sheet, rng.uniform(1.2, 1.9), everything, eosin=0.29, clefts=0.95)
    x = np.arange(WIDTH, dtype=np.float32)[None, :] + 18 * sheet.noise(50)
    fat = (x > 596) & ~(depth_in(~everything) < 14) & ~everything
    free = (depth_in(~everything) > 10) & ~fat
    draw_fibroblasts(sheet, free, 42)
    scatter_nuclei(sheet, free & (depth_in(~nest) < 45), 22, LYMPHOCYTE)
    draw_fat(sheet, fat)
    draw_ducts(sheet, ducts)
    draw_tumour(sheet, nest)


def _paint_mucin(sheet: Sheet) -> None:
    rng = sheet.rng
    walls = np.abs(sheet.noise(75))
    draw_fibres(sheet, rng.uniform(-0.6, 0.6), walls > 0.22, eosin=0.32)
    pool = smoothstep(walls, 0.16, 0.24)
    strands = np.abs(sheet.noise(22, 10) + 0.5 * sheet.noise(6, 4))
    veil = blurred(np.exp(-((strands / 0.35) ** 2)) * smoothstep(sheet.noise(30), -0.6, 1.2), 1.5)
    tone = 1 + 0.25 * sheet.noise(50)
    sheet.lay(pool, (0.055 + 0.045 * veil) * tone, (0.035 + 0.03 * veil) * tone)
    draw_fibroblasts(sheet, walls < 0.13, 30)
    depth = depth_in(walls > 0.3)
    clusters = np.zeros((HEIGHT, WIDTH), bool)
    for x, y in places_in(sheet, depth > 22, 128, jitter=0.3):
        clusters |= blob(sheet, x, y, rng.uniform(28, 56), rng.uniform(22, 36), rng.uniform(0, np.pi), 0.3)
    clusters &= walls > 0.25
    sheet.lesion |= clusters
    spots = places_in(sheet, depth_in(clusters) > 6, 23, jitter=0.3)
    draw_cytoplasm(sheet, clusters, spots, 0.17, 0.24, 0.5)
    for x, y in spots:
        draw_nucleus(sheet, x, y, rng.uniform(0, np.pi), FLOATING)


@dataclass(frozen=True)
class _Drawing:
    title: str
    description: str
    paint: Callable[[Sheet], None]


_DRAWINGS = {
    "regular_ducts": _Drawing(
        "Benign-like: regular ducts",
        "Round ducts with an open lumen, one even row of inner nuclei, flat outer nuclei and wavy collagen between.",
        _paint_ducts,
    ),
    "loose_stroma": _Drawing(
        "Benign-like: fibroadenoma-like stroma",
        "Long, compressed, two-layered ducts in a pale, cellular, loose stroma.",
        _paint_fibroadenoma,
    ),
    "solid_sheets": _Drawing(
        "Lesion-like: crowded sheets",
        "Sheets of crowded, large, irregular nuclei with nucleoli and a few mitoses, cut by bands of collagen.",
        _paint_sheets,
    ),
    "single_files": _Drawing(
        "Lesion-like: single files in stroma",
        "Small, uniform tumour-like cells that follow each other in single rows between collagen fibres.",
        _paint_files,
    ),
    "nest_beside_ducts": _Drawing(
        "Mixed: a lesion-like nest beside regular ducts",
        "One large nest of irregular nuclei on the left, regular ducts in the middle, adipose tissue on the right.",
        _paint_mixed,
    ),
    "mucin_pools": _Drawing(
        "Lesion-like: clusters in mucin",
        "Pale pools of mucin-like material, divided by thin collagen, with floating clusters of cells.",
        _paint_mucin,
    ),
}
PHANTOMS: tuple[str, ...] = tuple(_DRAWINGS)
