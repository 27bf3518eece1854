"""Reads any image a user may hand in: a Patch of 8-bit RGB pixels with bounded memory, or one sentence why not.

The bytes are untrusted. Kind and size are taken from the header and checked before a decoder sees a pixel, and the
plugin of that one kind is called directly: `Image.open` would try others and would judge bombs by a process-wide limit
and warning filter, which threads share. The limit here is below Pillow's own, so its bomb warning can never come first.

Colour profiles are not applied. The networks were trained on images without profiles, their numbers taken as they
are; a conversion would show the network other colours than the ones in the file, would depend on the version of a
colour engine, and would put a parser of complex untrusted data into the path. A profile other than sRGB is noted.

DICOM is left to `dala.intake.dicom`, which decodes it in a process of its own.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from dala.errors import EmptyFile, IntakeError, TooLarge, TooSmall, UnreadableImage, UnsupportedFormat
from dala.intake import containers, pixel_size
from dala.intake.dicom import read_frame
from dala.intake.patch import Patch
from dala.intake.pixel_size import GivenSize, PixelSize
from dala.intake.rgb import BITS_PER_SAMPLE, MODES_READ, eight_bit_rgb, upright

Source = bytes | bytearray | memoryview | str | Path | NDArray[np.uint8] | Image.Image

# The greediest decoder, WebP, holds 16 bytes a pixel for a moment: 0.8 GB here, which the served app can afford.
MAXIMUM_PIXELS = 48_000_000
MAXIMUM_BYTES = 200 * 2**20  # of one image; the pages let less through
MINIMUM_SIDE = 32  # one cell of the 32-fold reduced feature grid

ACCEPTED = "PNG, JPEG, TIFF, BMP, WebP and DICOM"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom")  # looked for in folders
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "WebP": WebPImageFile,
}
TURNED = "The image was rotated as its EXIF orientation says."
PLANAR, TILE_WIDTH, TILE_LENGTH, SEPARATE_PLANES = 284, 322, 323, 2  # TIFF tags, and a value


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
    who, notes = who_is(shown, "The image"), list[str]()
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UnsupportedFormat(
                f"{who} is an array of {source.dtype} {source.shape}; uint8 of (height, width, 3) is accepted."
            )
        _check_size(source.shape[1], source.shape[0], who)
        pixels = np.array(source, order="C")
    else:
        _check_size(*source.size, who)
        _check_mode(source.mode, who)
        try:
            pixels = eight_bit_rgb(source, b"", "", notes)
        except Exception as failure:  # it may not have been loaded yet
            raise UnreadableImage(f"{who} is damaged, incomplete or closed.") from failure
        orientation = containers.orientation(source.info.get("exif", b""))
        if orientation in range(2, 9):
            pixels = upright(pixels, orientation)
            notes.append(TURNED)
    head = f"{pixels.shape[0]} x {pixels.shape[1]} x 3 uint8\n".encode()
    return Patch(pixels, sha256(head + pixels.tobytes()).hexdigest(), shown, "array", tuple(notes))


def _of_bytes(data: bytes, shown: str) -> Patch:
    who = who_is(shown)
    if not data:
        raise EmptyFile(f"{who} is empty.")
    if len(data) > MAXIMUM_BYTES:
        raise TooLarge(f"{who} is larger than {MAXIMUM_BYTES // 2**20} MB, the largest file that is accepted.")
    kind = containers.kind_of(data)
    if kind is None:
        raise UnsupportedFormat(f"{who} is not an image of an accepted kind ({ACCEPTED}).")
    try:
        if kind == "DICOM":
            return read_frame(data, shown, who, MAXIMUM_PIXELS, MINIMUM_SIDE)
        pixels, notes, size = _decode(data, kind, who)
        return Patch(pixels, sha256(data).hexdigest(), shown, kind, tuple(notes), size)
    except IntakeError:
        raise
    except MemoryError as failure:
        raise TooLarge(f"{who} needs more memory than is available.") from failure
    # Decoders meet damaged bytes with whatever error comes first, from struct.error to SyntaxError and IndexError.
    except Exception as failure:
        raise UnreadableImage(f"{who} is a damaged, incomplete or unusual {kind} file.") from failure


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
    return "".join(character for character in PureWindowsPath(name).name if character.isprintable())


def who_is(name: str, nameless: str = "The file") -> str:
    """How a sentence names the file."""
    return f"'{name if len(name) <= 100 else name[:99] + '…'}'" if name else nameless


def _decode(data: bytes, kind: str, who: str) -> tuple[NDArray[np.uint8], list[str], PixelSize | None]:
    """Pixels (writable, contiguous, upright), notes, and what the file tells of the size of its pixels."""
    notes: list[str] = []
    stated = containers.stated_size(data, kind)
    if stated is not None:
        _check_size(*stated, who)
    orientation, pages, profile, size = 1, 1, b"", None
    if kind == "JPEG":
        data, exif, profile, pages = containers.bare_jpeg(data)
        orientation = containers.orientation(exif)
    elif kind == "TIFF":
        data, pages = containers.bare_tiff(data, who)
    image = PLUGINS[kind](BytesIO(data))
    _check_size(*image.size, who)
    _check_mode(image.mode, who)
    if isinstance(image, TiffImageFile):
        _check_tiff(image, who)
        orientation = image.tag_v2.get(containers.ORIENTATION, 1)
        size = pixel_size.of_tiff(image.tag_v2)

    image.load()
    if isinstance(image, PngImageFile | WebPImageFile):
        orientation = containers.orientation(image.info.get("exif", b""))
        pages = getattr(image, "n_frames", 1)
        size = pixel_size.of_dots_per_inch(image.info.get("dpi"))
    profile = profile or image.info.get("icc_profile") or b""

    if pages > 1:
        notes.append("The file holds several pages or frames; the first was taken.")
    pixels = eight_bit_rgb(image, data, kind, notes)
    if orientation in range(2, 9):
        # Pillow turns a TIFF itself while loading it.
        pixels = pixels if kind == "TIFF" else upright(pixels, orientation)
        notes.append(TURNED)
        size = size.turned if size and orientation >= 5 else size
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        notes.append("The embedded colour profile was not applied; colours are the stored numbers.")
    return pixels, notes, size


def _check_size(width: int, height: int, who: str) -> None:
    if width * height > MAXIMUM_PIXELS:
        raise TooLarge(
            f"{who} is {width} x {height} pixels; at most {MAXIMUM_PIXELS // 1_000_000} megapixels are accepted."
        )
    if min(width, height) < MINIMUM_SIDE:
        raise TooSmall(
            f"{who} is {width} x {height} pixels; at least {MINIMUM_SIDE} x {MINIMUM_SIDE} are needed to see tissue."
        )


def _check_mode(mode: str, who: str) -> None:
    if mode not in MODES_READ:
        raise UnsupportedFormat(
            f"{who} holds '{mode}' pixels, which have no faithful 8-bit colours; grey, RGB and CMYK of up to 16 bits "
            "are accepted."
        )


def _check_tiff(image: TiffImageFile, who: str) -> None:
    tags = image.tag_v2
    tile = tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)
    if not all(isinstance(side, int) for side in tile) or tile[0] * tile[1] > MAXIMUM_PIXELS:
        raise TooLarge(f"{who} is a TIFF file with tiles of more than {MAXIMUM_PIXELS // 1_000_000} megapixels.")
    if tags.get(PLANAR, 1) == SEPARATE_PLANES and max(tags.get(BITS_PER_SAMPLE, (1,))) > 8:
        # Pillow takes the two bytes of a value for two pixels here, and OpenCV misplaces the planes.
        raise UnsupportedFormat(
            f"{who} is a 16-bit TIFF file with separate colour planes; please save it with interleaved channels."
        )
