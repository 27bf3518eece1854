"""From samples to the head: laboratories, classes and patients weigh the same, and nothing weighs nothing.

Three linear classifiers, one a stage: what layer2 knows of texture, layer3 of cells and layer4 of tissue disagree where
a laboratory is new, and their weighted mean is steadier than any of them. The head, which sees all three, begins as
that mean, exactly but for what breaks its symmetry. To train it and the attention from there, on labels and on the
mean's answers, was tried and carried no better to patients and laboratories left out. To fit it on the images in other
stains and lights too carried worse, and so did one density for all images, or one colour.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dala.data.tissue import LABORATORY as TISSUE
from dala.nets.dala_resnet50 import STAGES
from dala.nets.staged import Head
from dala.training.head import logistic_regression, write_into_head
from dala.training.laboratories.samples import NOTHING, PARTS, Floats, Indices, Samples

TOLERANCE = 1e-3  # of a logistic regression: predictions no longer change in the third digit


@dataclass(frozen=True)
class HeadRecipe:
    """How the head is fitted; the defaults are those of the shipped weights."""

    stages: tuple[str, ...] = STAGES
    shares: tuple[float, ...] = (0.5, 0.25, 0.25)  # of each stage's classifier in the mean
    logistic_c: float = 2e-3  # C of each
    tissue: float = 0.15  # weight of the tissue tiles, of a laboratory's
    nothing: float = 0.1  # weight of what shows nothing, of all the rest

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with any choice."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


def head_margins(head: Head, features: NDArray[np.floating]) -> Floats:
    """Logit of malignant minus logit of benign, (N,), of samples' features (N, 3584)."""
    x = torch.from_numpy(np.ascontiguousarray(features, np.float32))[:, :, None, None]
    with torch.no_grad():
        logits = head(x).double().numpy()
    answer: Floats = logits[:, 1] - logits[:, 0]
    return answer


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier: rows (2, 3584) and biases (2,) of the centred logits."""

    rows: Floats
    biases: Floats

    def margins(self, features: NDArray[np.floating]) -> Floats:
        """As `head_margins`."""
        logits = features @ self.rows.T + self.biases
        answer: Floats = logits[:, 1] - logits[:, 0]
        return answer


def balanced_weights(
    labels: NDArray[np.int64], groups: NDArray[np.str_], laboratories: NDArray[np.str_], of: Mapping[str, float]
) -> Floats:
    """A weight a row, mean 1: laboratories weigh the same (or as `of` has it), in each its classes, in each its groups,
    in each its rows."""
    weights = np.zeros(len(labels))
    for laboratory in np.unique(laboratories):
        for label in np.unique(labels[laboratories == laboratory]):
            own = np.flatnonzero((laboratories == laboratory) & (labels == label))
            names, inverse, counts = np.unique(groups[own], return_inverse=True, return_counts=True)
            weights[own] = of.get(str(laboratory), 1.0) / len(names) / counts[inverse]
    scaled: Floats = weights * len(weights) / weights.sum()
    return scaled


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows: features (n, 3584), labels (n,) 0 or 1, weights (n,). What shows nothing stands in them twice,
    once as either class."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: Floats


def rows_of(samples: Samples, images: Indices, recipe: HeadRecipe) -> Rows:
    """These images and all that is extra."""
    chosen = samples.extra.copy()
    chosen[images] = True
    known = np.flatnonzero(chosen & (samples.labels >= 0))
    nothing = np.flatnonzero(chosen & (samples.labels == NOTHING))
    weights = balanced_weights(
        samples.labels[known], samples.groups[known], samples.laboratories[known], {TISSUE: recipe.tissue}
    )
    both = np.repeat([0, 1], len(nothing))
    share = recipe.nothing * weights.sum() / max(1, len(both))
    return Rows(
        samples.features[np.concatenate([known, nothing, nothing])],
        np.concatenate([samples.labels[known], both]),
        np.concatenate([weights, np.full(len(both), share)]),
    )


def fit_stage(rows: Rows, stage: str, c: float) -> Linear:
    """A logistic regression on one stage."""
    part = PARTS[stage]
    x = rows.features[:, part].astype(np.float64)
    of_stage, biases = logistic_regression(x, rows.labels, rows.weights, c, TOLERANCE)
    every = np.zeros((2, rows.features.shape[1]))
    every[:, part] = of_stage
    return Linear(every, biases)


def fit_parts(rows: Rows, recipe: HeadRecipe) -> dict[str, Linear]:
    """The classifier of every stage."""
    return {stage: fit_stage(rows, stage, recipe.logistic_c) for stage in recipe.stages}


def mean_of(parts: Mapping[str, Linear], recipe: HeadRecipe) -> Linear:
    """The classifier whose logits are the mean of these by the recipe's shares."""
    shares = dict(zip(recipe.stages, recipe.shares, strict=True))
    total = sum(shares.values())
    return Linear(
        np.asarray(sum(shares[stage] / total * part.rows for stage, part in parts.items())),
        np.asarray(sum(shares[stage] / total * part.biases for stage, part in parts.items())),
    )


def fit_head(head: Head, rows: Rows, recipe: HeadRecipe) -> dict[str, Linear]:
    """Make a `head` that was drawn at random the mean of the stages' classifiers on these rows, which it returns."""
    parts = fit_parts(rows, recipe)
    whole = mean_of(parts, recipe)
    write_into_head(head, whole.rows, whole.biases)
    head.eval().requires_grad_(False)
    return parts
