"""One compressed frame of a DICOM file as the values that it holds: JPEG, lossless JPEG, JPEG-LS, JPEG 2000, JPEG XL.

What the stream itself says of its size and colours is read first: the size decides whether a decoder is called at all,
and where header and stream contradict each other about colours the stream is believed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dala.decoders import jpeg
from dala.decoders.refusal import damaged

OTHER_SIZE = "is a DICOM file whose image is not of the size that its header says."
ROOT = "1.2.840.10008.1.2.4."
LOSSY_JPEG, LOSSLESS_JPEG, JPEG_LS, JPEG_XL = ("50", "51"), ("57", "70"), ("80", "81"), ("110", "111", "112")
JPEG_2000 = ("90", "91", "201", "202", "203")
SYNTAXES = {ROOT + one for one in (*LOSSY_JPEG, *LOSSLESS_JPEG, *JPEG_LS, *JPEG_2000, *JPEG_XL)}
JPEG_END = b"\xff\xd9"
ALWAYS_LOSSLESS = {ROOT + one for one in (*LOSSLESS_JPEG, "80", "90", "201", "202", "110")}

SYCC = 18  # enumerated colour space of a JP2 header (ISO 15444-1, I.5.3.3)
MOST_BOXES = 100


@dataclass(frozen=True)
class Frame:
    """Values as whole numbers of any type, (rows, columns) or (rows, columns, 3); whether nothing was lost, so that
    bits above those that are stored mean something else; whether the colours are Y, Cb, Cr."""

    values: NDArray[Any]
    exact: bool
    ycc: bool = False


def decode(frame: bytes, syntax: str, size: tuple[int, int], samples: int, photometric: str) -> Frame:
    """The frame by its transfer syntax, one of `SYNTAXES`; `size` (rows, columns) and `samples` as the header says.

    Raises Refused for a stream of another size, and whatever the decoders raise for damaged ones.
    """
    number, exact = syntax.removeprefix(ROOT), syntax in ALWAYS_LOSSLESS
    labelled = photometric.startswith("YBR_FULL")
    if number in JPEG_2000:
        return _jpeg_2000(frame, size, exact, labelled)
    if number in JPEG_XL:
        return Frame(imagecodecs.jpegxl_decode(frame, numthreads=1), exact, False)
    shape = jpeg.shape_of(frame)
    if (shape.rows, shape.columns, shape.components) != (*size, samples):
        damaged(OTHER_SIZE)
    if number in JPEG_LS:
        # CharLS looks for seconds for what a stream without an end does not have; one with two ends is read as ever.
        return Frame(imagecodecs.jpegls_decode(frame + JPEG_END), exact, labelled)
    ycc = shape.says_ycc if shape.says_ycc is not None else labelled
    if shape.lossless or samples == 1 or shape.precision > 8:
        # No colours are converted here: only the 8 bits of the classic process have a conversion of their own.
        colours = "RGB" if samples == 3 else None
        values = imagecodecs.jpeg8_decode(frame, colorspace=colours, outcolorspace=colours)
        return Frame(values, shape.lossless, labelled if shape.lossless else ycc)
    values = imagecodecs.jpeg8_decode(frame, colorspace="YCBCR" if ycc else "RGB", outcolorspace="RGB")
    return Frame(values, False, False)


def _jpeg_2000(frame: bytes, size: tuple[int, int], exact: bool, labelled: bool) -> Frame:
    stream, space = _codestream(frame)
    if stream[:4] != b"\xff\x4f\xff\x51":
        damaged("is a damaged DICOM file: its JPEG 2000 stream has no header.")
    _, _, right, bottom, left, top = struct.unpack_from(">HHIIII", stream, 4)
    if (bottom - top, right - left) != size:
        damaged(OTHER_SIZE)
    (components,) = struct.unpack_from(">H", stream, 40)
    reduced = any(stream[42 + 3 * one + 1 : 42 + 3 * one + 3] != b"\1\1" for one in range(components))
    transformed = False
    place = 2
    for _ in range(MOST_BOXES):
        marker, length = struct.unpack_from(">HH", stream, place)
        if marker == 0xFF52:  # COD: style, progression, layers, transform of the colours, levels, block, style, wavelet
            transformed, exact = stream[place + 8] == 1, exact or stream[place + 13] == 1
            break
        if marker == 0xFF90 or length < 2:
            break
        place += 2 + length
    values = imagecodecs.jpeg2k_decode(stream if not reduced else frame, numthreads=1)
    if reduced:  # its colours were converted, for only so they fit together
        return Frame(values, False, False)
    return Frame(values, exact, not transformed and (space == SYCC if space is not None else labelled))


def _codestream(frame: bytes) -> tuple[bytes, int | None]:
    """The JPEG 2000 stream, and the colour space if it is in a JP2 file, whose boxes are walked."""
    if not frame.startswith(b"\0\0\0\x0cjP  "):
        return frame, None
    place, end, space = 0, len(frame), None
    for _ in range(MOST_BOXES):
        length, kind = struct.unpack_from(">I4s", frame, place)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", frame, place + 8)
            head = 16
        if kind == b"jp2c":
            return frame[place + head : place + length if length else end], space
        if kind == b"jp2h":  # a box of boxes
            place += head
            continue
        if kind == b"colr" and frame[place + head] == 1 and space is None:
            (space,) = struct.unpack_from(">I", frame, place + head + 3)
        if length < head:
            break
        place += length
    damaged("is a damaged DICOM file: its JPEG 2000 stream has no header.")


def rgb_of_ycc(values: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Y, Cb, Cr of so many bits as R, G, B of the same (ITU-T T.871, 7), rounded and clipped."""
    most, half = 2**bits - 1, 2 ** (bits - 1)
    rgb = np.empty(values.shape, np.int64)
    for top in range(0, len(values), 256):
        y, cb, cr = np.moveaxis(values[top : top + 256].astype(np.float32), -1, 0)
        cb, cr = cb - half, cr - half
        parts = (y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb)
        rgb[top : top + 256] = np.clip(np.rint(np.stack(parts, axis=-1)), 0, most)
    return rgb
