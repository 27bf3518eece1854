"""Two models on the same folds, patient by patient: is the difference more than luck in who the patients were?"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dala.stats.bootstrap import RESAMPLES, Interval, interval
from dala.stats.groups import grouped
from dala.stats.metrics import BINARY_METRICS, CUT, Resampled, Tally, checked, mean_scores


class Difference(TypedDict):
    """The second model's score minus the first's, its interval and the p value that it is luck; None if undefined."""

    difference: float | None
    low: float | None
    high: float | None
    p: float | None


def paired_differences(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """The BINARY_METRICS of `second` minus those of `first`, with 95 % intervals; see `binary_intervals`.

    Both are scored on the same resamples of the patient groups, so that what makes a patient hard for both falls out.
    """
    one, other = (Resampled.of(labels, p, groups, resamples, seed) for p in (first, second))
    answer = {}
    for name in BINARY_METRICS:
        before, after = one.draws[name], other.draws[name]
        drawn = None if before is None or after is None else after - before
        answer[name] = interval(other.values[name] - one.values[name], drawn)
    return answer


def paired_difference(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    metric: str = "auc",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """One of BINARY_METRICS of the second model minus that of the first on the same images, patient group by group.

    labels: (N,) 0 benign, 1 malignant. first, second: (N,) probabilities of malignant, or (R, N) for R repeats, whose
    scores are averaged. `low` and `high` are those of `paired_differences`.

    `p` is two-sided, by permutation (Fisher): were the models exchangeable, each group could as well have got its
    predictions from the other one. The models are swapped in each group with probability 1/2, all its images and
    repeats together, and the score itself is computed anew, `resamples` times; the arrangement at hand counts as one
    more, so p is never 0. With G groups it cannot come below 2 / 2^G.

    For an AUC what is swapped are the ranks that each model gives the images, not its probabilities (Bandos, Rockette,
    Gur, "A permutation test sensitive to differences in areas for comparing ROC curves from a paired design",
    Statistics in Medicine 24, 2005). An AUC knows only the order of the images, and two models may put the same order
    on two scales. Swapping probabilities would then compare images across scales, spoil the order in every arrangement
    but the one at hand, and call a clear difference luck or none a difference. The other scores are about the
    probabilities themselves, which are swapped as they are.

    Difference and p are None where the score is undefined, the interval also where a class that it is about has fewer
    than two groups. Raises ValueError for an unknown metric or bad arguments.
    """
    if metric not in BINARY_METRICS:
        raise ValueError(f"The metric is one of {', '.join(BINARY_METRICS)}, not '{metric}'.")
    (y, a), (_, b) = checked(labels, first), checked(labels, second)
    if a.shape != b.shape:
        raise ValueError(f"The two models need as many repeats: there are {a.shape[0]} and {b.shape[0]}.")
    found = paired_differences(labels, a, b, groups, resamples, seed)[metric]
    if found["value"] is None:
        return {"difference": None, "low": None, "high": None, "p": None}
    if metric == "auc":
        from scipy.stats import rankdata  # seconds to import

        a, b = (rankdata(model, axis=1) / y.size for model in (a, b))

    # Each group twice: once with the first model's predictions, once with the second's. An arrangement counts one.
    names, g = grouped(groups, y.size)
    twice = np.concatenate([g, g + names.size])
    tallies = [Tally.of(np.tile(y, 2), np.concatenate(pair), twice, 2 * names.size) for pair in zip(a, b, strict=True)]
    swapped = np.random.default_rng(seed).integers(0, 2, (resamples, names.size)).astype(np.float64)
    swapped = np.concatenate([np.zeros((1, names.size)), swapped])
    before = mean_scores(tallies, np.concatenate([1 - swapped, swapped], axis=1))[metric]
    after = mean_scores(tallies, np.concatenate([swapped, 1 - swapped], axis=1))[metric]
    differences = np.abs(after - before)
    # The first is the arrangement at hand. Sums in another order may differ in the last digits.
    p = float((differences >= differences[0] - 1e-12).mean())
    return {"difference": found["value"], "low": found["low"], "high": found["high"], "p": p}


class PairedTest(TypedDict):
    """Mean over the patient groups of (second minus first), and the two-sided p value that it is no difference."""

    difference: float
    p: float


def compare(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, groups: ArrayLike, flips: int = 100_000, seed: int = 0
) -> tuple[dict[str, PairedTest], dict[str, Interval]]:
    """Paired tests by patient group, and the differences of all metrics with intervals by patient group.

    labels: (N,) 0 benign, 1 malignant. first, second: (N,) or (R, N) probabilities of malignant of R repeats.
    `correct` is the share of a patient's images called right at CUT (Spanhol's patient recognition rate), `brier`
    its mean squared error, both averaged over images and repeats first: a patient counts once.
    """
    y = np.asarray(labels)
    p, q = np.atleast_2d(np.asarray(first, float)), np.atleast_2d(np.asarray(second, float))
    losses = {
        "correct": ((q >= CUT) == y).mean(0) - ((p >= CUT) == y).mean(0),
        "brier": ((q - y) ** 2).mean(0) - ((p - y) ** 2).mean(0),
    }
    names, g = grouped(groups, y.size)
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
