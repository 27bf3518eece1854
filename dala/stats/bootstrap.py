"""95 % intervals by the percentile bootstrap over patient groups, which are drawn whole and with replacement.

With few groups such an interval is too narrow: in a simulation with 29 malignant and 8 benign groups of 15 images each,
nominal 95 % covered the true sensitivity in 94 % and the true specificity in 86 % of the cohorts.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
TAILS = (0.025, 0.975)

Floats = NDArray[np.float64]


class Interval(TypedDict):
    """A figure with its confidence interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


def number(value: float) -> float | None:
    """None, and never a made-up zero, for a figure without a value (NaN)."""
    return None if np.isnan(value) else float(value)


def interval(value: float, draws: Floats | None) -> Interval:
    """A value and the percentiles of its resamples (B,), NaN passed over; no interval if there are no draws (None)."""
    if np.isnan(value) or draws is None:
        return {"value": number(value), "low": None, "high": None}
    low, high = np.nanquantile(draws, TAILS)
    return {"value": float(value), "low": float(low), "high": float(high)}


def resampled_groups(holds: NDArray[np.bool_], resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each group is drawn, (resamples, G), for groups that hold these classes, (G, C).

    Groups are drawn per stratum, as many as it has: those that hold the same classes. A group whose classes no other
    one has joins the largest stratum. Strata are drawn in the sorted order of their rows of `holds`.
    """
    random = np.random.default_rng(seed)
    _, kind, sizes = np.unique(holds, axis=0, return_inverse=True, return_counts=True)
    largest = np.flatnonzero(sizes == sizes.max())[-1]
    kind = np.where(sizes[kind] == 1, largest, kind)
    counts = np.zeros((resamples, len(holds)))
    for stratum in (np.flatnonzero(kind == one) for one in np.unique(kind)):
        counts[:, stratum] = random.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), resamples)
    return counts


def ratio(parts: Floats, wholes: Floats, draws: Floats) -> Interval:
    """sum(parts) / sum(wholes), sums (G,) of each group, over `draws` (B, G) of the groups.

    None where the whole is empty; no interval where only one group has a part in it: nothing is known then of how
    patients differ.
    """
    if not wholes.sum() > 0:
        return {"value": None, "low": None, "high": None}
    with np.errstate(invalid="ignore"):
        resampled = (draws @ parts) / (draws @ wholes)
    return interval(parts.sum() / wholes.sum(), resampled if (wholes > 0).sum() > 1 else None)


def redrawn(parts: Floats, wholes: Floats, seed: int = 0) -> Floats:
    """sum(parts) / sum(wholes), (RESAMPLES,), of groups drawn without strata, for figures that know no classes."""
    drawn = np.random.default_rng(seed).integers(0, len(parts), (RESAMPLES, len(parts)))
    resampled: Floats = parts[drawn].sum(axis=1) / wholes[drawn].sum(axis=1)
    return resampled


def mean_over_groups(values: Floats, groups: NDArray[Any]) -> Interval:
    """Mean over the groups of a group's mean of values (N,); no interval for a single group."""
    means = np.array([values[groups == group].mean() for group in np.unique(groups)])
    return interval(means.mean(), redrawn(means, np.ones(len(means))) if len(means) > 1 else None)
