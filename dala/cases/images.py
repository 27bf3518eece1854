"""The bytes of kept images: a folder by sha256, each file once, whole or absent, readable by the server alone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dala.errors import StoreError

NAME = re.compile(r"[0-9a-f]{64}")
PARTIAL, LOCK = ".partial", ".lock"
UNFINISHED = ".restoring-"  # how the name of a folder begins that exists while an older backup is restored
FORGOTTEN = 3600.0  # seconds after which an unfinished file is one that a killed process left


class Images:
    """A folder of images. Its methods raise OSError as the system does, except where they say otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: dict[str, int] = {}  # what is under a sha256 never changes

    def path(self, sha256: str) -> Path:
        """Where the bytes of this sha256 (64 hexadecimal digits) lie; ValueError for anything else."""
        if NAME.fullmatch(sha256) is None:
            raise ValueError(f"{sha256!r} is no sha256")
        return self.folder / sha256[:2] / sha256

    def put(self, data: bytes, sha256: str | None = None) -> str:
        """Keep bytes, once however often they come; their sha256. They are on the disk when this returns, whole even
        where a damaged file of this name was there."""
        sha256 = sha256 or hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if path.is_file() and path.read_bytes() == data:
            return sha256
        private(path.parent)
        handle, name = tempfile.mkstemp(PARTIAL, ".", path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
        _sync(path.parent)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes; StoreError where they are missing or are no longer those that were kept."""
        try:
            data = self.path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise StoreError(f"The bytes of an image are missing from {self.folder}.") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"The bytes of an image in {self.folder} are damaged or altered.")
        return data

    def size(self, sha256: str) -> int:
        """How many bytes; 0 where they are missing."""
        if sha256 not in self._sizes:
            try:
                self._sizes[sha256] = self.path(sha256).stat().st_size
            except FileNotFoundError:
                return 0
        return self._sizes[sha256]

    def remove(self, sha256: str) -> None:
        """Remove the bytes, if they are there."""
        self.path(sha256).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """The sha256 of every image that is there."""
        for path in self.folder.glob("??/*"):
            if NAME.fullmatch(path.name):
                yield path.name

    def sweep(self) -> None:
        """Remove unfinished files that killed processes left."""
        oldest = time.time() - FORGOTTEN
        for pattern in (f"??/.*{PARTIAL}", f"{UNFINISHED}*/*", f"{UNFINISHED}*"):
            for path in self.folder.glob(pattern):
                with suppress(OSError):  # such as a folder that is not empty
                    if path.stat().st_mtime < oldest:
                        path.rmdir() if path.is_dir() else path.unlink()

    @contextmanager
    def removing(self) -> Iterator[bool]:
        """Whether bytes may be removed within the block: not while a backup copies them."""
        with self._locked(exclusive=False, wait=False) as got:
            yield got

    @contextmanager
    def copying(self) -> Iterator[None]:
        """No bytes are removed within the block, by this process or another one on this folder."""
        with self._locked(exclusive=True, wait=True):
            yield

    @contextmanager
    def _locked(self, *, exclusive: bool, wait: bool) -> Iterator[bool]:
        private(self.folder)
        with (self.folder / LOCK).open("ab") as file:
            kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            try:
                fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, that nobody but this user may enter."""
    if not folder.is_dir():
        private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync(folder: Path) -> None:
    """A file's name is on the disk only when its folder is; not every system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
