"""Nine networks by one recipe on the same grouped folds; a row a network, written as it gets done.

    python -m dala benchmark breakhis --data ROOT                   a machine with internet, best with a GPU
    python -m dala benchmark breakhis --data ROOT --budget check    anywhere: random starts, one fold

The recipe is that of the shipped weights, read for any network: trunk frozen, last stage fine-tuned slowly, head begun
as a linear classifier; the ResNet50 family's is the pupil of its teacher, which is half a ResNet50. A network of
another make might do better by a recipe of its own; that is not measured here.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.data.splits import grouped_folds
from dala.errors import BackboneError
from dala.nets.baselines import Settings
from dala.nets.imagenet import Backbone, load_backbone
from dala.nets.registry import ENTRIES, NETWORKS, Entry, cost_of
from dala.nets.staged import StagedNetwork
from dala.runtime.calibration import softmax
from dala.stats.metrics import with_intervals
from dala.training.evaluate import described, divided, write_json
from dala.training.features import TrunkFeatures, apply_to_view, trunk_features, views_through
from dala.training.fine_tune import fine_tune
from dala.training.recipe import SIZE, Recipe

Budget = Literal["full", "check"]
CHECK = "pipeline check, no comparison"
CHECK_SIDE = 112

COMPARED = (
    "every network by the same recipe (trunk frozen, last stage fine-tuned, head begun as a linear classifier, in the "
    "ResNet50 family as its teacher's pupil) on the same folds by accession number; 95 % intervals: bootstrap over "
    "accession groups"
)


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a repeated cross-validation: indices of the training and of the test images."""

    repeat: int
    number: int
    folds: int
    training: NDArray[np.intp]
    test: NDArray[np.intp]

    @property
    def seed(self) -> int:
        """The seed that `crossvalidate` gives this fold too."""
        return 100 * self.repeat + self.number


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Probability of malignant, (repeats, N), of images whose group was not in training; NaN where not tested."""

    probabilities: NDArray[np.float64]
    minutes: float


def folds_of(dataset: breakhis.Dataset, folds: int, repeats: int) -> list[Fold]:
    """The folds that `crossvalidate` uses, repeat by repeat."""
    return [
        Fold(repeat, number, folds, training, test)
        for repeat in range(repeats)
        for number, (training, test) in enumerate(grouped_folds(dataset.labels, dataset.groups, folds, seed=repeat))
    ]


def held_out(
    make: Callable[[int], StagedNetwork],
    features: TrunkFeatures,
    dataset: breakhis.Dataset,
    recipe: Recipe,
    folder: Path,
    folds: list[Fold],
) -> HeldOut:
    """Fine-tune `make(seed)` on every fold and predict its test images.

    A fold's predictions are kept in `folder` as soon as they are made: a killed run goes on where it was.
    """
    probabilities = np.full((max(fold.repeat for fold in folds) + 1, len(dataset.labels)), np.nan)
    minutes = 0.0
    for fold in folds:
        done = folder / f"fold-{fold.repeat}-{fold.number}-of-{fold.folds}.npz"
        if not done.is_file():
            started = time.monotonic()
            net = fine_tune(
                make(fold.seed), features, dataset.labels, dataset.groups, fold.training, recipe, fold.seed,
                done.with_suffix(""),
            )  # fmt: skip
            logits = apply_to_view(nn.Sequential(net.tail, net.head), features, "plain", fold.test)
            np.savez(done, plain=softmax(logits)[:, 1], minutes=(time.monotonic() - started) / 60)
        with np.load(done) as kept:
            probabilities[fold.repeat, fold.test] = kept["plain"]
            minutes += float(kept["minutes"])
    return HeldOut(probabilities, minutes)


def benchmark(
    dataset: breakhis.Dataset,
    names: tuple[str, ...],
    backbone_source: str,
    recipe: Recipe,
    folder: Path,
    path: Path,
    folds: int,
    repeats: int,
    budget: Budget,
) -> dict[str, str]:
    """Write a row for each named network into `path`; returns what could not be started, with the reason.

    `budget` "full": pretrained start, every fold. "check": random start, images of 112 pixels, the first fold only;
    such a row is marked, and never replaces a full one. Rows of another recipe or other images are dropped.
    """
    record: dict[str, Any] = {
        "protocol": COMPARED,
        "command": "python -m dala benchmark breakhis --data ROOT --networks all",
        "data": described(dataset),
        "recipe": recipe.record,
        "explained": {
            "initialisation": "what the network started from",
            "gflops": "billions of multiply-adds of one image at `cost.side`, which papers call GFLOPs",
            "milliseconds": "one image at `cost.side`, float32, median; on the named device",
            "minutes": "training and testing of all folds, features of the trunk not counted",
        },
        "networks": {},
    }
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if all(earlier[key] == record[key] for key in ("data", "recipe")):
            record["networks"] = earlier["networks"]
    pixels = load_pixels(dataset.records, SIZE)
    refused = {}
    for name in names:
        kept = record["networks"].get(name)
        if budget == "check" and kept is not None and kept["budget"] == "full":
            continue
        try:
            row = row_of(NETWORKS[name], dataset, pixels, backbone_source, recipe, folder, folds, repeats, budget)
        except BackboneError as error:
            refused[name] = str(error)
            continue
        rows = record["networks"] | {name: row}
        record["networks"] = {entry.name: rows[entry.name] for entry in ENTRIES if entry.name in rows}
        write_json(path, record)
    return refused


def row_of(
    entry: Entry,
    dataset: breakhis.Dataset,
    pixels: NDArray[np.uint8],
    backbone_source: str,
    recipe: Recipe,
    folder: Path,
    folds: int,
    repeats: int,
    budget: Budget,
) -> dict[str, Any]:
    """Train and score one network; a row for JSON. Raises BackboneError where its weights cannot be had."""
    full = budget == "full"
    splits = folds_of(dataset, folds, repeats if full else 1)
    splits = splits if full else splits[:1]
    used = recipe if full else dataclasses.replace(recipe, enlarged=CHECK_SIDE, geometric_views=0, stained_views=0)
    if not (full and entry.family):  # the teacher is half a ResNet50, no part of another network
        used = dataclasses.replace(used, teacher=0)
    used = dataclasses.replace(used, enlarged=entry.side(used.enlarged))
    backbone = load_backbone(backbone_source) if full and entry.family else None
    settings = Settings(len(dataset.classes), used.enlarged, recipe.dropout, full)
    words = entry.pretrained if full else "random"

    def make(seed: int) -> StagedNetwork:
        # The trunk of a random start must be the one that made the features, whatever the fold.
        torch.manual_seed(seed if full else 0)
        return entry.start(settings, backbone)[0]

    if backbone is not None:
        words, place = f"{words}, from {backbone.source}", network_folder(folder, entry.name, backbone)
        features = trunk_features(pixels, backbone, recipe, folder)
    else:
        place = folder / f"{entry.name}-{'pretrained' if full else 'random'}-{used.fingerprint}"
        features = views_through(make(0).trunk, pixels, used, used.training_views, place)
    found = held_out(make, features, dataset, used, place, splits)
    tested = np.isfinite(found.probabilities).all(0)
    labels, groups = dataset.labels[tested], dataset.groups[tested]
    return {
        "title": entry.title,
        "budget": budget if full else CHECK,
        "protocol": f"grouped cross-validation by accession number, {divided(folds, repeats)}"
        if full
        else f"{CHECK}: random start, {used.enlarged} pixels, trained on the first of {folds} grouped folds, tested "
        f"on its {int(tested.sum())} images of {len(set(groups))} accession groups",
        "command": f"python -m dala benchmark breakhis --data ROOT --networks {entry.name} --folds {folds} "
        + (f"--repeats {repeats}" if full else "--budget check"),
        "initialisation": words,
        "side": used.enlarged,
        "cost": asdict(cost_of(entry, entry.side(recipe.enlarged))),
        "minutes": round(found.minutes, 1),
        "scores": with_intervals(labels, found.probabilities[:, tested], groups),
    }


def network_folder(folder: Path, name: str, backbone: Backbone) -> Path:
    """Where the folds of a network of the ResNet50 family are kept; benchmark and ablation share them."""
    return folder / f"{name}-{Path(backbone.source).stem}"
