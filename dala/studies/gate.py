"""What does the gate refuse? True patches of patients held out, and all that a model of H&E patches cannot assess.

dala gate breakhis --data ROOT --others DIR
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dala.stats.bootstrap import Interval
from dala.studies.blocks import (
    Block,
    Chart,
    Choice,
    Guide,
    Line,
    Point,
    Row,
    Text,
    interval_chart,
    lines_table,
    numbers,
    plain_cell,
    point,
    points_table,
)
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import progress
from dala.words import figure

Expected = Literal["accept", "refuse", "report"]
VERDICTS: dict[Expected, str] = {"refuse": "should be refused", "accept": "should pass", "report": "is reported apart"}


@dataclass(frozen=True, kw_only=True)
class Refused(Record):
    """Images, the sources that they are of (patients, photographs, films), how many are refused, and their share."""

    images: int = field(metadata=IMAGES)
    sources: int
    refused: int
    share: Interval


@dataclass(frozen=True, kw_only=True)
class TruePatches(Refused):
    """With the checks that refuse, and of every accession group how many of how many."""

    by_check: dict[str, int]
    by_group: dict[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Kind(Refused):
    """Images of one kind: what is expected of them, how they were made, and their ROC curve against true patches."""

    name: str
    family: str
    expected: Expected
    about: str
    by_check: dict[str, int]
    auc: float
    roc: tuple[tuple[float, float], ...]
    by_distance_alone: int


@dataclass(frozen=True, kw_only=True)
class Family(Refused):
    """All kinds of a family of which the same is expected."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GateRecord(Result):
    """The limit, what it costs in true patches, and what it keeps out."""

    weights: str
    weights_sha256: str
    trunk: str
    enlarged: int
    modality: str
    data: Data
    limit: float
    true_patches: TruePatches
    kinds: tuple[Kind, ...]
    families: dict[str, Family]
    left_out: tuple[str, ...]


def table(record: GateRecord, expected: Expected) -> list[Row]:
    """A row a kind of image of which the same is expected."""
    return [
        {
            "Images": plain_cell(f"{kind.name}: {kind.about}"),
            "Refused": f"{kind.refused} of {kind.images}",
            "Share": figure(kind.share, percent=True),
            "AUC": f"{kind.auc:.3f}",
            "By which check": plain_cell(", ".join(f"{name} {count}" for name, count in kind.by_check.items()))
            or "none",
            "By distance alone": f"{kind.by_distance_alone} of {kind.images}",
        }
        for kind in record.kinds
        if kind.expected == expected
    ]


def families(record: GateRecord) -> list[Point]:
    """Share refused: the true patches of patients held out, then every family of other images."""
    rows = {"true patches (accept)": record.true_patches, **record.families}
    return [point(name, row.share) for name, row in rows.items()]


def lines(record: GateRecord) -> list[Line]:
    """ROC curves of the kinds that should be refused, the hardest first: x true patches refused, y the kind refused."""
    kinds = sorted((kind for kind in record.kinds if kind.expected == "refuse"), key=lambda kind: kind.auc)
    return [Line.through(kind.name, kind.roc) for kind in kinds]


def summary(record: GateRecord) -> str:
    """What the gate costs and what it keeps out."""
    said = f"Of true patches of patients held out it refuses {_refused(record.true_patches)}"
    for family, words in (("no histology", "images that are no histology"), ("not H&E", "patches in other colours")):
        row = record.families.get(f"{family} (refuse)")
        if row is not None:
            alone = sum(kind.by_distance_alone for kind in record.kinds if kind.name in row.kinds)
            said += f"; of {words} {_refused(row)} (the distance without the checks: {alone:,})"
    return said + ". The checks were chosen with these images in view."


def _refused(row: Refused) -> str:
    return f"{row.refused:,} of {row.images:,}, {figure(row.share, percent=True)}"


def section(record: GateRecord) -> list[Block]:
    """Every family, the curve of one kind among the others, and every kind in tables."""
    points, curves = families(record), lines(record)
    limit = record.true_patches.share["value"]

    def one(name: str) -> list[Block]:
        chosen = next(line for line in curves if line.name == name)
        return [
            Chart(
                "gate",
                f"ROC curve of the gate for {name}, all others in grey",
                "True patches refused",
                "These images refused",
                lines=[*(replace(line, faint=True) for line in curves if line is not chosen), chosen],
                guides=() if limit is None else (Guide("x", limit, strong=True),),
                square=True,
            ),
            Text(
                "Each curve is one kind of image that should be refused; the dashed line is the limit in use. A curve "
                "in the upper left corner is kept out without losing true patches."
            ),
            numbers("The numbers of the chosen curve", lines_table([chosen], "True patches refused")),
        ]

    return [
        interval_chart(points, "Share refused", "gate-families", percent=True),
        Text(summary(record)),
        numbers("The numbers of the families", points_table(points, "Images", "Share refused", percent=True)),
        Choice(
            "Images to keep out",
            [line.name for line in curves],
            "kind",
            one,
            help="The hardest to keep out comes first.",
        ),
        *(
            numbers(f"Every kind of image that {words}", rows)
            for expected, words in VERDICTS.items()
            if (rows := table(record, expected))
        ),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument(
        "--others", type=Path, default=None, metavar="DIR", help="holds mini_ddsm, tissue_tiles_150, ..."
    )
    parser.add_argument("--weights", default="breakhis", metavar="NAME")
    add_runs(parser, "features, kept for the next run")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="the JSON of all figures")


def run(options: argparse.Namespace) -> int:
    from dala.studies.gate_fit import fit_and_measure, write_statistics

    familiarity, model, told = fit_and_measure(
        options.data, options.others, options.weights, options.runs, progress=progress
    )
    record = GateRecord.from_json(json.loads(json.dumps(told)))
    out = options.out or Path("evidence") / f"gate_{model.name}.json"
    STUDY.write(record, out)
    path = write_statistics(model, options.weights, familiarity)
    print(record.protocol)
    print(_line("true patches", "accept", record.true_patches, record.true_patches.by_check))
    for kind in record.kinds:
        print(_line(kind.name, kind.expected, kind, kind.by_check, kind.auc))
    for name, family in record.families.items():
        print(_line(name, "", family, {}))
    print(f"written to {out} and {path.name}")
    return 0


def _line(name: str, expected: str, row: Refused, checks: Mapping[str, int], auc: float | None = None) -> str:
    told = f"{name[:36]:36s}  {expected:7s} {row.refused:4d} of {row.images:4d} refused  {figure(row.share)}"
    told += "" if auc is None else f"  AUC {auc:.3f}"
    return told + "  " + ", ".join(f"{check} {count}" for check, count in checks.items())


STUDY = Study(
    "gate",
    "gate_breakhis.json",
    GateRecord,
    "breakhis",
    "dala gate breakhis --data ROOT --others DIR",
    part="Not sure, or refused",
    title="What it refuses",
    question="Does it turn away what it cannot assess, and how many true patches does that cost?",
    section=section,
    summary=summary,
    verb=Verb(
        "gate",
        "breakhis",
        "fit the gate's statistics beside the weights and measure it on everything else (15 minutes on two cores at "
        "320 pixels; what is done is kept)",
        add_arguments,
        run,
    ),
)
