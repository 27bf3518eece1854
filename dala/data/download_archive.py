"""Unpacks an archive that came from elsewhere: nothing outside the folder, no links, no bombs, whole files only."""

from __future__ import annotations

import errno
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from dala.data.download import Progress
from dala.errors import DataError
from dala.files import replacing

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)
LITTER = ("__MACOSX", ".DS_Store")
COPIED = 1 << 20


@dataclass(frozen=True)
class _Member:
    """One entry: its name, its size as declared, whether it is a folder, a plain file, or something else."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, at_most: int, progress: Progress = lambda done, total: None) -> list[Path]:
    """Unpack a ZIP or a TAR (plain, gz, bz2, xz) into a folder; returns the files, in the order of the archive.

    A file that is there with the size that the archive says is left as it is, so that an interrupted call goes on.
    `at_most`: bytes of all files together. Raises DataError, one sentence, for an archive that is damaged, encrypted or
    larger, and for an entry that is a link or a device or would lie outside the folder; nothing of such an entry is
    written.
    """
    size = archive.stat().st_size if archive.is_file() else 0
    written: list[Path] = []
    seen: set[str] = set()
    total = 0
    try:
        with archive.open("rb") as opened:
            for member in _members(archive, opened):
                progress(min(opened.tell(), size), size)
                place = _place(archive, member)
                if place is None:
                    continue
                if (key := place.as_posix().lower()) in seen:
                    raise DataError(f"{archive.name} holds {place} twice and is not unpacked any further.")
                seen.add(key)
                total += member.size
                if total > at_most:
                    raise DataError(
                        f"{archive.name} would unpack to more than {at_most / 1e9:.1f} GB: it is not the archive that "
                        "was meant."
                    )
                path = folder / place
                if not (path.is_file() and path.stat().st_size == member.size):
                    _write(archive, member, path)
                written.append(path)
        progress(size, size)
    except DAMAGED as error:
        raise DataError(f"{archive.name} is damaged or incomplete: fetch it again.") from error
    except RuntimeError as error:  # what zipfile raises for a password
        raise DataError(f"{archive.name} is encrypted and cannot be unpacked.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"The disk of {folder} is full; make room and start the command again, and it goes on there."
            ) from error
        raise
    return written


def _write(archive: Path, member: _Member, path: Path) -> None:
    """Write one file, whole or not at all; DataError where it holds more or less than the archive says."""
    source = member.open()
    if source is None:
        raise DataError(f"{archive.name} does not hold the content of {member.name}.")
    with source, replacing(path) as partial:
        with partial.open("wb") as target:
            left = member.size
            while left > 0 and (piece := source.read(min(COPIED, left))):
                target.write(piece)
                left -= len(piece)
            if left or source.read(1):
                raise DataError(f"{archive.name} is damaged: {member.name} has another size than the archive says.")
        partial.chmod(0o644)


def _members(archive: Path, opened: IO[bytes]) -> Iterator[_Member]:
    if zipfile.is_zipfile(opened):
        with zipfile.ZipFile(opened) as packed:
            for info in packed.infolist():
                yield _Member(info.filename, info.file_size, _zip_kind(info), lambda info=info: packed.open(info))  # type: ignore[misc]
        return
    opened.seek(0)
    try:
        unpacked = tarfile.open(fileobj=opened, mode="r:*")  # noqa: SIM115  closed below
    except tarfile.ReadError as error:
        raise DataError(f"{archive.name} is neither a ZIP nor a TAR archive.") from error
    with unpacked:
        for entry in unpacked:
            kind = "folder" if entry.isdir() else "file" if entry.isreg() else "other"
            yield _Member(entry.name, entry.size, kind, lambda entry=entry: unpacked.extractfile(entry))  # type: ignore[misc]


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir():
        return "folder"
    return "file" if mode in (0, stat.S_IFREG) else "other"


def _place(archive: Path, member: _Member) -> PurePosixPath | None:
    """Where an entry belongs below the folder; None for folders and for what a Mac leaves in archives."""
    name = member.name
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or re.match(r"[A-Za-z]:", name)
        or any(ord(letter) < 32 for letter in name)
    ):
        raise DataError(f"{archive.name} holds {name!r}, which would lie outside the folder: it is not unpacked.")
    if member.kind == "folder":
        return None
    if member.kind != "file":
        raise DataError(f"{archive.name} holds {name!r}, a link or a device: it is not unpacked.")
    if parts[-1].startswith("._") or any(part in LITTER for part in parts):
        return None
    return PurePosixPath(*parts)
