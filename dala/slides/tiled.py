"""Tiles of a TIFF file, found by its directory, read by `os.pread` and decoded as strictly as OpenSlide decodes them.

OpenSlide blends a tile into a region pixel by pixel, which takes ten times as long as to decode it. Where what is
stored are plain tiles, they are copied.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# What tifffile says of a damaged file stands on nobody's terminal: our own sentence does.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

Pixels = NDArray[np.uint8]
Region = tuple[Pixels, NDArray[np.bool_] | None]

RAW, JPEG, DEFLATE, OLD_DEFLATE = 1, 7, 8, 32946
JPEG_2000 = (33003, 33005, 34712)
READ = (RAW, JPEG, DEFLATE, OLD_DEFLATE, *JPEG_2000)
RGB, YCBCR = 2, 6  # photometric interpretations
LARGEST_SIDE = 4096  # pixels of a tile
# Segments of a JPEG file: those that say what its three components are, which the directory says, and the pixels' own.
JFIF, ADOBE, SCAN = 0xE0, 0xEE, 0xDA


class Unreadable(Exception):
    """A region could not be decoded."""


class TiledLevel:
    """The directory of one level: `size` and `tile` (width, height), where its tiles lie and how they are stored."""

    def __init__(self, page: Any) -> None:
        self.size = (int(page.imagewidth), int(page.imagelength))
        self.tile = (int(page.tilewidth), int(page.tilelength))
        self.compression, self.photometric = int(page.compression), int(page.photometric)
        self.channels, self.bits = int(page.samplesperpixel), int(page.bitspersample)
        # Interleaved, in tiles, of which one can be held in memory.
        self.plain = page.planarconfig == 1 and bool(page.is_tiled) and max(self.tile) <= LARGEST_SIDE
        self._offsets, self._counts = (np.array(one, np.int64) for one in (page.dataoffsets, page.databytecounts))
        self._tables: bytes = page.jpegtables or b""
        self._predictor = int(page.predictor)

    def place(self, number: int) -> tuple[int, int]:
        """Offset and bytes of a tile; ValueError for one that is not stored."""
        if number >= min(len(self._offsets), len(self._counts)) or self._counts[number] <= 0:
            raise ValueError("an empty tile")
        return int(self._offsets[number]), int(self._counts[number])

    def decoded(self, data: bytes) -> Pixels:
        """The pixels of a tile; ValueError, IndexError or OSError for damaged bytes."""
        wide, high = self.tile
        if self.compression == JPEG:
            return self._of_jpeg(data)
        if self.compression in (RAW, DEFLATE, OLD_DEFLATE):
            raw = data if self.compression == RAW else zlib.decompress(data)
            tile = np.frombuffer(raw, np.uint8).reshape(high, wide, 3)
            return np.cumsum(tile, axis=1, dtype=np.uint8) if self._predictor == 2 else tile
        image = Image.open(BytesIO(data), formats=("JPEG2000",))
        if image.size != self.tile or image.mode != "RGB":
            raise ValueError("not a tile of this level")
        return np.asarray(image)

    def _of_jpeg(self, data: bytes) -> Pixels:
        """What a viewer that knows of no directory would guess is said in its place, as Adobe's segment: whether the
        components are red, green and blue, or brightness and two differences."""
        adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([self.photometric == YCBCR])
        whole = data[:2] + adobe + self._tables[2:-2] + _without_guesses(data)
        high, wide, _, _ = simplejpeg.decode_jpeg_header(whole)
        if (wide, high) != self.tile:  # before there is memory for what it says
            raise ValueError("not a tile of this level")
        found = simplejpeg.decode_jpeg(whole, "RGB", fastdct=False, fastupsample=False, strict=True)
        return np.asarray(found, np.uint8)


def _without_guesses(data: bytes) -> bytes:
    """A JPEG file from behind its start, without the segments by which decoders guess its colours."""
    at, kept = 2, list[bytes]()
    while data[at + 1] != SCAN:
        if data[at] != 0xFF:
            raise ValueError("not a JPEG file")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] not in (JFIF, ADOBE):
            kept.append(data[at:end])
        at = end
    return b"".join((*kept, data[at:]))


class TiledFile:
    """Levels of one file, of three interleaved channels of 8 bits; any number of threads may read at once.

    cache: bytes of decoded tiles to keep.
    """

    def __init__(self, path: Path, levels: Sequence[TiledLevel], cache: int) -> None:
        self._levels, self._cache = tuple(levels), cache
        self._file = path.open("rb", buffering=0)
        self._kept: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def read(self, level: int, left: int, top: int, width: int, height: int) -> Region:
        """(height, width, 3) RGB from a pixel of the level on, white beyond it, and where it lies on the level, None
        for everywhere. Raises Unreadable where a tile is damaged or not stored."""
        one, whole = self._levels[level], np.full((height, width, 3), 255, np.uint8)
        wide, high = one.tile
        across = -(-one.size[0] // wide)
        first, upper = max(left, 0), max(top, 0)
        right, bottom = min(left + width, one.size[0]), min(top + height, one.size[1])
        for row in range(upper // high, -(-bottom // high)):
            for column in range(first // wide, -(-right // wide)):
                tile = self._tile(level, row * across + column)
                x0, y0 = max(first, column * wide), max(upper, row * high)
                x1, y1 = min(right, (column + 1) * wide), min(bottom, (row + 1) * high)
                part = tile[y0 - row * high : y1 - row * high, x0 - column * wide : x1 - column * wide]
                whole[y0 - top : y1 - top, x0 - left : x1 - left] = part
        if (first, upper, right, bottom) == (left, top, left + width, top + height):
            return whole, None
        stored = np.zeros((height, width), bool)
        stored[max(upper - top, 0) : max(bottom - top, 0), max(first - left, 0) : max(right - left, 0)] = True
        return whole, stored

    def _tile(self, level: int, number: int) -> Pixels:
        key = level, number
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            offset, count = self._levels[level].place(number)
            data = os.pread(self._file.fileno(), count, offset)
            if len(data) != count:
                raise ValueError("the file ends before the tile does")
            tile = self._levels[level].decoded(data)
        except (OSError, ValueError, IndexError, struct.error, zlib.error, UnidentifiedImageError) as error:
            raise Unreadable(str(error)) from error
        with self._lock:
            if key not in self._kept:
                self._bytes += tile.nbytes
            self._kept[key] = tile
            while self._bytes > self._cache and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return tile


def plain_tiles(path: Path, sizes: Sequence[tuple[int, int]], cache: int) -> TiledFile | None:
    """The levels of these sizes (width, height), if each is stored once, as whole tiles in JPEG; else None."""
    from tifffile import TiffFile

    try:
        with TiffFile(path) as tiff:
            pages: list[Any] = list(tiff.pages)
            found = [TiledLevel(page) for page in pages if page.is_tiled]
        levels = [[one for one in found if one.size == size] for size in sizes]
        if not all(len(alike) == 1 and _is_plain(alike[0]) for alike in levels):
            return None
        return TiledFile(path, [one for (one,) in levels], cache)
    except Exception:  # whatever tifffile makes of a damaged directory; what it holds is then OpenSlide's to say
        return None


def _is_plain(one: TiledLevel) -> bool:
    kind = one.compression, one.photometric, one.channels, one.bits
    return one.plain and kind in ((JPEG, RGB, 3, 8), (JPEG, YCBCR, 3, 8))
