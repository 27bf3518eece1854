"""From samples to attention and head: laboratories, classes and patients weigh the same, and nothing weighs nothing.

The teacher is the mean of three linear classifiers, one a stage: what layer2 knows of texture, layer3 of cells and
layer4 of tissue disagree where a laboratory is new, and their mean is steadier than any of them. But a map can be drawn
of one place only, so DALA's own head, behind the attention, learns the teacher's answers and the labels together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from dala.data.tissue import LABORATORY as TISSUE
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.calibration import softmax
from dala.training.head import logistic_regression, ridge_regression, write_into_head
from dala.training.laboratories.samples import NOTHING, STAGES, Floats, Indices, Samples

TOLERANCE = 1e-3  # of a logistic regression: predictions no longer change in the third digit


@dataclass(frozen=True)
class HeadRecipe:
    """How attention and head are fitted; the defaults are those of the shipped weights."""

    stages: tuple[str, ...] = ("layer2", "layer3", "layer4")  # that the teacher sees
    logistic_c: float = 3e-3  # C of each of its classifiers
    ridge_alpha: float = 30.0  # of the ridge regression by which the head becomes the teacher's student
    epochs: float = 0.0  # over the training images, of attention and head together; 0: they stay as they begin
    batch: int = 64
    lr: float = 1e-4
    weight_decay: float = 0.05
    distillation: float = 0.5  # share of the teacher's answer in the target; the rest: label
    tissue: float = 0.15  # weight of the tissue tiles, of a laboratory's
    nothing: float = 0.1  # weight of what shows nothing, of all the rest
    unlabelled: float = (
        0.5  # weight of all tissue tiles where the student learns the teacher's answers, of all the rest
    )

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with any choice."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


class Tail(nn.Sequential):
    """Attention and head of a DALAResNet50 on means over the image: (N, 2048) to logits (N, classes)."""

    def __init__(self, net: DALAResNet50) -> None:
        super().__init__(net.layer4.get_submodule("attention"), net.head)

    def margins(self, features: NDArray[np.floating]) -> Floats:
        """Logit of malignant minus logit of benign, (N,), of samples' features (N, 3584)."""
        x = torch.from_numpy(np.ascontiguousarray(features[:, STAGES["layer4"]], np.float32))[:, :, None, None]
        with torch.no_grad():
            logits = self(x).double().numpy()
        answer: Floats = logits[:, 1] - logits[:, 0]
        return answer


@dataclass(frozen=True, eq=False)
class Linear:
    """The teacher: rows (2, 3584) and biases (2,) of the centred logits."""

    rows: Floats
    biases: Floats

    def margins(self, features: NDArray[np.floating]) -> Floats:
        """As `Tail.margins`."""
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
    once as either class. unlabelled: (m, 3584), tissue of which only the teacher speaks, weighing `share` together."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: Floats
    unlabelled: NDArray[np.float32]
    share: float


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
    tiles = samples.laboratories == TISSUE
    return Rows(
        samples.features[np.concatenate([known, nothing, nothing])],
        np.concatenate([samples.labels[known], both]),
        np.concatenate([weights, np.full(len(both), share)]),
        samples.features[tiles],
        float(recipe.unlabelled * weights.sum()),
    )


def fit_stage(rows: Rows, stage: str, c: float) -> Linear:
    """A logistic regression on one stage."""
    part = STAGES[stage]
    x = rows.features[:, part].astype(np.float64)
    of_stage, biases = logistic_regression(x, rows.labels, rows.weights, c, TOLERANCE)
    every = np.zeros((2, rows.features.shape[1]))
    every[:, part] = of_stage
    return Linear(every, biases)


def mean_of(parts: Sequence[Linear]) -> Linear:
    """The classifier whose logits are the mean of these."""
    return Linear(
        np.asarray(np.mean([part.rows for part in parts], 0)), np.asarray(np.mean([part.biases for part in parts], 0))
    )


def fit_tail(net: DALAResNet50, rows: Rows, teacher: Linear, recipe: HeadRecipe, seed: int) -> Tail:
    """Make `net`'s head the teacher's student and train attention and head on these rows; the rest of it is untouched.

    `net` comes with its attention and a head drawn at random.
    """
    tail = Tail(net).eval()
    features = np.concatenate([rows.features, rows.unlabelled])
    tiles = np.full(len(rows.unlabelled), rows.share / max(1, len(rows.unlabelled)))
    weights = np.concatenate([rows.weights, tiles])
    x = torch.from_numpy(np.ascontiguousarray(features[:, STAGES["layer4"]]))[:, :, None, None]
    taught = features @ teacher.rows.T + teacher.biases
    with torch.no_grad():
        attended = tail[0](x).flatten(1).double().numpy()
    write_into_head(net.head, *ridge_regression(attended, taught, weights, recipe.ridge_alpha))
    steps = round(recipe.epochs * len(x) / recipe.batch)
    if not steps:
        return tail.requires_grad_(False)
    target = softmax(taught)
    share = recipe.distillation
    target[: len(rows.labels)] = share * target[: len(rows.labels)] + (1 - share) * np.eye(2)[rows.labels]
    targets = torch.from_numpy(target.astype(np.float32))
    chances = weights / weights.sum()
    tail.requires_grad_(True)
    optimiser = torch.optim.AdamW(tail.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)  # dropout
    net.head.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr * 0.5 * (1 + float(np.cos(np.pi * step / steps)))
        chosen = draw.choice(len(x), recipe.batch, p=chances)
        loss = F.cross_entropy(tail(x[chosen]), targets[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return tail.eval().requires_grad_(False)
