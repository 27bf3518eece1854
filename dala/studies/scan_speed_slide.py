"""A slide of any size, laid out of copies of a small one: what `dala scan-speed` and `dala scan-memory` scan.

Copies of whole tiles repeat, so that each different tile is encoded once and a slide of 5 gigapixels is written in a
minute, a tile at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.slides.reader import open_slide

SIDE, SMALLEST = 256, 1024  # of a tile, and of the coarsest level
QUALITY = 80  # of the JPEG

Pixels = NDArray[np.uint8]


def make(source: Path, out: Path, size: tuple[int, int]) -> None:
    """A pyramid of so many pixels (width, height) laid out of the whole tiles that a slide has, every other copy
    mirrored; tiled JPEG with its pixel size. DataError for a slide of less than a tile."""
    from tifffile import TiffWriter

    with open_slide(source) as slide:
        width, height = (side // SIDE * SIDE for side in slide.size)
        if not width or not height:
            raise DataError(f"A slide to lay out has at least {SIDE} x {SIDE} pixels.")
        one, _ = slide.read_box((0, 0, width, height), (width, height))
        um = slide.known_um()
    mirrored = one[:, ::-1]
    cell: Pixels = np.vstack([np.hstack([mirrored, one]), np.hstack([one, mirrored])])
    with TiffWriter(out, bigtiff=True) as file:
        (wide, high), number = size, 0
        while True:
            resolution = (1e4 / um.columns / 2**number, 1e4 / um.rows / 2**number)
            file.write(_tiles(cell, wide, high), shape=(high, wide, 3), dtype=np.uint8, tile=(SIDE, SIDE),
                       photometric="ycbcr", compression="jpeg", subsampling=(2, 2), subfiletype=1 if number else 0,
                       resolution=resolution, resolutionunit="CENTIMETER", metadata=None)  # fmt: skip
            if max(wide, high) <= SMALLEST:
                return
            cell = np.asarray(cv2.resize(cell, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            wide, high, number = wide // 2, high // 2, number + 1


def _tiles(cell: Pixels, width: int, height: int) -> Iterator[bytes]:
    """The tiles of a level that is covered by copies of a cell, as JPEG files, row by row."""
    high, wide = cell.shape[:2]
    known: dict[tuple[int, int], bytes] = {}
    for y in range(0, height, SIDE):
        for x in range(0, width, SIDE):
            place = y % high, x % wide
            if place not in known:
                rows, columns = (np.arange(at, at + SIDE) % side for at, side in zip(place, (high, wide), strict=True))
                known[place] = _encoded(cell[rows[:, None], columns])
            yield known[place]


def _encoded(tile: Pixels) -> bytes:
    fine, data = cv2.imencode(".jpg", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert fine
    return bytes(data)
