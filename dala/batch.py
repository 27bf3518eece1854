"""Many images, one after another: files, folders and ZIP archives become opinions in numbers, and these a table.

The files are untrusted, archives most of all: nothing is ever unpacked to disk, an entry is read when it is its turn
and never beyond intake's limit, and what must not be read becomes a refusal in its place. The next images are read
and decoded while the network looks at one, and only those few are in memory, however many there are.
"""

from __future__ import annotations

import csv
import io
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import cv2
import numpy as np

from dala.errors import IntakeError
from dala.explanation.render import encode_png
from dala.export.records import Record, prediction_record, refusal_record
from dala.export.table import harmless
from dala.intake.archive import Item
from dala.intake.image import Patch, read_image
from dala.opinion import NOTICE, explain, opinion_of
from dala.runtime.predict import Model

READERS, AHEAD = 2, 4
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 96, 80
MAXIMUM_OVERLAYS = 200  # an overlay takes up to a megabyte

Choose = Callable[[Patch], Model]


@dataclass(frozen=True)
class Result:
    """The record of one image, as `dala.opinion` makes it, and a small JPEG of it, which is empty if refused."""

    record: Record
    thumbnail: bytes


# Judging


def judge_all(
    items: Iterable[Item], model: Model, anyway: bool = False, choose: Choose | None = None
) -> Generator[Result, None, None]:
    """A result for every item, in order, as they come; `anyway` as in `dala.export.records.prediction_record`.

    `choose` says which model judges an image, such as the one for its modality; None: `model` judges all of them.
    While the network looks at one image, the next are read and decoded; at most `AHEAD` are held beside it. A file
    that cannot be judged is a refusal in its place and stops nothing. Closing the generator stops the readers.
    benchmarks/batch.py: 300 images from a ZIP go at 95 % of the rate of the bare forward pass.
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
    return Result({**record, "file": item.name}, thumbnail(opinion.image))


def thumbnail(pixels: np.ndarray) -> bytes:
    """A uint8 RGB image as a JPEG whose longer side has at most `THUMBNAIL_SIDE` pixels."""
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
        """Judge images for about so long, one at least."""
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
        """Stop after the image that is being looked at; the results so far stay."""
        self.cancelled = True
        with self._lock:
            self._coming.close()


def overlays(
    pairs: Sequence[tuple[Item, Record]],
    model: Model,
    progress: Callable[[int, int], None] | None = None,
    choose: Choose | None = None,
    *,
    with_names: bool = True,
) -> bytes:
    """A ZIP with the DT Grad-CAM of every image that has a verdict, towards its prediction, by the default rule.

    The images are read and looked at again, for no map is kept; at most `MAXIMUM_OVERLAYS`, in order. `index.csv`
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
                    writer.writerow(harmless(cell) for cell in (overlay, name, target, record["sha256"], NOTICE))
            if progress is not None:
                progress(number, len(accepted))
        archive.writestr("index.csv", index.getvalue())
    return out.getvalue()


def _stem(name: str) -> str:
    """A file's name without folders and suffix, of letters, digits and - _ only, short enough for any system."""
    stem = PureWindowsPath(name).stem
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in stem)[:80]
