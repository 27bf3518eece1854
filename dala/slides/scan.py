"""A scan: every field of a slide's plan, judged, written down as it comes, to be stopped and gone on with at any time.

    scan = Scan(slide, model, Path("out"))
    for row in scan.run():  # those that are missing
        print(row.state, f"{scan.seconds_left:.0f} s left")

While the network looks at one batch, the next are read and the last ones are written up.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dala.runtime.predict import Looked, Model
from dala.slides.judge import BATCH, Judge, Seen
from dala.slides.plan import Plan, Spot, plan_of
from dala.slides.reader import Slide
from dala.slides.rows import SCHEMA, Header, Row, RowsFile, locked

READERS, AHEAD = 2, 3  # threads, and batches that are read before their turn
BACK = 10  # how much nicer a reader is than the network


class Scan:
    """The scan of one slide by one model into one folder.

    plan   what is looked at, in which order
    rows   what has been said so far, in that order; those of an earlier run are there once `run` has begun
    anew   why rows that were there do not count, in words such as "other weights"; None where they do, or none were
    """

    def __init__(self, slide: Slide, model: Model, folder: Path, plan: Plan | None = None) -> None:
        self.slide, self.folder = slide, folder
        self.judge = Judge(model)
        self.plan = plan_of(slide) if plan is None else plan
        self.header = header_of(slide, model, self.plan)
        self.rows: list[Row] = []
        self.anew: str | None = None
        self._stopping = threading.Event()
        self._began, self._before = 0.0, 0

    @property
    def done(self) -> bool:
        return len(self.rows) == len(self.plan.spots)

    @property
    def seconds_left(self) -> float | None:
        """By the mean of this run; None before its first batch."""
        made = len(self.rows) - self._before
        if not made:
            return None
        return (time.monotonic() - self._began) / made * (len(self.plan.spots) - len(self.rows))

    def stop(self) -> None:
        """End after the batch that is being looked at; any thread, or a signal's handler, may call it."""
        self._stopping.set()

    def run(self) -> Iterator[Row]:
        """Judge what is missing, one row after another as they are written; ends at the end or after `stop`.

        Raises SlideError: "busy" while another process scans into the folder, "other_slide", "disk_full"; "changed" or
        "absent" where the file changes or goes meanwhile. The rows so far are kept.
        """
        with locked(self.folder) as lock:
            file = RowsFile(self.folder, self.header)
            self.rows, self.anew = file.begin()
            self._began, self._before = time.monotonic(), len(self.rows)
            with ThreadPoolExecutor(READERS, "dala-slide", _step_back) as pool:
                try:
                    for batch in self._judged(pool):
                        self.slide.check()
                        file.append(batch)
                        lock.alive()
                        self.rows += batch
                        yield from batch
                finally:
                    self._stopping.set()
                    pool.shutdown(wait=True, cancel_futures=True)

    def _judged(self, pool: ThreadPoolExecutor) -> Iterator[list[Row]]:
        spots = self.plan.spots
        starts = iter(range(len(self.rows), len(spots), BATCH))
        reading: deque[list[tuple[Spot, Future[Seen | None]]]] = deque()
        writing: deque[list[Future[Row]]] = deque()

        def read_one_more() -> None:
            if (start := next(starts, None)) is not None:
                batch = spots[start : start + BATCH]
                reading.append([(spot, pool.submit(self.judge.see, self.slide, spot)) for spot in batch])

        for _ in range(AHEAD):
            read_one_more()
        while reading and not self._stopping.is_set():
            batch = [(spot, future.result()) for spot, future in reading.popleft()]
            read_one_more()
            seen = [one for _, one in batch if one is not None]
            looked = iter(self.judge.look(seen) if seen else [])
            writing.append([pool.submit(self._row, spot, one, next(looked) if one else None) for spot, one in batch])
            if len(writing) > 1:
                yield [row.result() for row in writing.popleft()]
        while writing:
            yield [row.result() for row in writing.popleft()]

    def _row(self, spot: Spot, seen: Seen | None, looked: Looked | None) -> Row:
        return self.judge.row(spot, self.plan.grid.box(spot.column, spot.row), seen, looked)


def _step_back() -> None:
    """Of this thread (Linux): the network computes on every core, and one that waits for its core while a reader has
    it keeps the others waiting; readers go on where the network pauses."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + BACK))


def header_of(slide: Slide, model: Model, plan: Plan) -> Header:
    """What the rows of a scan are of: slide, scale, weights, plan. No name and no word of the slide's is in it."""
    um, sha = slide.known_um(), hashlib.sha256()
    for spot in plan.spots:
        sha.update(f"{spot.column} {spot.row} {spot.tissue}\n".encode())
    return {
        "schema": SCHEMA,
        "slide": slide.fingerprint,
        "format": slide.format,
        "size": list(slide.size),
        "um": {"rows": um.rows, "columns": um.columns, "source": um.source},
        "grid": {"columns": plan.grid.columns, "rows": plan.grid.rows, "field": list(plan.grid.field)},
        "fields": len(plan.spots),
        "coarse": plan.coarse,
        "plan": sha.hexdigest(),
        "batch": BATCH,
        "weights": model.name,
        "weights_sha256": model.card.fields["sha256"],
        "site": None if model.site is None else {"name": model.site.name, "sha256": model.site.sha256},
        "engine": model.runs_on.name,
    }
