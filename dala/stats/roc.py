"""ROC curves: pairs won, the area, the points, and a band over patient groups.

The area is AUC = P(a positive scores above a negative), ties half (Mann-Whitney). Scores may be any numbers, infinite
ones among them: only their order counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import TAILS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GRID = np.linspace(0, 1, 101)  # shares of false alarms at which a band is read off


def wins(positive: Bools, scores: Floats, order: NDArray[np.intp], groups: int) -> Floats:
    """Pairs (groups, groups) in which a positive of the row's group scores above a negative of the column's, ties half.

    The AUC of resampled groups then needs no sorting: with group g counted c_g times, its pairs are c_g c_h wins[g, h].
    """
    pairs = np.zeros((groups, groups))
    for column in np.unique(order[~positive]):
        negative = np.sort(scores[~positive & (order == column)])
        below = np.searchsorted(negative, scores[positive], side="left")
        not_above = np.searchsorted(negative, scores[positive], side="right")
        pairs[:, column] = np.bincount(order[positive], weights=(below + not_above) / 2, minlength=groups)
    return pairs


def auc(positive: Bools, scores: Floats) -> float:
    """The area under the curve, 0 to 1, of scores (N,); both classes must be there."""
    won = wins(positive, scores, np.zeros(positive.size, dtype=np.intp), 1)
    return float(won[0, 0] / (positive.sum() * (~positive).sum()))


def roc_curves(positive: Bools, scores: Floats, order: NDArray[np.intp], counts: Floats) -> tuple[Floats, Floats]:
    """False alarms and hits, shares (B, T + 1) from (0, 0) to (1, 1) over T falling limits, each group counted
    counts[b, g] times."""
    limits = np.unique(scores)[::-1]
    shares = []
    for inside in (~positive, positive):
        # Of each group, how many lie at or above each limit: (G, T).
        table = np.zeros((counts.shape[1], limits.size))
        np.add.at(table, (order[inside], np.searchsorted(-limits, -scores[inside])), 1)
        reached = counts @ np.cumsum(table, axis=1)
        shares.append(np.pad(reached / reached[:, -1:], ((0, 0), (1, 0))))
    return shares[0], shares[1]


def roc_curve(positive: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """False alarms and hits, shares (T + 1,), of all scores at once."""
    false_alarms, hits = roc_curves(positive, scores, np.zeros(positive.size, dtype=np.intp), np.ones((1, 1)))
    return false_alarms[0], hits[0]


@dataclass(frozen=True)
class Band:
    """Sensitivity `y` over false alarms `x`, shares, with a pointwise 95 % band; it starts at the origin."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def roc_band(positive: Bools, probabilities: Floats, order: NDArray[np.intp], draws: Floats) -> Band:
    """The curve of probabilities (R, N) of R repeats, each read off at the same false alarms and averaged, with a band
    over `draws` (B, G) of the groups."""
    counts = np.concatenate([np.ones((1, draws.shape[1])), draws])
    repeats = [
        np.stack([np.interp(GRID, x, y) for x, y in zip(*roc_curves(positive, one, order, counts), strict=True)])
        for one in probabilities
    ]
    curves = np.mean(repeats, axis=0)
    low, high = np.quantile(curves[1:], TAILS, axis=0)
    # Every curve starts at the origin, though it may rise there at once.
    return Band(*((0.0, *part.tolist()) for part in (GRID, curves[0], low, high)))
