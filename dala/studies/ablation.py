"""What is each part of DALAResNet50 worth: the same start, folds and recipe, one part at a time, with paired tests.

    python -m dala ablation breakhis --data ROOT               by the shipped recipe
    python -m dala ablation breakhis --data ROOT --by labels   by fine-tuning on labels, as the literature does it

The shipped recipe starts every variant as the pupil of the same teacher and hardly moves it, so it can only show that
the parts do no harm. On labels every part has room to help.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.nets.baselines import SEResNet50
from dala.nets.dala_resnet50 import DALAResNet50, ResNet50
from dala.nets.imagenet import Backbone
from dala.stats.metrics import with_intervals
from dala.stats.paired import compare, holm
from dala.studies.benchmark import folds_of, held_out, network_folder
from dala.training.evaluate import described, divided, write_json
from dala.training.features import trunk_features
from dala.training.recipe import SIZE, Recipe

By = Literal["teacher", "labels"]


@dataclass(frozen=True)
class Variant:
    """A network between ResNet50 and DALAResNet50; `build(classes, dropout)`. Its trunk is ResNet50's."""

    name: str
    title: str
    build: Callable[[int, float], ResNet50 | SEResNet50]


VARIANTS = (
    Variant("resnet50", "ResNet50", lambda classes, dropout: ResNet50(classes)),
    Variant("resnet50_attention", "ResNet50 + attention", lambda classes, dropout: ResNet50(classes, attention=True)),
    Variant(
        "resnet50_dual_head",
        "ResNet50 + dual-activated head",
        lambda classes, dropout: ResNet50(classes, dropout, dual_activated=True),
    ),
    Variant("dala_resnet50", "DALAResNet50 (LeakyReLU, ReLU)", DALAResNet50),
    Variant(
        "dala_resnet50_relu",
        "DALAResNet50 with ReLU, ReLU",
        lambda classes, dropout: ResNet50(classes, dropout, attention=True, dual_activated=True, leak=0.0),
    ),
    Variant("se_resnet50", "SEResNet50 (gates of layer4)", lambda classes, dropout: SEResNet50(classes)),
)
ROOM: dict[By, str] = {
    "teacher": "the recipe starts every variant as the pupil of the same teacher and fine-tunes gently, which leaves "
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


def ablation(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    path: Path,
    folds: int,
    repeats: int,
    by: By = "teacher",
) -> dict[str, Any]:
    """Train every variant on every fold and write variants and comparisons into `path` as they get done.

    `by`: "teacher" trains by the recipe as it is, "labels" by its `memorising` variant; each needs its own `folder`.
    """
    trained = recipe if by == "teacher" else recipe.memorising
    features = trunk_features(load_pixels(dataset.records, SIZE), backbone, trained, folder)
    splits = folds_of(dataset, folds, repeats)
    predictions: dict[str, NDArray[np.float64]] = {}
    record: dict[str, Any] = {
        "protocol": f"grouped cross-validation by accession number, {divided(folds, repeats)}, the same folds, "
        "seeds, ImageNet start and recipe for every variant; scores averaged over repeats; 95 % intervals: bootstrap "
        "over accession groups; p: random sign flips of the accession groups' differences, two-sided; " + ROOM[by],
        "command": f"python -m dala ablation breakhis --data ROOT --by {by} --folds {folds} --repeats {repeats}",
        "data": described(dataset),
        "imagenet": backbone.source,
        "recipe": recipe.record,
        "trained_by": trained.record,
        "explained": {
            "correct": "share of a patient's images called right at 0.5, mean over the patients: variant minus other",
            "brier": "squared error of a patient's images, mean over the patients: variant minus other",
            "p_holm": "p after Holm's correction over all tests of this table, two a comparison",
            "metrics": "the metrics' differences over all images, on the same resamples of the accession groups",
            "se_resnet50": "squeeze and excitation in every bottleneck; the frozen trunk's gates are exactly open, "
            "those of layer4 are trained",
        },
        "variants": {},
        "comparisons": [],
    }
    for variant in VARIANTS:

        def make(seed: int, build: Callable[[int, float], ResNet50 | SEResNet50] = variant.build) -> Any:
            torch.manual_seed(seed)
            net = build(len(dataset.classes), trained.dropout)
            net.load_imagenet(backbone)
            return net

        found = held_out(make, features, dataset, trained, network_folder(folder, variant.name, backbone), splits)
        predictions[variant.name] = found.probabilities
        record["variants"][variant.name] = {
            "title": variant.title,
            "minutes": round(found.minutes, 1),
            "scores": with_intervals(dataset.labels, found.probabilities, dataset.groups),
        }
        record["comparisons"] = comparisons(dataset, predictions)
        write_json(path, record)
    return record


def comparisons(dataset: breakhis.Dataset, predictions: dict[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    """The paired comparisons whose two networks have predictions, p values corrected over all their tests."""
    rows: list[dict[str, Any]] = []
    for name, other in COMPARISONS:
        if name in predictions and other in predictions:
            tests, metrics = compare(dataset.labels, predictions[other], predictions[name], dataset.groups)
            measures = {measure: dict(test) for measure, test in tests.items()}
            rows.append({"variant": name, "against": other, "tests": measures, "metrics": metrics})
    every = [test for row in rows for test in row["tests"].values()]
    for test, p in zip(every, holm([test["p"] for test in every]), strict=True):
        test["p_holm"] = p
    return rows
