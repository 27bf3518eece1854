"""The map of a scan over the slide: malignant, benign, not sure (hatched), outside (grey), and what they are called."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dala.slides.findings import Findings
from dala.slides.reader import Overview
from dala.slides.rows import BENIGN, MALIGNANT, NOT_SURE, OUTSIDE, UNREADABLE
from dala.slides.tiled import Pixels

# Okabe and Ito's colours, as the exports of single images have them.
COLOURS: dict[str, tuple[int, int, int]] = {
    MALIGNANT: (213, 94, 0),
    BENIGN: (0, 114, 178),
    NOT_SURE: (240, 228, 66),
    OUTSIDE: (128, 128, 128),
    UNREADABLE: (0, 0, 0),
}
OPACITY = 0.45
LONGEST, SHORTEST = 2400, 600  # pixels, of the map's longer side
HATCH, LINE = 6, 2  # pixels between the lines of the hatching, and their width
PAPER, INK = (255, 255, 255), (38, 38, 43)
LEGEND = 26


def draw_map(findings: Findings, overview: Overview, opacity: float = OPACITY) -> Pixels:
    """(h, w, 3) uint8 RGB: the overview with every field that was looked at, and a legend with their numbers."""
    height, width = overview.pixels.shape[:2]
    longer = min(max(max(height, width), SHORTEST), LONGEST)
    size = (max(1, round(width * longer / max(height, width))), max(1, round(height * longer / max(height, width))))
    how = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
    tissue = np.asarray(cv2.resize(overview.pixels, size, interpolation=how), np.uint8)
    coloured = tissue.copy()
    slide = findings.header["size"]
    for row in findings.rows:
        cell = findings.grid.cell(row.column, row.row)
        left, right = (round(edge * size[0] / slide[0]) for edge in cell[::2])
        top, bottom = (round(edge * size[1] / slide[1]) for edge in cell[1::2])
        paint(coloured, (left, top, right, bottom), row.state)
    mixed = cv2.addWeighted(tissue, 1 - opacity, coloured, opacity, 0)
    return np.concatenate([np.asarray(mixed, np.uint8), _legend(findings, size[0])])


def paint(image: Pixels, box: tuple[int, int, int, int], state: str) -> None:
    """Fill a box in the colour of a state, in place; hatched where it is "not sure"."""
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    if state == NOT_SURE:
        rows, columns = np.indices(part.shape[:2])
        part[(rows + top + columns + left) % HATCH < LINE] = COLOURS[state]
    else:
        part[:] = COLOURS[state]


def _legend(findings: Findings, width: int) -> Pixels:
    """One line for each state, or several beside each other where there is room."""
    font = ImageFont.load_default(13)
    entries = [(state, f"{state} {number:,}") for state, number in findings.counts.items() if number]
    wide = 44 + max((round(font.getlength(words)) for _, words in entries), default=0)
    across = max(1, width // wide)
    sheet = Image.new("RGB", (width, LEGEND * -(-len(entries) // across) + 8), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (_, words) in enumerate(entries):
        pen.text((30 + number % across * wide, 9 + number // across * LEGEND), words, INK, font)
    pixels = np.array(sheet)
    for number, (state, _) in enumerate(entries):
        x, y = 8 + number % across * wide, 8 + number // across * LEGEND
        paint(pixels, (x, y, min(x + 16, width), y + 16), state)
    return pixels
