"""What reading a file has brought to light: pixels, notes, and what the file says of their size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PixelSizeUm = tuple[float, float, str]  # distance of the rows, of the columns, and what told it, such as "OME-XML"


@dataclass(frozen=True, eq=False)
class Decoded:
    """uint8 (height, width, 3), or (height, width) where the three are equal; the rest as in `dala.intake.patch.Patch`.

    `turned`: whether an EXIF orientation was applied, and which (1: none).
    """

    pixels: NDArray[np.uint8]
    notes: list[str]
    pixel_size: PixelSizeUm | None = None
    stated: str | None = None
    turned: int = 1
