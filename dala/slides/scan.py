"""A scan: every field of a slide's plan, judged, written down as it comes, to be stopped and gone on with at any time.

    scan = Scan(slide, model, Path("out"))
    for row in scan.run():  # those that are missing
        print(row.state, f"{scan.seconds_left:.0f} s left")

A thread reads a batch of fields, has the network look at them and says what comes of it; there are as many as the
network works on at once, a core each. One more would only take a core from another. Where it works on one at a time, as
on a GPU, the others read meanwhile.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from dala.runtime.predict import Model
from dala.slides.judge import BATCH, Judge
from dala.slides.plan import Plan, Spot, plan_of
from dala.slides.reader import Slide
from dala.slides.rows import SCHEMA, Header, Row, RowsFile, locked

AHEAD = 1  # batches that wait for a thread


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
        self._turns = threading.BoundedSemaphore(model.runs_on.streams)
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
        """End after the batches that are being looked at; any thread, or a signal's handler, may call it."""
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
            threads = max(self.judge.model.runs_on.streams, torch.get_num_threads())
            with ThreadPoolExecutor(threads, "dala-slide") as pool:
                try:
                    for batch in self._judged(pool, threads + AHEAD):
                        self.slide.check()
                        file.append(batch)
                        lock.alive()
                        self.rows += batch
                        yield from batch
                finally:
                    self._stopping.set()
                    pool.shutdown(wait=True, cancel_futures=True)

    def _judged(self, pool: ThreadPoolExecutor, most: int) -> Iterator[list[Row]]:
        """Batches in their order, `most` of them under way; of those that nobody has begun when it is stopped, none."""
        spots = self.plan.spots
        starts = iter(range(len(self.rows), len(spots), BATCH))
        under_way: deque[Future[list[Row]]] = deque()
        while True:
            while len(under_way) < most and not self._stopping.is_set() and (start := next(starts, None)) is not None:
                under_way.append(pool.submit(self._batch, spots[start : start + BATCH]))
            if not under_way or (self._stopping.is_set() and under_way[0].cancel()):
                return
            yield under_way.popleft().result()

    def _batch(self, spots: Sequence[Spot]) -> list[Row]:
        seen = [self.judge.see(self.slide, spot) for spot in spots]
        there = [one for one in seen if one is not None]
        with self._turns:
            looked = iter(self.judge.look(there) if there else [])
        boxes = (self.plan.grid.box(spot.column, spot.row) for spot in spots)
        return [
            self.judge.row(spot, box, one, next(looked) if one else None)
            for spot, box, one in zip(spots, boxes, seen, strict=True)
        ]


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
