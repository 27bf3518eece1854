"""What an answer is worth: probabilities, and prediction sets that promise more where the laboratory is known.

Known laboratory: hierarchical conformal prediction over its held-out patients (`dala.stats.conformal`). Unknown one:
the ranking survives in a new laboratory, the cut does not, and five laboratories are too few for a conformal set over
laboratories. So what is answered there is chosen on the laboratories left out: malignant above the least probability
at which in none of them more than `WRONG` of such answers are wrong, and benign never, for in the laboratories that
hold carcinomas alone a quarter of the images lie as low as any benign one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval, ratio, resampled_groups
from dala.stats.conformal import Cohort, Scaling, held_out_thresholds, members, outcome, sigmoid, thresholds_of
from dala.stats.groups import grouped
from dala.training.laboratories.samples import Floats

ALPHAS = (0.10, 0.05)
DECIDES = 0.05  # wider than the usual tenth: harder patients than those of the open data sets will come
WRONG = 0.05  # a third of what is meant to be kept, for it is chosen on the patients that it is measured on
LEAST = 0.5  # a malignant answer is never less probable than that
MOSAICS, FIELDS, SEED = 2000, (2, 4, 6, 12), 0


NONE_OF = 0.025  # a 95 % interval leaves as much above


@dataclass(frozen=True, eq=False)
class Answered:
    """Share of images with an answer, and of these the share that is wrong, with intervals over patients.

    Where no answer is wrong, drawing patients anew finds none either: the interval then ends where so many patients
    without a wrong answer have a chance of 2.5 % (Clopper and Pearson 1934, for as many patients as were answered).
    """

    share: Interval
    wrong: Interval

    @classmethod
    def of(cls, answer: NDArray[np.bool_], wrong: NDArray[np.bool_], groups: NDArray[np.str_]) -> Answered:
        """From (R, N) flags."""
        names, order = grouped(groups, groups.size)
        draws = resampled_groups(np.ones((len(names), 1), bool))

        def sums(flags: NDArray[np.bool_]) -> Floats:
            return np.bincount(order, flags.sum(0), minlength=len(names)).astype(np.float64)

        every = sums(np.ones_like(answer))
        share, mistaken = ratio(sums(answer), every, draws), ratio(sums(wrong & answer), sums(answer), draws)
        if mistaken["value"] == 0:
            mistaken["high"] = 1 - NONE_OF ** (1 / int(np.count_nonzero(sums(answer))))
        return cls(share, mistaken)


@dataclass(frozen=True, eq=False)
class Known:
    """The sets of a known laboratory: by alpha the least probability of either class, and what was measured of them at
    `DECIDES`, every patient by the thresholds that the others give."""

    thresholds: Mapping[float, float]
    answered: Answered


def known_laboratory(labels: NDArray[np.int64], groups: NDArray[np.str_], margins: Floats, scaling: Scaling) -> Known:
    """Sets from held-out margins (R, N) of a laboratory's images."""
    cohort = Cohort.of(labels, groups, scaling.probability(margins))
    probability = sigmoid(cohort.margins)
    one = [Scaling()] * len(cohort.names)  # the probabilities are scaled already
    thresholds = {
        alpha: thresholds_of(probability, cohort.labels, cohort.order, alpha, each_class=False)[0] for alpha in ALPHAS
    }
    inside = members(probability, held_out_thresholds(cohort, one, DECIDES, each_class=False), cohort.order)
    covers, unsure = outcome(cohort, inside)
    return Known(thresholds, Answered.of(~unsure, ~covers, groups))


def least_malignant(laboratories: Sequence[tuple[NDArray[np.int64], Floats]]) -> float:
    """The least probability p of malignant, at least `LEAST`, such that of the images at p or above in every one of the
    laboratories at most `WRONG` are benign; 1 where there is none. Each is labels (N,) and probabilities (N,)."""
    candidates = np.unique(np.concatenate([[LEAST], *(p[p >= LEAST] for _, p in laboratories)]))

    def holds(least: float) -> bool:
        return all((labels[p >= least] == 0).mean() <= WRONG for labels, p in laboratories if (p >= least).any())

    # From the top: above the answer no laboratory may break the promise either.
    best = 1.0
    for least in candidates[::-1]:
        if not holds(float(least)):
            break
        best = float(least)
    return best


def unknown_laboratory(
    labels: NDArray[np.int64], groups: NDArray[np.str_], probabilities: Floats, least: float
) -> Answered:
    """What answering malignant from `least` on, and benign never, would have done in a laboratory left out."""
    answer = (probabilities >= least)[None]
    return Answered.of(answer, answer & (labels == 0), groups)


def pooling_of(labels: NDArray[np.int64], laboratories: NDArray[np.str_], margins: Floats) -> dict[str, Any]:
    """How fields are pooled, measured on mosaics of held-out images of one laboratory: all benign, or all but one.

    margins: (N,). By rule the AUC of one malignant field among F, and for the rule that is best at the most fields
    `shift`, which times ln F keeps the share of benign mosaics above margin 0 where it is for a single image.
    """
    draw = np.random.default_rng(SEED)
    names = [name for name in np.unique(laboratories) if len(set(labels[laboratories == name])) == 2]
    rules = {
        "mean": lambda m: m.mean(1),
        "top_1": lambda m: m.max(1),
        "top_2": lambda m: np.sort(m, 1)[:, -2:].mean(1),
        "noisy_or": _noisy_or,
    }
    table: dict[str, dict[str, float]] = {rule: {} for rule in rules}
    pooled: dict[str, dict[int, Floats]] = {rule: {} for rule in rules}
    single = float(np.mean(margins[labels == 0] > 0))
    for fields in FIELDS:
        benign, mixed = [], []
        for name in draw.choice(names, MOSAICS):
            own = laboratories == name
            none, some = np.flatnonzero(own & (labels == 0)), np.flatnonzero(own & (labels == 1))
            benign.append(draw.choice(none, fields))
            mixed.append(np.append(draw.choice(none, fields - 1), draw.choice(some)))
        for rule, of in rules.items():
            low, high = of(margins[np.array(benign)]), of(margins[np.array(mixed)])
            table[rule][str(fields)] = round(float((high[:, None] > low[None]).mean()), 4)
            pooled[rule][fields] = low
    best = max(table, key=lambda rule: table[rule][str(FIELDS[-1])])
    shifts = [float(np.quantile(pooled[best][fields], 1 - single)) / np.log(fields) for fields in FIELDS]
    return {
        "explained": "AUC of mosaics of F held-out images of one laboratory, one of them malignant, against mosaics of "
        "benign ones, by rule and F",
        "auc": table,
        "chosen": {"rule": best.partition("_")[0] if best == "mean" else "noisy_or" if best == "noisy_or" else "top_k",
                   **({"k": int(best[-1])} if best.startswith("top") else {}),
                   "shift": round(max(0.0, float(np.mean(shifts))), 4)},
        "benign_above_even": round(single, 4),
    }  # fmt: skip


def _noisy_or(margins: Floats) -> Floats:
    spread = np.logaddexp(0, margins).sum(1)
    answer: Floats = spread + np.log(-np.expm1(-spread))
    return answer
