"""Wilson's interval by hand and by published examples, shares by group, Cohen's kappa against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dala.stats.agreement import Share, cohen_kappa, share_over_groups, wilson


def test_wilson_by_the_published_example() -> None:
    # 81 of 263: Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1.0, 29) == pytest.approx((0.8830, 1.0), abs=1e-4)


def test_intervals_count_sources_and_not_images() -> None:
    sources = np.repeat([str(number) for number in range(20)], 50)
    assert share_over_groups(np.ones(1000, bool), sources) == wilson(1.0, 20)
    flags = np.repeat(np.arange(20) < 5, 50)  # all or nothing in each source
    low, high = share_over_groups(flags, sources)
    alone = share_over_groups(flags, np.arange(1000).astype(str))
    assert 0 < low <= 0.1 < 0.4 <= high
    assert alone[1] - alone[0] < 0.3 * (high - low)
    assert share_over_groups(np.array([True, False]), np.array(["one", "one"])) == wilson(0.5, 1)


def test_wilson_interval_by_hand() -> None:
    # z = 1.959964, n = 10, p = .8: centre (p + z^2/2n)/(1 + z^2/n), half z/(1 + z^2/n) sqrt(p(1-p)/n + z^2/4n^2)
    z, n, p = 1.959964, 10, 0.8
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert Share(8, 10).interval == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_kappa_by_hand_and_by_scikit_learn() -> None:
    # Cohen's own kind of table: both yes 20, both no 15, first alone 5, second alone 10: (.7 - .5) / (1 - .5).
    first, second = ["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    draw = np.random.default_rng(0)
    calls = [[str(call) for call in draw.integers(0, 3, 60)] for _ in range(2)]
    assert cohen_kappa(*calls) == pytest.approx(cohen_kappa_score(*calls))
    assert cohen_kappa(["y", "y"], ["n", "n"]) == 0
    assert cohen_kappa(["y"], ["y"]) is None
    assert cohen_kappa([], []) is None
