"""Commands for whole slides: slides, which lists what they are, and scan."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dala.cli import Command
from dala.cli.serve import ENGINE, SITE, sizes_told, usual_weights
from dala.terminal import WrongCall, at_least, complain, progress
from dala.words import counted

if TYPE_CHECKING:
    from dala.batch import Sizes
    from dala.slides.folder import Listed
    from dala.slides.listing import About
    from dala.slides.many import Outcome, Task

UM = "micrometres per pixel of level 0, or a CSV file with the columns file and um (default: what the slides state)"
PATHS = "a slide or a folder of them"
TABLE = "slides.csv"


def add(command: Command) -> None:
    """Add slides and scan."""
    sub = command("slides", _slides, "what slides are: format, size, pixel size, tissue, fields, time of a scan")
    sub.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
    sub.add_argument("--um", default=None, metavar="UM|CSV", help=UM)
    sub.add_argument("--json", action="store_true", help="JSON lines instead of a readable table")

    sub = command("scan", _scan, "look at every field with tissue of slides: map, regions, tables, report; goes on")
    sub.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a folder for each slide, and a table of all"
    )
    sub.add_argument("--um", default=None, metavar="UM|CSV", help=UM)
    sub.add_argument("--workers", type=at_least(1), default=1, metavar="N", help="processes, each a slide at a time")
    sub.add_argument("--shard", type=_shard, default=None, metavar="I/N", help="only part I of N, from 1: array jobs")
    sub.add_argument("--cluster", default=None, metavar="ADDRESS", help="a Dask scheduler, such as tcp://HEAD:8786")
    sub.add_argument("--report-only", action="store_true", help="write the files of what has been scanned anew")
    sub.add_argument("--weights", default=None, metavar="NAME", help="weights that see at a physical scale")
    sub.add_argument("--engine", default=None, metavar="NAME", help=ENGINE)
    sub.add_argument("--site", default=None, metavar="FILE|NAME", help=SITE)


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"part I of N is written I/N, from 1/N to N/N, not {text!r}")
    return int(found[1]), int(found[2])


def _sizes(told: str | None) -> Sizes:
    def check(um: float) -> None:
        low, high = RANGE_UM
        if not low <= um <= high:
            raise WrongCall(f"--um is from {low:g} to {high:g} micrometres, not {um:g}.")

    from dala.slides.reader import RANGE_UM

    return sizes_told(told, "--um", check)


def _slides(options: argparse.Namespace) -> int:
    from dala.slides.folder import listed
    from dala.slides.listing import about

    sizes, found = _sizes(options.um), []
    for one in listed(options.paths):
        told = about(one, sizes(one.name))
        if told.fields:
            told = replace(told, seconds=round(_seconds_per_field() * told.fields, 1))
        found.append(told)
        print(json.dumps(asdict(told), ensure_ascii=False) if options.json else _in_words(told), flush=True)
    if len(found) > 1 and not options.json:
        fields, seconds = sum(one.fields or 0 for one in found), sum(one.seconds or 0 for one in found)
        print(f"{counted(len(found), 'slide')}: {counted(fields, 'field')}, {_time(seconds)}")
    return _closed([one.reason for one in found], "cannot be scanned")


@cache
def _seconds_per_field() -> float:
    """Measured once, with the weights that scan."""
    from dala.runtime.predict import served
    from dala.slides.listing import seconds_per_field

    return seconds_per_field(served(usual_weights(), many=True))


def _in_words(one: About) -> str:
    parts = []
    if one.format is not None:
        um = "pixel size not stated"
        if one.um is not None:
            rows, columns = (f"{side:.4g}" for side in one.um)
            um = f"{columns if rows == columns else f'{columns} x {rows}'} um per pixel"
            um += " (given by the user)" if one.um_source == "user" else ""
        parts += [one.format, f"{one.width:,} x {one.height:,} px", um]
    if one.tissue_mm2 is not None:
        parts.append(f"{one.tissue_mm2:.1f} mm2 of tissue")
    if one.fields is not None:
        parts.append(counted(one.fields, "field"))
    if one.seconds is not None:
        parts.append(_time(one.seconds))
    told = "; ".join(parts)
    return f"{one.name}: {told}{'. ' if told and one.sentence else ''}{one.sentence or ''}"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"about {counted(max(1, round(seconds)), 'second')} to scan here"
    return f"about {counted(minutes, 'minute') if minutes < 120 else f'{minutes / 60:.1f} hours'} to scan here"


def _scan(options: argparse.Namespace) -> int:
    from dala.slides.folder import listed, shard
    from dala.slides.many import write_table

    slides, table = listed(options.paths), TABLE
    if options.shard is not None:
        number, of = options.shard
        slides, table = shard(slides, number, of), f"slides-{number}-of-{of}.csv"
    outcomes = []
    for outcome in _outcomes(options, _tasks(options, slides)):
        outcomes.append(outcome)
        print(_outcome_in_words(outcome), flush=True)
    if outcomes:
        write_table(options.out / table, outcomes)
        print(f"Written to {options.out}.", file=sys.stderr)
    return _closed([None if one.good else one.reason for one in outcomes], "not scanned")


def _tasks(options: argparse.Namespace, slides: Sequence[Listed]) -> list[Task]:
    from dala.slides.many import Task

    sizes = _sizes(options.um)
    threads = max(1, (os.cpu_count() or 1) // options.workers) if options.workers > 1 else None
    site = options.site and (str(Path(options.site).absolute()) if Path(options.site).is_file() else options.site)
    # A cluster's workers have folders of their own: what they are sent must mean the same to all.
    return [
        Task(
            one.name,
            one.path.absolute(),
            (options.out / one.name).absolute(),
            sizes(one.name),
            options.weights or usual_weights(),
            site,
            options.engine,
            options.report_only,
            threads,
        )
        for one in slides
    ]


def _outcomes(options: argparse.Namespace, tasks: Sequence[Task]) -> Iterator[Outcome]:
    from dala.slides.many import in_processes, on_cluster, scan_slide

    if options.cluster is not None:
        yield from _counted(on_cluster(tasks, options.cluster), len(tasks))
    elif len(tasks) == 1 or options.report_only:
        for task in tasks:
            yield scan_slide(task, progress(task.name, "field"))
    else:
        yield from _counted(in_processes(tasks, min(options.workers, len(tasks) or 1)), len(tasks))


def _counted(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    update = progress("scan", "slide")
    for done, outcome in enumerate(outcomes, start=1):
        yield outcome
        update(done, total)


def _outcome_in_words(one: Outcome) -> str:
    facts = one.facts
    if not one.good:
        return f"{one.name}: {one.status}. {one.sentence}"
    told = ", ".join(
        f"{facts[key]:,} {key.replace('_', ' ')}"
        for key in ("malignant", "benign", "not_sure", "outside", "unreadable")
        if facts[key]
    )
    mostly = (
        f" Most of it is outside the model's competence: {facts['mostly_outside']}." if facts["mostly_outside"] else ""
    )
    again = f" {one.sentence}" if one.sentence else ""
    found = f"{counted(facts['fields'], 'field')}: {told}; {counted(facts['regions'], 'region')}"
    return f"{one.name}: {found}.{mostly}{again}"


def _closed(reasons: Sequence[str | None], what: str) -> int:
    """The exit status, with a sentence where something is missing: 2 if only a person can tell it, the pixel size."""
    missing = [reason for reason in reasons if reason is not None]
    if not missing:
        return 0
    of = f"{len(missing)} of {counted(len(reasons), 'slide')}"
    if "no_pixel_size" in missing:
        count = missing.count("no_pixel_size")
        complain(f"{of} {what}; {count} without a pixel size: --um states it, as a number or as a table.")
        return 2
    complain(f"{of} {what}.")
    return 1
