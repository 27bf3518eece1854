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

from dala.decoders.containers import kind_of
from dala.errors import IntakeError
from dala.intake.image import IMAGE_SUFFIXES, MAXIMUM_BYTES, SLIDE_SUFFIXES, who_is, whole_slide
from dala.words import counted, printable

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
HEAD = 512  # bytes by which a file without a telling name is recognised
NAMED = 10  # files that a sentence names
DICOM_DIRECTORY = "DICOMDIR"


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


def members(
    sources: Iterable[str | Path | Upload], left_out: Callable[[str], None] = lambda sentence: None
) -> Iterator[Item]:
    """Every image of these files, folders and ZIP archives, in order; reads no image and raises for none.

    A folder gives the images below it, sorted, named relative to it; an archive those inside, named
    `archive.zip/inner.png`. They are known by their suffix; DICOM by its content whatever its name, for hospitals write
    it without a suffix, and other kinds by theirs where they have none. A file that was named outright is always an
    item. What cannot be opened, or must not be, is an item that is refused when it is loaded. `left_out` is called with
    a sentence that counts and names what is no image, for each folder or archive that holds such files.
    """
    for source in sources:
        if isinstance(source, Upload):
            if _is_zip(source.name):
                yield from _archive(printable(source.name), source.file, left_out)
            else:
                yield Item(printable(source.name), partial(_whole, source.file))
            continue
        path, shown = Path(source), printable(str(source))
        if path.is_dir():
            yield from _folder(path, left_out)
        elif _is_zip(path.name) and path.is_file():
            try:
                file = path.open("rb")
            except OSError as failure:
                yield _refused(shown, f"cannot be opened ({(failure.strerror or 'unknown reason').lower()}).")
            else:
                yield from _archive(shown, file, left_out, partial(file.close))
        else:
            yield Item(shown, partial(_itself, path))


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _last(name: str) -> str:
    """A name without its folders."""
    return name.rsplit("/", 1)[-1] or name


def _ends_in(suffixes: Collection[str], name: str) -> bool:
    """A Macintosh leaves a `._` twin without an image in it beside every file: that one ends in none."""
    return not _last(name).startswith("._") and Path(_last(name)).suffix.lower() in suffixes


_is_image, _is_nested = partial(_ends_in, IMAGE_SUFFIXES + SLIDE_SUFFIXES), partial(_ends_in, ARCHIVE_SUFFIXES)
_is_slide = partial(_ends_in, SLIDE_SUFFIXES)


def _is_image_inside(name: str, head: Callable[[], bytes]) -> bool:
    """Whether a file whose suffix tells nothing is one by its first bytes."""
    last = _last(name)
    if last.startswith("._") or last.upper() == DICOM_DIRECTORY:
        return False
    kind = kind_of(head())
    suffix = Path(last).suffix[1:]
    return kind == "DICOM" or (kind is not None and (not suffix or suffix.isdecimal() or len(suffix) > 5))


def _tell(left_out: Callable[[str], None], holder: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(who_is(printable(_last(name))) for name in names[:NAMED])
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        left_out(
            f"{who_is(_last(holder))} holds {counted(len(names), 'file')} of no accepted kind, left out: {shown}{more}."
        )


def _itself(path: Path) -> Path:
    return path


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAXIMUM_BYTES + 1)


def _refused(name: str, why: str) -> Item:
    """An item that is refused unread: '`name` `why`'."""

    def load() -> bytes:
        raise IntakeError(f"{who_is(_last(name))} {why}")

    return Item(name, load)


def _folder(root: Path, left_out: Callable[[str], None]) -> Iterator[Item]:
    found, others = False, []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            shown = printable(str(path.relative_to(root)))
            if _is_image(file) or _is_image_inside(file, partial(_head_of, path)):
                yield Item(shown, partial(_itself, path))
            else:
                others.append(shown)
                continue
            found = True
    if not found:
        yield _refused(printable(str(root)), "holds no images of an accepted kind.")
    _tell(left_out, printable(str(root)), others)


def _head_of(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would block
            return b""
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _archive(
    name: str, file: IO[bytes], left_out: Callable[[str], None], close: Callable[[], None] | None = None
) -> Iterator[Item]:
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
    if len(entries) > MAXIMUM_ENTRIES:
        yield _refused(name, f"holds {len(entries)} files; at most {MAXIMUM_ENTRIES} are accepted.")
        return
    chosen = [
        entry
        for entry in entries
        if any(told(entry.filename) for told in (_is_image, _is_nested, _points_out))
        or _is_image_inside(entry.filename, partial(_head_in, archive, entry))
    ]
    taken = {id(entry) for entry in chosen}
    if sum(entry.file_size for entry in chosen) > MAXIMUM_TOTAL:
        yield _refused(name, f"holds more than {MAXIMUM_TOTAL // 2**30} GB of images, more than is accepted.")
    elif not chosen:
        yield _refused(name, "holds no images of an accepted kind.")
    else:
        for entry in sorted(chosen, key=lambda one: one.filename):
            shown = f"{name}/{printable(entry.filename)}"
            why = _danger(entry)
            yield Item(shown, partial(_read_entry, archive, entry)) if why is None else _refused(shown, why)
    _tell(left_out, name, [entry.filename for entry in entries if id(entry) not in taken])


def _head_in(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in METHODS:
        return b""
    try:
        with archive.open(entry) as file:
            return file.read(HEAD)
    except Exception:  # as in _read_entry
        return b""


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
    if entry.file_size > MAXIMUM_BYTES and _is_slide(entry.filename):
        return whole_slide()
    if entry.file_size > MAXIMUM_BYTES:
        return f"is larger than {MAXIMUM_BYTES // 2**20} MB, the largest file that is accepted."
    if entry.file_size > max(RATIO_COUNTS_FROM, MAXIMUM_RATIO * entry.compress_size):
        return f"is compressed more than {MAXIMUM_RATIO} : 1, like a decompression bomb and unlike an image of tissue."
    return None


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry: never more than it states, in pieces, with its checksum verified."""
    damaged = f"{who_is(_last(printable(entry.filename)))} is damaged inside its archive."
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
