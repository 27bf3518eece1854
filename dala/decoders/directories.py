"""Directories of TIFF and EXIF as they lie in a file, walked here before any parser follows what they point to."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dala.decoders.refusal import damaged

# Size of a value by its type code; the kinds that stay bytes; those that hold one whole number.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
BYTE_TYPES = {1, 2, 6, 7}
WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
MAXIMUM_ENTRIES = 4096
MAXIMUM_NUMBERS = 2**20
MAXIMUM_PAGES = 1000
SUBDIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability
NEW_SUBFILE, OLD_SUBFILE, REDUCED = 254, 255, (1, 2)  # tags; the bit of the first, the value of the second


@dataclass(frozen=True)
class Entry:
    """One entry of a directory, not followed to values outside it: `inside` are the bytes where the value begins."""

    position: int
    tag: int
    type: int
    count: int
    inside: bytes

    def number(self, order: str) -> int:
        """The first value if it is a whole number and stored in the entry itself, else 0."""
        code = WHOLE.get(self.type)
        if code is None or self.count < 1 or struct.calcsize(code) > len(self.inside):
            return 0
        return int(struct.unpack_from(order + code, self.inside)[0])


def read(data: bytes, offset: int | None = None) -> tuple[str, list[Entry], int]:
    """Byte order, entries of a directory (the first one by default), and offset of the next one (0: none).

    Raises struct.error for a directory that leaves the file or has more entries than any real one.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, entry, pointer = (
        (order + "Q", struct.Struct(order + "HHQ"), order + "Q")
        if big
        else (order + "H", struct.Struct(order + "HHI"), order + "I")
    )
    step = 20 if big else 12
    if offset is None:
        (offset,) = struct.unpack_from(pointer, data, 8 if big else 4)
    (count,) = struct.unpack_from(head, data, offset)
    if count > MAXIMUM_ENTRIES:
        raise struct.error("more directory entries than any real file has")
    first = offset + struct.calcsize(head)
    entries = []
    for position in range(first, first + step * count, step):
        tag, type_, number = entry.unpack_from(data, position)
        inside = data[position + entry.size : position + step]
        if len(inside) < step - entry.size:
            raise struct.error("a directory leaves the file")
        entries.append(Entry(position, tag, type_, number, inside))
    # A directory that ends with the file is taken as the last one.
    end = first + step * count
    following = struct.unpack_from(pointer, data, end)[0] if end + struct.calcsize(pointer) <= len(data) else 0
    return order, entries, following


def bare_tiff(data: bytes) -> tuple[bytes, int, str, list[Entry]]:
    """The file as one that begins with its first page of full size and without metadata directories; the number of
    pages (2 stands for several); byte order and entries of that page.

    Refuses a directory whose values together are longer than the file: entries that share their bytes are how a small
    file makes a reader hold gigabytes. Raises struct.error for a directory that leaves the file.
    """
    order, entries, following = read(data)
    pages = 2 if following else 1
    seen: set[int] = set()
    first = entries
    while _reduced(order, entries):
        if not following or following in seen or len(seen) > MAXIMUM_PAGES:
            entries = first  # all of them are
            break
        seen.add(following)
        start = following
        order, entries, following = read(data, start)
        if not _reduced(order, entries):
            big = data[2:4] in (b"+\0", b"\0+")
            place = struct.pack(order + ("Q" if big else "I"), start)
            data = data[:8] + place + data[16:] if big else data[:4] + place + data[8:]
    size = sum(TYPE_BYTES.get(entry.type, 1) * entry.count for entry in entries)
    numbers = max((entry.count for entry in entries if entry.type not in BYTE_TYPES), default=0)
    if size > len(data) or numbers > MAXIMUM_NUMBERS:
        damaged("is a TIFF file whose directory claims more data than the file can hold.")
    changed = bytearray(data) if any(entry.tag in SUBDIRECTORIES for entry in entries) else None
    if changed is not None:
        for entry in entries:
            if entry.tag in SUBDIRECTORIES:
                # The tag below keeps the order of the tags and is no directory, so nobody follows it.
                struct.pack_into(order + "H", changed, entry.position, entry.tag - 1)
        data = bytes(changed)
    return data, pages, order, entries


def _reduced(order: str, entries: list[Entry]) -> bool:
    """Whether a page says that it is a smaller version of another one."""
    found = {entry.tag: entry.number(order) for entry in entries if entry.tag in (NEW_SUBFILE, OLD_SUBFILE)}
    return bool(found.get(NEW_SUBFILE, 0) & REDUCED[0]) or found.get(OLD_SUBFILE) == REDUCED[1]
