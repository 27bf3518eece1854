"""BMP files whose colours lie under masks, of which Pillow knows only the usual ones."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

BITFIELDS, ALPHA_BITFIELDS = 3, 6
HEADER = struct.Struct("<IiiHHI")


def has_masks(data: bytes) -> bool:
    """Whether it has a header with masks and pixels of 16 or 32 bits."""
    if len(data) < 14 + 40 + 12 or struct.unpack_from("<I", data, 14)[0] < 40:
        return False
    *_, bits, compression = HEADER.unpack_from(data, 14)
    return compression in (BITFIELDS, ALPHA_BITFIELDS) and bits in (16, 32)


def masked(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """RGB, and alpha where it has a mask and is not zero all over, as programs leave it that know none.

    The size must have been checked. Raises ValueError for a file that is too short or a mask that cannot be one.
    """
    size, width, height, _, bits, compression = HEADER.unpack_from(data, 14)
    (start,) = struct.unpack_from("<I", data, 10)
    masks = struct.unpack_from("<IIII", data, 54)
    if size < 56 and compression != ALPHA_BITFIELDS:  # the fourth mask came with a longer header
        masks = (*masks[:3], 0)
    rows, step = abs(height), (width * bits + 31) // 32 * 4
    words = np.frombuffer(data, np.uint8, rows * step, start).reshape(rows, step)[:, : width * bits // 8]
    values = np.ascontiguousarray(words).view(f"<u{bits // 8}")
    values = values if height < 0 else values[::-1]
    channels = [_channel(values, mask) for mask in masks]
    if any(one is None for one in channels[:3]):
        raise ValueError("a colour without a mask")
    alpha = channels[3]
    pixels = np.stack([one for one in channels[:3] if one is not None], axis=2)
    return pixels, alpha if alpha is not None and alpha.any() else None


def _channel(values: NDArray[np.generic], mask: int) -> NDArray[np.uint8] | None:
    """The bits under a mask as 0..255; None for an empty one."""
    if mask == 0:
        return None
    low = (mask & -mask).bit_length() - 1
    most = mask >> low
    if most & (most + 1):
        raise ValueError("a mask with gaps")
    found = (values & np.asarray(mask, values.dtype)) >> np.asarray(low, values.dtype)
    return ((found.astype(np.uint64) * 255 + most // 2) // most).astype(np.uint8)
