"""Tiles of a TIFF file, found by its directory, read by `os.pread` and decoded as strictly as OpenSlide decodes them.

OpenSlide blends a tile into a region pixel by pixel, which takes ten times as long as to decode it. Where what is
stored are plain tiles, they are copied. What a directory claims is not believed before it is compared with the file:
OpenSlide ends the process where memory for a claim cannot be had.
"""

from __future__ import annotations

import logging
import os
import weakref
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
JPEG_2000 = (33005, 34712)  # of red, green and blue
READ = (RAW, JPEG, DEFLATE, OLD_DEFLATE, *JPEG_2000)
RGB, YCBCR = 2, 6  # photometric interpretations
COLOURS = {RGB: "RGB", YCBCR: "YCbCr"}
SIDES = (16, 4096)  # pixels of a tile, from and to
MOST_DIRECTORIES, MOST_SCANS = 1000, 100  # of a file, and of a JPEG tile: a slide has tens, a tile one or ten
BEYOND = 2**20  # bytes that a tile may take beside eight for each of its pixels
KEEPING = 512  # bytes that a tile takes in the cache beside its pixels
# Markers of a JPEG file: Adobe's and JFIF's segments, which say what its three components are, as the directory does;
# tables of quantisation and of Huffman's code; restarts, comments; start, end, and the pixels' own.
JFIF, ADOBE, QUANTISED, HUFFMAN, RESTARTS, COMMENT, START, END, SCAN = (
    0xE0,
    0xEE,
    0xDB,
    0xC4,
    0xDD,
    0xFE,
    0xD8,
    0xD9,
    0xDA,
)
APPLICATIONS = range(0xE0, 0xF0)
ALONE = (0x01, *range(0xD0, 0xDA))  # markers without a length


class Unreadable(Exception):
    """A region could not be decoded."""


class Unbelievable(Exception):
    """A directory claims what cannot be."""


class TiledLevel:
    """The directory of one level: `size` and `tile` (width, height), where its tiles lie and how they are stored.

    page: tifffile's. Raises Unbelievable for a tile that would be larger than the file, or than any is.
    """

    def __init__(self, page: Any, bytes_of_file: int) -> None:
        # By the tags: where they are 0, tifffile takes the first tile's for the whole.
        self.size = (int(page.tags[256].value), int(page.tags[257].value))
        self.tile = (int(page.tilewidth), int(page.tilelength))
        self.compression, self.photometric = int(page.compression), int(page.photometric)
        bits = page.bitspersample
        self.channels, self.bits = int(page.samplesperpixel), bits if isinstance(bits, int) else 0
        self._predictor = int(page.predictor)
        self._interleaved = bool(page.is_tiled) and page.planarconfig == 1
        _believe(page, bytes_of_file)
        self._offsets, self._counts = (np.array(one, np.uint64) for one in (page.dataoffsets, page.databytecounts))
        tables = page.jpegtables
        self._tables = b"" if tables is None else _shared(tables) if isinstance(tables, bytes) else None

    @property
    def empty(self) -> bool:
        """Whether it has no pixels, which no level has."""
        return not all(self.size)

    @property
    def whole(self) -> bool:
        """Whether every tile is stored."""
        across, down = (-(-side // of) for side, of in zip(self.size, self.tile, strict=True))
        return len(self._counts) >= across * down and bool(self._counts.all())

    @property
    def usable(self) -> bool:
        """Whether `decoded` reads its tiles: 8 bits of red, green and blue, or of what a JPEG makes of them."""
        right = (RGB, YCBCR) if self.compression == JPEG else (RGB,)
        fits = all(SIDES[0] <= side <= SIDES[1] for side in self.tile)
        kind = self._interleaved and (self.channels, self.bits) == (3, 8) and self.photometric in right
        told = self._tables is not None if self.compression == JPEG else self._predictor in (1, 2)
        return fits and kind and told and not self.empty and self.compression in READ

    def place(self, number: int) -> tuple[int, int]:
        """Offset and bytes of a tile; ValueError for one that is not stored."""
        if number >= min(len(self._offsets), len(self._counts)) or not self._counts[number]:
            raise ValueError("an empty tile")
        return int(self._offsets[number]), int(self._counts[number])

    def decoded(self, data: bytes) -> Pixels:
        """The pixels of a tile; ValueError, LookupError or OSError for damaged bytes."""
        if self.compression == JPEG:
            return self._of_jpeg(data)
        if self.compression in JPEG_2000:
            return self._of_jpeg_2000(data)
        wide, high = self.tile
        raw = data if self.compression == RAW else _inflated(data, wide * high * 3)
        tile = np.frombuffer(raw, np.uint8).reshape(high, wide, 3)
        return np.cumsum(tile, axis=1, dtype=np.uint8) if self._predictor == 2 else tile

    def _of_jpeg(self, data: bytes) -> Pixels:
        """What a viewer that knows of no directory would guess is said in its place, as Adobe's segment: whether the
        components are red, green and blue, or brightness and two differences."""
        if data.count(bytes([0xFF, SCAN])) > MOST_SCANS:
            raise ValueError("more scans than any JPEG has")
        adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([self.photometric == YCBCR])
        whole = data[:2] + adobe + (self._tables or b"") + _without_guesses(data)
        high, wide, colours, _ = simplejpeg.decode_jpeg_header(whole)
        if (wide, high) != self.tile or colours != COLOURS[self.photometric]:  # before there is memory for what it says
            raise ValueError("not a tile of this level")
        found = simplejpeg.decode_jpeg(whole, "RGB", fastdct=False, fastupsample=False, strict=True)
        return np.asarray(found, np.uint8)

    def _of_jpeg_2000(self, data: bytes) -> Pixels:
        at = data.index(b"\xff\x4f\xff\x51")  # its codestream, which begins with its size
        right, lower, left, upper = (int.from_bytes(data[at + n : at + n + 4]) for n in (8, 12, 16, 20))
        if (right - left, lower - upper) != self.tile:  # before there is memory for what it says
            raise ValueError("not a tile of this level")
        image = Image.open(BytesIO(data[at:]), formats=("JPEG2000",))
        if image.size != self.tile or image.mode != "RGB":
            raise ValueError("not a tile of this level")
        return np.asarray(image)


def _believe(page: Any, bytes_of_file: int) -> None:
    most = min(bytes_of_file, 8 * int(page.tilewidth) * int(page.tilelength) + BEYOND)
    if page.is_tiled and any(count > most for count in page.databytecounts):
        raise Unbelievable("a tile larger than can be")


def _inflated(data: bytes, length: int) -> bytes:
    """Exactly so many bytes; ValueError for less or more."""
    inflate = zlib.decompressobj()
    raw = inflate.decompress(data, length + 1)
    if len(raw) != length:
        raise ValueError("not a tile of this level")
    return raw


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Marker and bytes of every segment of a JPEG file behind its start, up to its pixels or its end, and where that
    is; ValueError or IndexError for what is none."""
    if data[:2] != bytes([0xFF, START]):
        raise ValueError("not a JPEG file")
    at, found = 2, list[tuple[int, bytes]]()
    while True:
        if data[at] != 0xFF:
            raise ValueError("not a JPEG file")
        while data[at + 1] == 0xFF:  # markers may be filled up
            at += 1
        marker = data[at + 1]
        if marker in (SCAN, END):
            return found, at
        length = int.from_bytes(data[at + 2 : at + 4])
        if marker in ALONE or length < 2:
            raise ValueError("not a JPEG file")
        found.append((marker, data[at : at + 2 + length]))
        at += 2 + length


def _without_guesses(data: bytes) -> bytes:
    """A JPEG file from behind its start, without the segments by which decoders guess its colours. Such a segment that
    no decoder takes stays: OpenSlide's complains of it."""
    segments, pixels = _segments(data)
    guesses = [
        (marker == JFIF and one[4:10] == b"JFIF\0\1") or (marker == ADOBE and one[4:9] == b"Adobe" and one[15] < 2)
        for marker, one in segments
    ]
    return b"".join(one for (_, one), guess in zip(segments, guesses, strict=True) if not guess) + data[pixels:]


def _shared(tables: bytes) -> bytes | None:
    """The segments of a directory's tables that hold for its tiles, as libjpeg keeps them; None for tables that are
    none."""
    if not tables:
        return b""
    try:
        segments, end = _segments(tables)
    except (ValueError, IndexError):
        return None
    known = {QUANTISED, HUFFMAN, RESTARTS, COMMENT, *APPLICATIONS}
    if tables[end + 1] != END or any(marker not in known for marker, _ in segments):
        return None
    return b"".join(one for marker, one in segments if marker in (QUANTISED, HUFFMAN))


class TiledFile:
    """Levels of one file, of three interleaved channels of 8 bits; any number of threads may read at once.

    cache: bytes of decoded tiles to keep.
    """

    def __init__(self, path: Path, levels: Sequence[TiledLevel], cache: int) -> None:
        self._levels, self._cache = tuple(levels), cache
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)  # and not before: others may be reading
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
            data = os.pread(self._file, count, offset)
            if len(data) != count:
                raise ValueError("the file ends before the tile does")
            tile = self._levels[level].decoded(data)
        except (OSError, ValueError, LookupError, zlib.error, UnidentifiedImageError) as error:
            raise Unreadable(str(error)) from error
        with self._lock:
            if key not in self._kept:
                self._bytes += tile.nbytes + KEEPING
            self._kept[key] = tile
            while self._bytes > self._cache and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes + KEEPING
        return tile


def directories_of(path: Path) -> tuple[TiledLevel, ...] | None:
    """The tiled directories of a TIFF file; None where tifffile cannot read them.

    Raises Unbelievable for more than `MOST_DIRECTORIES`, and as `TiledLevel`.
    """
    from tifffile import TiffFile

    try:
        length = path.stat().st_size
        with TiffFile(path) as tiff:
            found = list[TiledLevel]()
            page: Any
            for number, page in enumerate(tiff.pages):
                if number == MOST_DIRECTORIES:
                    raise Unbelievable("more directories than any slide has")
                if page.is_tiled:
                    found.append(TiledLevel(page, length))
            return tuple(found)
    except Unbelievable:
        raise
    except Exception:  # whatever tifffile makes of a damaged directory; what it holds is then OpenSlide's to say
        return None


def plain_tiles(
    path: Path, directories: Sequence[TiledLevel], sizes: Sequence[tuple[int, int]], cache: int
) -> TiledFile | None:
    """The levels of these sizes (width, height), if each is stored once, as whole tiles in JPEG; else None.

    What OpenSlide makes of a tile that is not stored depends on other levels: a file that lacks one is not plain.
    """
    levels = [[one for one in directories if one.size == size] for size in sizes]
    if not all(
        len(alike) == 1 and alike[0].compression == JPEG and alike[0].usable and alike[0].whole for alike in levels
    ):
        return None
    try:
        return TiledFile(path, [one for (one,) in levels], cache)
    except OSError:
        return None
