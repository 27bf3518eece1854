"""What a scan says of its fields, a line each, appended as they come: killed at any moment, it can be gone on with.

The first line says of which slide, scale, weights and plan the rows are; the rows follow in the plan's order. A last
line that is torn is read over. What is appended is appended batch by batch, and a scan that goes on begins at a batch:
so the file is the same to the byte, however often it was interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dala.errors import SlideError
from dala.slides.grid import Box

ROWS, LOCK = "rows.jsonl", "lock"
SCHEMA = 1
STALE = 300.0  # seconds after which the lock of a scan that gives no sign of life is broken
MALIGNANT, BENIGN, NOT_SURE, OUTSIDE, UNREADABLE = "malignant", "benign", "not sure", "outside", "unreadable"
STATES = (MALIGNANT, BENIGN, NOT_SURE, OUTSIDE, UNREADABLE)


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one field.

    column, row   its place in the grid, from 0
    box           (left, top, right, bottom) in pixels of level 0
    tissue        the share of it that is tissue
    state         "malignant", "benign" or "not sure"; "outside" the model's competence; "unreadable"
    probability   calibrated, of the positive class; None where there is no verdict
    reason        the name of the gate's reason, for a field outside
    distance      the out-of-distribution score
    laboratory    the one that the field is taken for, None an unknown one
    """

    column: int
    row: int
    box: Box
    tissue: float
    state: str
    probability: float | None = None
    reason: str | None = None
    distance: float | None = None
    laboratory: str | None = None


Header = dict[str, Any]

# What differs when a scan starts anew, in words.
DIFFERENCES = {
    "um": "another pixel size",
    "weights_sha256": "other weights",
    "site": "another site",
    "engine": "another engine",
    "plan": "another plan of fields",
}


def line(record: Header | Row) -> bytes:
    """One line of the file."""
    content = asdict(record) if isinstance(record, Row) else record
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def read_rows(folder: Path) -> tuple[Header, list[Row]] | None:
    """The header and the rows that are whole, of a scan that may be under way; None where there are none."""
    found = _read(folder / ROWS)
    return None if found is None else (found[0], [row for row, _ in found[1]])


def _read(path: Path) -> tuple[Header, list[tuple[Row, int]]] | None:
    """Each row with the place in the file where it ends; nothing after the first line that is not whole."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    lines = data.split(b"\n")[:-1]
    try:
        header = json.loads(lines[0])
        if not isinstance(header, dict) or header.get("schema") != SCHEMA:
            return None
    except (ValueError, IndexError):
        return None
    rows, place = [], len(lines[0]) + 1
    for one in lines[1:]:
        place += len(one) + 1
        try:
            fields = json.loads(one)
            left, top, right, bottom = fields.pop("box")
            rows.append((Row(box=(left, top, right, bottom), **fields), place))
        except (ValueError, TypeError, KeyError, AttributeError):
            break
    return header, rows


class RowsFile:
    """The rows of one scan in its folder; to be used within `locked`."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.path, self.header = folder / ROWS, header

    def begin(self) -> tuple[list[Row], str | None]:
        """The rows to go on after, and, where there were others, why they do not count: in a word or two of
        `DIFFERENCES`. The file is cut to whole batches. Raises SlideError ("other_slide") for another slide's rows.
        """
        found = _read(self.path)
        if found is not None and found[0].get("slide") != self.header["slide"]:
            raise SlideError(
                "other_slide",
                f"The folder '{self.path.parent.name}' holds the scan of another slide, or this one has changed since: "
                "remove it or choose another folder.",
            )
        if found is None or found[0] != self.header:
            with self._whole_or_said():
                self.path.write_bytes(line(self.header))
            return [], None if found is None else self._difference(found[0])
        rows, batch = found[1], int(self.header["batch"])
        kept = len(rows) if len(rows) == self.header["fields"] else len(rows) // batch * batch
        end = rows[kept - 1][1] if kept else len(line(self.header))
        if self.path.stat().st_size != end:
            os.truncate(self.path, end)
        return [row for row, _ in rows[:kept]], None

    def append(self, rows: Sequence[Row]) -> None:
        """Raises SlideError ("disk_full") where there is no room; what was appended before is kept."""
        with self._whole_or_said(), self.path.open("ab", buffering=0) as file:
            file.write(b"".join(map(line, rows)))

    def _difference(self, before: Header) -> str:
        return next(
            (word for key, word in DIFFERENCES.items() if before.get(key) != self.header[key]), "another version"
        )

    @contextmanager
    def _whole_or_said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise SlideError(
                "disk_full", "The disk is full: the fields so far are kept, and a scan goes on from them."
            ) from error


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Nobody else scans into the folder meanwhile; raises SlideError ("busy") where somebody does.

    The lock of a process that is gone is broken: at once on this host, after `STALE` seconds of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder / LOCK)
    lock.take()
    try:
        yield lock
    finally:
        lock.release()


class Lock:
    """A file that names its host and process, and whose time is a sign of life."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = f"{socket.gethostname()} {os.getpid()} {_birth(os.getpid())}"

    def take(self) -> None:
        for _ in range(10):
            try:
                descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if not self._dead():
                    break
                # Only one of those who see it dead can move it away; who moved a new one by mistake puts it back.
                with suppress(OSError):
                    broken = self._path.with_name(f"{LOCK}.{os.getpid()}")
                    seen = self._path.read_text()
                    self._path.rename(broken)
                    if broken.read_text() != seen:
                        os.link(broken, self._path)
                    broken.unlink()
                continue
            with os.fdopen(descriptor, "w") as file:
                file.write(self._mine)
            return
        raise SlideError("busy", f"Another process is scanning into '{self._path.parent.name}' at this moment.")

    def alive(self) -> None:
        """A sign of life, to be given between batches."""
        with suppress(OSError):
            os.utime(self._path)

    def release(self) -> None:
        with suppress(OSError):
            if self._path.read_text() == self._mine:
                self._path.unlink()

    def _dead(self) -> bool:
        try:
            host, process, birth = self._path.read_text().split()
            age = time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return True
        except (OSError, ValueError):  # it is being written
            host, process, birth, age = "", "0", "", time.time() - _age(self._path)
        if host == socket.gethostname():
            return _birth(int(process)) != birth
        return age > STALE


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _birth(process: int) -> str:
    """When a process of this host began, by its kernel's clock, for their numbers are used again; "none" for none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "none"
    except OSError:
        pass
    return "running"
