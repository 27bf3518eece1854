"""A JPEG file before a decoder sees it: its segments and scans counted, its metadata taken off, its colours named.

Pillow makes objects of every segment and a decoder goes over the whole image for every scan, so a small file can take
gigabytes or hours. Segments are walked here and bounded first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dala.decoders.refusal import damaged

MOST_SEGMENTS = 4096  # before the first scan; a colour profile of 16 MB has 256
MOST_STRAY = 100_000  # pieces between segments that belong to none
MOST_SCANS = 100  # of one image; encoders write ten, thirty at most
START_OF_SCAN, END = b"\xff\xda", b"\xff\xd9"
SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}  # begin with the size
PROGRESSIVE = {0xC2, 0xCA}
LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
ANY_BITS = b"\x5a\xa5\x33" * 40
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
MOST_PROFILE = 16 * 2**20


@dataclass(frozen=True)
class Bare:
    """The file without metadata segments; its first EXIF block; its colour profile; number of frames (2: several)."""

    data: bytes
    exif: bytes
    profile: bytes
    pages: int
    ended: bool  # whether its end is there


def bare(data: bytes) -> Bare:
    """Refuses what has too many segments or scans. Raises struct.error or IndexError if the segments leave the file.

    What lies between two segments and belongs to none is skipped, as every decoder does.
    """
    kept, exif, profile, pages, scan = [data[:2]], b"", b"", 1, len(data)
    for start, end in _segments(data):
        marker, content = data[start + 1], data[start + 4 : min(end, start + 65540)]
        if marker == 0xDA:
            scan = start
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0"):
            profile += content[14:] if len(profile) < MOST_PROFILE else b""
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            pages = 2
        elif marker not in (0xE1, 0xE2, 0xED, 0xFE):
            kept.append(data[start:end])
    return Bare(b"".join(kept), exif, profile, pages, _count_scans(data, scan))


def _count_scans(data: bytes, first: int) -> bool:
    """Refuses more scans of one image than are accepted; whether the image ends.

    A scan's marker does not occur within compressed data, where 0 follows every 255.
    """
    end = data.find(END, first)
    scans = data.count(START_OF_SCAN, first, end if end >= 0 else len(data))
    if scans > MOST_SCANS:
        damaged(f"is a JPEG image of {scans} scans; at most {MOST_SCANS} are accepted.")
    return end >= 0


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of every marker segment before the first scan, then of the scan and all that follows it."""
    position, count, stray = 2, 0, 0
    while True:
        stray += 1
        if stray > MOST_STRAY + count:
            damaged("is a damaged JPEG file: more lies between its segments than in them.")
        if data[position] != 0xFF:
            position = data.find(b"\xff", position)
            if position < 0:
                raise struct.error("no JPEG marker where one should be")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == 0 or marker in ALONE:
            position += 2
        elif marker == 0xDA:
            yield position, len(data)
            return
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            if length < 2 or position + 2 + length > len(data):
                raise struct.error("a JPEG segment leaves the file")
            yield position, position + 2 + length
            position += 2 + length
            count += 1
            if count > MOST_SEGMENTS:
                damaged(f"is a JPEG image of more than {MOST_SEGMENTS} segments, which is more than any real one has.")


def anything(data: bytes) -> bytes:
    """Compressed data as good as any, behind every mark of a restart that a decoder might wait for at the end."""
    last = max(range(8), key=lambda number: data.rfind(bytes((0xFF, 0xD0 + number))))
    last = last if data.rfind(bytes((0xFF, 0xD0 + last))) >= 0 else 7
    return ANY_BITS + b"".join(bytes((0xFF, 0xD0 + (last + step) % 8)) + ANY_BITS for step in range(1, 9))


def all_scans(data: bytes) -> bool:
    """Whether the scans of a progressive image bring every coefficient down to its last bit; other images have one.

    A scan's head names its components, the first and last of 64 coefficients, and in four bits the lowest bit sent.
    """
    missing: set[tuple[int, int]] = set()
    for start, end in _segments(data):
        marker = data[start + 1]
        if marker in PROGRESSIVE:
            ids = data[start + 10 : start + 10 + 3 * data[start + 9] : 3]
            missing = {(one, place) for one in ids for place in range(64)}
        if marker != 0xDA:
            continue
        while missing and 0 <= start < end:
            count = data[start + 4]
            first, last, bits = data[start + 5 + 2 * count : start + 8 + 2 * count]
            if bits & 15 == 0:
                sent = data[start + 5 : start + 5 + 2 * count : 2]
                missing -= {(one, place) for one in sent for place in range(first, last + 1)}
            start = data.find(START_OF_SCAN, start + 2)
    return not missing


@dataclass(frozen=True)
class Shape:
    """What a stream says of itself. `says_ycc`: whether its colours are Y, Cb, Cr; None where it does not say."""

    rows: int
    columns: int
    components: int
    precision: int
    lossless: bool
    says_ycc: bool | None


def shape_of(data: bytes) -> Shape:
    """By the markers before the first scan; refuses too many segments or scans, and a stream without a size."""
    found, jfif, adobe, scan = None, False, None, len(data)
    for start, end in _segments(data):
        marker, content = data[start + 1], data[start + 4 : min(end, start + 100)]
        if marker == 0xE0 and content.startswith(b"JFIF"):
            jfif = True
        elif marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12:
            adobe = content[11] != 0
        elif marker in SIZES:
            found = marker, content
        elif marker == 0xDA:
            scan = start
    _count_scans(data, scan)
    if found is None:
        damaged("is a damaged DICOM file: its JPEG stream has no size.")
    marker, content = found
    precision, rows, columns, components = struct.unpack_from(">BHHB", content)
    ids = content[6 : 6 + 3 * components : 3]
    sampling = set(content[7 : 7 + 3 * components : 3])
    ycc = True if jfif else adobe
    if ycc is None and ids == b"RGB":
        ycc = False
    if ycc is None and len(sampling) > 1:
        ycc = True
    return Shape(rows, columns, components, precision, marker in LOSSLESS, ycc)
