"""DICOM files as images: the first frame in 8 bits, decoded by a process of its own with bounded memory and time.

No patient data: of the header only the geometry of the pixels and the kind of image are read, nothing else leaves the
process that reads it, and nothing of it is kept, shown, logged or exported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np

from dala.errors import IntakeError, TooLarge, TooSmall, UnreadableImage, UnsupportedFormat
from dala.intake.patch import Patch
from dala.intake.pixel_size import FILE, PixelSize

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


def is_dicom(data: bytes) -> bool:
    """By content: the four letters behind the preamble (PS3.10, 7.1)."""
    return data[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def read_frame(data: bytes, name: str, who: str, most: int, least: int) -> Patch:
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
    if values.ndim == 2:
        values = np.repeat(values[..., np.newaxis], 3, axis=2)
    rows, columns = told["pixel_size_um"] or (0, 0)
    size = PixelSize(rows, columns, FILE, "DICOM") if rows else None
    return Patch(values, sha256(data).hexdigest(), name, "DICOM", tuple(told["notes"]), size, told["stated"])
