"""DICOM files as images: the first frame in 8 bits, decoded by a process of its own with bounded memory and time.

No patient data: of the header only the geometry of the pixels and the kind of image are read, nothing else leaves the
process that reads it, and nothing of it is kept, shown, logged or exported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.errors import IntakeError, TooLarge, TooSmall, UnreadableImage, UnsupportedFormat

WORKER = Path(__file__).with_name("dicom_worker.py")
PREAMBLE, MAGIC = 128, b"DICM"
MEGABYTES = 1280  # of address space; 48 megapixels in JPEG 2000, grey or three colours, were decoded with 1024
SECONDS = 90
REFUSALS: dict[str, type[IntakeError]] = {
    "large": TooLarge,
    "small": TooSmall,
    "unsupported": UnsupportedFormat,
    "damaged": UnreadableImage,
}


@dataclass(frozen=True, eq=False)
class Frame:
    """The first frame of a DICOM file.

    pixels         uint8 (rows, columns) or (rows, columns, 3), writable
    notes          sentences about what was done to the values
    pixel_size_um  distance of the rows and of the columns in micrometres, where the file tells it
    stated         what kind of image the file says it is, such as "a mammogram"; None where that tells nothing
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None
    stated: str | None


def is_dicom(data: bytes) -> bool:
    """By content: the four letters behind the preamble (PS3.10, 7.1)."""
    return data[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def read_frame(data: bytes, who: str, most: int, least: int) -> Frame:
    """Decode the first frame; at most `most` pixels, at least `least` on each side.

    Raises IntakeError, one of its kinds, with a sentence on `who` the file is.
    """
    # -I: nothing of the surroundings decides what is imported. One thread: each would claim address space.
    command = [sys.executable, "-I", str(WORKER), str(MEGABYTES), str(most), str(least)]
    try:
        run = subprocess.run(
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableImage(f"{who} is a DICOM file that takes too long to decode.") from None
    except (MemoryError, OSError) as failure:
        raise TooLarge(f"{who} needs more memory or processes than are available.") from failure
    head, _, pixels = run.stdout.partition(b"\n")
    try:
        told = json.loads(head)
    except ValueError:  # its process has ended without an answer
        raise UnreadableImage(f"{who} is a damaged DICOM file: the decoder gave up.") from None
    if "refused" in told:
        raise REFUSALS[told["refused"]](f"{who} {told['why']}")
    shape = (told["rows"], told["columns"], 3)[: 3 if told["samples"] == 3 else 2]
    values = np.frombuffer(bytearray(pixels), np.uint8).reshape(shape)
    size = told["pixel_size_um"]
    return Frame(values, tuple(told["notes"]), None if size is None else (size[0], size[1]), told["stated"])
