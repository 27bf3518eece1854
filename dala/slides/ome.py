"""OME-TIFF pyramids, of which OpenSlide sees one level only: the directory by tifffile, tiles by the usual decoders."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dala.errors import SlideError
from dala.intake.pixel_size import of_tiff
from dala.slides.sources import COMPRESSIONS, CONVERTER, Pixels, Region, Unreadable, out_of_reach

RAW, JPEG, DEFLATE, OLD_DEFLATE = 1, 7, 8, 32946
JPEG_2000 = (33003, 33005, 34712)
READ = (RAW, JPEG, DEFLATE, OLD_DEFLATE, *JPEG_2000)
KEPT_TILES, LARGEST_TILE = 256, 4096
# After the start of an image: its three components are red, green and blue, not brightness and two differences.
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
YCBCR = 6


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

    def __init__(self, path: Path, who: str) -> None:
        from tifffile import TiffFile

        self.format, self.profile = "ome", False
        try:
            with TiffFile(path) as tiff:
                first: Any = tiff.pages[0]
                size = of_tiff({270: first.description})
                found = [first, *(tiff.pages.get(0).pages or ())] if first.subifds else [first]
                self._levels = [_Level(page) for page in found]
                self.profile = 34675 in first.tags
                kind = (first.samplesperpixel, first.bitspersample, first.planarconfig, first.is_tiled)
        except FileNotFoundError as error:
            raise out_of_reach(path) from error
        except Exception as error:
            raise SlideError("damaged", f"{who} is damaged or incomplete: its structure cannot be read.") from error
        if kind[:2] != (3, 8):
            raise SlideError(
                "not_bright_field",
                f"{who} holds {kind[0]} channel{'s' if kind[0] > 1 else ''} of {kind[1]} bits: "
                "not a bright-field slide in colour.",
            )
        if kind[2] != 1 or not kind[3] or any(max(one.tile) > LARGEST_TILE for one in self._levels):
            raise SlideError("layout", f"{who} is not stored in interleaved tiles; {CONVERTER}.")
        for one in self._levels:
            if one.compression not in READ:
                named = COMPRESSIONS.get(str(one.compression), f"number {one.compression}")
                raise SlideError(
                    "compression", f"{who} is compressed in a way that is not read ({named}); {CONVERTER}."
                )
        self._levels.sort(key=lambda one: -one.size[0])
        self.levels = tuple(one.size for one in self._levels)
        self.downsamples = tuple(self.levels[0][0] / width for width, _ in self.levels)
        self.bounds = (0, 0, *self.levels[0])
        self.um = None if size is None else (size.rows, size.columns)
        self._file = path.open("rb", buffering=0)
        self._kept: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._lock = Lock()

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Region:
        one, whole = self._levels[level], np.full((height, width, 3), 255, np.uint8)
        left, top = round(x / self.downsamples[level]), round(y / self.downsamples[level])
        wide, high = one.tile
        across = -(-one.size[0] // wide)
        right, bottom = min(left + width, one.size[0]), min(top + height, one.size[1])
        for row in range(max(top, 0) // high, -(-bottom // high)):
            for column in range(max(left, 0) // wide, -(-right // wide)):
                tile = self._tile(level, row * across + column)
                x0, y0 = max(left, column * wide), max(top, row * high)
                x1, y1 = min(right, (column + 1) * wide), min(bottom, (row + 1) * high)
                part = tile[y0 - row * high : y1 - row * high, x0 - column * wide : x1 - column * wide]
                whole[y0 - top : y1 - top, x0 - left : x1 - left] = part
        return whole, None

    def _tile(self, level: int, number: int) -> Pixels:
        key = level, number
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        one = self._levels[level]
        try:
            offset, count = one.offsets[number], one.counts[number]
            data = os.pread(self._file.fileno(), count, offset)
            if len(data) != count:
                raise ValueError("the file ends before the tile does")
            tile = one.decoded(data)
        except (OSError, ValueError, IndexError, struct.error, zlib.error, UnidentifiedImageError) as error:
            raise Unreadable(str(error)) from error
        with self._lock:
            self._kept[key] = tile
            while len(self._kept) > KEPT_TILES:
                self._kept.popitem(last=False)
        return tile


class _Level:
    """One level's directory."""

    def __init__(self, page: Any) -> None:
        self.size = (int(page.imagewidth), int(page.imagelength))
        self.tile = (int(page.tilewidth), int(page.tilelength))
        self.compression = int(page.compression)
        self.offsets, self.counts = tuple(page.dataoffsets), tuple(page.databytecounts)
        self._tables: bytes = page.jpegtables or b""
        self._coloured = int(page.photometric) == YCBCR
        self._predictor = int(page.predictor)

    def decoded(self, data: bytes) -> Pixels:
        """The pixels of a tile; ValueError or OSError for damaged bytes."""
        wide, high = self.tile
        if not data:
            raise ValueError("an empty tile")
        if self.compression in (RAW, DEFLATE, OLD_DEFLATE):
            raw = data if self.compression == RAW else zlib.decompress(data)
            tile = np.frombuffer(raw, np.uint8).reshape(high, wide, 3)
            return np.cumsum(tile, axis=1, dtype=np.uint8) if self._predictor == 2 else tile
        if self.compression == JPEG:
            if not re.search(rb"\xff\xd9\x00*$", data[-8:]):
                raise ValueError("the tile has no end")
            body = self._tables[2:-2] + data[2:] if self._tables else data[2:]
            data = data[:2] + (b"" if self._coloured else ADOBE_RGB) + body
        image = Image.open(BytesIO(data), formats=("JPEG", "JPEG2000"))
        if image.size != self.tile or image.mode != "RGB":
            raise ValueError("not a tile of this level")
        return np.asarray(image)
