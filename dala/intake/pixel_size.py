"""How large is a pixel on the specimen? What the user, the file or a BreakHis name tells, in that order.

`dala.decoders.scale` says how a file tells it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dala.decoders import scale
from dala.decoders.scale import RANGE_UM as RANGE_UM
from dala.decoders.scale import microscopic
from dala.errors import IntakeError

GivenSize = float | tuple[float, float]

USER, FILE, NAME = "user", "file", "name"


@dataclass(frozen=True)
class PixelSize:
    """Distance of the `rows` and of the `columns` in micrometres, and who says so: the `source` is "user", "file" or
    "name"; `told` is that in a word or two for people, such as "OME-XML" or "BreakHis 200X"."""

    rows: float
    columns: float
    source: str
    told: str = ""

    @property
    def microscopic(self) -> bool:
        """Whether it is one at which tissue is looked at; that of a mammogram is not."""
        return microscopic(self.rows, self.columns)

    @property
    def turned(self) -> PixelSize:
        """Of the image after a quarter turn."""
        return PixelSize(self.columns, self.rows, self.source, self.told)


def given(size: GivenSize | None) -> PixelSize | None:
    """What a user has given: one number or (rows, columns); IntakeError for anything but 0.05 to 5 um."""
    if size is None:
        return None
    low, high = RANGE_UM
    try:
        rows, columns = np.broadcast_to(np.asarray(size, np.float64), 2).tolist()
    except (TypeError, ValueError):
        raise IntakeError("A pixel size is one number of micrometres, or two: (row, column).") from None
    if not (low <= rows <= high and low <= columns <= high):
        shown = f"{rows:g}" if rows == columns else f"{rows:g} and {columns:g}"
        raise IntakeError(f"The pixels of a patch are {low:g} to {high:g} micrometres apart, not {shown}.")
    return PixelSize(rows, columns, USER)


def of_tiff(tags: Mapping[int, Any]) -> PixelSize | None:
    """By the tags of a directory of a TIFF file, as `dala.decoders.scale.of_tiff`."""
    found = scale.of_tiff(tags)
    return None if found is None else PixelSize(found[0], found[1], FILE, found[2])


# A BreakHis name

MAGNIFICATIONS_UM = {40: 1.75, 100: 0.7, 200: 0.35, 400: 0.175}  # of an original, 700 x 460 px
ORIGINAL, SQUARE = (700, 460), 224  # width and height; the side of the edition that is squeezed to a square
BREAKHIS = re.compile(r"^SOB_[BM]_[A-Z]+-\d\d-[0-9A-Z]+-(40|100|200|400)-\d+\.\w+$")


def of_name(name: str, width: int, height: int) -> PixelSize | None:
    """By a BreakHis file name and the size of the image in pixels.

    An estimate from nuclei and objectives, for the sizes that the data set's paper prints do not fit its images.
    The 224 x 224 edition shows whole fields squeezed to a square: its columns are further apart than its rows.
    """
    found = BREAKHIS.match(name)
    return None if found is None else of_magnification(int(found[1]), width, height)


def of_magnification(magnification: int, width: int, height: int) -> PixelSize | None:
    """Of a BreakHis image of this magnification, a key of `MAGNIFICATIONS_UM`; None for sizes that they do not have."""
    size, told = MAGNIFICATIONS_UM[magnification], f"BreakHis {magnification}X"
    if (width, height) == (SQUARE, SQUARE):
        return PixelSize(size * ORIGINAL[1] / SQUARE, size * ORIGINAL[0] / SQUARE, NAME, told)
    if width == ORIGINAL[0] and abs(height - ORIGINAL[1]) <= 10:  # some originals lack a few rows
        return PixelSize(size, size, NAME, told)
    return None
