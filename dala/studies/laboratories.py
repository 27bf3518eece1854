"""Does it hold where it did not learn? Patients left out, and whole laboratories, side by side.

    dala laboratories --data ROOT

`dala.training.laboratories` measures it; here are its record and what the page says of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Caption, Point, Row, Table, Text, bullets, interval_chart, numbers, point
from dala.studies.names import COLOUR, METRICS, NETWORK
from dala.studies.record import Data as Images
from dala.studies.record import Record, Result
from dala.studies.study import Study
from dala.words import counted, figure, share

PART = "Laboratories"
TITLES = {
    NETWORK: "DALAResNet50",
    "layer2": "Second stage alone",
    "layer3": "Third stage alone",
    "layer4": "Last stage alone (linear probe)",
    COLOUR: "Colour alone",
}

Scores = dict[str, dict[str, Interval]]


@dataclass(frozen=True, kw_only=True)
class Answers(Record):
    """Share of images with an answer, and of these the share that is wrong."""

    share: Interval
    wrong: Interval


@dataclass(frozen=True, kw_only=True)
class Laboratory(Record):
    """A laboratory: scores by model and metric where it is known and where it was left out, and its answers."""

    images: int
    groups: int
    benign: int
    malignant: int
    known: Scores
    left_out: Scores
    answered: Answers
    answered_left_out: Answers


@dataclass(frozen=True, kw_only=True)
class OneClass(Record):
    """A laboratory that holds carcinomas alone, never trained on: shares of its images above even odds by model, and
    of those that are answered malignant."""

    images: int
    called_malignant: dict[str, float]
    answered_malignant: float


@dataclass(frozen=True, kw_only=True)
class Pooling(Record):
    """How fields become one answer: AUC by rule and number of fields, the rule that was chosen, and the share of single
    benign images above even odds."""

    explained: str
    auc: dict[str, dict[str, float]]
    chosen: dict[str, Any]
    benign_above_even: float


@dataclass(frozen=True, kw_only=True)
class Laboratories(Result):
    """Every laboratory, those of one class, and how fields are pooled."""

    imagenet: str
    data: Images
    explained: dict[str, str]
    laboratories: dict[str, Laboratory]
    one_class: dict[str, OneClass]
    least_malignant: float
    pooling: Pooling


def summary(record: Laboratories) -> str:
    """The first sentence of the page on it."""
    known = ", ".join(f"{name} {figure(one.known[NETWORK]['auc'])}" for name, one in record.laboratories.items())
    new = ", ".join(f"{name} {figure(one.left_out[NETWORK]['auc'])}" for name, one in record.laboratories.items())
    return f"AUC on patients left out, by laboratory: {known}; with the whole laboratory left out: {new}."


def points(record: Laboratories) -> list[Point]:
    """AUC of the network in every laboratory, known and left out."""
    return [
        point(f"{name}, {kind}", scores[NETWORK]["auc"])
        for name, one in record.laboratories.items()
        for kind, scores in (("patients left out", one.known), ("laboratory left out", one.left_out))
    ]


def answers_table(record: Laboratories) -> list[Row]:
    """How many images are answered, and how many of the answers are wrong."""
    return [
        {
            "Laboratory": name,
            "Images": f"{one.images:,}",
            "Patients": f"{one.groups:,}",
            "Answered": figure(one.answered.share, percent=True),
            "Of these wrong": figure(one.answered.wrong, percent=True),
            "Answered where it is unknown": figure(one.answered_left_out.share, percent=True),
            "Of those wrong": figure(one.answered_left_out.wrong, percent=True),
        }
        for name, one in record.laboratories.items()
    ]


def scores_table(record: Laboratories, metric: str, of: Callable[[Laboratory], Scores]) -> list[Row]:
    """A metric by model and laboratory."""
    return [
        {"": TITLES[model], **{name: figure(of(one)[model][metric]) for name, one in record.laboratories.items()}}
        for model in record.explained
    ]


def metrics_table(record: Laboratories) -> list[Row]:
    """Every metric of the network on patients left out."""
    return [
        {"": label, **{name: figure(one.known[NETWORK][metric]) for name, one in record.laboratories.items()}}
        for metric, label in METRICS.items()
    ]


def section(record: Laboratories) -> list[Block]:
    """Laboratories known and left out, the models beside the network, and those of one class."""
    strangers = "; ".join(
        f"{name}, {counted(one.images, 'image')}: {share(one.called_malignant[NETWORK])} above even odds, "
        f"{share(one.answered_malignant)} answered malignant and none benign"
        for name, one in record.one_class.items()
    )
    return [
        interval_chart(points(record), "AUC", "laboratories"),
        Text(
            "A laboratory that the model has not seen is ranked nearly as well, but its cut is elsewhere: so the model "
            f"answers **malignant** there only above {share(record.least_malignant)}, and benign never."
        ),
        Table(answers_table(record), "Answers given, and how many of them are wrong"),
        Text(f"Carcinomas of laboratories that no training saw: {strangers}."),
        numbers("Every metric on patients left out", metrics_table(record)),
        numbers("AUC of other models, patients left out", scores_table(record, "auc", lambda one: one.known)),
        numbers("AUC of other models, laboratory left out", scores_table(record, "auc", lambda one: one.left_out)),
        numbers(
            "Balanced accuracy at even odds, laboratory left out",
            scores_table(record, "balanced_accuracy", lambda one: one.left_out),
        ),
        Caption(bullets(f"**{TITLES[name]}**: {words}" for name, words in record.explained.items())),
        numbers(
            "One malignant field among several, by rule of pooling",
            [
                {"Rule": rule.replace("_", " "), **{f"{n} fields": f"{auc:.2f}" for n, auc in row.items()}}
                for rule, row in record.pooling.auc.items()
            ],
        ),
        Caption(f"{record.pooling.explained}."),
    ]


STUDY = Study(
    "laboratories",
    "laboratories.json",
    Laboratories,
    "breast",
    "dala laboratories --data ROOT",
    part=PART,
    title="Laboratories",
    question="Does it hold for patients, and for laboratories, that it has not seen?",
    section=section,
    summary=summary,
)
