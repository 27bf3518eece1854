"""Groups weighed and drawn: by hand, and against scipy's bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dala.stats.bootstrap import interval, mean_over_groups, ratio, resampled_groups
from dala.stats.groups import group_weights
from tests.helpers.cohorts import patients


def test_weights_by_hand() -> None:
    # Benign: patient 0 with 1 image, patient 1 with 3. Malignant: patient 2 with 4. Ten images with patient 3,
    # who has 1 benign and 1 malignant. N = 10, 2 classes, 3 benign groups, 2 malignant groups:
    # benign 10 / (2 3 n) = 5/3, 5/9, 5/3; malignant 10 / (2 2 n) = 5/8, 5/2.
    labels, groups = patients((1, 0), (3, 0), (0, 4), (1, 1))
    weights = group_weights(labels, groups)
    np.testing.assert_allclose(weights, [5 / 3] + [5 / 9] * 3 + [5 / 8] * 4 + [5 / 3, 5 / 2])
    assert weights.mean() == pytest.approx(1)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    with pytest.raises(ValueError, match="groups of shape"):
        group_weights([0, 1], ["a"])


def test_groups_of_the_same_classes_are_drawn_among_themselves() -> None:
    # Three benign, two malignant, two of both: as many of each kind in every draw.
    holds = np.array([[1, 0]] * 3 + [[0, 1]] * 2 + [[1, 1]] * 2, bool)
    draws = resampled_groups(holds, 400)
    for stratum, size in ((slice(0, 3), 3), (slice(3, 5), 2), (slice(5, 7), 2)):
        np.testing.assert_array_equal(draws[:, stratum].sum(axis=1), size)
        np.testing.assert_allclose(draws[:, stratum].mean(axis=0), 1, atol=0.15)
    # A single one of both kinds joins the three benign ones.
    draws = resampled_groups(holds[:6], 400)
    np.testing.assert_array_equal(draws[:, [0, 1, 2, 5]].sum(axis=1), 4)
    assert draws[:, 5].max() > 1
    np.testing.assert_array_equal(resampled_groups(holds, 5, seed=1), resampled_groups(holds, 5, seed=1))


def test_ratio_by_hand() -> None:
    parts, wholes, draws = np.array([1.0, 3.0, 0.0]), np.array([2.0, 4.0, 0.0]), np.array([[2.0, 0, 1], [0, 2, 1]])
    # 4 of 6; the draws say 2 of 4 and 6 of 8, 2.5 % and 97.5 % of the way from one to the other.
    assert ratio(parts, wholes, draws) == pytest.approx({"value": 2 / 3, "low": 0.50625, "high": 0.74375})
    assert ratio(parts[[0, 2]], wholes[[0, 2]], draws[:, [0, 2]]) == {"value": 0.5, "low": None, "high": None}
    assert ratio(parts, 0 * wholes, draws) == {"value": None, "low": None, "high": None}
    assert interval(float("nan"), draws[0]) == {"value": None, "low": None, "high": None}


def test_means_over_groups_are_scipys() -> None:
    draw = np.random.default_rng(4)
    groups = np.repeat(np.arange(12), 3).astype(str)
    values = draw.normal(0, 1, 12).repeat(3) + draw.normal(0, 0.1, 36)
    means = np.array([values[groups == group].mean() for group in sorted(set(groups))])
    known = stats.bootstrap(
        (means,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval  # fmt: skip
    found = mean_over_groups(values, groups)
    assert found == pytest.approx({"value": means.mean(), "low": known.low, "high": known.high}, rel=1e-12)
    assert mean_over_groups(np.ones(36), groups) == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_shift_is_a_mean_over_patients() -> None:
    groups = np.array(["a", "a", "a", "b"])
    found = mean_over_groups(np.array([0.3, 0.3, 0.3, -0.1]), groups)
    assert found["value"] == pytest.approx(0.1)  # not the images' 0.2
    assert (found["low"], found["high"]) == pytest.approx((-0.1, 0.3))
    assert mean_over_groups(np.array([0.3]), np.array(["a"])) == {"value": 0.3, "low": None, "high": None}
