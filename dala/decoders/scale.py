"""What a file tells of the size of its pixels on the specimen.

In several ways: a DICOM header, the properties of a slide, OME-XML, ImageJ's description, the resolution of a TIFF or
PNG. What is written for printers (72, 96, 300 dots per inch: 353, 265, 85 um) is no size of a pixel on a specimen: a
resolution outside 0.05 to 5 um is not believed. Descriptions are searched, never parsed.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from typing import Any

from dala.decoders.decoded import PixelSizeUm

RANGE_UM = (0.05, 5.0)  # from the finest scanner to the coarsest that shows tissue; anything else is another unit
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 282, 283, 296  # TIFF tags
TIFF_TAGS = (DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
UNITS_OF_TIFF = {2: 25_400.0, 3: 10_000.0}  # um: an inch, a centimetre
# In um. The micro sign and the Greek letter are two characters; ImageJ writes the first as an escape.
UNITS = {
    **dict.fromkeys(("um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "\\u00b5m", "micron", "microns"), 1.0),
    **{"micrometer": 1.0, "micrometre": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0, "pm": 1e-6},
}
LONGEST = 2**20  # characters of a description that are searched
NUMBER = r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
SLIDE = re.compile(rf"\bMPP\s*[=:]\s*{NUMBER}")
OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^<>]{0,4000}>")
IMAGEJ_UNIT = re.compile(r"^unit=(.+)$", re.MULTILINE)


def of_tiff(tags: Mapping[int, Any]) -> PixelSizeUm | None:
    """By the tags of a TIFF file's first directory: a slide's MPP, OME-XML, ImageJ's unit, the resolution."""
    description = _readable(str(tags.get(DESCRIPTION, ""))[:LONGEST])
    by_x, by_y = (_number(tags.get(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION))
    if slide := SLIDE.search(description):
        return _believed(float(slide[1]), float(slide[1]), "slide properties")
    if pixels := OME_PIXELS.search(description):
        rows, columns = (_ome(pixels[0], axis) for axis in "YX")
        return _believed(rows if rows else columns, columns if columns else rows, "OME-XML")
    if description.startswith("ImageJ"):
        unit = IMAGEJ_UNIT.search(description)
        um = UNITS.get(unit[1].strip().lower(), 0.0) if unit else 0.0
        return _believed(um / by_y, um / by_x, "ImageJ")
    um = UNITS_OF_TIFF.get(tags.get(RESOLUTION_UNIT, 2), 0.0)
    return _believed(um / by_y, um / by_x, "TIFF resolution")


def of_dots_per_inch(dots: Any) -> PixelSizeUm | None:
    """By Pillow's dots per inch of a PNG (its pHYs chunk), (horizontal, vertical)."""
    if not isinstance(dots, tuple) or len(dots) != 2:
        return None
    by_x, by_y = (_number(one) for one in dots)
    return _believed(25_400 / by_y, 25_400 / by_x, "PNG resolution")


def _readable(description: str) -> str:
    """Pillow reads the bytes as Latin-1; OME-XML is UTF-8, or has references in the micro sign's place."""
    with contextlib.suppress(UnicodeError):
        description = description.encode("latin-1").decode()
    return re.sub(r"&#(181|xB5);", "\N{MICRO SIGN}", description, flags=re.IGNORECASE)


def _believed(rows: float, columns: float, told: str) -> PixelSizeUm | None:
    return (rows, columns, told) if microscopic(rows, columns) and 0.5 <= rows / columns <= 2 else None


def microscopic(rows: float, columns: float) -> bool:
    """Whether these distances in micrometres are some at which tissue is looked at; those of a mammogram are not."""
    return all(RANGE_UM[0] <= side <= RANGE_UM[1] for side in (rows, columns))


def _number(value: Any) -> float:
    """A rational tag as a number; infinite where it is missing or no number, so that the size that follows is 0."""
    try:
        number = value[0] / value[1] if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return math.inf
    return number if number > 0 else math.inf


def _ome(pixels: str, axis: str) -> float:
    """PhysicalSizeX or -Y of an OME Pixels element in um, 0 where it is missing."""
    size = re.search(rf'\bPhysicalSize{axis}="{NUMBER}"', pixels)
    unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]{{1,20}})"', pixels)
    return float(size[1]) * UNITS.get(unit[1].lower() if unit else "um", 0.0) if size else 0.0
