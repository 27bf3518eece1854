"""Images of a data set as one array: decoded and resized once, so that training never waits for the disk."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dala.errors import DataError

# What Pillow's decoders raise on damaged bytes (its PNG reader raises SyntaxError for a broken chunk).
DECODE_FAILURES = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
EIGHT_BIT_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
WORKERS = 4

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


class HasPath(Protocol):
    """Anything that knows the file of its image, such as a record of a data set."""

    @property
    def path(self) -> Path: ...


class Images(Protocol):
    """Images of a data set, an array or read when asked for: `[i:j]` is (j - i, side, side, 3) uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice, /) -> NDArray[np.uint8]: ...


def read_rgb(path: Path) -> Image.Image:
    """Decode one image completely as 8-bit RGB at its own size; transparency is dropped, not blended.

    Raises DataError if the file is missing, damaged, not an image, or holds more than 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise DataError(f"{path} holds '{image.mode}' pixels; data sets are read as 8-bit grey or RGB images.")
            return image.convert("RGB")
    except DataError:
        raise
    except DECODE_FAILURES as failure:
        raise DataError(f"{path} cannot be read as an image ({_reason(failure)}).") from failure


def load_pixels(records: Sequence[HasPath], size: int = 224, progress: Progress | None = None) -> NDArray[np.uint8]:
    """All images as one array (N, size, size, 3), uint8 RGB, in the order of the records.

    An image of another size is squeezed to the square by Pillow's bicubic filter, which widens with the reduction and
    so does not alias; the aspect ratio is **not** kept: a round nucleus of BreakHis (700x460) comes out 1.5 times as
    high as wide. The 224x224 edition of BreakHis was made in exactly this way: the resized originals equal it bit for
    bit, so both editions may be mixed. An image that has the size already is passed on untouched.

    `progress(done, total)` is called after every image, from the calling thread. Raises DataError at the first file,
    in order, that cannot be read.
    """
    pixels = np.empty((len(records), size, size, 3), dtype=np.uint8)
    paths = [record.path for record in records]
    for index, image in enumerate(in_order(partial(_squeezed, size=size), paths, progress)):
        pixels[index] = image
    return pixels


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None = None
) -> Iterable[Result]:
    """`function` of every item, in order, computed by a few threads; what is still waiting is dropped on an error."""
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for done, result in enumerate(pool.map(function, items), start=1):
            if progress is not None:
                progress(done, len(items))
            yield result


def _squeezed(path: Path, size: int) -> NDArray[np.uint8]:
    image = read_rgb(path)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _reason(failure: BaseException) -> str:
    """The decoder's own words without the path, which the sentence around it names already."""
    if isinstance(failure, UnidentifiedImageError):
        return "its content is no known image format"
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror.lower()
    return str(failure).rstrip(".") or type(failure).__name__
