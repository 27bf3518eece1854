"""Probabilities and prediction sets from held-out patient groups: temperature scaling and conformal thresholds.

Temperature and bias. The margin z (logit of malignant minus logit of benign) becomes z / T + b (Guo et al., "On
Calibration of Modern Neural Networks", 2017; Platt 1999), fitted to predictions for patients whom the network had not
seen.

Sets. Hierarchical conformal prediction (Lee, Barber, Willett, "Distribution-free inference with hierarchical data",
2023): the unit is the patient group. Every one of K groups weighs 1 / (K + 1), shared equally by its images, and
the (K + 1)th share belongs to the patient to come. The threshold is the largest t for which true classes with a
probability of at least t weigh 1 - alpha or more; a class with p >= t is in the set. With too few groups
(K + 1 < 1 / alpha) there is no such t and every class is in every set. For two classes a temperature moves thresholds
and probabilities alike and changes no set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from dala.stats.bootstrap import Interval, ratio, resampled_groups
from dala.stats.groups import group_weights, grouped

TEMPERATURES = (0.1, 10.0)  # a fit that wants more has found classes that never or always overlap

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scaling:
    """z -> z / temperature + bias, for the margin z towards malignant."""

    temperature: float = 1.0
    bias: float = 0.0

    def probability(self, margins: Floats) -> Floats:
        """Probability of malignant, in the shape of the margins."""
        return sigmoid(margins / self.temperature + self.bias)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Held-out images: labels (N,) 0 or 1, groups (N,), margins (R, N) of R repeats, and `order`, each one's index in
    `names`, the sorted group names (G,)."""

    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    margins: Floats
    names: NDArray[np.str_]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, labels: ArrayLike, groups: ArrayLike, probabilities: ArrayLike) -> Cohort:
        """From probabilities of malignant (R, N); ValueError for anything but two classes of several groups each."""
        y, g = np.asarray(labels, dtype=np.int64), np.asarray(groups, dtype=np.str_)
        p = np.atleast_2d(np.asarray(probabilities, dtype=np.float64))
        if y.ndim != 1 or g.shape != y.shape or p.shape[1:] != y.shape or not ((p >= 0) & (p <= 1)).all():
            raise ValueError("Calibration needs a label, a group and probabilities between 0 and 1 for every image.")
        for label in (0, 1):
            if np.unique(g[y == label]).size < 2:
                raise ValueError("Calibration leaves a group out at a time: it needs two or more groups of each class.")
        names, order = grouped(g, y.size)
        # Six decimals are kept of a probability, so that 1 may stand for anything above 1 - 5e-7.
        p = p.clip(5e-7, 1 - 5e-7)
        return cls(y, g, np.log(p / (1 - p)), names, order)

    @property
    def by_image(self) -> Floats:
        """Weight 1 an image, (N,)."""
        return np.ones(len(self.labels))

    @property
    def by_group(self) -> Floats:
        """Every group weighs the same, (N,): what one new patient meets."""
        return 1 / np.bincount(self.order)[self.order]

    @property
    def balanced(self) -> Floats:
        """Classes weigh the same, and groups within a class, (N,)."""
        return group_weights(self.labels, self.groups)

    @cached_property
    def draws(self) -> Floats:
        """How often each group is drawn in each resample, (RESAMPLES, G); see `resampled_groups`."""
        holds = [np.bincount(self.order, self.labels == label) > 0 for label in (0, 1)]
        return resampled_groups(np.stack(holds, axis=1))

    def ratio(self, part: NDArray[Any], whole: NDArray[Any]) -> Interval:
        """sum(part) / sum(whole), both (R, N), with its interval over groups; None where nothing is in the whole."""
        parts, wholes = (
            np.bincount(self.order, of.sum(axis=0), minlength=len(self.names)).astype(np.float64)
            for of in (part, whole)
        )
        return ratio(parts, wholes, self.draws)


def sigmoid(x: Floats) -> Floats:
    """The probability that a log-odds stands for."""
    answer: Floats = 1 / (1 + np.exp(-x))
    return answer


def fit_scaling(
    margins: Floats, labels: NDArray[np.int64], weights: Floats, *, temperature: bool = True, bias: bool = False
) -> Scaling:
    """The scaling of least weighted log loss. margins: (R, N), labels and weights: (N,). The loss is convex."""
    if not temperature:
        return Scaling()
    signs = np.where(labels == 1, 1.0, -1.0)
    shares = weights / weights.sum() / len(margins)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, shift = parameters
        signed = signs * (slope * margins + shift)
        pull = -signs * sigmoid(-signed) * shares
        gradient = np.array([(pull * margins).sum(), pull.sum() if bias else 0.0])
        return float((np.logaddexp(0, -signed) * shares).sum()), gradient

    bounds = [(1 / TEMPERATURES[1], 1 / TEMPERATURES[0]), (None, None) if bias else (0.0, 0.0)]
    slope, shift = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    return Scaling(1 / float(slope), float(shift))


def apply_held_out(scalings: list[Scaling], cohort: Cohort) -> Floats:
    """Probability of malignant (R, N), each group scaled by the scaling that was fitted without it."""
    temperatures = np.array([one.temperature for one in scalings])[cohort.order]
    biases = np.array([one.bias for one in scalings])[cohort.order]
    return sigmoid(cohort.margins / temperatures + biases)


def least_probability(confidence: Floats, order: NDArray[np.intp], alpha: float) -> float:
    """The threshold of hierarchical conformal prediction; 0 if the groups are too few for `alpha`.

    confidence: (R, N) probability given to the true class; order: (N,) index of each image's group. Repeats share an
    image's weight.
    """
    _, members, sizes = np.unique(order, return_inverse=True, return_counts=True)
    shares = np.broadcast_to(1 / (sizes[members] * len(confidence)), confidence.shape).ravel()
    highest_first = np.argsort(-confidence.ravel(), kind="stable")
    # In units of a group: 1 - alpha of the groups and the one to come. The slack is for sums like 1/3 + 1/3 + 1/3.
    reached = np.cumsum(shares[highest_first]) >= (1 - alpha) * (len(sizes) + 1) - 1e-9
    return float(confidence.ravel()[highest_first][reached.argmax()]) if reached.any() else 0.0


def groups_needed(alpha: float) -> int:
    """The least number of groups with which a threshold above 0 can exist."""
    return math.ceil(1 / alpha - 1e-9) - 1


def thresholds_of(
    probability: Floats, labels: NDArray[np.int64], order: NDArray[np.intp], alpha: float, *, each_class: bool
) -> tuple[float, float]:
    """Least probability of (benign, malignant) for the set: one for both, or each from the groups of its class."""
    confidence = np.where(labels == 1, probability, 1 - probability)
    if not each_class:
        both = least_probability(confidence, order, alpha)
        return both, both
    benign, malignant = (least_probability(confidence[:, labels == k], order[labels == k], alpha) for k in (0, 1))
    return benign, malignant


def held_out_thresholds(
    cohort: Cohort, scalings: list[Scaling], alpha: float, *, each_class: bool
) -> list[tuple[float, float]]:
    """For each group the thresholds that all other groups give, under the scaling that they give."""
    answer = []
    for k, scaling in enumerate(scalings):
        others = cohort.order != k
        probability = scaling.probability(cohort.margins[:, others])
        answer.append(
            thresholds_of(probability, cohort.labels[others], cohort.order[others], alpha, each_class=each_class)
        )
    return answer


def members(probability: Floats, thresholds: list[tuple[float, float]], order: NDArray[np.intp]) -> Bools:
    """(2, R, N): is benign, is malignant in the set, each group by its own thresholds; an empty set becomes both."""
    benign, malignant = np.array(thresholds)[order].T
    inside = np.stack([1 - probability >= benign, probability >= malignant])
    answer: Bools = inside | ~inside.any(axis=0)
    return answer


def outcome(cohort: Cohort, inside: Bools) -> tuple[Bools, Bools]:
    """(R, N) twice, of sets as `members` gives them: does it hold the true class, and is it "not sure"?"""
    covers: Bools = np.where(cohort.labels == 1, inside[1], inside[0])
    unsure: Bools = np.asarray(inside.all(axis=0))
    return covers, unsure


def measure_sets(cohort: Cohort, inside: Bools) -> dict[str, Any]:
    """Coverage, share of "not sure" and share right among the sure, with intervals over groups.

    inside: (2, R, N) as `members` gives it. By class: of benign (malignant) patients' images, every group weighing
    the same. `when_benign`: of the images of which the set says benign alone.
    """
    covers, unsure = outcome(cohort, inside)
    sure = ~unsure

    def share(part: Bools, whole: Bools | None = None, weights: Floats = cohort.by_image) -> Interval:
        within = np.ones_like(part) if whole is None else np.broadcast_to(whole, part.shape)
        return cohort.ratio((part & within) * weights, within * weights)

    def shares(part: Bools, whole: Bools | None = None) -> dict[str, Interval]:
        return {"by_picture": share(part, whole), "by_group": share(part, whole, cohort.by_group)}

    def of_each_class(part: Bools) -> dict[str, Interval]:
        kinds = {"benign": cohort.labels == 0, "malignant": cohort.labels == 1}
        return {name: share(part, kind, cohort.by_group) for name, kind in kinds.items()}

    return {
        "coverage": shares(covers) | of_each_class(covers),
        "not_sure": shares(unsure) | of_each_class(unsure),
        "right_when_sure": shares(covers, sure)
        | {"when_benign": share(covers, sure & inside[0]), "when_malignant": share(covers, sure & inside[1])},
    }
