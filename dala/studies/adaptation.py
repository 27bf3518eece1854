"""What do a few labelled images of one's own laboratory bring? The curve of `dala adapt`, on laboratories left out.

dala adaptation --data ROOT
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Chart, Line, Row, Table, Text, numbers
from dala.studies.options import add_runs
from dala.studies.record import Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.runtime.predict import Model
    from dala.studies.adaptation_fit import Drawn, Stranger
    from dala.training.laboratories.samples import Samples

GOAL = 8  # labelled images a class for which a gain was aimed at


@dataclass(frozen=True, kw_only=True)
class Answers(Record):
    """Over the draws: AUC, balanced accuracy at even odds, share of images answered and of these wrong. The value is
    the mean over the draws (of the last two: of all draws together); low and high are the lowest and the highest."""

    auc: Interval
    balanced_accuracy: Interval
    answered: Interval
    wrong: Interval


@dataclass(frozen=True, kw_only=True)
class Point(Record):
    """So many labelled images a class: the draws, how many images and patients they were tested on, on average, and
    the model without and with the labelled ones on the same; `gain` of balanced accuracy, draw by draw."""

    per_class: int
    draws: int
    images: float
    patients: float
    before: Answers
    after: Answers
    gain: Interval


@dataclass(frozen=True, kw_only=True)
class Curve(Record):
    """A laboratory that the model was trained without, and what labelled images of it bring. `too_few`: numbers a class
    for which it has too few patients."""

    images: int
    groups: int
    benign: int
    malignant: int
    points: tuple[Point, ...]
    too_few: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Adaptation(Result):
    """A curve a laboratory."""

    laboratories: dict[str, Curve]


# Measuring


def measure(root: Path, model: Model, samples: Samples, runs: Path) -> Adaptation:
    """The curves; every draw is kept under `runs` for the next run."""
    from dala.studies import adaptation_fit as fit

    kept = runs / f"adaptation-{str(model.card.fields['sha256'])[:8]}"
    shifted = fit.shifted_features(root, model, runs)
    names = ("UCSB", "BRCA-M2C", fit.SHIFTED)
    bar = progress("labelled images", "step")
    curves: dict[str, Curve] = {}
    for number, name in enumerate(names):
        if name == fit.SHIFTED:
            halves = [fit.shifted_half(model, samples, shifted, half) for half in (0, 1)]
        else:
            halves = [fit.laboratory_without(model, samples, name)]

        points, too_few = [], []
        for count, drawn in fit.curve(_in_turn(halves), name, kept):
            bar(number * len(fit.PER_CLASS) + fit.PER_CLASS.index(count) + 1, len(names) * len(fit.PER_CLASS))
            if drawn:
                points.append(point_of(count, drawn))
            else:
                too_few.append(count)
        labels = np.concatenate([half.images.labels for half in halves])
        curves[name] = Curve(
            images=len(labels),
            groups=sum(len(set(half.images.groups)) for half in halves),
            benign=int((labels == 0).sum()),
            malignant=int((labels == 1).sum()),
            points=tuple(points),
            too_few=tuple(too_few),
        )
    return Adaptation(
        protocol="the head fitted without a laboratory, then with labelled images of it as `dala adapt` does it: "
        f"{fit.DRAWS} draws, tested on the patients that were not drawn; prediction sets of its own from nine patients "
        "on. Stages, attention, the gate's covariance and the limits for unknown laboratories are those of the shipped "
        "weights; the limits were chosen with these laboratories among those left out. Of BreakHis, in turn, "
        "half of the patients are known and the other half has its haematoxylin times "
        f"{fit.STAIN[0]} and its eosin times {fit.STAIN[1]}, drawn from half of its patients at most. "
        "Intervals: the lowest and the highest of the draws",
        command=STUDY.command,
        weights_sha256=model.card.fields["sha256"],
        laboratories=curves,
    )


def _in_turn(strangers: list[Stranger]) -> Callable[[int], Stranger]:
    return lambda number: strangers[number % len(strangers)]


def point_of(per_class: int, drawn: list[Drawn]) -> Point:
    """What the draws of a number of labelled images come to."""
    gains = [one["after"]["balanced_accuracy"] - one["before"]["balanced_accuracy"] for one in drawn]
    return Point(
        per_class=per_class,
        draws=len(drawn),
        images=round(float(np.mean([one["after"]["images"] for one in drawn])), 1),
        patients=round(float(np.mean([one["patients"] for one in drawn])), 1),
        before=answers_of([one["before"] for one in drawn]),
        after=answers_of([one["after"] for one in drawn]),
        gain=spread(gains),
    )


def answers_of(drawn: list[dict[str, Any]]) -> Answers:
    """The figures of several draws together."""

    def share(part: str, whole: str) -> Interval:
        parts, wholes = ([float(one[key]) for one in drawn] for key in (part, whole))
        each = spread([a / b for a, b in zip(parts, wholes, strict=True) if b])
        return {**each, "value": round(sum(parts) / sum(wholes), 4) if sum(wholes) else None}

    return Answers(
        auc=spread([one["auc"] for one in drawn]),
        balanced_accuracy=spread([one["balanced_accuracy"] for one in drawn]),
        answered=share("answered", "images"),
        wrong=share("wrong", "answered"),
    )


def spread(values: list[float]) -> Interval:
    """Mean, lowest and highest; None of nothing."""
    if not values:
        return {"value": None, "low": None, "high": None}
    return {
        "value": round(float(np.mean(values)), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
    }


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="the folder of `dala laboratories`")
    add_runs(parser, "features and draws, kept for the next run")
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.card import read_card
    from dala.runtime.predict import load_model
    from dala.training.laboratories.release import load_samples

    samples = load_samples(read_card("breast")[1])
    record = measure(options.data, load_model("breast", engine="torch"), samples, options.runs)
    STUDY.write(record, options.evidence / STUDY.file)
    print(record.protocol)
    for name, curve in record.laboratories.items():
        for one in curve.points:
            print(
                f"{name:26s}{one.per_class:3d} a class: balanced accuracy {figure(one.before.balanced_accuracy)} -> "
                f"{figure(one.after.balanced_accuracy)}"
            )
    print(f"written to {STUDY.path}")
    return 0


# The page


def lines(record: Adaptation) -> list[Line]:
    """Balanced accuracy by number of labelled images, a curve a laboratory; at 0 the mean without any."""
    return [
        Line.through(
            name,
            [
                (0.0, float(np.mean([_value(one.before.balanced_accuracy) for one in curve.points]))),
                *((float(one.per_class), _value(one.after.balanced_accuracy)) for one in curve.points),
            ],
        )
        for name, curve in record.laboratories.items()
    ]


def _value(interval: Interval) -> float:
    value = interval["value"]
    assert value is not None
    return value


def rows(curve: Curve) -> list[Row]:
    """A row a number of labelled images."""
    return [
        {
            "Labelled a class": str(one.per_class),
            "Tested on": f"{one.images:g} images of {one.patients:g} patients",
            "AUC without": figure(one.before.auc),
            "with them": figure(one.after.auc),
            "Balanced accuracy without": figure(one.before.balanced_accuracy),
            "with": figure(one.after.balanced_accuracy),
            "Gain": figure(one.gain, signed=True),
        }
        for one in curve.points
    ]


def answered_rows(curve: Curve) -> list[Row]:
    """What is answered, and how much of that is wrong."""
    return [
        {
            "Labelled a class": str(one.per_class),
            "Answered without": figure(one.before.answered, percent=True),
            "of these wrong": figure(one.before.wrong, percent=True),
            "Answered with": figure(one.after.answered, percent=True),
            "wrong": figure(one.after.wrong, percent=True),
        }
        for one in curve.points
    ]


def summary(record: Adaptation) -> str:
    """The first sentence of the page on it."""
    found = [
        f"{name} {figure(one.gain, signed=True)}"
        for name, curve in record.laboratories.items()
        for one in curve.points
        if one.per_class == GOAL
    ]
    return f"Balanced accuracy gained by {GOAL} labelled images a class of a new laboratory: {'; '.join(found)}."


def section(record: Adaptation) -> list[Block]:
    """The curves, and the figures of every laboratory."""
    blocks: list[Block] = [
        Text(
            "A laboratory that the model has not seen gets its own cut from a few labelled images. Each row is tested "
            "on patients of whom no image was drawn. Beside a value stand the lowest and the highest of the draws."
        ),
        Chart(
            "adaptation",
            "Balanced accuracy on the other patients of a new laboratory, by number of labelled images a class.",
            "Labelled images a class",
            "Balanced accuracy",
            lines=lines(record),
        ),
    ]
    for name, curve in record.laboratories.items():
        blocks += [
            Table(rows(curve), f"{name}: {counted(curve.benign, 'benign image')} and {curve.malignant} malignant"),
            numbers(f"{name}: answers", answered_rows(curve)),
        ]
        if curve.too_few:
            counts = " and ".join(map(str, curve.too_few))
            blocks.append(Text(f"{name} has too few patients for {counts} a class."))
    return blocks


STUDY = Study(
    "adaptation",
    "adaptation.json",
    Adaptation,
    "breast",
    "dala adaptation --data ROOT",
    part="Laboratories",
    title="One's own laboratory",
    question="What do a few labelled images of one's own laboratory bring?",
    section=section,
    summary=summary,
    verb=Verb(
        "adaptation",
        None,
        "measure what labelled images of a new laboratory bring to `dala adapt` (an hour; what is done is kept)",
        add_arguments,
        run,
    ),
)
