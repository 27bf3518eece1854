"""Paired comparisons by patient: worked out by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dala.stats.metrics import paired_differences, with_intervals
from dala.stats.paired import compare, holm, sign_flips


def test_sign_flips_by_hand_and_by_scipy() -> None:
    # Four groups, all better by one: of 16 sign patterns two reach a sum of 4 or -4.
    assert sign_flips(np.ones(4)) == pytest.approx(2 / 16, abs=0.005)
    assert sign_flips(np.zeros(5)) == 1.0  # no difference at all
    differences = np.random.default_rng(0).normal(0.4, 1.0, 12)
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flips(differences) == pytest.approx(exact, abs=0.005)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .04: 3 x .01 = .03, 2 x .02 = .04, 1 x .04 = .04. And never smaller than the one before.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])


def test_compare_counts_a_patient_once() -> None:
    # Group a (malignant, 3 images): the second model gets two more right. Group b (benign, 1 image): one less.
    labels, groups = [1, 1, 1, 0], ["a", "a", "a", "b"]
    first, second = [0.2, 0.2, 0.8, 0.4], [0.6, 0.6, 0.8, 0.6]
    tests, _ = compare(labels, first, second, groups)
    assert tests["correct"]["difference"] == pytest.approx((2 / 3 - 1) / 2)
    # Squared errors: a from .64 .64 .04 to .16 .16 .04: -.96 / 3; b from .16 to .36: +.20.
    assert tests["brier"]["difference"] == pytest.approx((-0.96 / 3 + 0.2) / 2)
    assert tests["brier"]["p"] == pytest.approx(1.0, abs=0.5)
    # With repeats a patient's differences are averaged first: here the two models change places.
    twice, _ = compare(labels, [first, second], [second, first], groups)
    assert twice["correct"]["difference"] == pytest.approx(0)


def test_paired_differences_are_differences_of_the_metrics() -> None:
    draw = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 5).astype(str)
    labels = np.repeat(np.arange(20) % 2, 5)
    hard = np.repeat(draw.normal(0, 2, 20), 5)  # some patients are hard for both models
    first = 1 / (1 + np.exp(-(3 * labels - 1.5 + hard + draw.normal(0, 0.3, 100))))
    second = 1 / (1 + np.exp(-(3 * labels - 1.5 + hard + draw.normal(0, 0.3, 100))))
    found = paired_differences(labels, first, second, groups)
    one, other = with_intervals(labels, first, groups), with_intervals(labels, second, groups)
    for name, interval in found.items():
        assert interval["value"] == pytest.approx(other[name]["value"] - one[name]["value"])
        assert interval["low"] <= interval["value"] <= interval["high"]
    # Paired, the patients' difficulty falls out: the interval is narrower than either model's own.
    assert found["auc"]["high"] - found["auc"]["low"] < one["auc"]["high"] - one["auc"]["low"]
    same = paired_differences(labels, first, first, groups)
    assert same["auc"] == {"value": 0.0, "low": 0.0, "high": 0.0}
