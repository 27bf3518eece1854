"""Overviews of slides without a pyramid, kept on disk: to make one, all of the slide is decoded, some 40 s.

Other slides' are made from their own levels in less time than a file takes, and none of them is kept.
"""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dala.files import replacing

if TYPE_CHECKING:
    from dala.slides.reader import Overview

FOLDER, SUFFIX = "overviews", ".npz"
LARGEST = 512 * 2**20  # bytes of all that are kept; those that were used last stay

_making: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def kept(key: str, make: Callable[[], Overview], folder: Path | None = None) -> Overview:
    """The overview of that key, from the cache folder's `FOLDER` or made and kept there; `key`: letters and digits.

    Two threads make it once; two processes may both make it, and either file is whole. One in which something could not
    be read is not kept, and where nothing can be written nothing is.
    """
    from dala.files import cache_dir

    folder = cache_dir() / FOLDER if folder is None else folder
    path = folder / f"{key}{SUFFIX}"
    with _making[key]:
        found = _read(path)
        if found is not None:
            with suppress(OSError):
                os.utime(path)
            return found
        made = make()
        if made.unreadable is None:
            with suppress(OSError):
                _write(path, made)
                _bound(folder)
        return made


def _read(path: Path) -> Overview | None:
    from dala.slides.reader import Overview

    try:
        with np.load(path, allow_pickle=False) as file:
            pixels, scanned, downsample = file["pixels"], file["scanned"], file["downsample"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or scanned.dtype != bool or scanned.shape != pixels.shape[:2]:
        return None
    return Overview(pixels, scanned, (float(downsample[0]), float(downsample[1])))


def _write(path: Path, made: Overview) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, pixels=made.pixels, scanned=made.scanned, downsample=np.array(made.downsample))


def _bound(folder: Path) -> None:
    """Remove what was not used for longest, with what a process that was killed has left, until the rest is small."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime_ns, about.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > LARGEST:
            with suppress(OSError):
                path.unlink()
