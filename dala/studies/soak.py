"""Does the served app stay itself under everything at once? Browsers, programs, altered files and a scan.

    dala soak [--browsers 8] [--programs 2] [--minutes 5]

runs `tests/soak.py` of a checkout, on SQLite or on the database that DALA_SOAK_DATABASE
names. A run on another database is added to the file, one on the same is replaced.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dala.errors import DataError
from dala.studies.blocks import Block, Row, Table, Text
from dala.studies.record import Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import at_least
from dala.words import NO_BREAK, counted

ACTIONS = {
    "page": "Open the first page",
    "answer": "Answer and maps of an example",
    "keep": "Keep the case",
    "reopen": "Reopen a case, with its maps",
    "compare": "Two cases side by side",
    "delete": "Delete a case",
    "opinion": "Opinion, asked by a program",
    "opinion beside hostile files": "The same, beside altered files",
}


@dataclass(frozen=True, kw_only=True)
class Wait(Record):
    """How often something was done, and how long it took (s)."""

    count: int
    median: float
    percentile_95: float


@dataclass(frozen=True, kw_only=True)
class Memory(Record):
    """The server's memory (MB, VmRSS) once both models are loaded, at most, and at the end."""

    both_models: int
    largest: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """One run: what was at the app for how long, what everything took, and each thing that went wrong."""

    database: str
    minutes: float
    browsers: int
    programs: int
    scans: int
    processor: str
    cores: int
    waits: dict[str, Wait]
    memory_mb: Memory
    failures: tuple[str, ...]
    measured: str


@dataclass(frozen=True, kw_only=True)
class Soak(Result):
    """A run for each database."""

    runs: tuple[Run, ...]


def with_run(earlier: Soak | None, run: Run) -> Soak:
    """The record with a run in the place of an earlier one of the same database."""
    others = () if earlier is None else tuple(one for one in earlier.runs if one.database != run.database)
    runs = tuple(sorted((*others, run), key=lambda one: one.database, reverse=True))
    protocol = (
        "Browser profiles of one Chromium keep, reopen, compare and delete cases of their own; programs ask the HTTP "
        "API for opinions on drawn images and on altered files, and keep, reopen, change and delete cases; a drawn "
        "slide is scanned again and again by `dala scan`; all on the server's own cores, with MALLOC_ARENA_MAX=2. "
        "Every case must say what was kept, the deleted ones must be gone, the log's chain must hold. "
        + " ".join(in_words(one) for one in runs)
    )
    return Soak(protocol=protocol, command=STUDY.command, runs=runs)


def in_words(run: Run) -> str:
    """What was at the app, for how long, and on what machine."""
    return (
        f"{run.database}: {counted(run.browsers, 'browser')}, {counted(run.programs, 'program')} and "
        f"{counted(run.scans, 'finished scan')} in {run.minutes:g} minutes on {run.measured}, "
        f"{counted(run.cores, 'core')} of {run.processor}."
    )


# The command

SCRIPT = Path(__file__).resolve().parents[2] / "tests" / "soak.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--browsers", type=at_least(1), default=8, metavar="N")
    parser.add_argument("--programs", type=at_least(1), default=2, metavar="N")
    parser.add_argument("--minutes", type=at_least(1), default=5, metavar="N")


def run(options: argparse.Namespace) -> int:
    if not SCRIPT.is_file():
        raise DataError("The soak test needs a checkout of the repository, with its tests.")
    told = {"browsers": options.browsers, "clients": options.programs, "minutes": options.minutes}
    words = [word for name, value in told.items() for word in (f"--{name}", str(value))]
    return subprocess.run([sys.executable, str(SCRIPT), *words, "--record"], cwd=SCRIPT.parents[1]).returncode


# The page


def sentence(run: Run) -> str:
    """What happened in a run, and what memory did."""
    memory, done = run.memory_mb, sum(one.count for one in run.waits.values())
    went = "nothing was lost or mixed up" if not run.failures else f"**{counted(len(run.failures), 'failure')}**"
    return (
        f"On {run.database}, {counted(run.browsers, 'browser')} and {counted(run.programs, 'program')} beside a scan "
        f"waited {done:,} times in {run.minutes:g} minutes: {went}. Memory with both models: "
        f"{memory.both_models:,} MB, at most {memory.largest:,} MB, at the end {memory.last:,} MB."
    )


def table(record: Soak) -> list[Row]:
    """A row for each thing that was done: how long 95 % and half of them took at most."""
    return [
        {
            "Waiting for": name,
            **{
                f"{run.database}: 95 % within": f"{run.waits[key].percentile_95:.1f}{NO_BREAK}s"
                if key in run.waits
                else ""
                for run in record.runs
            },
            **{
                f"{run.database}: half within": f"{run.waits[key].median:.1f}{NO_BREAK}s" if key in run.waits else ""
                for run in record.runs
            },
        }
        for key, name in ACTIONS.items()
        if any(key in run.waits for run in record.runs)
    ]


def section(record: Soak) -> list[Block]:
    """Each run in a sentence, all waits in a table."""
    return [*(Text(sentence(run)) for run in record.runs), Table(table(record), "Waits while everything is at the app")]


STUDY = Study(
    "soak",
    "soak.json",
    Soak,
    None,
    "dala soak",
    part="Speed and load",
    title="Everything at once",
    question="Is every case still what was kept while browsers, programs, altered files and a scan are at the app?",
    section=section,
    verb=Verb(
        "soak",
        None,
        "browsers, programs, altered files and a scan at once against the served app: waits, memory, and whether every "
        "case is what was kept (7 minutes)",
        add_arguments,
        run,
    ),
)
