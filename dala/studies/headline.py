"""How often is it wrong? Grouped cross-validation of the recipe beside much simpler models, on the same folds.

    dala crossvalidate breakhis --data ROOT

`dala.training` measures it; here are its record and what the page and the README say of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Caption, Row, Table, Text, bullets
from dala.studies.names import COLOUR, CROSSVALIDATE, METRICS, MODELS, NETWORK, PROBE, TEACHER
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, patients_of
from dala.words import figure


@dataclass(frozen=True, kw_only=True)
class Group(Record):
    """A patient group: malignant images of all, share called malignant and mean probability over the repeats."""

    malignant: int
    images: int = field(metadata=IMAGES)
    called_malignant: float
    mean_probability: float


@dataclass(frozen=True, kw_only=True)
class Headline(Result):
    """Scores by model and metric, what each model is, and every patient group under the network."""

    data: Data
    imagenet: str
    recipe: dict[str, Any]
    scores: dict[str, dict[str, Interval]]
    explained: dict[str, str]
    by_group: dict[str, Group]


def summary(record: Headline) -> str:
    """The first answer of the page."""
    network, scores = record.scores[NETWORK], record.scores
    return (
        f"On patients it has not seen ({patients_of(record.data)}) it reaches an AUC of **{figure(network['auc'])}** "
        f"and a balanced accuracy of **{figure(network['balanced_accuracy'])}**. A linear probe reaches an AUC of "
        f"{figure(scores[PROBE]['auc'])}, colour alone {figure(scores[COLOUR]['auc'])}; its own teacher, a classifier "
        f"half-way up the network, {figure(scores[TEACHER]['auc'])}."
    )


def table(record: Headline) -> list[Row]:
    """A row a metric, a column a model."""
    return [
        {"": label, **{title: figure(record.scores[name][metric]) for name, title in MODELS.items()}}
        for metric, label in METRICS.items()
    ]


def section(record: Headline) -> list[Block]:
    """The scores, and what each column is."""
    return [
        Table(table(record), "Scores of the network and of three comparisons"),
        Text(
            "In brackets: where the score may lie for other patients like these. Colour alone knows no shape at all: "
            "what a network has above it, and keeps when the stain changes, is morphology."
        ),
        Caption(bullets(f"**{title}**: {record.explained[name]}" for name, title in MODELS.items())),
    ]


STUDY = Study(
    "headline",
    "breakhis_200x.json",
    Headline,
    "breakhis",
    CROSSVALIDATE,
    part="In short",
    title="How often it is wrong",
    question="How often is it wrong on patients it has not seen, beside much simpler models?",
    section=section,
    summary=summary,
)
