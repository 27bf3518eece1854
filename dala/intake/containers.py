"""What the bytes of a file say before a decoder sees a pixel: its kind, size, orientation and number of pages.

Embedded directories (EXIF and the like) are walked here and never given to Pillow's parser, because entries that point
at the same bytes make it copy them many times over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dala.errors import UnreadableImage
from dala.intake import dicom

SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
}

# Directory entries of TIFF and EXIF: size of a value by its type code; the kinds that stay bytes; the tags used here.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
BYTE_TYPES = {1, 2, 6, 7}
MAXIMUM_ENTRIES = 4096
MAXIMUM_NUMBERS = 2**20
ORIENTATION = 274
SUBDIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability


def kind_of(data: bytes) -> str | None:
    """The format that the content is of, None for one that is not accepted."""
    if dicom.is_dicom(data):  # first, for its preamble may be the head of a TIFF (PS3.10, 7.1)
        return "DICOM"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return next((kind for kind, signatures in SIGNATURES.items() if data.startswith(signatures)), None)


def stated_size(data: bytes, kind: str) -> tuple[int, int] | None:
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


def orientation(exif: bytes) -> int:
    """EXIF orientation 1 to 8; 1 where it is missing or its directory is damaged, which is no reason to refuse."""
    try:
        _, entries, _ = _directory(exif.removeprefix(b"Exif\0\0"))
    except struct.error:
        return 1
    return next((entry.value for entry in entries if entry.tag == ORIENTATION and entry.type == 3), 1)


def bare_tiff(data: bytes, who: str) -> tuple[bytes, int]:
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


def bare_jpeg(data: bytes) -> tuple[bytes, bytes, bytes, int]:
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
