"""What is each part of DALAResNet50 worth? The same start, folds and recipe, one part at a time, with paired tests.

    dala ablation breakhis --data ROOT               by the shipped recipe
    dala ablation breakhis --data ROOT --by labels   by fine-tuning on labels, as the literature does it

The shipped recipe starts every variant as the student of the same teacher and hardly moves it, so it can only show that
the parts do no harm. On labels every part has room to help.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval
from dala.stats.metrics import binary_intervals
from dala.stats.paired import compare, holm
from dala.studies.blocks import Block, Point, Row, Table, Text, interval_chart, numbers, point
from dala.studies.names import METRICS
from dala.studies.options import add_training
from dala.studies.record import Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import table
from dala.words import MINUS, chance, counted, figure

if TYPE_CHECKING:
    from dala.nets.imagenet import Backbone
    from dala.nets.staged import StagedNetwork
    from dala.training.tasks.breakhis import BreakHis

By = Literal["teacher", "labels"]
CLEAR = 0.05  # a corrected p value below it is called a clear difference

VARIANTS = {
    "resnet50": "ResNet50",
    "resnet50_attention": "ResNet50 + attention",
    "resnet50_dual_head": "ResNet50 + dual-activated head",
    "dala_resnet50": "DALAResNet50 (LeakyReLU, ReLU)",
    "dala_resnet50_relu": "DALAResNet50 with ReLU, ReLU",
    "se_resnet50": "SEResNet50 (gates of layer4)",
}
ROOM: dict[By, str] = {
    "teacher": "the recipe starts every variant as the student of the same teacher and fine-tunes gently, which leaves "
    "the parts little room",
    "labels": "layer4, attention and head fine-tuned on the labels alone, as the literature does it, from a head that "
    "begins as a linear classifier; not the shipped recipe",
}
# (network, what it is compared with)
COMPARISONS = (
    ("resnet50_attention", "resnet50"),
    ("resnet50_dual_head", "resnet50"),
    ("dala_resnet50", "resnet50"),
    ("se_resnet50", "resnet50"),
    ("dala_resnet50", "dala_resnet50_relu"),
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Test(Record):
    """Mean over the patients of (variant minus other), its two-sided p value, and that after Holm's correction."""

    difference: float
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Tests(Record):
    """The two tests of a comparison: share of a patient's images called right, and their squared error."""

    correct: Test
    brier: Test


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """Two variants: tests by patient, and the metrics' differences over all images."""

    variant: str
    against: str
    tests: Tests
    metrics: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Trained(Record):
    """A variant that has been trained on every fold: its title, how long that took, and its scores."""

    title: str
    minutes: float
    scores: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Ablation(Result):
    """The variants that are done, and their comparisons."""

    data: Data
    imagenet: str
    recipe: dict[str, Any]
    trained_by: dict[str, Any] | None = None  # files of the first measurement do not tell it
    explained: dict[str, str]
    variants: dict[str, Trained]
    comparisons: tuple[Comparison, ...]

    def named(self, row: Comparison) -> tuple[str, str]:
        """The titles of the two networks of a comparison."""
        return self.variants[row.variant].title, self.variants[row.against].title


# Measuring


def built(name: str, classes: int, dropout: float, backbone: Backbone, seed: int) -> StagedNetwork:
    """A variant between ResNet50 and DALAResNet50, its trunk and blocks ImageNet's, what is random by `seed`."""
    import torch

    from dala.nets.dala_resnet50 import DALAResNet50, ResNet50
    from dala.training.baselines import SEResNet50

    torch.manual_seed(seed)
    variants: dict[str, Callable[[], ResNet50 | SEResNet50]] = {
        "resnet50": lambda: ResNet50(classes),
        "resnet50_attention": lambda: ResNet50(classes, attention=True),
        "resnet50_dual_head": lambda: ResNet50(classes, dropout, dual_activated=True),
        "dala_resnet50": lambda: DALAResNet50(classes, dropout),
        "dala_resnet50_relu": lambda: ResNet50(classes, dropout, attention=True, dual_activated=True, leak=0.0),
        "se_resnet50": lambda: SEResNet50(classes),
    }
    net = variants[name]()
    net.load_imagenet(backbone)
    return net


def measure(
    task: BreakHis, backbone: Backbone, runs: Path, path: Path, folds: int, repeats: int, by: By = "teacher"
) -> Ablation:
    """Train every variant on every fold and write variants and comparisons into `path` as they get done.

    `by`: "teacher" trains by the recipe as it is, "labels" by its `memorising` variant; each has its own folder.
    """
    from dala.training.cross_validation import held_out, network_folder
    from dala.training.task import folds_of

    trained = task.recipe if by == "teacher" else task.recipe.memorising
    training = dataclasses.replace(task, recipe=trained)
    folder, splits = training.folder(runs), folds_of(task, folds, repeats)
    features = training.features(training.tiles(), backbone, folder)
    predictions: dict[str, Floats] = {}
    record = Ablation(
        protocol=f"grouped cross-validation by accession number, {counted(folds, 'fold')}, "
        f"{counted(repeats, 'repeat')}, the same folds, "
        "seeds, ImageNet start and recipe for every variant; scores averaged over repeats; 95 % intervals: bootstrap "
        "over accession groups; p: random sign flips of the accession groups' differences, two-sided; " + ROOM[by],
        command=f"{STUDY.command} --by {by} --folds {folds} --repeats {repeats}",
        data=Data.from_json(task.described()),
        imagenet=backbone.source,
        recipe=task.recipe.record,
        trained_by=trained.record,
        explained={
            "correct": "share of a patient's images called right at 0.5, mean over the patients: variant minus other",
            "brier": "squared error of a patient's images, mean over the patients: variant minus other",
            "p_holm": "p after Holm's correction over all tests of this table, two a comparison",
            "metrics": "the metrics' differences over all images, on the same resamples of the accession groups",
            "se_resnet50": "squeeze and excitation in every bottleneck; the frozen trunk's gates are exactly open, "
            "those of layer4 are trained",
        },
        variants={},
        comparisons=(),
    )
    for name, title in VARIANTS.items():

        def make(seed: int, name: str = name) -> StagedNetwork:
            return built(name, len(task.classes), trained.dropout, backbone, seed)

        found = held_out(make, features, training, trained, network_folder(folder, backbone, name), splits)
        predictions[name] = found.probabilities
        scores = binary_intervals(task.labels, found.probabilities, task.groups)
        row = Trained(title=title, minutes=round(found.minutes, 1), scores=scores)
        compared = comparisons(task.labels, task.groups, predictions)
        record = replace(record, variants=record.variants | {name: row}, comparisons=compared)
        STUDY.write(record, path)
    return record


def comparisons(
    labels: NDArray[np.int64], groups: NDArray[np.str_], predictions: Mapping[str, Floats]
) -> tuple[Comparison, ...]:
    """The paired comparisons whose two networks have predictions, p values corrected over all their tests."""
    pairs = [pair for pair in COMPARISONS if all(name in predictions for name in pair)]
    compared = [compare(labels, predictions[other], predictions[name], groups) for name, other in pairs]
    corrected = iter(holm([tests[measure]["p"] for tests, _ in compared for measure in ("correct", "brier")]))
    return tuple(
        Comparison(
            variant=name,
            against=other,
            tests=Tests(
                **{measure: Test(**tests[measure], p_holm=next(corrected)) for measure in ("correct", "brier")}
            ),
            metrics=metrics,
        )
        for (name, other), (tests, metrics) in zip(pairs, compared, strict=True)
    )


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training(parser)
    parser.add_argument(
        "--by",
        choices=["teacher", "labels"],
        default="teacher",
        help="teacher: the shipped recipe; labels: fine-tuning on the labels alone, where the parts have room to help",
    )


def run(options: argparse.Namespace) -> int:
    from dala.training.backbone import load_backbone
    from dala.training.tasks import breakhis

    task = breakhis.load(options.data, options.magnification)
    name = f"ablation_{task.name}.json" if options.by == "teacher" else f"ablation_by_labels_{task.name}.json"
    path = options.evidence or Path("evidence") / name
    backbone = load_backbone(options.backbone)
    record = measure(task, backbone, options.runs, path, options.folds, options.repeats, options.by)
    print(record.protocol)
    print(table({name: row.scores for name, row in record.variants.items()}))
    for row in record.comparisons:
        tests = ", ".join(
            f"{name} {test.difference:+.4f} (p {test.p:.3f}, corrected {test.p_holm:.3f})"
            for name, test in (("correct", row.tests.correct), ("brier", row.tests.brier))
        )
        print(f"{row.variant} against {row.against}: {tests}; AUC {figure(row.metrics['auc'], signed=True)}")
    print(f"written to {path}")
    return 0


# The page


def variants_table(record: Ablation) -> list[Row]:
    """Every variant with its scores."""
    return [
        {
            "Network": row.title,
            **{METRICS[metric]: figure(row.scores[metric]) for metric in ("auc", "balanced_accuracy", "brier")},
        }
        for row in record.variants.values()
    ]


def comparisons_table(record: Ablation) -> list[Row]:
    """Every paired comparison: differences with intervals, p values corrected for their number."""
    return [
        {
            "Network": network,
            "against": other,
            "AUC": figure(row.metrics["auc"], signed=True),
            "Balanced accuracy": figure(row.metrics["balanced_accuracy"], signed=True),
            "p, images right": chance(row.tests.correct.p_holm),
            "p, Brier": chance(row.tests.brier.p_holm),
        }
        for row, (network, other) in ((row, record.named(row)) for row in record.comparisons)
    ]


def comparison_points(record: Ablation) -> list[Point]:
    """AUC differences of the paired comparisons."""
    return [point(f" {MINUS} ".join(record.named(row)), row.metrics["auc"]) for row in record.comparisons]


def verdict(record: Ablation) -> str:
    """One sentence: which comparisons differ clearly, by the smaller corrected p value of the two tests."""
    if not record.comparisons:
        return "No two networks have been compared yet."
    clear = []
    for row in record.comparisons:
        network, other = record.named(row)
        for test, sign, words in (
            (row.tests.correct, 1, "images called right"),
            (row.tests.brier, -1, "squared error"),
        ):
            if test.p_holm < CLEAR:
                said = "better" if test.difference * sign > 0 else "worse"
                clear.append(f"{network} is {said} than {other} in {words} (p {chance(test.p_holm)})")
    if not clear:
        smallest = min(test.p_holm for row in record.comparisons for test in (row.tests.correct, row.tests.brier))
        return (
            "No part makes a difference that these patients could show: the smallest corrected p value is "
            f"{chance(smallest)}."
        )
    return "; ".join(clear) + f". The other comparisons show no clear difference (corrected p at least {CLEAR})."


def _section(key: str) -> Callable[[Ablation], list[Block]]:
    def section(record: Ablation) -> list[Block]:
        points = comparison_points(record)
        return [
            *([interval_chart(points, "Difference in AUC", key, zero=True)] if points else []),
            Text(
                "Right of the dotted line the first network is better; an interval that crosses it shows no "
                "difference. " + verdict(record)
            ),
            Table(comparisons_table(record), "Paired comparisons of the variants"),
            numbers("The scores of every variant", variants_table(record)),
        ]

    return section


STUDY = Study(
    "ablation",
    "ablation_breakhis_200x.json",
    Ablation,
    "breakhis",
    "dala ablation breakhis --data ROOT",
    part="Networks and parts",
    title="What its parts are worth",
    question="Do the attention and the dual-activated head help?",
    section=_section("ablation"),
    verb=Verb(
        "ablation",
        "breakhis",
        "ResNet50 with and without each part of DALAResNet50, same start and folds, paired tests by accession group; "
        "writes evidence/ablation_*.json; resumes; about 10 minutes a repeat by the teacher, an hour by labels",
        add_arguments,
        run,
    ),
)
BY_LABELS = replace(
    STUDY,
    key="ablation_by_labels",
    file="ablation_by_labels_breakhis_200x.json",
    command=f"{STUDY.command} --by labels",
    title="Its parts, trained on labels",
    question="The shipped recipe leaves the parts little to do. Do they help where labels alone train them?",
    section=_section("ablation-by-labels"),
)
