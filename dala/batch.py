"""Many images, one after another, become opinions in numbers; whoever has time for it works such a batch off in slices.

The next images are read and decoded while the network looks at one, and only those few are in memory, however many
there are.
"""

from __future__ import annotations

import csv
import io
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import cv2
import numpy as np

from dala.errors import DataError, IntakeError
from dala.explanation.render import overlay
from dala.explanation.threshold import RULES, threshold
from dala.export.records import Record, prediction_record, refusal_record
from dala.intake.archive import Item
from dala.intake.image import read_image, who_is
from dala.intake.patch import Patch
from dala.intake.pixel_size import GivenSize, PixelSize, given
from dala.opinion import Opinion, display_image, opinion_of
from dala.runtime.predict import Model

READERS, AHEAD = 2, 4
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 96, 80
HEAT_OPACITY = 0.65
SLICE_SECONDS, UNSEEN_SECONDS = 0.25, 60.0

Choose = Callable[[Patch], Model]
Sizes = Callable[[str], GivenSize | None]
Usual = Callable[[Patch], PixelSize | None]


@dataclass(frozen=True)
class Result:
    """The record of one image, a small JPEG of it, and one with its map; both are empty if it was refused."""

    record: Record
    thumbnail: bytes
    heat: bytes = b""


def analyse(
    items: Iterable[Item],
    model: Model,
    anyway: bool = False,
    choose: Choose | None = None,
    sizes: Sizes | None = None,
    usual: Usual | None = None,
) -> Generator[Result, None, None]:
    """A result for every item, in order, as they come; `anyway` as in `dala.export.records.prediction_record`.

    `choose` says which model analyses an image, such as the one for its modality; None: `model` analyses all of them.
    `sizes` gives the pixel size of an item by its name, such as `sizes_of_table` reads them, None where it has none.
    `usual` gives that of a patch for which nobody tells one, to weights that see at a physical scale.
    While the network looks at one image, the next are read and decoded; at most `AHEAD` are held beside it. A file
    that cannot be read is a refusal in its place and stops nothing. Closing the generator stops the readers.
    benchmarks/batch.py: 300 images from a ZIP go at 95 % of the rate of the bare forward pass.
    """
    rest = iter(items)
    waiting: deque[tuple[Item, Future[Patch | Record]]] = deque()
    pool = ThreadPoolExecutor(READERS, "dala-reader")

    def read_one_more() -> None:
        if (item := next(rest, None)) is not None:
            size = None if sizes is None else sizes(item.name)
            waiting.append((item, pool.submit(_read, item, model, size)))

    try:
        for _ in range(AHEAD):
            read_one_more()
        while waiting:
            item, future = waiting.popleft()
            outcome = future.result()
            del future  # it holds the pixels
            read_one_more()
            chosen = choose(outcome) if choose is not None and isinstance(outcome, Patch) else model
            if usual is not None and isinstance(outcome, Patch):
                outcome = _of_usual_size(outcome, chosen, usual)
            result = _analyse(item, outcome, chosen, anyway)
            del outcome
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(item: Item, model: Model, size: GivenSize | None) -> Patch | Record:
    source: bytes | Path | None = None
    try:
        source = item.load()
        return read_image(source, item.name, size)
    except IntakeError as error:
        return refusal_record(source, error, model, item.name)


def _of_usual_size(patch: Patch, model: Model, usual: Usual) -> Patch:
    told = patch.pixel_size is not None and patch.pixel_size.microscopic
    return patch if told or model.card.input.um_per_pixel is None else replace(patch, pixel_size=usual(patch))


def _analyse(item: Item, outcome: Patch | Record, model: Model, anyway: bool) -> Result:
    if not isinstance(outcome, Patch):
        return Result(outcome, b"")
    try:
        opinion = opinion_of(outcome, model)
    except IntakeError as error:  # it shows too much for one image
        refused = refusal_record(None, error, model, item.name)
        return Result({**refused, "sha256": outcome.sha256}, thumbnail(display_image(outcome)))
    record = prediction_record(opinion, anyway)
    return Result({**record, "file": item.name}, thumbnail(opinion.image), heat_of(opinion))


def heat_of(opinion: Opinion) -> bytes:
    """The thumbnail with DT Grad-CAM towards the prediction, by the usual rule."""
    small = _shrunk(opinion.image)
    found = opinion.maps[opinion.prediction.label]
    field = found.upsampled(*small.shape[:2])
    regions = threshold(field, next(iter(RULES)))
    if not regions.regions:
        return _jpeg(small)
    marked = np.where(regions.mask, field, np.float32(-1))
    return _jpeg(overlay(small, marked, float(field.max()), opacity=HEAT_OPACITY))


def thumbnail(pixels: np.ndarray) -> bytes:
    """A uint8 RGB image as a JPEG whose longer side has at most `THUMBNAIL_SIDE` pixels."""
    return _jpeg(_shrunk(pixels))


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    shrink = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(pixels: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])[1].tobytes()


def sizes_of_table(text: str) -> Sizes:
    """Pixel sizes by name from a table in CSV with the columns `file` and `um`, micrometres per pixel.

    A file is meant by its whole name as it is listed or, where only one row has it, by the last part of its path; one
    that is in no row, or has no number, has none. Raises DataError for a table that cannot be read so.
    """
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\N{BYTE ORDER MARK}"), newline="")))
    if not rows or not {"file", "um"} <= rows[0].keys():
        raise DataError("A table of pixel sizes has the columns file and um, and at least one row.")
    whole: dict[str, float] = {}
    last: defaultdict[str, list[float]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        name, um = row["file"] or "", (row["um"] or "").strip()
        if not um:
            continue
        try:
            given(float(um))
        except ValueError:  # an IntakeError is one too
            raise DataError(
                f"Line {number} of the table of pixel sizes has no number from 0.05 to 5 under um."
            ) from None
        if whole.setdefault(name, float(um)) != float(um):
            raise DataError(f"The table of pixel sizes gives two for {who_is(name)}.")
        last[PureWindowsPath(name).name].append(float(um))

    def size_of(name: str) -> float | None:
        if name in whole:
            return whole[name]
        found = last.get(PureWindowsPath(name).name, [])
        return found[0] if len(found) == 1 else None

    return size_of


class Run:
    """A batch that is worked off in slices by whoever has time for it, or by a thread of its own while it is looked at.

    Any number of threads may call it: a slice that finds another one at work returns at once.
    """

    def __init__(
        self,
        items: Sequence[Item],
        model: Model,
        choose: Choose | None = None,
        sizes: Sizes | None = None,
        usual: Usual | None = None,
    ) -> None:
        self.items = items
        self.classes = model.card.classes
        self.results: list[Result] = []
        self.cancelled = False
        self.seconds = 0.0  # spent in slices
        self._coming = analyse(items, model, choose=choose, sizes=sizes, usual=usual)
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._seen = 0.0

    def work(self) -> None:
        """Go on in the background; whoever looks at the batch calls this again and again. Unseen for long, it rests."""
        self._seen = time.monotonic()
        if not self.done and (self._worker is None or not self._worker.is_alive()):
            self._worker = threading.Thread(target=self._work, name="dala-batch", daemon=True)
            self._worker.start()

    def wait(self, seconds: float) -> None:
        """Until the work in the background has ended, at most so long."""
        if self._worker is not None:
            self._worker.join(seconds)

    def _work(self) -> None:
        while not self.done and time.monotonic() < self._seen + UNSEEN_SECONDS:
            self.advance(SLICE_SECONDS)

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
        """Analyse images for about so long, one at least."""
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
