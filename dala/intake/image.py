"""Reads any image a user may upload: a Patch of 8-bit RGB pixels with bounded memory, or one sentence why not.

The bytes are untrusted. Kind and size are taken from the header and checked before a decoder sees a pixel, and the
plugin of that one kind is called directly: `Image.open` would try others and would judge bombs by a process-wide limit
and warning filter, which threads share. The limit here is below Pillow's own, so its bomb warning can never come first.
Embedded directories (EXIF and the like) are never given to Pillow's parser, because entries that point at the same
bytes make it copy them many times over.

Colour profiles are not applied. The networks were trained on images without profiles, their numbers taken as they
are; a conversion would show the network other colours than the ones in the file, would depend on the version of a
colour engine, and would put a parser of complex untrusted data into the path. A profile other than sRGB is noted.

DICOM is left to `dala.intake.dicom`, which decodes it in a process of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
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
from dala.intake import dicom

# The greediest decoder, WebP, holds 16 bytes a pixel for a moment: 0.8 GB here, which the served app can afford.
MAXIMUM_PIXELS = 48_000_000
MAXIMUM_BYTES = 200 * 2**20  # of one image; the pages let less through
IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    ".dcm",
    ".dicom",
)  # looked for in folders
MINIMUM_SIDE = 32  # one cell of the 32-fold reduced feature grid

ACCEPTED = "PNG, JPEG, TIFF, BMP, WebP and DICOM"
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "WebP": WebPImageFile,
}
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MODES_WITH_ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
MODES_READ = MODES_WITH_ALPHA | {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"}
GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L"}

# Depths that cameras and programs leave in a 16-bit container without spreading them over its range.
DEPTHS = (8, 10, 12, 14, 16)
GREY_DEPTHS = tuple(range(8, 17))  # film scanners leave any: a brightest value of 5000 means 13 bits and not 14
STRIP_ROWS = 256  # conversions run in strips, so that only one strip is ever held in a second form

# Directory entries of TIFF and EXIF: size of a value by its type code; the kinds that stay bytes; the tags used here.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
BYTE_TYPES = {1, 2, 6, 7}
MAXIMUM_ENTRIES = 4096
MAXIMUM_NUMBERS = 2**20
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, PLANAR, TILE_WIDTH, TILE_LENGTH = 258, 262, 274, 284, 322, 323
WHITE_IS_ZERO, SEPARATE_PLANES = 0, 2
SUBDIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability


REFUSALS: dict[str, type[IntakeError]] = {
    "large": TooLarge,
    "small": TooSmall,
    "unsupported": UnsupportedFormat,
    "damaged": UnreadableImage,
}


@dataclass(frozen=True, eq=False)
class Patch:
    """One image as everything after intake sees it: upright, opaque, 8 bits, without metadata.

    pixels         uint8 (height, width, 3), RGB 0..255, C-contiguous, read-only
    sha256         hexadecimal digest of the file's bytes, the image's identity
    name           the file's name without folders; empty for bare bytes
    format         "PNG", "JPEG", "TIFF", "BMP", "WebP" or "DICOM", as the content says
    notes          sentences about what was done to the pixels beyond decoding
    pixel_size_um  distance of the rows and of the columns in micrometres; None where the file does not tell it. Only
                   DICOM does: what a TIFF says of its resolution is mostly a printer's.
    stated         what kind of image a DICOM file says it is (`dala.intake.dicom.Frame`), None where nothing is said
    """

    pixels: NDArray[np.uint8]
    sha256: str
    name: str
    format: str
    notes: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None = None
    stated: str | None = None

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def read_image(source: bytes | str | Path, name: str | None = None) -> Patch:
    """Read the bytes of an image, or the file at a path, as a Patch.

    The kind is decided by the content; a file's name is only kept for display (`name` replaces it). Accepted are 32
    pixels a side and more, 48 megapixels and 200 MB at most. The EXIF orientation is applied. Transparency is laid on
    white, as glass is. CMYK becomes RGB by (1 - C)(1 - K). Of 16-bit values the upper eight significant bits are kept:
    12-bit data in a 16-bit file, which no value above 4095 gives away, is not shown as black. A DICOM file's greys are
    those that it asks for (`dala.intake.dicom`). Of several pages or frames the first is taken. Raises IntakeError,
    one of its kinds below, and nothing else for whatever bytes or path.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, file_name = bytes(source), ""
    else:
        data, file_name = _file_bytes(Path(source)), Path(source).name
    shown = _plain_name(file_name if name is None else name)
    who = who_is(shown)
    if not data:
        raise EmptyFile(f"{who} is empty.")
    if len(data) > MAXIMUM_BYTES:
        raise TooLarge(f"{who} is larger than {MAXIMUM_BYTES // 2**20} MB, the most that is accepted.")
    kind = _kind(data)
    if kind is None:
        raise UnsupportedFormat(f"{who} is not an image of a kind that is accepted ({ACCEPTED}).")
    if kind == "DICOM":
        return _dicom_patch(data, shown, who)
    try:
        pixels, notes = _decode(data, kind, who)
    except IntakeError:
        raise
    except MemoryError as failure:
        raise TooLarge(f"{who} needs more memory than there is.") from failure
    # Decoders meet damaged bytes with whatever error comes first, from struct.error to SyntaxError and IndexError.
    except Exception as failure:
        raise UnreadableImage(f"{who} is a {kind} file that is damaged, incomplete or of a rare variant.") from failure
    pixels.setflags(write=False)
    return Patch(pixels, sha256(data).hexdigest(), shown, kind, tuple(notes))


def _dicom_patch(data: bytes, shown: str, who: str) -> Patch:
    try:
        frame = dicom.read_frame(data, MAXIMUM_PIXELS, MINIMUM_SIDE)
    except dicom.Refused as refusal:
        raise REFUSALS[refusal.kind](f"{who} {refusal.why}") from refusal
    except (MemoryError, OSError) as failure:
        raise TooLarge(f"{who} needs more memory or processes than there are.") from failure
    pixels = frame.pixels
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    pixels.setflags(write=False)
    digest = sha256(data).hexdigest()
    return Patch(pixels, digest, shown, "DICOM", frame.notes, frame.pixel_size_um, frame.stated)


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


def who_is(name: str) -> str:
    """How a sentence names the file."""
    return f"'{name if len(name) <= 100 else name[:99] + '…'}'" if name else "The file"


def _kind(data: bytes) -> str | None:
    if dicom.is_dicom(data):  # first, for its preamble may be the head of a TIFF (PS3.10, 7.1)
        return "DICOM"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(TIFF_SIGNATURES):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return None


def _decode(data: bytes, kind: str, who: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels (writable, contiguous, upright) and notes."""
    notes: list[str] = []
    stated = _stated_size(data, kind)
    if stated is not None:
        _check_size(*stated, who)
    orientation, pages, profile = 1, 1, b""
    if kind == "JPEG":
        data, exif, profile, pages = _bare_jpeg(data)
        orientation = _orientation(exif)
    elif kind == "TIFF":
        data, pages = _bare_tiff(data, who)
    image = PLUGINS[kind](BytesIO(data))
    _check_size(*image.size, who)
    if image.mode not in MODES_READ:
        raise UnsupportedFormat(
            f"{who} holds '{image.mode}' pixels, which have no faithful 8-bit colours; grey, RGB and CMYK of up to "
            "16 bits are accepted."
        )
    if isinstance(image, TiffImageFile):
        _check_tiff(image, who)
        orientation = image.tag_v2.get(ORIENTATION, 1)

    image.load()
    if isinstance(image, PngImageFile | WebPImageFile):
        orientation = _orientation(image.info.get("exif", b""))
        pages = getattr(image, "n_frames", 1)
    profile = profile or image.info.get("icc_profile") or b""

    if pages > 1:
        notes.append("The file holds several pages or frames; the first was taken.")
    pixels = _eight_bit_rgb(image, data, kind, notes)
    if orientation in range(2, 9):
        # Pillow turns a TIFF itself while loading it.
        pixels = pixels if kind == "TIFF" else _upright(pixels, orientation)
        notes.append("The image was turned upright as its EXIF orientation says.")
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        notes.append("The embedded colour profile was not applied; colours are the stored numbers.")
    return pixels, notes


def _check_size(width: int, height: int, who: str) -> None:
    if width * height > MAXIMUM_PIXELS:
        raise TooLarge(
            f"{who} is {width} x {height} pixels; at most {MAXIMUM_PIXELS // 1_000_000} megapixels are accepted."
        )
    if min(width, height) < MINIMUM_SIDE:
        raise TooSmall(
            f"{who} is {width} x {height} pixels; at least {MINIMUM_SIDE} x {MINIMUM_SIDE} are needed to see tissue."
        )


def _stated_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height by the header where a plugin's constructor would allocate for them or hide that they are zero.

    None where Pillow's own header pass does neither (JPEG, TIFF), or where it should report the damage.
    """
    if kind == "PNG" and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if kind == "BMP" and len(data) >= 26:
        if struct.unpack("<I", data[14:18])[0] == 12:
            width, height = struct.unpack("<HH", data[18:22])
        else:
            width, height = struct.unpack("<ii", data[18:26])
        return abs(width), abs(height)  # a negative height only says that the rows run downwards
    if kind == "WebP" and len(data) >= 30:
        chunk = data[12:16]
        if chunk == b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        if chunk == b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if chunk == b"VP8 ":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


@dataclass(frozen=True)
class _Entry:
    """One entry of a TIFF directory, not yet followed to its values."""

    position: int
    tag: int
    type: int
    count: int
    value: int  # the first 16-bit value, if it is stored in the entry itself


def _directory(data: bytes) -> tuple[str, list[_Entry], int]:
    """Byte order, entries of the first directory, and offset of the next one (0: none). Raises struct.error."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, entry, pointer = (
        (order + "Q", struct.Struct(order + "HHQ"), order + "Q")
        if big
        else (order + "H", struct.Struct(order + "HHI"), order + "I")
    )
    step = 20 if big else 12
    (offset,) = struct.unpack_from(pointer, data, 8 if big else 4)
    (count,) = struct.unpack_from(head, data, offset)
    if count > MAXIMUM_ENTRIES:
        raise struct.error("more directory entries than any real file has")
    first = offset + struct.calcsize(head)
    entries = []
    for position in range(first, first + step * count, step):
        tag, type_, number = entry.unpack_from(data, position)
        (value,) = struct.unpack_from(order + "H", data, position + entry.size)
        entries.append(_Entry(position, tag, type_, number, value))
    # A directory that ends with the file is taken as the last one.
    end = first + step * count
    following = struct.unpack_from(pointer, data, end)[0] if end + struct.calcsize(pointer) <= len(data) else 0
    return order, entries, following


def _orientation(exif: bytes) -> int:
    """EXIF orientation 1 to 8; 1 where it is missing or its directory is damaged, which is no reason to refuse."""
    try:
        _, entries, _ = _directory(exif.removeprefix(b"Exif\0\0"))
    except struct.error:
        return 1
    return next((entry.value for entry in entries if entry.tag == ORIENTATION and entry.type == 3), 1)


def _bare_tiff(data: bytes, who: str) -> tuple[bytes, int]:
    """The file with its metadata directories made unreachable, and the number of pages (2 stands for several).

    Refuses a directory whose values together are longer than the file: entries that share their bytes are how a small
    file makes a reader hold gigabytes. Raises struct.error for a directory that leaves the file.
    """
    order, entries, following = _directory(data)
    size = sum(TYPE_BYTES.get(entry.type, 1) * entry.count for entry in entries)
    numbers = max((entry.count for entry in entries if entry.type not in BYTE_TYPES), default=0)
    if size > len(data) or numbers > MAXIMUM_NUMBERS:
        raise UnreadableImage(f"{who} is a TIFF file whose directory claims more data than the file can hold.")
    for entry in entries:
        if entry.tag in SUBDIRECTORIES:
            # The tag below keeps the order of the tags and is no directory, so nobody follows it.
            tag = struct.pack(order + "H", entry.tag - 1)
            data = data[: entry.position] + tag + data[entry.position + 2 :]
    return data, 2 if following else 1


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


def _bare_jpeg(data: bytes) -> tuple[bytes, bytes, bytes, int]:
    """The file without metadata segments; its first EXIF block; its colour profile; the number of frames (2: several).

    Raises struct.error or IndexError if the segments do not follow each other up to the start of the scan.
    """
    kept, exif, profile, pages = [data[:2]], b"", b"", 1
    for start, end in _jpeg_segments(data):
        marker, content = data[start + 1], data[start + 4 : end]
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0"):
            profile += content[14:]
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            pages = 2
        elif marker not in (0xE1, 0xE2, 0xED, 0xFE):
            kept.append(data[start:end])
    return b"".join(kept), exif, profile, pages


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of every marker segment before the first scan, then of the scan and all that follows it."""
    position = 2
    while True:
        if data[position] != 0xFF:
            raise struct.error("no JPEG marker where one should be")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == 0xDA:
            yield position, len(data)
            return
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            if length < 2 or position + 2 + length > len(data):
                raise struct.error("a JPEG segment leaves the file")
            yield position, position + 2 + length
            position += 2 + length


def _eight_bit_rgb(image: ImageFile.ImageFile, data: bytes, kind: str, notes: list[str]) -> NDArray[np.uint8]:
    """The loaded image as writable uint8 (height, width, 3), on white; what was done is added to the notes."""
    mode = image.mode
    if mode in GREY_MODES:
        notes.append("The image is grey; the three colour channels are equal.")
    elif mode in ("P", "PA"):
        notes.append("Palette colours were written out as RGB.")
    elif mode in ("CMYK", "YCbCr"):
        notes.append(f"{mode} colours were converted to RGB.")

    deep = _is_deep(image, data, kind)
    transparent_colour = image.info.get("transparency") if mode in ("L", "RGB", "I;16", "1") else None
    if mode.startswith("I;16"):
        values, alpha = _deep_grey(image, transparent_colour, notes)
        pixels = np.repeat(values[..., np.newaxis], 3, axis=2)
    elif deep and mode == "RGB":
        pixels, alpha = _deep_rgb(image, data, kind, transparent_colour, notes)
    else:
        if deep:
            notes.append("16-bit values were reduced to their upper 8 bits.")
        if kind == "PNG" and mode == "L" and isinstance(transparent_colour, int):
            # Pillow stretches 2 and 4-bit grey to 0..255 but leaves the transparent value as stored.
            image.info["transparency"] = transparent_colour * (255 // (2 ** data[24] - 1))
        with_alpha = mode in MODES_WITH_ALPHA or "transparency" in image.info
        pixels, alpha = _converted(image, with_alpha)
    if alpha is not None and alpha.min() < 255:
        _lay_on_white(pixels, alpha)
        notes.append("Transparent parts were laid on white.")
    return pixels


def _is_deep(image: ImageFile.ImageFile, data: bytes, kind: str) -> bool:
    """Whether the file stores more than 8 bits a channel, which Pillow's RGB modes do not tell."""
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 8
    return kind == "PNG" and data[24] > 8


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
    image: ImageFile.ImageFile, transparent: int | None, notes: list[str]
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


def _deep_rgb(
    image: ImageFile.ImageFile,
    data: bytes,
    kind: str,
    transparent: tuple[int, int, int] | None,
    notes: list[str],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Pillow keeps the upper byte of a 16-bit colour; the lower one is read only where it matters."""
    upper, _ = _converted(image, with_alpha=False)
    highest = int(upper.max())
    if transparent is None and highest >= 2 ** (DEPTHS[-2] - 8):
        _depth(highest << 8, 16, notes)
        return upper, None
    lower, _ = _converted(_lower_bytes(data, kind), with_alpha=False)
    alpha = np.empty(upper.shape[:2], np.uint8) if transparent is not None else None
    highest = max(
        int((upper[top : top + STRIP_ROWS].astype(np.uint16) << 8 | lower[top : top + STRIP_ROWS]).max())
        for top in range(0, len(upper), STRIP_ROWS)
    )
    depth = _depth(highest, 16, notes)
    for top in range(0, len(upper), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        values = upper[rows].astype(np.uint16) << 8 | lower[rows]
        if alpha is not None:
            alpha[rows] = np.where((values == transparent).all(axis=2), 0, 255)
        upper[rows] = values >> (depth - 8)
    return upper, alpha


def _lower_bytes(data: bytes, kind: str) -> ImageFile.ImageFile:
    """The image decoded once more, its values in the other byte order: what Pillow keeps is then the lower byte."""
    swapped = {"RGB;16L": "RGB;16B", "RGB;16B": "RGB;16L", "RGBX;16L": "RGBX;16B", "RGBX;16B": "RGBX;16L"}
    native = "RGB;16B" if struct.pack("=H", 1) == b"\1\0" else "RGB;16L"
    swapped |= {"RGB;16N": native, "RGBX;16N": native.replace("RGB", "RGBX")}
    image = PLUGINS[kind](BytesIO(data))
    tiles = []
    for tile in image.tile:
        if isinstance(tile.args, str):
            tiles.append(tile._replace(args=swapped[tile.args]))
        elif tile.args is not None:
            tiles.append(tile._replace(args=(swapped[tile.args[0]], *tile.args[1:])))
    image.tile = tiles
    image.load()
    return image


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


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
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
