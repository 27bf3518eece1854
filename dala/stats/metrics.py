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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dala.stats.bootstrap import RESAMPLES, Floats, Interval, interval, number, resampled_groups
from dala.stats.groups import grouped
from dala.stats.roc import wins

BINARY_METRICS = (
    "auc", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "gmean", "iba", "brier", "ece",
    "patient_recognition_rate",
)  # fmt: skip
MULTICLASS_METRICS = (
    "accuracy", "balanced_accuracy", "f1", "gmean", "iba", "auc", "brier", "ece", "patient_recognition_rate",
)  # fmt: skip
CUT = 0.5  # an image is called malignant from here on
IBA_ALPHA = 0.1
BINS = 15

# The classes that a score is about: its interval needs at least two patient groups of each. Of most these are both, of
# some whichever are there.
_ABOUT = {"sensitivity": {1}, "specificity": {0}}
_WHATEVER_IS_THERE = {"accuracy", "brier", "ece", "patient_recognition_rate"}


@dataclass(frozen=True, eq=False)
class Tally:
    """What a bootstrap needs to know of each group: sums over its images, (G,) each, `gaps` (G, BINS) of probability
    minus label by bin, and `wins` (G, G), the pairs of images in the right order."""

    true_positives: Floats
    positives: Floats
    true_negatives: Floats
    negatives: Floats
    squared_error: Floats
    gaps: Floats
    wins: Floats

    @classmethod
    def of(cls, y: NDArray[np.bool_], p: Floats, g: NDArray[np.intp], groups: int) -> Tally:
        """Of labels and probabilities of malignant (N,), in groups numbered g (N,)."""
        called = p >= CUT

        def summed(values: NDArray[Any]) -> Floats:
            return np.bincount(g, weights=values, minlength=groups).astype(np.float64)

        return cls(
            true_positives=summed(y & called),
            positives=summed(y),
            true_negatives=summed(~y & ~called),
            negatives=summed(~y),
            squared_error=summed((p - y) ** 2),
            gaps=_by_bin(p, p - y, g, groups),
            wins=wins(y, p, g, groups),
        )

    def scores(self, counts: Floats) -> dict[str, Floats]:
        """Every score (B,) with group g counted counts[b, g] times; NaN where undefined."""
        true_positives, positives = counts @ self.true_positives, counts @ self.positives
        true_negatives, negatives = counts @ self.true_negatives, counts @ self.negatives
        images = positives + negatives
        with np.errstate(divide="ignore", invalid="ignore"):
            sensitivity, specificity = true_positives / positives, true_negatives / negatives
            f1 = 2 * true_positives / (positives + true_positives + negatives - true_negatives)
            auc = ((counts @ self.wins) * counts).sum(axis=1) / (positives * negatives)
            of_group = (self.true_positives + self.true_negatives) / (self.positives + self.negatives)
        return {
            "auc": auc,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "accuracy": (true_positives + true_negatives) / images,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "f1": np.where(positives > 0, f1, np.nan),
            "gmean": np.sqrt(sensitivity * specificity),
            "iba": _iba(sensitivity, specificity),
            "brier": counts @ self.squared_error / images,
            "ece": np.abs(counts @ self.gaps).sum(axis=1) / images,
            "patient_recognition_rate": counts @ of_group / counts.sum(axis=1),
        }


@dataclass(frozen=True, eq=False)
class ClassTally:
    """The same of several classes: `confusion` (G, C, C), rows the truth; `squared_error` (G,) summed over the classes;
    `gaps` (G, BINS) of the called class's probability minus whether it is right; `wins` (C, G, G), each class against
    all others by its own probability."""

    confusion: Floats
    squared_error: Floats
    gaps: Floats
    wins: Floats

    @classmethod
    def of(cls, y: NDArray[np.intp], p: Floats, g: NDArray[np.intp], groups: int) -> ClassTally:
        """Of labels (N,) and probabilities (N, C), in groups numbered g (N,)."""
        classes, called, promised = p.shape[1], p.argmax(axis=1), p.max(axis=1)
        confusion = np.zeros((groups, classes, classes))
        np.add.at(confusion, (g, y, called), 1)
        squares = ((p - np.eye(classes)[y]) ** 2).sum(axis=1)
        return cls(
            confusion=confusion,
            squared_error=np.bincount(g, weights=squares, minlength=groups).astype(np.float64),
            gaps=_by_bin(promised, promised - (called == y), g, groups),
            wins=np.stack([wins(y == k, p[:, k], g, groups) for k in range(classes)]),
        )

    def scores(self, counts: Floats) -> dict[str, Floats]:
        """Every score, and every class's recall as "recall_INDEX", (B,) with group g counted counts[b, g] times."""
        confusion = np.tensordot(counts, self.confusion, axes=1)
        hits, support, called = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
        images = support.sum(axis=1, keepdims=True)
        there = self.confusion.sum(axis=(0, 2)) > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            recalls = hits / support
            f1 = 2 * hits / (support + called)
            true_negative_rates = (images - support - called + hits) / (images - support)
            pairs = np.stack([((counts @ won) * counts).sum(axis=1) for won in self.wins], axis=1)
            auc = pairs / (support * (images - support))
            right = np.diagonal(self.confusion, axis1=1, axis2=2).sum(axis=1) / self.confusion.sum(axis=(1, 2))
        several = 1.0 if there.sum() > 1 else np.nan
        return {
            "accuracy": hits.sum(axis=1) / images[:, 0],
            "balanced_accuracy": several * recalls[:, there].mean(axis=1),
            "f1": f1[:, there].mean(axis=1),
            "gmean": several * recalls[:, there].prod(axis=1) ** (1 / there.sum()),
            "iba": several * _iba(recalls, true_negative_rates)[:, there].mean(axis=1),
            "auc": several * auc[:, there].mean(axis=1),
            "brier": counts @ self.squared_error / images[:, 0],
            "ece": np.abs(counts @ self.gaps).sum(axis=1) / images[:, 0],
            "patient_recognition_rate": counts @ right / counts.sum(axis=1),
            **{f"recall_{k}": recalls[:, k] for k in range(there.size)},
        }


def mean_scores(tallies: Sequence[Tally] | Sequence[ClassTally], counts: Floats) -> dict[str, Floats]:
    """Every score (B,), averaged over the repeats of a cross-validation: a tally each."""
    repeats = [tally.scores(counts) for tally in tallies]
    return {name: np.mean([scores[name] for scores in repeats], axis=0) for name in repeats[0]}


def binary_scores(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float | None]:
    """The BINARY_METRICS of one set of predictions, but for the patient recognition rate, which needs groups.

    labels: (N,) 0 benign, 1 malignant. probabilities: (N,) of malignant, 0..1; an image is called malignant from CUT
    on. Sensitivity and F1 are None without a malignant image, specificity without a benign one, AUC, balanced
    accuracy, GMean and IBA without both. Raises ValueError for anything but finite 0..1 and labels 0, 1.
    """
    y, p = checked(labels, probabilities)
    if p.shape[0] != 1:
        raise ValueError("binary_scores takes one probability per image; binary_intervals takes repeats.")
    scores = Tally.of(y, p[0], np.zeros(y.size, dtype=np.intp), 1).scores(np.ones((1, 1)))
    return {name: number(scores[name][0]) for name in BINARY_METRICS if name != "patient_recognition_rate"}


def binary_intervals(
    labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """The BINARY_METRICS, each with a 95 % interval over patient groups.

    labels: (N,) 0 benign, 1 malignant. probabilities: (N,) of malignant, or (R, N) for R repeats of a
    cross-validation: the value is then the mean of the repeats' values, and every resample draws the groups once and
    averages over the repeats, so that the interval is about new patients and not about the seed. groups: (N,).

    The groups are those of `resampled_groups`. A score's interval is None where a class that it is about has fewer than
    two groups: nothing is known then of how patients differ.
    """
    found = Resampled.of(labels, probabilities, groups, resamples, seed)
    return {name: interval(found.values[name], found.draws[name]) for name in BINARY_METRICS}


@dataclass(frozen=True, eq=False)
class Resampled:
    """The BINARY_METRICS of a model: `values`, NaN where undefined, and `draws`, the values (B,) in every resample of
    the groups, None where an interval would say nothing."""

    values: dict[str, float]
    draws: dict[str, Floats | None]

    @classmethod
    def of(cls, labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike, resamples: int, seed: int) -> Resampled:
        """See `binary_intervals`."""
        y, p = checked(labels, probabilities)
        names, g = grouped(groups, y.size)
        tallies = [Tally.of(y, repeat, g, names.size) for repeat in p]
        holds = np.stack([tallies[0].positives, tallies[0].negatives], axis=1) > 0
        values = mean_scores(tallies, np.ones((1, names.size)))
        draws = mean_scores(tallies, resampled_groups(holds, resamples, seed))
        groups_with = {1: holds[:, 0].sum(), 0: holds[:, 1].sum()}
        there = {label for label, count in groups_with.items() if count}

        def defined(name: str) -> bool:
            about = there if name in _WHATEVER_IS_THERE else _ABOUT.get(name, {0, 1})
            return all(groups_with[label] >= 2 for label in about)

        return cls(
            {name: float(values[name][0]) for name in BINARY_METRICS},
            {name: draws[name] if defined(name) else None for name in BINARY_METRICS},
        )


def multiclass_scores(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float | None]:
    """The MULTICLASS_METRICS of one set of predictions, but for the patient recognition rate, which needs groups.

    labels: (N,) indices into C classes; probabilities: (N, C), the highest is called. Macro scores are over the classes
    that occur among the labels:

    - balanced accuracy = mean of the recalls, GMean = their geometric mean, F1 = mean of the classes' F1
    - IBA = mean of each class's IBA against all others (of two classes it would be GMean^2 whatever a)
    - AUC = mean of each class's AUC against all others, by its own probability
    - Brier = mean over images of the sum over classes of (probability - truth)^2, 0 to 2 (Brier 1950)
    - ECE: of the called class's probability as a promise to be right

    Balanced accuracy, GMean, IBA and AUC are None with one class only. Raises ValueError for labels outside 0..C-1 or
    values that are not finite.
    """
    y, p = _checked_classes(labels, probabilities)
    scores = ClassTally.of(y, p, np.zeros(y.size, dtype=np.intp), 1).scores(np.ones((1, 1)))
    return {name: number(scores[name][0]) for name in MULTICLASS_METRICS if name != "patient_recognition_rate"}


def multiclass_intervals(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    class_names: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """The MULTICLASS_METRICS and every class's recall ("recall_NAME"), each with a 95 % interval over patient groups.

    labels: (N,) indices into `class_names`; probabilities: (N, C), or (R, N, C) for R repeats, whose scores are
    averaged as in `binary_intervals`; groups: (N,). A resample without one of the classes has no macro score and is
    passed over. No interval where a class has fewer than two groups; a recall asks that of its own class only.
    """
    stacked = np.asarray(probabilities, dtype=np.float64)
    repeats = [_checked_classes(labels, repeat) for repeat in (stacked if stacked.ndim == 3 else stacked[None])]
    if not repeats or any(p.shape[1] != len(class_names) for _, p in repeats):
        raise ValueError(f"Probabilities of {len(class_names)} classes are needed, not of shape {stacked.shape}.")
    y = repeats[0][0]
    names, g = grouped(groups, y.size)
    tallies = [ClassTally.of(y, p, g, names.size) for _, p in repeats]
    holds = tallies[0].confusion.sum(axis=2) > 0
    values = mean_scores(tallies, np.ones((1, names.size)))
    draws = mean_scores(tallies, resampled_groups(holds, resamples, seed))
    groups_with = holds.sum(axis=0)
    enough = bool((groups_with[groups_with > 0] >= 2).all())
    answer = {name: interval(values[name][0], draws[name] if enough else None) for name in MULTICLASS_METRICS}
    for index, name in enumerate(class_names):
        key = f"recall_{index}"
        answer[f"recall_{name}"] = interval(values[key][0], draws[key] if groups_with[index] >= 2 else None)
    return answer


def calibration_error(
    truth: NDArray[Any],
    promised: Floats,
    order: NDArray[np.intp],
    weights: Floats,
    draws: Floats,
    *,
    equal_mass: bool,
) -> Interval:
    """ECE of weighted images over `draws` (B, G) of the groups: how far probabilities are from the frequencies that
    they promise, 0 (never off) to 1.

    truth: (N,) 0 or 1. promised: probabilities (R, N) of R repeats, whose errors are averaged. order: (N,) index of
    each image's group. weights: (N,). Bins of equal width, or of equal mass, whose error depends less on where the
    probabilities happen to lie. Few images a bin make the error too large: its expectation is above zero even for a
    model that is never off, and resampling adds to it, so that the interval leans upwards.
    """
    groups = draws.shape[1]
    mass = np.bincount(order, weights, minlength=groups)
    value, resampled = 0.0, np.zeros(len(draws))
    for one in promised:
        gaps = _by_bin(one, weights * (one - truth), order, groups, equal_mass=equal_mass)
        value += float(np.abs(gaps.sum(axis=0)).sum() / mass.sum()) / len(promised)
        resampled += np.abs(draws @ gaps).sum(axis=1) / (draws @ mass) / len(promised)
    return interval(value, resampled)


def bin_edges(values: Floats, *, equal_mass: bool = False) -> Floats:
    """Edges (BINS + 1,) from 0 to 1 of bins [low, high), the last one closed: of equal width, or with equally many of
    the values, 0..1, in each (where they are tied, more)."""
    edges = np.linspace(0, 1, BINS + 1)
    if equal_mass:
        edges[1:-1] = np.quantile(values, edges[1:-1])
    return edges


def bin_of(values: Floats, edges: Floats) -> NDArray[np.intp]:
    """The bin that each value is in, in the values' shape."""
    return np.searchsorted(edges[1:-1], values, side="right")


def _by_bin(promised: Floats, gap: Floats, g: NDArray[np.intp], groups: int, *, equal_mass: bool = False) -> Floats:
    """Sums (groups, BINS) of `gap` (N,) by group and by the bin that the promised probability is in."""
    inside = bin_of(promised, bin_edges(promised, equal_mass=equal_mass))
    sums = np.bincount(g * BINS + inside, weights=gap, minlength=groups * BINS).astype(np.float64)
    return sums.reshape(groups, BINS)


def _iba(sensitivity: Any, specificity: Any) -> Any:
    return (1 + IBA_ALPHA * (sensitivity - specificity)) * sensitivity * specificity


def checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
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
