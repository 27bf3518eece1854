"""Does the same method work on mammograms, and how much of that is the scanner? Mini-DDSM, with and without the breast.

    dala crossvalidate mini_ddsm --data ROOT

`dala.training` measures it; here are its record and what the page says of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Caption, Point, Row, Table, Text, bullets, interval_chart, numbers, point
from dala.studies.names import METRICS
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study
from dala.words import figure, number, share

MODELS = {
    "dala_resnet50": "DALAResNet50, breast alone",
    "teacher": "Its teacher alone, breast alone",
    "linear_probe": "Linear probe, breast alone",
    "grey_levels": "Three grey levels, whole film",
    "masked_out_probe": "Linear probe, breast masked out",
    "background_trees": "Trees on the background's grey levels",
    "whole_film_probe": "Linear probe, whole film",
    "whole_film_dala_resnet50": "DALAResNet50, whole film",
}
BASELINES = ("dala_resnet50", "linear_probe", "grey_levels", "masked_out_probe")
PART = "Mammograms"

Scores = dict[str, dict[str, Interval]]


@dataclass(frozen=True, kw_only=True)
class NaiveRow(Record):
    """Three classes by a naive split: what the model saw, of which scanners, split how, and what it scored."""

    input: str
    letters: str
    split: str
    images: int = field(metadata=IMAGES)
    largest_class: float
    accuracy: float
    balanced_accuracy: float
    auc: float


@dataclass(frozen=True, kw_only=True)
class Naive(Record):
    """What naive splits would have claimed, and what is left of it in words."""

    table: tuple[NaiveRow, ...]
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Mammograms(Result):
    """Scores by model and metric over all films, by scanner letter and by case, and what the scanner alone gives."""

    data: Data
    imagenet: str
    recipe: dict[str, Any]
    scores: Scores
    scores_by_letter: dict[str, Scores]
    scores_by_case: Scores
    explained: dict[str, str]
    site_effect: str
    naive_three_classes: Naive


def title_of(name: str) -> str:
    """A model of the mammograms in words."""
    return MODELS.get(name, name.replace("_", " "))


def points(record: Mammograms) -> list[Point]:
    """AUC of every model over all films."""
    return [point(title_of(name), scores["auc"]) for name, scores in record.scores.items()]


def letters_table(record: Mammograms) -> list[Row]:
    """AUC of every model over all films, by scanner letter and by case."""
    columns = {"All": record.scores}
    columns |= {f"Scanner {letter}": scores for letter, scores in record.scores_by_letter.items()}
    columns["By case"] = record.scores_by_case
    return [
        {"AUC of": title_of(name), **{title: figure(scores[name]["auc"]) for title, scores in columns.items()}}
        for name in record.scores
    ]


def metrics_table(record: Mammograms) -> list[Row]:
    """Every metric of the network and its three baselines, over all films."""
    names = [name for name in BASELINES if name in record.scores]
    return [
        {"": label, **{title_of(name): figure(record.scores[name][metric]) for name in names}}
        for metric, label in METRICS.items()
    ]


def naive_table(record: Mammograms) -> list[Row]:
    """What naive splits into three classes would have claimed, and what is left of it."""
    return [
        {
            "The model sees": row.input,
            "Scanners": row.letters,
            "Split": row.split,
            "Accuracy": share(row.accuracy),
            "Largest class": share(row.largest_class),
            "AUC": number(row.auc),
            "Images": f"{row.images:,}",
        }
        for row in record.naive_three_classes.table
    ]


def section(record: Mammograms) -> list[Block]:
    """Every model by scanner, and what naive splits would have claimed."""
    return [
        interval_chart(points(record), "AUC", "mini-ddsm"),
        Text(f"A row without a breast in it measures scanners and batches, not medicine. {record.site_effect}"),
        Table(letters_table(record), "AUC by scanner"),
        Caption(bullets(f"**{title_of(name)}**: {words}" for name, words in record.explained.items())),
        numbers("Every metric of the network and its baselines", metrics_table(record)),
        Text("#### What a naive split would have claimed"),
        Table(naive_table(record), "Three classes by naive splits"),
        Text(record.naive_three_classes.verdict),
    ]


STUDY = Study(
    "mini_ddsm",
    "mini_ddsm.json",
    Mammograms,
    "mini_ddsm",
    "dala crossvalidate mini_ddsm --data ROOT",
    part=PART,
    title="Mammograms",
    question="Does the same method work on Mini-DDSM, and how much of that is the scanner and not the breast?",
    section=section,
    summary=lambda record: f"Mammograms. {record.site_effect}",
)
