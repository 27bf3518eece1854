"""Scores of a classifier, of two classes or several, each with an interval by patient group and not by image.

Malignant (1) is the positive class. With TPR = sensitivity and TNR = specificity:

- balanced accuracy = (TPR + TNR) / 2, GMean = sqrt(TPR TNR)
- IBA_a = (1 + a (TPR - TNR)) TPR TNR with a = 0.1 (Garcia, Mollineda, Sanchez, "Index of Balanced Accuracy: A
  Performance Measure for Skewed Class Distributions", IbPRIA 2009): rewards sensitivity over specificity a little
- AUC = P(a malignant image scores above a benign one), ties half (Mann-Whitney)
- Brier = mean of (probability of malignant - label)^2
- ECE, expected calibration error = sum over bins of |sum of (probability - label)| / images (Guo, Pleiss, Sun,
  Weinberger, "On Calibration of Modern Neural Networks", ICML 2017), in the tables with 15 bins of equal width
- patient recognition rate = mean over patient groups of the share of a group's images that are right, N_rec / N_P
  (Spanhol et al., IEEE Transactions on Biomedical Engineering 63(7), 2016): a patient counts once, whatever the number
  of images

A score is None where its formula has no value, never a made-up zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINARY_METRICS = (
    "auc", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "gmean", "iba", "brier", "ece",
    "patient_recognition_rate",
)  # fmt: skip
MULTICLASS_METRICS = (
    "accuracy", "balanced_accuracy", "f1", "gmean", "iba", "auc", "brier", "ece", "patient_recognition_rate",
)  # fmt: skip
IBA_ALPHA = 0.1
BINS = 15

# The classes a score is about: its interval needs at least two patient groups of each. For some these are the classes
# that are there.
_POSITIVE_ONLY, _NEGATIVE_ONLY = {"sensitivity"}, {"specificity"}
_WHATEVER_IS_THERE = {"accuracy", "brier", "ece", "patient_recognition_rate"}

Floats = NDArray[np.float64]


class Interval(TypedDict):
    """A score with its confidence interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _Tally:
    """What a bootstrap needs to know of each group: sums over its images, (G,) each, `gaps` (G, BINS) of probability
    minus label by bin, and `wins` (G, G), the number of pairs in which a malignant image of the row's group scores
    above a benign one of the column's, ties half."""

    true_positives: Floats
    positives: Floats
    true_negatives: Floats
    negatives: Floats
    squared_error: Floats
    gaps: Floats
    wins: Floats


@dataclass(frozen=True)
class _ClassTally:
    """The same of several classes: `confusion` (G, C, C), rows the truth; `squared_error` (G,) summed over the classes;
    `gaps` (G, BINS) of the called class's probability minus whether it is right; `wins` (C, G, G), each class against
    all others by its own probability."""

    confusion: Floats
    squared_error: Floats
    gaps: Floats
    wins: Floats


def binary_scores(labels: ArrayLike, probabilities: ArrayLike, threshold: float = 0.5) -> dict[str, float | None]:
    """The BINARY_METRICS of one set of predictions, but for the patient recognition rate, which needs groups.

    labels: (N,) 0 benign, 1 malignant. probabilities: (N,) of malignant, 0..1; an image is called malignant from
    `threshold` on. Sensitivity and F1 are None without a malignant image, specificity without a benign one,
    AUC, balanced accuracy, GMean and IBA without both. Raises ValueError for anything but finite 0..1 and labels 0, 1.
    """
    y, p = _checked(labels, probabilities)
    if p.shape[0] != 1:
        raise ValueError("binary_scores takes one probability per image; with_intervals takes repeats.")
    tally = _tally(y, p[0], np.zeros(y.size, dtype=np.intp), 1, threshold)
    scores = _scores(tally, np.ones((1, 1)))
    return {name: _number(scores[name][0]) for name in BINARY_METRICS if name != "patient_recognition_rate"}


def with_intervals(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    threshold: float = 0.5,
) -> dict[str, Interval]:
    """The BINARY_METRICS, each with a percentile bootstrap interval over patient groups.

    labels: (N,) 0 benign, 1 malignant. probabilities: (N,) of malignant, or (R, N) for R repeats of a
    cross-validation: the value is then the mean of the repeats' values, and every resample draws the groups once and
    averages over the repeats, so that the interval is about new patients and not about the seed. groups: (N,).

    Groups are drawn with replacement, whole, and per stratum: benign groups, malignant groups, and groups with both
    classes (a single such group joins the larger of the other two). A score's interval is None where a class that it is
    about has fewer than two groups: nothing is known then of how patients differ. With few groups the interval is
    too narrow: in a simulation with 29 malignant and 8 benign groups of 15 images each, nominal 95 % covered the true
    sensitivity in 94 % and the true specificity in 86 % of the cohorts.
    """
    values, draws, defined = _drawn(labels, probabilities, groups, resamples, seed, threshold)
    return {name: _interval(values[name][0], draws[name], level, defined[name]) for name in BINARY_METRICS}


def paired_differences(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    threshold: float = 0.5,
) -> dict[str, Interval]:
    """The BINARY_METRICS of `second` minus those of `first`, with intervals; see `with_intervals`.

    Both are judged on the same resamples of the patient groups, so that what makes a patient hard for both falls out.
    """
    one, other = (_drawn(labels, p, groups, resamples, seed, threshold) for p in (first, second))
    return {
        name: _interval(other[0][name][0] - one[0][name][0], other[1][name] - one[1][name], level, one[2][name])
        for name in BINARY_METRICS
    }


class Difference(TypedDict):
    """The second model's score minus the first's, its interval and the p value that it is luck; None if undefined."""

    difference: float | None
    low: float | None
    high: float | None
    p: float | None


def paired_difference(
    labels: ArrayLike,
    probabilities_a: ArrayLike,
    probabilities_b: ArrayLike,
    groups: ArrayLike,
    metric: str = "auc",
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """One of BINARY_METRICS of model b minus that of model a on the same images, patient group by patient group.

    labels: (N,) 0 benign, 1 malignant. probabilities: (N,) of malignant, or (R, N) for R repeats, whose scores are
    averaged. `low` and `high` (95 %) are those of `paired_differences`: both models on the same resamples of groups.

    `p` is two-sided, by permutation (Fisher): were the models exchangeable, each group could as well have got its
    predictions from the other one. The models are swapped in each group with probability 1/2, all its images and
    repeats together, and the score itself is computed anew, `resamples` times; the arrangement at hand counts as one
    more, so p is never 0. An AUC then compares images across models: two models that rank alike but on different
    scales are not exchangeable, and p may call that a difference.

    With G groups p cannot come below 2 / 2^G. Difference and p are None where the score is undefined, the interval also
    where a class that it is about has fewer than two groups. Raises ValueError for an unknown metric or bad arguments.
    """
    if metric not in BINARY_METRICS:
        raise ValueError(f"The metric is one of {', '.join(BINARY_METRICS)}, not '{metric}'.")
    (y, a), (_, b) = _checked(labels, probabilities_a), _checked(labels, probabilities_b)
    if a.shape != b.shape:
        raise ValueError(f"The two models need as many repeats: there are {a.shape[0]} and {b.shape[0]}.")
    interval = paired_differences(labels, a, b, groups, resamples, seed)[metric]
    if interval["value"] is None:
        return {"difference": None, "low": None, "high": None, "p": None}

    # Each group twice: once with a's predictions, once with b's. An arrangement counts one of the two.
    names, g = _grouped(groups, y.size)
    twice = np.concatenate([g, g + names.size])
    tallies = [
        _tally(np.tile(y, 2), np.concatenate(pair), twice, 2 * names.size, 0.5) for pair in zip(a, b, strict=True)
    ]
    swapped = np.random.default_rng(seed).integers(0, 2, (resamples, names.size)).astype(np.float64)
    swapped = np.concatenate([np.zeros((1, names.size)), swapped])
    first = _mean_scores(tallies, np.concatenate([1 - swapped, swapped], axis=1))[metric]
    second = _mean_scores(tallies, np.concatenate([swapped, 1 - swapped], axis=1))[metric]
    differences = np.abs(second - first)
    # The first is the arrangement at hand. Sums in another order may differ in the last digits.
    return {
        "difference": interval["value"],
        "low": interval["low"],
        "high": interval["high"],
        "p": float((differences >= differences[0] - 1e-12).mean()),
    }


def _drawn(
    labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike, resamples: int, seed: int, threshold: float
) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, bool]]:
    """Per metric: its value (1,), its value in every resample (resamples,), and whether an interval says anything."""
    y, p = _checked(labels, probabilities)
    names, g = _grouped(groups, y.size)
    tallies = [_tally(y, repeat, g, names.size, threshold) for repeat in p]
    values = _mean_scores(tallies, np.ones((1, names.size)))
    draws = _mean_scores(tallies, _resampled_counts(tallies[0], resamples, np.random.default_rng(seed)))
    groups_with = {0: int((tallies[0].negatives > 0).sum()), 1: int((tallies[0].positives > 0).sum())}
    defined = {
        name: all(groups_with[label] >= 2 for label in _classes_of(name, groups_with)) for name in BINARY_METRICS
    }
    return values, draws, defined


def _interval(value: float, draws: Floats, level: float, defined: bool) -> Interval:
    if np.isnan(value) or not defined:
        return {"value": _number(value), "low": None, "high": None}
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}


def multiclass_scores(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float | None]:
    """The MULTICLASS_METRICS of one set of predictions, but for the patient recognition rate, which needs groups.

    labels: (N,) indices into C classes; probabilities: (N, C), the highest is called. Macro scores are over the classes
    that occur among the labels:

    - balanced accuracy = mean of the recalls, GMean = their geometric mean, F1 = mean of the classes' F1
    - IBA = mean of each class's IBA against all others (of two classes it would be GMean^2 whatever a)
    - AUC = mean of each class's AUC against all others, by its own probability
    - Brier = mean over images of the sum over classes of (probability - truth)^2, 0 to 2 (Brier 1950)
    - ECE: see `expected_calibration_error`

    Balanced accuracy, GMean, IBA and AUC are None with one class only. Raises ValueError for labels outside 0..C-1 or
    values that are not finite.
    """
    y, p = _checked_classes(labels, probabilities)
    tally = _class_tally(y, p, np.zeros(y.size, dtype=np.intp), 1)
    scores = _class_scores([tally], np.ones((1, 1)))
    return {name: _number(scores[name][0]) for name in MULTICLASS_METRICS if name != "patient_recognition_rate"}


def multiclass_intervals(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    class_names: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The MULTICLASS_METRICS and every class's recall ("recall_NAME"), each with an interval over patient groups.

    labels: (N,) indices into `class_names`; probabilities: (N, C), or (R, N, C) for R repeats, whose scores are
    averaged as in `with_intervals`; groups: (N,). The groups are drawn with replacement, whole, and per stratum: groups
    that hold the same classes; a group whose classes no other one has joins the largest stratum. A resample without one
    of the classes has no macro score and is passed over. No interval where a class has fewer than two groups; a recall
    asks that of its own class only.
    """
    stacked = np.asarray(probabilities, dtype=np.float64)
    repeats = stacked if stacked.ndim == 3 else stacked[None]
    checked = [_checked_classes(labels, repeat) for repeat in repeats]
    if not checked or any(p.shape[1] != len(class_names) for _, p in checked):
        raise ValueError(f"Probabilities of {len(class_names)} classes are needed, not of shape {stacked.shape}.")
    y = checked[0][0]
    names, g = _grouped(groups, y.size)
    tallies = [_class_tally(y, p, g, names.size) for _, p in checked]
    holds = tallies[0].confusion.sum(axis=2) > 0
    counts = _stratified_counts(_class_strata(holds), resamples, np.random.default_rng(seed))
    values, draws = _class_scores(tallies, np.ones((1, names.size))), _class_scores(tallies, counts)
    groups_with = holds.sum(axis=0)
    enough = bool((groups_with[groups_with > 0] >= 2).all())
    answer = {name: _interval(values[name][0], draws[name], level, enough) for name in MULTICLASS_METRICS}
    for index, name in enumerate(class_names):
        key = f"recall_{index}"
        answer[f"recall_{name}"] = _interval(values[key][0], draws[key], level, bool(groups_with[index] >= 2))
    return answer


def bin_edges(values: ArrayLike, bins: int = BINS, *, equal_mass: bool = False) -> Floats:
    """Edges (bins + 1,) from 0 to 1 of bins [low, high), the last one closed: of equal width, or with equally many of
    the values (N,), 0..1, in each (where they are tied, more)."""
    edges = np.linspace(0, 1, bins + 1)
    if equal_mass:
        edges[1:-1] = np.quantile(np.asarray(values, dtype=np.float64), edges[1:-1])
    return edges


def expected_calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS, *, equal_mass: bool = False
) -> float | None:
    """How far probabilities are from the frequencies that they promise, 0 (never off) to 1; None without images.

    probabilities (N,) of malignant and labels 0, 1: the error of the probability of malignant. probabilities (N, C) and
    labels 0..C-1: the error of the called class's probability as a promise to be right (Guo et al. 2017). Bins of equal
    width, or of equal mass, whose error depends less on where the probabilities happen to lie. Few images a bin make
    the error too large: its expectation is above zero even for a model that is never off. Raises ValueError for labels
    or probabilities out of range.
    """
    if np.size(labels) == 0:
        return None
    if np.ndim(probabilities) == 2:
        y, p = _checked_classes(labels, probabilities)
        truth, promised = p.argmax(axis=1) == y, p.max(axis=1)
    else:
        truth, repeats = _checked(labels, probabilities)
        promised = repeats[0]
    inside = np.searchsorted(bin_edges(promised, bins, equal_mass=equal_mass)[1:-1], promised, side="right")
    return float(np.abs(np.bincount(inside, weights=promised - truth)).sum() / promised.size)


def patient_recognition_rate(labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike) -> float | None:
    """Spanhol's patient recognition rate, 0 to 1: mean over patients of the share of their images called right.

    probabilities (N,) of malignant, called from 0.5 on, with labels 0, 1; or (N, C), the highest called, with labels
    0..C-1. None without images. Raises ValueError for labels or probabilities out of range.
    """
    if np.size(labels) == 0:
        return None
    if np.ndim(probabilities) == 2:
        y, p = _checked_classes(labels, probabilities)
        right = p.argmax(axis=1) == y
    else:
        positive, repeats = _checked(labels, probabilities)
        right = (repeats[0] >= 0.5) == positive
    _, g = _grouped(groups, right.size)
    return float((np.bincount(g, weights=right) / np.bincount(g)).mean())


def _tally(y: NDArray[np.bool_], p: Floats, g: NDArray[np.intp], groups: int, threshold: float) -> _Tally:
    called = p >= threshold

    def summed(values: NDArray[Any]) -> Floats:
        return np.bincount(g, weights=values, minlength=groups).astype(np.float64)

    return _Tally(
        true_positives=summed(y & called),
        positives=summed(y),
        true_negatives=summed(~y & ~called),
        negatives=summed(~y),
        squared_error=summed((p - y) ** 2),
        gaps=_by_bin(p, p - y, g, groups),
        wins=_wins(y, p, g, groups),
    )


def _wins(y: NDArray[np.bool_], p: Floats, g: NDArray[np.intp], groups: int) -> Floats:
    """Pairs (groups, groups) in which a positive of the row's group scores above a negative of the column's."""
    wins = np.zeros((groups, groups))
    for column in np.unique(g[~y]):
        negative = np.sort(p[~y & (g == column)])
        below = np.searchsorted(negative, p[y], side="left")
        not_above = np.searchsorted(negative, p[y], side="right")
        wins[:, column] = np.bincount(g[y], weights=(below + not_above) / 2, minlength=groups)
    return wins


def _class_tally(y: NDArray[np.intp], p: Floats, g: NDArray[np.intp], groups: int) -> _ClassTally:
    classes, called, promised = p.shape[1], p.argmax(axis=1), p.max(axis=1)
    confusion = np.zeros((groups, classes, classes))
    np.add.at(confusion, (g, y, called), 1)
    squares = ((p - np.eye(classes)[y]) ** 2).sum(axis=1)
    return _ClassTally(
        confusion=confusion,
        squared_error=np.bincount(g, weights=squares, minlength=groups).astype(np.float64),
        gaps=_by_bin(promised, promised - (called == y), g, groups),
        wins=np.stack([_wins(y == k, p[:, k], g, groups) for k in range(classes)]),
    )


def _class_scores(tallies: list[_ClassTally], counts: Floats) -> dict[str, Floats]:
    """Every score of several classes (B,), averaged over the repeats, with group g counted counts[b, g] times."""
    repeats = [_class_scores_of(tally, counts) for tally in tallies]
    return {name: np.mean([scores[name] for scores in repeats], axis=0) for name in repeats[0]}


def _class_scores_of(tally: _ClassTally, counts: Floats) -> dict[str, Floats]:
    confusion = np.tensordot(counts, tally.confusion, axes=1)
    hits, support, called = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
    images = support.sum(axis=1, keepdims=True)
    there = tally.confusion.sum(axis=(0, 2)) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        recalls = hits / support
        f1 = 2 * hits / (support + called)
        true_negative_rates = (images - support - called + hits) / (images - support)
        pairs = np.stack([((counts @ wins) * counts).sum(axis=1) for wins in tally.wins], axis=1)
        auc = pairs / (support * (images - support))
        right = np.diagonal(tally.confusion, axis1=1, axis2=2).sum(axis=1) / tally.confusion.sum(axis=(1, 2))
    several = 1.0 if there.sum() > 1 else np.nan
    return {
        "accuracy": hits.sum(axis=1) / images[:, 0],
        "balanced_accuracy": several * recalls[:, there].mean(axis=1),
        "f1": f1[:, there].mean(axis=1),
        "gmean": several * recalls[:, there].prod(axis=1) ** (1 / there.sum()),
        "iba": several * _iba(recalls, true_negative_rates)[:, there].mean(axis=1),
        "auc": several * auc[:, there].mean(axis=1),
        "brier": counts @ tally.squared_error / images[:, 0],
        "ece": np.abs(counts @ tally.gaps).sum(axis=1) / images[:, 0],
        "patient_recognition_rate": counts @ right / counts.sum(axis=1),
        **{f"recall_{k}": recalls[:, k] for k in range(there.size)},
    }


def _by_bin(promised: Floats, gap: Floats, g: NDArray[np.intp], groups: int) -> Floats:
    """Sums (groups, BINS) of `gap` (N,) by group and by the bin of equal width that the promised probability is in."""
    inside = np.searchsorted(bin_edges(promised)[1:-1], promised, side="right")
    sums = np.bincount(g * BINS + inside, weights=gap, minlength=groups * BINS).astype(np.float64)
    return sums.reshape(groups, BINS)


def _scores(tally: _Tally, counts: Floats) -> dict[str, Floats]:
    """Every score (B,) with group g counted counts[b, g] times; NaN where undefined. The only place with formulas.

    The AUC of resampled groups needs no sorting: its pairs are the groups' pairs, wins[g, h], counted c_g c_h times.
    """
    true_positives, positives = counts @ tally.true_positives, counts @ tally.positives
    true_negatives, negatives = counts @ tally.true_negatives, counts @ tally.negatives
    images = positives + negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = true_positives / positives, true_negatives / negatives
        f1 = 2 * true_positives / (positives + true_positives + negatives - true_negatives)
        auc = ((counts @ tally.wins) * counts).sum(axis=1) / (positives * negatives)
        of_group = (tally.true_positives + tally.true_negatives) / (tally.positives + tally.negatives)
    return {
        "auc": auc,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "accuracy": (true_positives + true_negatives) / images,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "f1": np.where(positives > 0, f1, np.nan),
        "gmean": np.sqrt(sensitivity * specificity),
        "iba": _iba(sensitivity, specificity),
        "brier": counts @ tally.squared_error / images,
        "ece": np.abs(counts @ tally.gaps).sum(axis=1) / images,
        "patient_recognition_rate": counts @ of_group / counts.sum(axis=1),
    }


def _mean_scores(tallies: list[_Tally], counts: Floats) -> dict[str, Floats]:
    repeats = [_scores(tally, counts) for tally in tallies]
    return {name: np.mean([scores[name] for scores in repeats], axis=0) for name in BINARY_METRICS}


def _resampled_counts(tally: _Tally, resamples: int, random: np.random.Generator) -> Floats:
    """How often each group is drawn in each resample, (resamples, G): as many draws per stratum as it has groups."""
    has_positives, has_negatives = tally.positives > 0, tally.negatives > 0
    mixed = np.flatnonzero(has_positives & has_negatives)
    benign, malignant = np.flatnonzero(~has_positives), np.flatnonzero(~has_negatives)
    if mixed.size == 1:
        if benign.size > malignant.size:
            benign = np.append(benign, mixed)
        else:
            malignant = np.append(malignant, mixed)
        mixed = mixed[:0]
    return _stratified_counts([benign, malignant, mixed], resamples, random)


def _class_strata(holds: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Groups that hold the same classes, `holds` (G, C); those that stand alone join the largest stratum."""
    _, kind, sizes = np.unique(holds, axis=0, return_inverse=True, return_counts=True)
    kind = np.where(sizes[kind] == 1, sizes.argmax(), kind)
    return [np.flatnonzero(kind == one) for one in np.unique(kind)]


def _stratified_counts(strata: list[NDArray[np.intp]], resamples: int, random: np.random.Generator) -> Floats:
    counts = np.zeros((resamples, sum(stratum.size for stratum in strata)))
    for stratum in strata:
        if stratum.size:
            counts[:, stratum] = random.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), resamples)
    return counts


def _classes_of(name: str, groups_with: dict[int, int]) -> set[int]:
    if name in _POSITIVE_ONLY:
        return {1}
    if name in _NEGATIVE_ONLY:
        return {0}
    if name in _WHATEVER_IS_THERE:
        return {label for label, count in groups_with.items() if count}
    return {0, 1}


def _iba(sensitivity: Any, specificity: Any) -> Any:
    return (1 + IBA_ALPHA * (sensitivity - specificity)) * sensitivity * specificity


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """Labels as booleans (N,) and probabilities as repeats (R, N)."""
    y, p = np.asarray(labels), np.atleast_2d(np.asarray(probabilities, dtype=np.float64))
    if y.ndim != 1 or y.size == 0 or p.ndim != 2 or p.shape[0] == 0 or p.shape[1] != y.size:
        raise ValueError(f"Labels (N,) and probabilities (N,) or (R, N) are needed, not {y.shape} and {p.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("Labels must be 0 (benign) or 1 (malignant).")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("Probabilities must be finite and lie between 0 and 1.")
    return y == 1, p


def _checked_classes(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
    """Labels (N,) and probabilities (N, classes) of several classes."""
    y, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if y.ndim != 1 or y.size == 0 or p.ndim != 2 or p.shape[0] != y.size:
        raise ValueError(f"Labels (N,) and probabilities (N, classes) are needed, not {y.shape} and {p.shape}.")
    if not np.isfinite(p).all():
        raise ValueError("Some probabilities are not finite.")
    if not np.isin(y, np.arange(p.shape[1])).all():
        raise ValueError(f"Labels must be 0 to {p.shape[1] - 1}.")
    return y.astype(np.intp), p


def _grouped(groups: ArrayLike, images: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The names of the groups (G,), sorted, and each image's index among them (N,)."""
    names, g = np.unique(np.asarray(groups), return_inverse=True)
    if g.shape != (images,):
        raise ValueError(f"There are {images} labels, but groups of shape {np.shape(groups)}.")
    return names, g


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
