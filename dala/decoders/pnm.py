"""PGM and PPM files, as mini-MIAS comes: grey or colour values after a few words of text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dala.decoders.refusal import Bounds, damaged

HEAD = re.compile(
    rb"P([2356])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})(?:#[^\n]*\n)?\s"
)
MOST_HEAD = 4096


def read(data: bytes, bounds: Bounds) -> NDArray[np.uint8]:
    """uint8 (height, width) or (height, width, 3): value / highest x 255, rounded. Refuses what is too short."""
    head = HEAD.match(data[:MOST_HEAD])
    if head is None:
        damaged("is a damaged PGM or PPM image.")
    kind, width, height, most = (int(one) for one in head.groups())
    bounds.check(width, height)
    if not 0 < most < 2**16:
        damaged("is a PGM or PPM image whose highest value is not 1 to 65535.")
    shape = (height, width, 3)[: 3 if kind in (3, 6) else 2]
    count = int(np.prod(shape))
    if kind in (5, 6):
        values = np.frombuffer(data, np.uint8 if most < 256 else ">u2", count, head.end()).astype(np.uint32)
    else:
        text = data[head.end() : head.end() + 8 * count]
        values = np.array(re.sub(rb"#[^\n]*", b"", text).split()[:count], np.uint32)
        if len(values) < count:
            damaged("is an incomplete PGM or PPM image.")
    return ((np.minimum(values, most) * 255 + most // 2) // most).astype(np.uint8).reshape(shape)
