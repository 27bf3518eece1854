"""Does the memory of a scan stay flat over a slide that has as many fields as the largest have? Memory, and no speed.

    dala scan-memory --data ROOT [--fields 20000] [--folder DIR]

A slide with so many fields of tissue is laid out of copies of `slides/CMU-1-Small-Region.svs` below ROOT: 1.5 GB for
20,000, in DIR, where it stays and is used again, or in a temporary folder. A process of its own scans it, and nothing
else does. What the machine does besides makes it slower and changes no figure.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from dala.errors import DataError
from dala.studies.blocks import Block, Chart, Line, Text
from dala.studies.record import Result
from dala.studies.scan_speed import SOURCE, climb
from dala.studies.study import Study, Verb
from dala.terminal import at_least
from dala.words import NO_BREAK

TILE = 256
SHAPE = (4, 3)  # of the slide's sides
PER_MM2 = 17.0  # fields planned for each mm2 of such a slide, at the least: not all of it is tissue
MOST_MB = 450  # what is aimed at
EVERY = 10  # of the points measured, one that is written down


@dataclass(frozen=True, kw_only=True)
class ScanMemory(Result):
    """Memory of the scanning process above the loaded model, in MB over the number of fields; the most that it was; how
    it climbs over the second half, in MB for a thousand fields; and the size and the fields of the slide."""

    weights_sha256: str
    engine: str
    width: int
    height: int
    slide_fields: int
    fields: int
    peak_mb: int
    climb_per_thousand: float
    each: tuple[tuple[int, int], ...]
    measured: str


def size_for(fields: int, um: float) -> tuple[int, int]:
    """Width and height in pixels, whole tiles, of a slide that has so many fields and a few more."""
    mm2 = fields / PER_MM2
    tiles = math.sqrt(mm2 / math.prod(SHAPE)) * 1000 / um / TILE
    width, height = (math.ceil(side * tiles) * TILE for side in SHAPE)
    return width, height


def thinned(memory: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The first points, in which it climbs, then each `EVERY`th, and the last."""
    last = len(memory) - 1
    return tuple(one for number, one in enumerate(memory) if number < EVERY or not number % EVERY or number == last)


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help=f"holds {SOURCE}")
    parser.add_argument("--fields", type=at_least(200), default=20_000, metavar="N")
    parser.add_argument("--folder", type=Path, default=None, metavar="DIR", help="where the slide is made, and stays")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from dala.runtime.predict import served
    from dala.slides.plan import plan_of
    from dala.slides.reader import open_slide
    from dala.studies.scan_speed_runs import watched
    from dala.studies.scan_speed_slide import make

    source = options.data / SOURCE
    if not source.is_file():
        raise DataError(f"There is no {SOURCE} in {options.data.name}.")
    with open_slide(source) as slide:
        size = size_for(options.fields, slide.known_um().columns)
    model = served(STUDY.weights or "")
    place: AbstractContextManager[str | Path] = (
        tempfile.TemporaryDirectory() if options.folder is None else nullcontext(options.folder)
    )
    with place as folder, tempfile.TemporaryDirectory() as out:
        path = Path(folder) / f"laid-out-{size[0]}x{size[1]}.tiff"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            make(source, partial, size)
            partial.rename(path)
        with open_slide(path) as slide:
            planned = len(plan_of(slide).spots)
        with ProcessPoolExecutor(1, get_context("spawn")) as beside:  # its memory is not this process's
            memory, peak = beside.submit(watched, path, model.name, options.fields, Path(out)).result()
    record = ScanMemory(
        protocol=f"a slide laid out of copies of {SOURCE.stem} (OpenSlide's test data), tiled JPEG, is scanned by a "
        "process that does nothing else; its resident memory (Linux, VmRSS) after every hundredth field, and at most "
        "since the model has answered once (VmHWM), less what it holds then; memory alone: the machine had other "
        "things to do, and the time says nothing",
        command=f"{STUDY.command} --fields {options.fields}",
        weights_sha256=str(model.card.fields["sha256"]),
        engine=model.runs_on.name,
        width=size[0],
        height=size[1],
        slide_fields=planned,
        fields=memory[-1][0],
        peak_mb=peak,
        climb_per_thousand=climb(memory),
        each=thinned(memory),
        measured=time.strftime("%Y-%m-%d"),
    )
    STUDY.write(record, options.out)
    print(f"{summary(record)}\nwritten to {options.out}")
    return 0


# The page


def summary(record: ScanMemory) -> str:
    """The most, and whether it climbs."""
    return (
        f"Over {record.fields:,} fields of one slide a scan takes at most {record.peak_mb}{NO_BREAK}MB above its model "
        f"(aimed at: {MOST_MB}), and {record.climb_per_thousand:+.1f}{NO_BREAK}MB for each thousand fields of the "
        "second half."
    )


def section(record: ScanMemory) -> list[Block]:
    """The sentence and the curve."""
    return [
        Text(summary(record)),
        Chart(
            "scan-memory-long",
            "Memory of a scan above the model, over the fields that it has seen",
            "Fields",
            "Memory above the model (MB)",
            lines=[Line.through("memory of the scan", [(float(x), float(y)) for x, y in record.each])],
            from_zero=True,
            height=300,
        ),
    ]


STUDY = Study(
    "scan_memory",
    "scan_memory.json",
    ScanMemory,
    "breast",
    "dala scan-memory --data ROOT",
    part="Speed and load",
    title="Memory of a long scan",
    question="Does the memory of a scan stay flat over a slide with as many fields as the largest have?",
    section=section,
    verb=Verb(
        "scan-memory",
        None,
        "the memory of a scan over 20,000 fields, of a slide that is made for it (half an hour on two cores)",
        add_arguments,
        run,
    ),
)
