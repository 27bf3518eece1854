"""Does everybody get the answer to their own image? Eight people at once against the served app.

    dala load --images DIR [--users 8] [--seconds 360]

DIR holds true patches (any PNG; those that the gate refuses are left out). Every user is a browser profile of its own
in one Chromium, which works on the same cores as the server: uploads an image of its own, waits for the verdict,
moves the threshold by keyboard, downloads the numbers, and starts again. Afterwards every download is compared with
what the model says of that file by itself: sha256 and probabilities.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from dala.errors import DataError
from dala.studies.blocks import Block, Chart, Guide, Line, Text
from dala.studies.record import Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import at_least
from dala.words import counted

Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Seconds(Record):
    """How long verdicts took; `each`: when one came, and how long it took."""

    median: float
    percentile_95: float
    each: Pairs


@dataclass(frozen=True, kw_only=True)
class Memory(Record):
    """The server's memory in MB after the first minute and later, how fast it climbs (MB a minute), and over time."""

    after_warm_up: float
    largest_later: float
    climb_per_minute: float
    climb_second_half: float
    each: Pairs


@dataclass(frozen=True, kw_only=True)
class Load(Result):
    """What every user got, how long it took, what went wrong, and what the server's memory did."""

    weights_sha256: str
    engine: str
    users: int
    verdicts: int
    mixed_up: int
    errors: tuple[str, ...]
    seconds: Seconds
    memory_mb: Memory


# The command

EACH = 60  # images of a user: more than can be looked at in six minutes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", "--pictures", type=Path, required=True, metavar="DIR")
    parser.add_argument("--users", type=at_least(1), default=8)
    parser.add_argument("--seconds", type=float, default=360)
    parser.add_argument("--evidence", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.export.records import prediction_record
    from dala.opinion import second_opinion
    from dala.runtime.predict import load_model
    from dala.studies.crowd import WARM_UP, busy_with_other_work, climb, served_to

    images = sorted(options.images.rglob("*.png"))
    random.Random(0).shuffle(images)
    model = load_model()
    # Those that the gate refuses get no verdict to wait for.
    taken = (one for one in images if second_opinion(one, model).gate.inside)
    images = list(islice(taken, options.users * EACH))
    if len(images) < options.users:
        raise DataError(f"{options.images} holds fewer than {counted(options.users, 'PNG')} that the gate accepts.")
    others = busy_with_other_work()
    visit = served_to(images, options.users, options.seconds)
    if not visit.answers:
        raise DataError(f"Nobody got a verdict: {'; '.join(visit.errors) or 'the time is too short'}")

    mixed_up = 0
    for one in visit.answers:
        content = one.file.read_bytes()
        alone, told = prediction_record(second_opinion(content, model)), one.opinion
        same = told["sha256"] == hashlib.sha256(content).hexdigest() == alone["sha256"]
        mixed_up += not (same and told["probabilities"] == alone["probabilities"])
    seconds = np.array([one.seconds for one in visit.answers])
    late = [value for at, value in visit.memory if WARM_UP <= at <= options.seconds] or [visit.memory[-1][1]]
    record = Load(
        protocol=f"{options.users} browser profiles in one Chromium on the server's own "
        f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, {others:.1f} of them busy with other work just "
        f"before, each uploading images of its own for {options.seconds:g} seconds, moving the threshold and "
        "downloading the numbers; every download compared with the model's answer to that file alone (sha256 and "
        "probabilities)",
        command=STUDY.command,
        weights_sha256=model.card.fields["sha256"],
        engine=model.runs_on.name,
        users=options.users,
        verdicts=len(visit.answers),
        mixed_up=mixed_up,
        errors=visit.errors,
        seconds=Seconds(
            median=float(np.median(seconds)),
            percentile_95=float(np.percentile(seconds, 95)),
            each=tuple((round(one.at, 1), round(one.seconds, 2)) for one in visit.answers),
        ),
        memory_mb=Memory(
            after_warm_up=late[0],
            largest_later=max(late),
            climb_per_minute=climb(visit.memory, WARM_UP, options.seconds),
            # What is still being filled for the first time after a minute looks like a leak; by now it is full.
            climb_second_half=climb(visit.memory, options.seconds / 2, options.seconds),
            each=visit.memory,
        ),
    )
    STUDY.write(record, options.evidence)
    print(f"{record.protocol}\n{sentence(record)}\nwritten to {options.evidence}")
    return 0


# The page


def sentence(record: Load) -> str:
    """What many users at once got, and what went wrong."""
    seconds, memory = record.seconds, record.memory_mb
    kinds = "; ".join(f"{count} x {kind.rstrip('.')}" for kind, count in Counter(record.errors).items())
    return (
        f"{counted(record.users, 'user')} at once got {counted(record.verdicts, 'verdict')}, "
        f"{record.mixed_up or 'none'} of them mixed up: half of them within {seconds.median:.1f} s, 95 % within "
        f"{seconds.percentile_95:.1f} s. Memory after the first minute: {memory.after_warm_up:,} MB, at most "
        f"{memory.largest_later:,} MB later; from then on it climbs by {memory.climb_per_minute:+.1f} MB a minute, in "
        f"the second half of the test by {memory.climb_second_half:+.1f}. "
    ) + (f"Errors: {kinds}." if kinds else "No error.")


def waits(record: Load) -> Line:
    """How long every verdict took (s), over the time at which it came (s)."""
    return Line.through("a verdict", sorted(record.seconds.each))


def memory(record: Load) -> Line:
    """The server's memory (MB) over time (s)."""
    return Line.through("memory of the server", record.memory_mb.each)


def section(record: Load) -> list[Block]:
    """What happened in words, every wait, and the memory."""
    return [
        Text(sentence(record)),
        Chart(
            "load-waits",
            "Waiting time of every verdict over the time of the test",
            "Time (s)",
            "Wait for a verdict (s)",
            lines=[replace(waits(record), marked=True, joined=False)],
            guides=(Guide("y", record.seconds.percentile_95, "95 %", strong=True),),
            from_zero=True,
            height=300,
        ),
        Chart(
            "load-memory",
            "Memory of the server over the time of the test",
            "Time (s)",
            "Memory of the server (MB)",
            lines=[memory(record)],
            from_zero=True,
            height=300,
        ),
    ]


STUDY = Study(
    "load",
    "load.json",
    Load,
    "breakhis",
    "dala load --images DIR",
    part="Speed and load",
    title="Many at once",
    question="Does everybody get the answer to their own image, how long does it take, and does memory stay flat?",
    section=section,
    verb=Verb(
        "load",
        None,
        "eight browsers at once against the served app: times, memory, and whether every answer is of the own image "
        "(8 minutes on two cores)",
        add_arguments,
        run,
    ),
)
