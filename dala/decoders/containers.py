"""What the bytes of a file say before a decoder sees a pixel: its kind, its size, its orientation.

Embedded directories (EXIF and the like) are walked here and never given to Pillow's parser, because entries that point
at the same bytes make it copy them many times over.
"""

from __future__ import annotations

import struct

from dala.decoders import dicom, directories

SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
    "PNM": (b"P2", b"P3", b"P5", b"P6"),
}

ORIENTATION = 274


def kind_of(data: bytes) -> str | None:
    """The format that the content is of, None for one that is not accepted."""
    if dicom.has_preamble(data):  # first, for its preamble may be the head of a TIFF (PS3.10, 7.1)
        return "DICOM"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    known = next((kind for kind, signatures in SIGNATURES.items() if data.startswith(signatures)), None)
    if known == "PNM" and data[2:3] not in b" \t\r\n#":
        known = None
    return known or ("DICOM" if dicom.is_dicom(data) else None)


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


def orientation(exif: bytes) -> int:
    """EXIF orientation 1 to 8; 1 where it is missing or its directory is damaged, which is no reason to refuse."""
    try:
        order, entries, _ = directories.read(exif.removeprefix(b"Exif\0\0"))
    except struct.error:
        return 1
    return next((entry.number(order) for entry in entries if entry.tag == ORIENTATION), 1)
