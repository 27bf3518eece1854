"""The image as everything after intake sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dala.intake.pixel_size import PixelSize


@dataclass(frozen=True, eq=False)
class Patch:
    """One image as everything after intake sees it: upright, opaque, 8 bits, without metadata.

    pixels      uint8 (height, width, 3), RGB 0..255, C-contiguous, read-only
    sha256      hexadecimal digest of the file's bytes, the image's identity; without a file, of size and pixels
    name        the file's name without folders; empty for bare bytes
    format      "PNG", "JPEG", "TIFF", "BMP", "WebP", "PNM" or "DICOM", as the content says; "array" without a file
    notes       sentences about what was done to the pixels beyond decoding
    pixel_size  distance of the rows and of the columns in micrometres and where that comes from; None where neither
                the caller nor the file nor its name tells it
    stated      what kind of image a DICOM file says it is, such as "a mammogram"; None where it tells nothing
    turned      the EXIF orientation, 2 to 8, by which the stored pixels were turned upright; 1 where they were not
    """

    pixels: NDArray[np.uint8]
    sha256: str
    name: str
    format: str
    notes: tuple[str, ...]
    pixel_size: PixelSize | None = None
    stated: str | None = None
    turned: int = 1

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])
