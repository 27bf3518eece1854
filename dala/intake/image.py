"""Reads any image a user may hand in: a Patch of 8-bit RGB pixels in bounded memory and time, or a sentence why not.

The bytes are untrusted: they are decoded in a process of their own (`dala.intake.decoding`), never in this one.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dala.decoders import containers
from dala.decoders.image import ACCEPTED, TURNED
from dala.decoders.refusal import MAXIMUM_BYTES, MAXIMUM_PIXELS, MINIMUM_SIDE, SLIDE, Bounds, Refused
from dala.decoders.rgb import check_mode, eight_bit_rgb, upright
from dala.errors import EmptyFile, IntakeError, TooLarge, UnreadableImage, UnsupportedFormat
from dala.intake import pixel_size
from dala.intake.decoding import REFUSALS, decoded
from dala.intake.patch import Patch
from dala.intake.pixel_size import GivenSize
from dala.words import printable

Source = bytes | bytearray | memoryview | str | Path | NDArray[np.uint8] | Image.Image

__all__ = ["ACCEPTED", "IMAGE_SUFFIXES", "MAXIMUM_BYTES", "MAXIMUM_PIXELS", "MINIMUM_SIDE", "read_image", "who_is"]

IMAGE_SUFFIXES = (  # looked for in folders
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom", ".pgm", ".ppm", ".pnm"),
)
# Of whole slides, which are no images to analyse; those that are TIFF files are recognised by their content as well.
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".mrxs", ".vms", ".vmu", ".bif", ".czi", ".vsi", ".svslide", ".isyntax")


def read_image(source: Source, name: str | None = None, pixel_size_um: GivenSize | None = None) -> Patch:
    """Read the bytes of an image, the file at a path, an array (height, width, 3) uint8 RGB or a PIL image as a Patch.

    The kind of a file is decided by its content; its name is only kept for display (`name` replaces it). Accepted are
    32 pixels a side and more, 48 megapixels and 200 MB at most. The EXIF orientation is applied. Transparency is laid
    on white, as glass is. CMYK becomes RGB by (1 - C)(1 - K). Of 16-bit values the upper eight significant bits are
    kept: 12-bit data in a 16-bit file, which no value above 4095 gives away, is not shown as black. A DICOM file's
    greys are those that it asks for (`dala.intake.dicom`). Of several pages or frames the first is taken.

    `pixel_size_um`: micrometres between the pixels of a patch of tissue, 0.05 to 5, one number or (row, column), in
    place of what the file or its name tells (`dala.intake.pixel_size`). Raises IntakeError, one of its kinds, and
    nothing else for whatever bytes or path.
    """
    size = pixel_size.given(pixel_size_um)
    if isinstance(source, np.ndarray | Image.Image):
        patch = _of_pixels(source, _plain_name(name or ""))
    elif isinstance(source, bytes | bytearray | memoryview):
        patch = _of_bytes(bytes(source), _plain_name(name or ""))
    elif isinstance(source, str | Path):
        path = Path(source)
        patch = _of_bytes(_file_bytes(path), _plain_name(path.name if name is None else name))
    else:
        raise UnsupportedFormat(
            f"An image is given as bytes, a path, an array or a PIL image, not as {type(source).__name__}."
        )
    patch.pixels.setflags(write=False)
    size = size or patch.pixel_size or pixel_size.of_name(patch.name, patch.width, patch.height)
    return replace(patch, pixel_size=size)


def _of_pixels(source: NDArray[np.uint8] | Image.Image, shown: str) -> Patch:
    """Pixels that somebody else has decoded, copied; identified by a digest of their size and values."""
    who, notes, bounds, turned = who_is(shown, "The image"), list[str](), Bounds(), 1
    try:
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
                raise UnsupportedFormat(
                    f"{who} is an array of {source.dtype} {source.shape}; uint8 of (height, width, 3) is accepted."
                )
            bounds.check(source.shape[1], source.shape[0])
            pixels = np.array(source, order="C")
        else:
            bounds.check(*source.size)
            check_mode(source.mode)
            pixels = eight_bit_rgb(source, b"", "", notes)
            turned = containers.orientation(source.info.get("exif", b""))
            if turned in range(2, 9):
                pixels = upright(pixels, turned)
                notes.append(TURNED)
    except IntakeError:
        raise
    except Refused as refusal:
        raise REFUSALS[refusal.kind](f"{who} {refusal.why}") from None
    except Exception as failure:  # it may not have been loaded yet
        raise UnreadableImage(f"{who} is damaged, incomplete or closed.") from failure
    head = f"{pixels.shape[0]} x {pixels.shape[1]} x 3 uint8\n".encode()
    return Patch(pixels, sha256(head + pixels.tobytes()).hexdigest(), shown, "array", tuple(notes), turned=turned)


def _of_bytes(data: bytes, shown: str) -> Patch:
    who = who_is(shown)
    if not data:
        raise EmptyFile(f"{who} is empty.")
    slide = shown.lower().endswith(SLIDE_SUFFIXES)
    if len(data) > MAXIMUM_BYTES:
        large = f"is larger than {MAXIMUM_BYTES // 2**20} MB, the largest file that is accepted."
        raise TooLarge(f"{who} {whole_slide() if slide else large}")
    try:
        return decoded(data, shown, who)
    except IntakeError as refusal:
        if slide and "whole slide" not in str(refusal):
            raise type(refusal)(f"{who} {whole_slide()}") from None
        raise


def _file_bytes(path: Path) -> bytes:
    """At most one byte more than accepted, from a regular file only: a pipe could block, a device never end."""
    who = who_is(_plain_name(path.name))
    try:
        if path.is_dir():
            raise UnreadableImage(f"{who} is a folder, not an image.")
        if not path.exists():
            raise UnreadableImage(f"{who} does not exist.")
        if not path.is_file():
            raise UnreadableImage(f"{who} is not a regular file.")
        with path.open("rb") as file:
            return file.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as failure:  # ValueError: a path with a null character
        if isinstance(failure, IntakeError):
            raise
        reason = (getattr(failure, "strerror", None) or "not a valid path").lower()
        raise UnreadableImage(f"{who} cannot be opened ({reason}).") from failure


def _plain_name(name: str) -> str:
    """The last part of a name in either system's spelling, without characters that would garble a line of text."""
    return printable(PureWindowsPath(name).name)


def whole_slide() -> str:
    """What is said of a file of a whole slide by its name: the rest of a sentence."""
    return f"is a file of a whole slide, which is not read as one image: {SLIDE}."


def who_is(name: str, nameless: str = "The file") -> str:
    """How a sentence names the file."""
    return f"'{name if len(name) <= 100 else name[:99] + '…'}'" if name else nameless
