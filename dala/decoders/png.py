"""A PNG file before a decoder sees it: the chunks that make the image, and what the others say that is of use.

Pillow inflates texts and profiles and refuses the whole file where one of them is large or damaged, although none of
them is part of the image. Ancillary chunks whose checksum is wrong are left out, as the standard advises.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from dala.decoders.refusal import damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
IMAGE = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"pHYs"}
MOST_CHUNKS = 2**17  # of 8 kB each, as writers that stream make them: a file of 1 GB
MOST_PROFILE = 2**16  # bytes of a profile that are looked at; its name is in the first ones
DEPTH, COLOUR = 24, 25  # places of two bytes of IHDR


@dataclass(frozen=True)
class Bare:
    """The file with nothing but its image; its EXIF block; the start of its profile; frames; transparent colour."""

    data: bytes
    exif: bytes
    profile: bytes
    pages: int
    transparent: bytes

    @property
    def deep(self) -> bool:
        return self.data[DEPTH] == 16


def bare(data: bytes) -> Bare:
    """Walks the chunks. Raises struct.error for a file that ends within the head of one."""
    kept, exif, profile, transparent, pages = [SIGNATURE], b"", b"", b"", 1
    position = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if position + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        content = data[position + 8 : end - 4]
        ancillary = bool(kind[0] & 0x20)
        if not ancillary or (end <= len(data) and zlib.crc32(kind + content) == int.from_bytes(data[end - 4 : end])):
            if kind == b"eXIf":
                exif = exif or content
            elif kind == b"iCCP":
                profile = content.partition(b"\0")[0] + b"\0" + _inflated(content.partition(b"\0")[2][1:])
            elif kind == b"acTL":
                pages = 2 if int.from_bytes(content[:4]) > 1 else 1
            elif kind == b"tRNS":
                transparent = content
            if kind in IMAGE or not ancillary:
                kept.append(data[position:end])
        if kind == b"IEND":
            break
        position = end
    else:
        damaged(f"is a PNG image of more than {MOST_CHUNKS} chunks.")
    return Bare(b"".join(kept), exif, profile, pages, transparent)


def without_transparency(data: bytes) -> bytes:
    """A bare file without its transparent colour, for a decoder that would compare it after a loss."""
    place = data.find(b"tRNS")
    if place < 0 or place > data.find(b"IDAT"):
        return data
    (length,) = struct.unpack_from(">I", data, place - 4)
    return data[: place - 4] + data[place + 8 + length :]


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_PROFILE)
    except zlib.error:
        return b""
