"""Many slides: one after another, in several processes, in shards, or on a cluster; a bad one is a row and no end.

What scans a slide is a function of a `Task` that another process can be sent. A slide that kills its process is gone on
with by a new one, and left out and named when it has killed three.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dala.errors import DalaError, IntakeError, SlideError
from dala.export.table import harmless
from dala.files import write_text
from dala.intake.image import who_is
from dala.intake.pixel_size import GivenSize
from dala.slides.folder import readable
from dala.slides.rows import ROWS, read_rows

if TYPE_CHECKING:
    from dala.runtime.predict import Model

STRIKES = 3
SCANNED, STOPPED, REFUSED, KILLED, WRITTEN = "scanned", "stopped", "refused", "killed", "written"
COLUMNS = (
    *("slide", "status", "reason", "sentence", "format", "width", "height", "um", "um_source", "tissue_mm2", "fields"),
    *("malignant", "benign", "not_sure", "outside", "unreadable", "regions", "largest_region"),
    *("expected", "expected_low", "expected_high", "mostly_outside", "weights"),
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """One slide to scan, by its name in the list, into its own folder; `um` where a person tells the pixel size.

    weights, site, engine  as on the command line; None: the served ones
    report_only            write the files of the rows that are there, and look at no field
    threads                of the network, None: as many as it takes by itself
    """

    name: str
    path: Path
    folder: Path
    um: GivenSize | None = None
    weights: str = "breast"
    site: str | None = None
    engine: str | None = None
    report_only: bool = False
    threads: int | None = None
    day: date = field(default_factory=date.today)


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its `status`, for one that failed the `reason` and the `sentence`, and what the table says
    of the slide."""

    name: str
    status: str
    reason: str = ""
    sentence: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.status in (SCANNED, WRITTEN)


def scan_slide(task: Task, progress: Progress | None = None) -> Outcome:
    """Scan one slide, or go on with it, and write its files. Whatever is wrong with the slide is an outcome; of weights
    or a site WeightsError is raised."""
    from dala.slides.reader import open_slide

    if task.threads is not None:
        _use_threads(task.threads)
    model = None if task.report_only else _model(task.weights, task.site, task.engine)
    facts: dict[str, Any] = {}
    try:
        with open_slide(task.path, task.um) as slide:
            facts |= {"format": slide.format, "width": slide.size[0], "height": slide.size[1]}
            if slide.um is not None:
                facts |= {"um": slide.um.columns, "um_source": slide.um.source}
            from dala.slides.tissue import find_tissue

            tissue = find_tissue(slide)
            facts["tissue_mm2"] = None if tissue.mm2 is None else round(tissue.mm2, 3)
            anew = ""
            if model is not None:
                from dala.slides.plan import plan_of
                from dala.slides.scan import Scan

                scan = Scan(slide, model, task.folder, plan_of(slide, tissue))
                facts["fields"] = len(scan.plan.spots)
                for _ in scan.run():
                    if progress is not None:
                        progress(len(scan.rows), len(scan.plan.spots))
                anew = (
                    "" if scan.anew is None else f"The rows that were there were of {scan.anew}; it was scanned anew."
                )
            facts |= _written(task, slide, tissue.mm2)
        return Outcome(task.name, WRITTEN if task.report_only else SCANNED, "", anew, facts)
    except IntakeError as error:
        return Outcome(
            task.name, REFUSED, error.name if isinstance(error, SlideError) else "refused", str(error), facts
        )
    except OSError as error:
        return Outcome(task.name, REFUSED, "unreadable", _of_system(error, task.path), facts)


def _written(task: Task, slide: Any, mm2: float | None) -> dict[str, Any]:
    """The files of the rows in the task's folder, unless they are there and whole; and what the table says of them."""
    from dala.slides.files import SCAN, write_all
    from dala.slides.findings import findings_of

    found = read_rows(task.folder)
    if found is None:
        raise SlideError("no_rows", f"There is no scan of {who_is(readable(task.path.name))} to report.")
    header, rows = found
    if header["slide"] != slide.fingerprint:
        raise SlideError("other_slide", f"The folder '{task.folder.name}' holds the scan of another slide.")
    findings = findings_of(header, rows)
    if task.report_only or not _vouched(task.folder, SCAN):
        write_all(task.folder, findings, slide.overview, mm2, task.day)
    expected = findings.expected
    return {
        "fields": header["fields"],
        **{state.replace(" ", "_"): number for state, number in findings.counts.items()},
        "regions": len(findings.groups),
        "largest_region": max((len(region.fields) for region in findings.regions), default=0),
        **({} if expected is None else {"expected": round(expected.value, 1), "expected_low": round(expected.low, 1),
                                        "expected_high": round(expected.high, 1)}),
        "mostly_outside": findings.outside,
        "weights": header["weights"],
    }  # fmt: skip


def _vouched(folder: Path, name: str) -> bool:
    """Whether `scan.json` is of the rows as they are, and of all of them."""
    try:
        told = json.loads((folder / name).read_text(encoding="utf-8"))
        rows = hashlib.sha256((folder / ROWS).read_bytes()).hexdigest()
        return (
            bool(told["complete"])
            and told["files"][ROWS] == rows
            and all((folder / one).exists() for one in told["files"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


@cache
def _model(weights: str, site: str | None, engine: str | None) -> Model:
    from dala.runtime.predict import served
    from dala.sites import find_site, with_site

    model = served(weights, engine, many=True)
    return model if site is None else with_site(model, find_site(site))


def _use_threads(threads: int) -> None:
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _of_system(error: OSError, path: Path) -> str:
    who, why = who_is(readable(path.name)), (error.strerror or type(error).__name__).lower()
    return f"{who} or its folder cannot be used: {why}."


# Several processes


def in_processes(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come, of `workers` spawned processes, each with its own model and a slide at a time.

    A process that dies costs its slide one of `STRIKES` and nobody else anything.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    ending = threading.Event()
    with ThreadPoolExecutor(workers, "dala-lane") as lanes:
        for _ in range(workers):
            lanes.submit(_lane, waiting, done, ending)
        try:
            for _ in tasks:
                outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            ending.set()


def _lane(
    waiting: queue.SimpleQueue[Task], done: queue.SimpleQueue[Outcome | BaseException], ending: threading.Event
) -> None:
    """One process at a time, and the slides that it works off."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, _watch_parent)
    try:
        while not ending.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            for _ in range(STRIKES):
                try:
                    done.put(pool.submit(scan_slide, task).result())
                    break
                except BrokenProcessPool:
                    pool = ProcessPoolExecutor(1, context, _watch_parent)
                    if ending.is_set():
                        return
            else:
                done.put(killed(task))
    except BaseException as error:  # the other end raises it
        done.put(error)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _watch_parent() -> None:
    """A process whose parent is gone has nobody to work for; its rows are written."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="dala-parent", daemon=True).start()


def killed(task: Task) -> Outcome:
    """Of a slide that has killed its process too often."""
    sentence = (
        f"{who_is(readable(task.path.name))} has ended the process that read it {STRIKES} times and was left out."
    )
    return Outcome(task.name, KILLED, "killed", sentence)


# A cluster


def on_cluster(tasks: Sequence[Task], address: str, patience: float = 20.0) -> Iterator[Outcome]:
    """Outcomes as they come, from the Dask workers of the scheduler at `address`; paths mean the same on all of them.

    A worker that dies costs its slide one of the strikes that the scheduler allows ("distributed.scheduler.
    allowed-failures", 3 unless configured). Raises DalaError without Dask or where nobody answers.
    """
    try:
        from distributed import Client, as_completed
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise DalaError("Dask is not installed; `pip install -r requirements-cluster.txt` brings it.") from error
    try:
        client = Client(address, timeout=patience)
    except (OSError, ValueError, TimeoutError) as error:
        raise DalaError(f"No Dask scheduler answers at {address}.") from error
    with client:
        futures = {client.submit(scan_slide, task, pure=False): task for task in tasks}
        for future in as_completed(list(futures)):
            task = futures[future]
            try:
                yield future.result()
            except KilledWorker:
                yield killed(task)


# The table of a folder


def table(outcomes: Sequence[Outcome]) -> str:
    """The slides as CSV (RFC 4180), sorted by name."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for one in sorted(outcomes, key=lambda outcome: outcome.name):
        told = {"slide": one.name, **{key: value for key, value in asdict(one).items() if key != "facts"}, **one.facts}
        writer.writerow({key: harmless(value) for key, value in told.items()})
    return file.getvalue()


def write_table(path: Path, outcomes: Sequence[Outcome]) -> None:
    """The table as a file, whole or not at all."""
    write_text(path, table(outcomes))
