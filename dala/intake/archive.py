"""Files, folders and ZIP archives as items to read one at a time; nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import weakref
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, cast

from dala.errors import IntakeError
from dala.intake.image import IMAGE_SUFFIXES, MAXIMUM_BYTES

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})

MAXIMUM_ENTRIES = 20_000
MAXIMUM_TOTAL = 16 * 2**30  # bytes of all images of an archive together; the whole of BreakHis has a quarter of it
# DEFLATE reaches 1032 : 1 on bytes that are all the same. A scanned patch hardly reaches 10, blank glass in a BMP 300;
# what is small does no harm.
MAXIMUM_RATIO, RATIO_COUNTS_FROM = 200, 8 * 2**20
MAXIMUM_DIRECTORY = 16 * 2**20  # bytes of an archive's directory, which is parsed in one piece
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others cannot be inflated in bounded pieces
ENCRYPTED = 0x1
PIECE = 2**20


@dataclass(frozen=True)
class Item:
    """One image to come: its name in the results, and `load`, which gives its path or bytes when it is its turn.

    `load` raises IntakeError for a file that is refused without being read.
    """

    name: str
    load: Callable[[], bytes | Path]


@dataclass(frozen=True)
class Upload:
    """A file that is in memory or open: its name, and the binary file, which can be searched and is never closed."""

    name: str
    file: IO[bytes]


# What there is to be analysed


def members(sources: Iterable[str | Path | Upload]) -> Iterator[Item]:
    """Every image of these files, folders and ZIP archives, in order; reads no image and raises for none.

    A folder gives the images below it by suffix, sorted, named relative to it; an archive those inside, named
    `archive.zip/inner.png`. A file that was named outright is always an item, whatever its suffix. What cannot be
    opened, or must not be, is an item that is refused when it is loaded.
    """
    for source in sources:
        if isinstance(source, Upload):
            if _is_zip(source.name):
                yield from _archive(_printable(source.name), source.file)
            else:
                yield Item(_printable(source.name), partial(_whole, source.file))
            continue
        path = Path(source)
        if path.is_dir():
            yield from _folder(path)
        elif _is_zip(path.name) and path.is_file():
            try:
                file = path.open("rb")
            except OSError as failure:
                yield _refused(str(source), f"cannot be opened ({(failure.strerror or 'unknown reason').lower()}).")
            else:
                yield from _archive(str(source), file, partial(file.close))
        else:
            yield Item(str(source), partial(_itself, path))


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _printable(name: str) -> str:
    """Without characters that would garble a line of text or cannot be written as one."""
    return "".join(character for character in name if character.isprintable())


def _last(name: str) -> str:
    """A name without its folders."""
    return name.rsplit("/", 1)[-1] or name


def _ends_in(suffixes: Collection[str], name: str) -> bool:
    """A Macintosh leaves a `._` twin without an image in it beside every file: that one ends in none."""
    return not _last(name).startswith("._") and Path(_last(name)).suffix.lower() in suffixes


_is_image, _is_nested = partial(_ends_in, IMAGE_SUFFIXES), partial(_ends_in, ARCHIVE_SUFFIXES)


def _itself(path: Path) -> Path:
    return path


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAXIMUM_BYTES + 1)


def _refused(name: str, why: str) -> Item:
    """An item that is refused unread: '`name` `why`'."""

    def load() -> bytes:
        raise IntakeError(f"'{_last(name)}' {why}")

    return Item(name, load)


def _folder(root: Path) -> Iterator[Item]:
    found = False
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            if _is_image(file):
                path = Path(folder, file)
                found = True
                yield Item(_printable(str(path.relative_to(root))), partial(_itself, path))
    if not found:
        yield _refused(str(root), "holds no images of an accepted kind.")


def _archive(name: str, file: IO[bytes], close: Callable[[], None] | None = None) -> Iterator[Item]:
    """The images of a ZIP. The archive stays open until the last of its items is gone, and then it is closed."""
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], _Sips(file)))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    # A damaged directory is met with whatever error comes first.
    except Exception:
        if close is not None:
            close()
        yield _refused(name, "is not a ZIP archive, or is damaged.")
        return
    if close is not None:
        weakref.finalize(archive, close)
    chosen = [
        entry
        for entry in entries
        if _is_image(entry.filename) or _is_nested(entry.filename) or _points_out(entry.filename)
    ]
    if len(entries) > MAXIMUM_ENTRIES:
        yield _refused(name, f"holds {len(entries)} files; at most {MAXIMUM_ENTRIES} are accepted.")
    elif sum(entry.file_size for entry in chosen) > MAXIMUM_TOTAL:
        yield _refused(name, f"holds more than {MAXIMUM_TOTAL // 2**30} GB of images, more than is accepted.")
    elif not chosen:
        yield _refused(name, "holds no images of an accepted kind.")
    else:
        for entry in sorted(chosen, key=lambda one: one.filename):
            shown = f"{name}/{_printable(entry.filename)}"
            why = _danger(entry)
            yield Item(shown, partial(_read_entry, archive, entry)) if why is None else _refused(shown, why)


def _points_out(name: str) -> bool:
    """Whether a name would leave a folder. None is ever used as a path here, but such a one tells of an ill intent."""
    path = PureWindowsPath(name)
    return bool(path.anchor) or ".." in path.parts


def _danger(entry: zipfile.ZipInfo) -> str | None:
    """Why this entry must not be read, or None."""
    if _points_out(entry.filename):
        return "has a name that points outside its archive."
    if _is_nested(entry.filename):
        return "is an archive inside an archive, which is not opened."
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted."
    if entry.compress_type not in METHODS:
        return "is compressed by a method that is not accepted (deflate and stored are)."
    if entry.file_size > MAXIMUM_BYTES:
        return f"is larger than {MAXIMUM_BYTES // 2**20} MB, the largest file that is accepted."
    if entry.file_size > max(RATIO_COUNTS_FROM, MAXIMUM_RATIO * entry.compress_size):
        return f"is compressed more than {MAXIMUM_RATIO} : 1, like a decompression bomb and unlike an image of tissue."
    return None


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry: never more than it states, in pieces, with its checksum verified."""
    damaged = f"'{_last(_printable(entry.filename))}' is damaged inside its archive."
    pieces = []
    try:
        with archive.open(entry) as file:
            while piece := file.read(PIECE):
                pieces.append(piece)
    # Damage shows itself as BadZipFile, zlib.error, EOFError, OSError, RuntimeError, struct.error and others.
    except Exception as failure:
        raise IntakeError(damaged) from failure
    data = b"".join(pieces)
    if len(data) != entry.file_size:
        raise IntakeError(damaged)
    return data


class _Sips:
    """A file that is never read in large pieces: `zipfile` would take a directory of any size at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(MAXIMUM_DIRECTORY + 1 if size < 0 else min(size, MAXIMUM_DIRECTORY + 1))
        if len(data) > MAXIMUM_DIRECTORY:
            raise zipfile.BadZipFile("too large a piece")
        return data
