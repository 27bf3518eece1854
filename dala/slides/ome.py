"""OME-TIFF pyramids, of which OpenSlide sees one level only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dala.errors import SlideError
from dala.intake.pixel_size import of_tiff
from dala.slides.sources import COMPRESSIONS, CONVERTER, out_of_reach
from dala.slides.tiled import READ, Region, TiledFile, TiledLevel

MOST_LEVELS = 64  # of a pyramid; each halves its sides


def is_ome(path: Path) -> bool:
    """Whether it is an OME-TIFF file whose first image has levels of its own, which only its sub-directories name."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return False
        from tifffile import TiffFile

        with TiffFile(path) as tiff:
            page: Any = tiff.pages[0]
            return "<OME" in (page.description or "") and bool(page.subifds)
    except Exception:  # a damaged directory is OpenSlide's to complain of
        return False


class OmeSource:
    """A bright-field OME-TIFF pyramid: 8 bits, three interleaved channels, tiled."""

    def __init__(self, path: Path, cache: int, who: str) -> None:
        from tifffile import TiffFile

        self.format, self.profile = "ome", False
        damaged = SlideError("damaged", f"{who} is damaged or incomplete: its structure cannot be read.")
        try:
            with TiffFile(path) as tiff:
                first: Any = tiff.pages[0]
                size = of_tiff({270: first.description})
                if len(first.subifds or ()) > MOST_LEVELS:
                    raise damaged
                found = [first, *(tiff.pages.get(0).pages or ())] if first.subifds else [first]
                levels = [TiledLevel(page, path.stat().st_size) for page in found]
                self.profile = 34675 in first.tags
        except FileNotFoundError as error:
            raise out_of_reach(path) from error
        except Exception as error:
            raise damaged from error
        for one in levels:
            if (one.channels, one.bits) != (3, 8):
                raise SlideError(
                    "not_bright_field",
                    f"{who} holds {one.channels} channel{'s' if one.channels > 1 else ''} of {one.bits} bits: "
                    "not a bright-field slide in colour.",
                )
            if one.empty:
                raise damaged
            if one.compression not in READ:
                named = COMPRESSIONS.get(str(one.compression), f"number {one.compression}")
                raise SlideError(
                    "compression", f"{who} is compressed in a way that is not read ({named}); {CONVERTER}."
                )
            if not one.usable:
                raise SlideError(
                    "layout", f"{who} is not stored in interleaved tiles of red, green and blue; {CONVERTER}."
                )
        levels.sort(key=lambda one: -one.size[0])
        self.levels = tuple(one.size for one in levels)
        self.downsamples = tuple(self.levels[0][0] / width for width, _ in self.levels)
        self.bounds = (0, 0, *self.levels[0])
        self.um = None if size is None else (size.rows, size.columns)
        self._tiles = TiledFile(path, levels, cache)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Region:
        down = self.downsamples[level]
        return self._tiles.read(level, round(x / down), round(y / down), width, height)
