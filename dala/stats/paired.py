"""Two models on the same folds, patient by patient: is the difference more than luck in who the patients were?"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dala.stats.metrics import Interval, paired_differences


class PairedTest(TypedDict):
    """Mean over the patient groups of (second minus first), and the two-sided p value that it is no difference."""

    difference: float
    p: float


def compare(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, groups: ArrayLike, flips: int = 100_000, seed: int = 0
) -> tuple[dict[str, PairedTest], dict[str, Interval]]:
    """Paired tests by patient group, and the differences of all metrics with intervals by patient group.

    labels: (N,) 0 benign, 1 malignant. first, second: (N,) or (R, N) probabilities of malignant of R repeats.
    `correct` is the share of a patient's images called right at 0.5 (Spanhol's patient recognition rate), `brier`
    its mean squared error, both averaged over images and repeats first: a patient counts once.
    """
    y = np.asarray(labels)
    p, q = np.atleast_2d(np.asarray(first, float)), np.atleast_2d(np.asarray(second, float))
    losses = {
        "correct": ((q >= 0.5) == y).mean(0) - ((p >= 0.5) == y).mean(0),
        "brier": ((q - y) ** 2).mean(0) - ((p - y) ** 2).mean(0),
    }
    names, g = np.unique(np.asarray(groups), return_inverse=True)
    images = np.bincount(g, minlength=names.size)
    tests = {}
    for name, difference in losses.items():
        by_group = np.bincount(g, weights=difference, minlength=names.size) / images
        tests[name] = PairedTest(difference=float(by_group.mean()), p=sign_flips(by_group, flips, seed))
    return tests, paired_differences(y, p, q, groups, seed=seed)


def sign_flips(differences: NDArray[np.float64], flips: int = 100_000, seed: int = 0) -> float:
    """Two-sided p value of a mean of paired differences (G,): how often do random signs do as much or more?

    If the models were exchangeable, each group's difference would be as likely as its opposite (Fisher's permutation
    test for pairs). Random signs are drawn `flips` times; the observed ones count as one more, so p is never 0.
    """
    random = np.random.default_rng(seed)
    signs = random.integers(0, 2, (flips, differences.size), dtype=np.int8) * 2.0 - 1
    observed = abs(differences.sum())
    as_much = np.abs(signs @ differences) >= observed * (1 - 1e-12)
    return float((1 + as_much.sum()) / (1 + flips))


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction for several tests, in the order given; each at least its own p value and at most 1."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
