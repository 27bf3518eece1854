"""Shares of few trials with Wilson's interval, and the agreement of two readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dala.stats.bootstrap import TAILS, redrawn

Z = float(ndtri(TAILS[1]))


def wilson(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share of some number of trials (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    centre = share + Z * Z / (2 * trials)
    width = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    whole = 1 + Z * Z / trials
    return max(0.0, (centre - width) / whole), min(1.0, (centre + width) / whole)


@dataclass(frozen=True)
class Share:
    """`count` of `of` with Wilson's interval; value and interval are None if `of` is 0."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.count / self.of, self.of) if self.of else None


def share_over_groups(flags: NDArray[np.bool_], groups: NDArray[np.str_]) -> tuple[float, float]:
    """95 % interval of the share of flags (N,): percentile bootstrap over whole groups; Wilson's with as many trials
    as there are groups where every flag is the same or there is one group only."""
    names, order = np.unique(groups, return_inverse=True)
    share = float(flags.mean())
    if share in (0.0, 1.0) or len(names) < 2:
        return wilson(share, len(names))
    flagged = np.bincount(order, flags).astype(np.float64)
    low, high = np.quantile(redrawn(flagged, np.bincount(order).astype(np.float64)), TAILS)
    return float(low), float(high)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """The agreement beyond chance of two readers' calls, (p_o - p_e) / (1 - p_e), -1 to 1 (Cohen, Educational and
    Psychological Measurement 20, 1960); None without calls or where both only ever use the same class."""
    used = {*first, *second}
    if len(used) < 2:
        return None
    same = sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
    chance = sum(first.count(one) * second.count(one) for one in used) / len(first) ** 2
    return (same - chance) / (1 - chance)
