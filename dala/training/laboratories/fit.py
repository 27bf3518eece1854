"""From samples to attention and head: laboratories, classes and patients weigh the same, and nothing weighs nothing.

The teacher is the mean of three linear classifiers, one a stage: what layer2 knows of texture, layer3 of cells and
layer4 of tissue disagree where a laboratory is new, and their mean is steadier than any of them. But a map can be drawn
of one place only, so DALA's own head, behind the attention, learns the teacher's answers and the labels together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.calibration import softmax
from dala.training.head import logistic_regression, ridge_regression, write_into_head
from dala.training.laboratories.samples import NOTHING, STAGES, Floats, Indices, Samples


@dataclass(frozen=True)
class HeadRecipe:
    """How attention and head are fitted; the defaults are those of the shipped weights."""

    stages: tuple[str, ...] = ("layer2", "layer3", "layer4")  # that the teacher sees
    logistic_c: float = 1e-3  # C of each of its classifiers
    ridge_alpha: float = 1e3  # of the ridge regression by which the head begins as the teacher's student
    epochs: float = 0.0  # over the training views, of attention and head together; 0: they stay as they begin
    batch: int = 64
    lr: float = 1e-4
    weight_decay: float = 0.05
    distillation: float = 0.5  # share of the teacher's answer in the target; the rest: label
    nothing: float = 0.15  # weight of what shows nothing, of all the rest
    laboratory_weights: Mapping[str, float] = field(default_factory=dict)  # other than 1

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
    once as either class."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: Floats


def rows_of(samples: Samples, images: Indices, recipe: HeadRecipe) -> Rows:
    """The views of these images and of all that is extra."""
    chosen = samples.extra.copy()
    chosen[images] = True
    views = np.flatnonzero(chosen[samples.image])
    labels = samples.labels[samples.image[views]]
    tissue, nothing = views[labels != NOTHING], views[labels == NOTHING]
    of = samples.image[tissue]
    weights = balanced_weights(
        samples.labels[of], samples.groups[of], samples.laboratories[of], recipe.laboratory_weights
    )
    share = recipe.nothing * weights.sum() / max(1, 2 * len(nothing))
    both = np.repeat([0, 1], len(nothing))
    return Rows(
        samples.features[np.concatenate([tissue, nothing, nothing])],
        np.concatenate([samples.labels[of], both]),
        np.concatenate([weights, np.full(len(both), share)]),
    )


def fit_teacher(rows: Rows, recipe: HeadRecipe) -> Linear:
    """The mean of a logistic regression on each stage."""
    total, biases = np.zeros((2, rows.features.shape[1])), np.zeros(2)
    for stage in recipe.stages:
        part = STAGES[stage]
        x = rows.features[:, part].astype(np.float64)
        of_stage, bias = logistic_regression(x, rows.labels, rows.weights, recipe.logistic_c)
        total[:, part] += of_stage / len(recipe.stages)
        biases += bias / len(recipe.stages)
    return Linear(total, biases)


def fit_tail(net: DALAResNet50, rows: Rows, teacher: Linear, recipe: HeadRecipe, seed: int) -> Tail:
    """Make `net`'s head the teacher's student and train attention and head on these rows; the rest of it is untouched.

    `net` comes with the attention of the first stage and a head drawn at random.
    """
    tail = Tail(net).eval()
    attention = tail[0]
    x = torch.from_numpy(np.ascontiguousarray(rows.features[:, STAGES["layer4"]]))[:, :, None, None]
    taught = rows.features @ teacher.rows.T + teacher.biases
    with torch.no_grad():
        attended = attention(x).flatten(1).double().numpy()
    write_into_head(net.head, *ridge_regression(attended, taught, rows.weights, recipe.ridge_alpha))
    steps = round(recipe.epochs * len(x) / recipe.batch)
    if not steps:
        return tail
    share = recipe.distillation
    target = share * softmax(taught) + (1 - share) * np.eye(2)[rows.labels]
    targets = torch.from_numpy(target.astype(np.float32))
    chances = rows.weights / rows.weights.sum()
    optimiser = torch.optim.AdamW(tail.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
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
