"""A loaded image of any mode and depth as 8-bit RGB on white, in strips, so that one is ever held in a second form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dala.decoders.refusal import unsupported

MODES_WITH_ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
MODES_READ = MODES_WITH_ALPHA | {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"}
GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L"}

# Depths that cameras and programs leave in a 16-bit container without spreading them over its range.
DEPTHS = (8, 10, 12, 14, 16)
GREY_DEPTHS = tuple(range(8, 17))  # film scanners leave any: a brightest value of 5000 means 13 bits and not 14
STRIP_ROWS = 256
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value


def check_mode(mode: str) -> None:
    """Refuses a Pillow mode whose values have no 8-bit colours."""
    if mode not in MODES_READ:
        unsupported(
            f"holds '{mode}' pixels, which have no faithful 8-bit colours; grey, RGB and CMYK of up to 16 bits are "
            "accepted."
        )


def eight_bit_rgb(image: Image.Image, data: bytes, kind: str, notes: list[str]) -> NDArray[np.uint8]:
    """An image as writable uint8 (height, width, 3), on white; what was done is added to the notes.

    `data` is the file that it was loaded from, `kind` its format, for what Pillow's modes do not tell; without them the
    modes decide.
    """
    mode = image.mode
    if mode in GREY_MODES:
        notes.append("The image is grey; the three colour channels are equal.")
    elif mode in ("P", "PA"):
        notes.append("Palette colours were converted to RGB.")
    elif mode in ("CMYK", "YCbCr"):
        notes.append(f"{mode} colours were converted to RGB.")

    transparent_colour = image.info.get("transparency") if mode in ("L", "RGB", "I;16", "1") else None
    if mode.startswith("I;16"):
        values, alpha = _deep_grey(image, transparent_colour, notes)
        pixels = np.repeat(values[..., np.newaxis], 3, axis=2)
    else:
        if isinstance(image, TiffImageFile) and max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 8:
            notes.append("16-bit values were reduced to their upper 8 bits.")
        if kind == "PNG" and mode == "L" and isinstance(transparent_colour, int):
            # Pillow stretches 2 and 4-bit grey to 0..255 but leaves the transparent value as stored.
            image.info["transparency"] = transparent_colour * (255 // (2 ** data[24] - 1))
        with_alpha = mode in MODES_WITH_ALPHA or "transparency" in image.info
        pixels, alpha = _converted(image, with_alpha)
    return on_white(pixels, alpha, notes)


def on_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, notes: list[str]) -> NDArray[np.uint8]:
    """The pixels, written to in place where they are transparent, with a note then."""
    if alpha is not None and alpha.min() < 255:
        _lay_on_white(pixels, alpha)
        notes.append("Transparent parts were placed on white.")
    return pixels


def of_deep(
    values: NDArray[np.uint16],
    notes: list[str],
    transparent: tuple[int, ...] | None = None,
    associated: bool = False,
    white_is_zero: bool = False,
) -> NDArray[np.uint8]:
    """16-bit values (height, width, channels) as `eight_bit_rgb` gives them: grey or RGB, the last of 2 or 4 is alpha.

    `transparent`: a colour that is so; `associated`: the colours were multiplied by alpha.
    """
    channels = values.shape[2]
    colours = values[..., : 1 if channels < 3 else 3]
    alpha = values[..., -1] if channels in (2, 4) else None
    if channels < 3:
        notes.append("The image is grey; the three colour channels are equal.")
    if associated and alpha is not None:
        share = np.maximum(alpha, 1).astype(np.float32)[..., np.newaxis] / max(int(alpha.max()), 1)
        colours = np.minimum(colours / share, 65535).astype(np.uint16)
    depth = _depth(int(colours.max()), 16, notes, GREY_DEPTHS if channels < 3 else DEPTHS)
    pixels = np.empty((*values.shape[:2], 3), np.uint8)
    opaque = np.empty(values.shape[:2], np.uint8) if alpha is not None or transparent is not None else None
    # The alpha of 12-bit colours has 12 bits as well, unless it tells otherwise.
    shift = depth - 8 if alpha is not None and alpha.max() < 2**depth else 8
    for top in range(0, len(values), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        pixels[rows] = colours[rows] >> (depth - 8)
        if opaque is not None:
            if alpha is not None:
                opaque[rows] = alpha[rows] >> shift
            else:
                opaque[rows] = np.where((colours[rows] == transparent).all(axis=2), 0, 255)
    if white_is_zero:
        np.subtract(255, pixels, out=pixels)
    return on_white(pixels, opaque, notes)


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    for top in range(0, image.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _converted(image: Image.Image, with_alpha: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """RGB and, if asked for, alpha, by Pillow's own conversions."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8) if with_alpha else None
    for rows, strip in _strips(image):
        if alpha is None:
            pixels[rows] = np.asarray(strip.convert("RGB"))
        else:
            rgba = np.asarray(strip.convert("RGBA"))
            pixels[rows], alpha[rows] = rgba[..., :3], rgba[..., 3]
    return pixels, alpha


def _deep_grey(
    image: Image.Image, transparent: int | None, notes: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    values = np.empty((image.height, image.width), np.uint16)
    for rows, strip in _strips(image):
        values[rows] = np.asarray(strip)
    stored, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        stored = max(image.tag_v2.get(BITS_PER_SAMPLE, (16,)))
        white_is_zero = image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
    alpha = None if transparent is None else np.where(values == transparent, 0, 255).astype(np.uint8)
    depth = _depth(int(values.max()), stored, notes, GREY_DEPTHS)
    reduced = (values >> (depth - 8)).astype(np.uint8)
    if white_is_zero:  # Pillow turns 8-bit values of this kind around, but not these
        np.subtract(255, reduced, out=reduced)
    return reduced, alpha


def _depth(highest: int, stored: int, notes: list[str], depths: tuple[int, ...] = DEPTHS) -> int:
    """How many bits the values really use, so that the upper eight of them can be kept."""
    depth = next(depth for depth in depths if highest < 2**depth and depth <= stored)
    if depth == stored:
        notes.append(f"{stored}-bit values were reduced to their upper 8 bits.")
    elif depth == 8:
        notes.append(f"No {stored}-bit value is above 255; they were taken as 8-bit values.")
    else:
        notes.append(
            f"No {stored}-bit value is above {2**depth - 1}; they were taken as {depth}-bit values and reduced to the "
            "upper 8 bits."
        )
    return depth


def _lay_on_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> None:
    """In place: (alpha c + (255 - alpha) 255) / 255, rounded to the nearest."""
    for top in range(0, len(pixels), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        weight = alpha[rows, :, np.newaxis].astype(np.uint16)
        pixels[rows] = (weight * pixels[rows] + (255 - weight) * 255 + 127) // 255


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation of 2 to 8 (names the place of the first row and column; EXIF 2.3, tag 274)."""
    turned = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: pixels.swapaxes(0, 1)[:, ::-1],
        7: pixels.swapaxes(0, 1)[::-1, ::-1],
        8: pixels.swapaxes(0, 1)[::-1],
    }[orientation]
    return np.ascontiguousarray(turned)
