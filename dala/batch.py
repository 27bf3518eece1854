"""Many pictures, one after another: files, folders and ZIP archives become opinions in numbers, and these a table.

The files are untrusted, archives most of all: nothing is ever unpacked to disk, an entry is read when it is its turn
and never beyond intake's limit, and what must not be read becomes a refusal in its place. The next pictures are read
and decoded while the network looks at one, and only those few are in memory, however many there are.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
import time
import weakref
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any, TextIO, cast

import cv2
import numpy as np

from dala.explain.render import encode_png
from dala.intake.image import MAXIMUM_BYTES, PICTURE_SUFFIXES, IntakeError, Patch, read_image, who_is
from dala.nets.runtime import Model
from dala.opinion import (
    NOTICE,
    explain,
    opinion_of,
    prediction_record,
    refusal_record,
)

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})

MAXIMUM_ENTRIES = 20_000
MAXIMUM_TOTAL = 16 * 2**30  # bytes of all pictures of an archive together; the whole of BreakHis has a quarter of it
# DEFLATE reaches 1032 : 1 on bytes that are all the same. A scanned patch hardly reaches 10, blank glass in a BMP 300;
# what is small does no harm.
MAXIMUM_RATIO, RATIO_COUNTS_FROM = 200, 8 * 2**20
MAXIMUM_DIRECTORY = 16 * 2**20  # bytes of an archive's directory, which is parsed in one piece
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others cannot be inflated in bounded pieces
ENCRYPTED = 0x1
PIECE = 2**20

READERS, AHEAD = 2, 4
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 96, 80
MAXIMUM_OVERLAYS = 200  # an overlay takes up to a megabyte

FORMULA = ("=", "+", "-", "@", "\t", "\r")

Record = dict[str, Any]
Choose = Callable[[Patch], Model]


@dataclass(frozen=True)
class Item:
    """One picture to come: its name in the results, and `load`, which gives its path or bytes when it is its turn.

    `load` raises IntakeError for a file that is refused without being read.
    """

    name: str
    load: Callable[[], bytes | Path]


@dataclass(frozen=True)
class Result:
    """The record of one picture, as `dala.opinion` makes it, and a small JPEG of it, which is empty if refused."""

    record: Record
    thumbnail: bytes


@dataclass(frozen=True)
class Upload:
    """A file that is in memory or open: its name, and the binary file, which can be searched and is never closed."""

    name: str
    file: IO[bytes]


# What there is to be judged


def members(sources: Iterable[str | Path | Upload]) -> Iterator[Item]:
    """Every picture of these files, folders and ZIP archives, in order; reads no picture and raises for none.

    A folder gives the pictures below it by suffix, sorted, named relative to it; an archive those inside, named
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


def _is_picture(name: str) -> bool:
    """By suffix; a Macintosh leaves a `._` twin without a picture in it beside every file."""
    last = name.rsplit("/", 1)[-1]
    return not last.startswith("._") and Path(last).suffix.lower() in PICTURE_SUFFIXES


def _itself(path: Path) -> Path:
    return path


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAXIMUM_BYTES + 1)


def _refused(name: str, why: str) -> Item:
    """An item that is refused unread: '`name` `why`'."""

    def load() -> bytes:
        raise IntakeError(f"'{name.rsplit('/', 1)[-1] or name}' {why}")

    return Item(name, load)


def _folder(root: Path) -> Iterator[Item]:
    found = False
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            if _is_picture(file):
                path = Path(folder, file)
                found = True
                yield Item(_printable(str(path.relative_to(root))), partial(_itself, path))
    if not found:
        yield _refused(str(root), "holds no pictures of a kind that is accepted.")


def _archive(name: str, file: IO[bytes], close: Callable[[], None] | None = None) -> Iterator[Item]:
    """The pictures of a ZIP. The archive stays open until the last of its items is gone, and then it is closed."""
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], _Sips(file)))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    # A damaged directory is met with whatever error comes first.
    except Exception:
        if close is not None:
            close()
        yield _refused(name, "is no ZIP archive, or a damaged one.")
        return
    if close is not None:
        weakref.finalize(archive, close)
    chosen = [
        entry
        for entry in entries
        if _is_picture(entry.filename) or _is_nested(entry.filename) or _points_out(entry.filename)
    ]
    if len(entries) > MAXIMUM_ENTRIES:
        yield _refused(name, f"holds {len(entries)} files; at most {MAXIMUM_ENTRIES} are accepted.")
    elif sum(entry.file_size for entry in chosen) > MAXIMUM_TOTAL:
        yield _refused(name, f"holds more than {MAXIMUM_TOTAL // 2**30} GB of pictures, the most that is accepted.")
    elif not chosen:
        yield _refused(name, "holds no pictures of a kind that is accepted.")
    else:
        for entry in sorted(chosen, key=lambda one: one.filename):
            shown = f"{name}/{_printable(entry.filename)}"
            why = _danger(entry)
            yield Item(shown, partial(_read_entry, archive, entry)) if why is None else _refused(shown, why)


def _is_nested(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith("._") and Path(last).suffix.lower() in ARCHIVE_SUFFIXES


def _points_out(name: str) -> bool:
    """Whether a name would leave a folder. None is ever used as a path here, but such a one tells of an ill intent."""
    path = PureWindowsPath(name)
    return bool(path.anchor) or ".." in path.parts


def _danger(entry: zipfile.ZipInfo) -> str | None:
    """Why this entry must not be read, or None."""
    if _points_out(entry.filename):
        return "has a name that points out of its archive."
    if _is_nested(entry.filename):
        return "is an archive inside an archive, which is not opened."
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted."
    if entry.compress_type not in METHODS:
        return "is compressed by a method that is not accepted (deflate and stored are)."
    if entry.file_size > MAXIMUM_BYTES:
        return f"is larger than {MAXIMUM_BYTES // 2**20} MB, the most that is accepted."
    if entry.file_size > max(RATIO_COUNTS_FROM, MAXIMUM_RATIO * entry.compress_size):
        return f"is compressed more than {MAXIMUM_RATIO} : 1, as a bomb is and no picture of tissue."
    return None


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry: never more than it states, in pieces, with its checksum verified."""
    pieces = []
    try:
        with archive.open(entry) as file:
            while piece := file.read(PIECE):
                pieces.append(piece)
    # Damage shows itself as BadZipFile, zlib.error, EOFError, OSError, RuntimeError, struct.error and others.
    except Exception as failure:
        last = _printable(entry.filename).rsplit("/", 1)[-1]
        raise IntakeError(f"'{last}' is damaged inside its archive.") from failure
    data = b"".join(pieces)
    if len(data) != entry.file_size:
        raise IntakeError(f"'{_printable(entry.filename).rsplit('/', 1)[-1]}' is damaged inside its archive.")
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


# Judging


def judge_all(
    items: Iterable[Item], model: Model, anyway: bool = False, choose: Choose | None = None
) -> Generator[Result, None, None]:
    """A result for every item, in order, as they come; `anyway` as in `dala.opinion.prediction_record`.

    `choose` says which model judges a picture, such as the one for its modality; None: `model` judges all of them.
    While the network looks at one picture, the next are read and decoded; at most `AHEAD` are held beside it. A file
    that cannot be judged is a refusal in its place and stops nothing. Closing the generator stops the readers.
    benchmarks/batch.py: 300 pictures from a ZIP go at 95 % of the rate of the bare forward pass.
    """
    rest = iter(items)
    waiting: deque[tuple[Item, Future[Patch | Record]]] = deque()
    pool = ThreadPoolExecutor(READERS, "dala-reader")

    def read_one_more() -> None:
        for item in rest:
            waiting.append((item, pool.submit(_read, item, model)))
            break

    try:
        for _ in range(AHEAD):
            read_one_more()
        while waiting:
            item, future = waiting.popleft()
            outcome = future.result()
            del future  # it holds the pixels
            read_one_more()
            chosen = choose(outcome) if choose is not None and isinstance(outcome, Patch) else model
            result = _judge(item, outcome, chosen, anyway)
            del outcome
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(item: Item, model: Model) -> Patch | Record:
    source: bytes | Path | None = None
    try:
        source = item.load()
        return read_image(source, item.name)
    except IntakeError as error:
        return refusal_record(source, error, model, item.name)


def _judge(item: Item, outcome: Patch | Record, model: Model, anyway: bool) -> Result:
    if not isinstance(outcome, Patch):
        return Result(outcome, b"")
    opinion = opinion_of(outcome, model)
    record = prediction_record(opinion, anyway)
    return Result({**record, "file": item.name}, thumbnail(opinion.picture))


def thumbnail(pixels: np.ndarray) -> bytes:
    """A uint8 RGB picture as a JPEG whose longer side has at most `THUMBNAIL_SIDE` pixels."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])[1].tobytes()


class Run:
    """A batch that is worked off in slices by whoever has time for it; it does nothing by itself.

    Any number of threads may call it: a slice that finds another one at work returns at once.
    """

    def __init__(self, items: Sequence[Item], model: Model, choose: Choose | None = None) -> None:
        self.items = items
        self.classes = model.card.classes
        self.results: list[Result] = []
        self.cancelled = False
        self.seconds = 0.0  # spent in slices
        self._coming = judge_all(items, model, choose=choose)
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        return self.cancelled or len(self.results) == len(self.items)

    @property
    def seconds_left(self) -> float | None:
        """By the mean so far; None before the first result."""
        if not self.results:
            return None
        return self.seconds / len(self.results) * (len(self.items) - len(self.results))

    def advance(self, seconds: float) -> None:
        """Judge pictures for about so long, one at least."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            start = time.perf_counter()
            while not self.done:
                result = next(self._coming, None)
                if result is None:  # it was ended by an error, which the caller of then has seen
                    self.cancelled = True
                else:
                    self.results.append(result)
                if time.perf_counter() >= start + seconds:
                    break
            self.seconds += time.perf_counter() - start
            if self.done:
                self._coming.close()
        finally:
            self._lock.release()

    def cancel(self) -> None:
        """Stop after the picture that is being looked at; the results so far stay."""
        self.cancelled = True
        with self._lock:
            self._coming.close()


# What is taken away


def columns(classes: Sequence[str]) -> list[str]:
    """The columns of the table in CSV."""
    return [
        *("file", "sha256", "status", "reason", "prediction", "not_sure"),
        *(f"probability_{name}" for name in classes),
        *("gate_distance", "weights", "ms", "notice"),
    ]


def write_csv(records: Iterable[Record], classes: Sequence[str], file: TextIO) -> None:
    """Write records as CSV (RFC 4180, with a header) into a text file opened with newline=""; keeps none of them.

    A text that begins like a formula gets an apostrophe before it, for a spreadsheet would run what a file's name says.
    """
    writer = csv.writer(file)
    writer.writerow(columns(classes))
    for record in records:
        shares = record["probabilities"] or {}
        gate = record["gate"] or {}
        row = [
            *(record[key] for key in ("file", "sha256", "status", "reason", "prediction", "not_sure")),
            *(shares.get(name) for name in classes),
            *(gate.get("distance"), record["weights"], record["ms"], NOTICE),
        ]
        writer.writerow(_harmless(value) for value in row)


def _harmless(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def to_csv(records: Iterable[Record], classes: Sequence[str]) -> str:
    """The same as one text."""
    file = io.StringIO(newline="")
    write_csv(records, classes, file)
    return file.getvalue()


def nameless(records: Iterable[Record]) -> list[Record]:
    """The same records without the names of the files, which may name patients: each is "picture N" in its order, and
    its sha256 tells which file it was."""
    found = []
    for number, record in enumerate(records, start=1):
        name, reason = str(record["file"]), record["reason"]
        for known in (name, PureWindowsPath(name).name):
            # A sentence about a file begins with its name.
            reason = reason and reason.replace(who_is(known), "The file")
        found.append({**record, "file": f"picture {number}", "reason": reason})
    return found


def to_json(records: Sequence[Record]) -> str:
    """The records as one JSON object, with the notice that they are not for diagnosis."""
    return json.dumps({"notice": NOTICE, "results": list(records)}, indent=2, ensure_ascii=False, allow_nan=False)


def overlays(
    pairs: Sequence[tuple[Item, Record]],
    model: Model,
    progress: Callable[[int, int], None] | None = None,
    choose: Choose | None = None,
    *,
    with_names: bool = True,
) -> bytes:
    """A ZIP with the DT Grad-CAM of every picture that has a verdict, towards its prediction, by the default rule.

    The pictures are read and looked at again, for no map is kept; at most `MAXIMUM_OVERLAYS`, in order. `index.csv`
    says which overlay is whose, by name if `with_names` and by sha256. A file that has gone or changed since it was
    judged is left out.
    """
    accepted = [(item, record) for item, record in pairs if record["prediction"] is not None][:MAXIMUM_OVERLAYS]
    out, index = io.BytesIO(), io.StringIO(newline="")
    writer = csv.writer(index)
    writer.writerow(["overlay", "file", "towards", "sha256", "notice"])
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for number, (item, record) in enumerate(accepted, start=1):
            with suppress(IntakeError):
                patch = read_image(item.load(), item.name)
                opinion = opinion_of(patch, model if choose is None else choose(patch))
                if opinion.patch.sha256 == record["sha256"]:
                    target = str(record["prediction"])
                    name, stem = (item.name, f"-{_stem(item.name)}") if with_names else ("", "")
                    overlay = f"{number:04}{stem}-{target}-dt.png"
                    archive.writestr(overlay, encode_png(explain(opinion, target).panels.dt))
                    writer.writerow(_harmless(cell) for cell in (overlay, name, target, record["sha256"], NOTICE))
            if progress is not None:
                progress(number, len(accepted))
        archive.writestr("index.csv", index.getvalue())
    return out.getvalue()


def _stem(name: str) -> str:
    """A file's name without folders and suffix, of letters, digits and - _ only, short enough for any system."""
    stem = PureWindowsPath(name).stem
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in stem)[:80]
