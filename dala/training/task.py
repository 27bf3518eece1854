"""What is learnt and how it is told: a data set and a question to it, as engine, trainer and card writer see it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dala.data.pixels import Images, Progress, load_pixels
from dala.data.splits import grouped_folds
from dala.data.tree import Dataset, R
from dala.errors import DataError
from dala.intake.patch import Patch
from dala.nets.imagenet import Backbone
from dala.runtime.calibration import softmax
from dala.runtime.predict import Model, predict
from dala.stats.bootstrap import Interval
from dala.stats.groups import group_weights
from dala.stats.metrics import binary_intervals, multiclass_intervals
from dala.training.colour_only import colour_statistics
from dala.training.features import TrunkFeatures, trunk_features
from dala.training.head import logistic_regression
from dala.training.recipe import SIZE, Recipe

PROBE_C = 1e-3  # C of the linear probes
COLOUR_CHUNK = 256

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a repeated cross-validation: indices of the training and of the test images."""

    repeat: int
    number: int
    folds: int
    training: Indices
    test: Indices

    @property
    def seed(self) -> int:
        return 100 * self.repeat + self.number


@dataclass(frozen=True, eq=False)
class Tiles:
    """T tiles of N images, all of one size. image: (T,), which image each tile is of; adjacent: (T,) bool, whether
    serving sees it too."""

    pixels: Images
    image: Indices
    adjacent: NDArray[np.bool_]


# What stands beside the network on the same folds: probabilities (test tiles, classes) from the indices of the training
# and of the test tiles, or None where it is not measured in this fold.
Baseline = Callable[[Fold, Indices, Indices], Floats | None]


@dataclass(frozen=True, eq=False)
class Results:
    """Predictions of the tested images by models that have not seen their groups.

    labels, groups, laboratories: (N,). predictions: by model (R, N) of the second class, or (R, N, C) of several, with
    their scores. backbone and folder: what the run started from, and where it is kept.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    laboratories: NDArray[np.str_]
    predictions: Mapping[str, Floats]
    scores: Mapping[str, Mapping[str, Interval]]
    folds: int
    backbone: Backbone
    folder: Path


@dataclass(frozen=True, eq=False)
class Task(Dataset[R], ABC):
    """A data set, a question to it, and the recipe that learns to answer. A subclass says what is particular.

    A task has one tile an image unless it overrides `tiles`, and one vote, the mean of the tiles' probabilities, unless
    it overrides `votes`.
    """

    recipe: Recipe

    # What a subclass says, as a class variable or a property.
    name: ClassVar[Any]  # stem of the run's folder and of the evidence file
    weights: ClassVar[Any]  # name of the weights that `train` writes
    command: ClassVar[Any]  # what is typed for the cross-validation
    explained: ClassVar[Any]  # what each compared model is, by its name
    by: ClassVar[str]  # the unit of a split, such as "accession number"
    units: ClassVar[str]  # and of the intervals, such as "accession groups"
    views: ClassVar[tuple[str, ...]] = ("plain", "stain_shift")  # on which the network is tested
    decimals: ClassVar[int] = 6  # of the predictions in JSON
    served: ClassVar[str] = "dala_resnet50"  # the predictions that a card tells of
    preprocess: ClassVar[str] = "none"  # what a card must say for its weights to be scored on this task

    def tiles(self, progress: Progress | None = None) -> Tiles:
        """Every tile of every image; DataError at the first file that cannot be read."""
        pixels = load_pixels(self.records, SIZE, progress)
        return Tiles(pixels, np.arange(len(pixels)), np.ones(len(pixels), dtype=bool))

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What a result was computed on, for JSON."""

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """What the card of the weights says of this task alone: title, input, training_data, split, assumptions and
        limits."""

    @abstractmethod
    def evaluated_on(self, model: Model) -> str:
        """How images were scored by weights, the beginning of a sentence that ends with what these have seen."""

    @property
    def per_class(self) -> dict[str, int]:
        """Images by class."""
        return {name: int((self.labels == label).sum()) for label, name in enumerate(self.classes)}

    def divide(self, folds: int, seed: int) -> list[tuple[Indices, Indices]]:
        """(training, test) images of each fold; DataError where the groups do not allow so many."""
        return grouped_folds(self.labels, self.groups, folds, seed)

    def protocol(self, divided: str) -> str:
        """How the cross-validation was done, in a sentence; `divided` says how often."""
        return (
            f"grouped cross-validation by {self.by}, {divided}, predictions pooled within a repeat and scores "
            f"averaged over the repeats; 95 % intervals: bootstrap over {self.units}"
        )

    def features(self, tiles: Tiles, backbone: Backbone, folder: Path) -> TrunkFeatures:
        """What the network is trained and tested on."""
        beside = [view for view in self.views if view not in self.recipe.training_views]
        return trunk_features(tiles.pixels, backbone, self.recipe, folder, beside, tiles.image)

    def votes(self, logits: Floats, tiles: Tiles) -> dict[str, Floats]:
        """Further ways in which tiles vote, by name: (N, C) from logits (T, C)."""
        return {}

    def baselines(self, tiles: Tiles, features: TrunkFeatures, backbone: Backbone, folder: Path) -> dict[str, Baseline]:
        """What the network is compared with, in the order in which it is told."""
        return {}

    def findings(self, results: Results) -> dict[str, Any]:
        """What the evidence file holds beyond the scores."""
        return {}

    def card_metrics(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What a card's metrics hold beyond those of the network."""
        others = {name: scores for name, scores in record["scores"].items() if name != self.served}
        return {"comparison": others}

    def card_limits(self, record: Mapping[str, Any]) -> list[str]:
        """Limits that are known from the cross-validation."""
        return []

    def beside(self, tiles: Tiles, weights: Path) -> None:
        """Write what belongs beside the weights, once these are written."""

    def answers(self, patch: Patch, model: Model) -> dict[str, Floats]:
        """Probabilities (C,) of an image by the path that serves users, by vote."""
        return {"served": predict(patch, model).probabilities}

    def evaluated(self, model: Model, answers: Mapping[str, Floats]) -> dict[str, Any]:
        """The scores of the votes, as `pooled` gives them, for JSON."""
        return {
            "pictures": len(self.records),
            "groups": len(set(self.groups)),
            **scored(self.labels, answers["served"], self.groups, self.classes),
        }

    def folder(self, runs: Path) -> Path:
        """Where features and folds of this recipe on these images and groups are kept."""
        told = json.dumps([[record.name, str(group)] for record, group in zip(self.records, self.groups, strict=True)])
        return runs / f"{self.name}-{self.recipe.fingerprint}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def check(self) -> None:
        """DataError if a class has no image: nothing can be trained then."""
        missing = [name for label, name in enumerate(self.classes) if not (self.labels == label).any()]
        if missing:
            raise DataError(
                f"Training needs images of {' and '.join(self.classes)}; this tree holds none of {', '.join(missing)}."
            )


def folds_of(task: Task[Any], folds: int, repeats: int) -> list[Fold]:
    """The folds of a repeated cross-validation, repeat by repeat."""
    return [
        Fold(repeat, number, folds, training, test)
        for repeat in range(repeats)
        for number, (training, test) in enumerate(task.divide(folds, repeat))
    ]


def mean_vote(probabilities: Floats, image: Indices) -> Floats:
    """Mean over each image's tiles, (N, C), of the tiles' probabilities (T, C) or logits; `image` (T,) counts from
    0 and leaves none out."""
    sums = np.zeros((int(image.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, image, probabilities)
    return sums / np.bincount(image)[:, None]


def pooled(probabilities: Sequence[Floats]) -> Floats:
    """Repeats of (N, C) as they are scored: (R, N) of the second of two classes, (R, N, C) of several."""
    stacked = np.stack(probabilities)
    return stacked[..., 1] if stacked.shape[-1] == 2 else stacked


def scored(
    labels: NDArray[np.int64], probabilities: Floats, groups: NDArray[np.str_], classes: Sequence[str]
) -> dict[str, Interval]:
    """The metrics of two classes or of several with intervals over groups, names of recalls without spaces.

    probabilities: as `pooled` gives them.
    """
    if len(classes) == 2:
        return binary_intervals(labels, probabilities, groups)
    return multiclass_intervals(labels, probabilities, groups, [name.replace(" ", "_") for name in classes])


def confusion(labels: NDArray[np.int64], probabilities: Floats, classes: Sequence[str]) -> dict[str, Any]:
    """Images by truth and call, the mean over repeats (R, N, C), for JSON."""
    counts = np.zeros((len(classes), len(classes)))
    for called in probabilities.argmax(axis=2):
        np.add.at(counts, (labels, called), 1 / len(probabilities))
    return {
        "explained": "images, rows the truth, columns the call (mean of probabilities), mean over the repeats",
        "classes": list(classes),
        "counts": counts.round(3).tolist(),
    }


def colour_features(tiles: Tiles) -> Floats:
    """Mean and standard deviation of R, G and B of each tile, (T, 6)."""
    # In chunks: statistics are computed in float32, four times the memory of the pixels.
    starts = range(0, len(tiles.pixels), COLOUR_CHUNK)
    return np.concatenate([colour_statistics(tiles.pixels[start : start + COLOUR_CHUNK]) for start in starts])


def fitted_probe(
    x: Floats, labels: NDArray[np.int64], groups: NDArray[np.str_], training: Indices, c: float = PROBE_C
) -> tuple[Floats, Floats]:
    """Group-balanced logistic regression on standardised features; weights and biases as `logistic_regression` has."""
    weights = group_weights(labels[training], groups[training])
    return logistic_regression(x[training], labels[training], weights, c)


def probe(x: Floats, labels: NDArray[np.int64], groups: NDArray[np.str_], c: float = PROBE_C) -> Baseline:
    """A linear probe of features (T, F) as a baseline; labels and groups are those of the tiles."""

    def answer(fold: Fold, training: Indices, test: Indices) -> Floats:
        rows, biases = fitted_probe(x, labels, groups, training, c)
        return softmax(x[test] @ rows.T + biases)

    return answer
