"""Paired comparisons by patient: worked out by hand and by scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from dala.stats.metrics import binary_intervals
from dala.stats.paired import compare, holm, paired_difference, paired_differences, sign_flips
from tests.helpers.cohorts import random_case


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
    one, other = binary_intervals(labels, first, groups), binary_intervals(labels, second, groups)
    for name, interval in found.items():
        assert interval["value"] == pytest.approx(other[name]["value"] - one[name]["value"])
        assert interval["low"] <= interval["value"] <= interval["high"]
    # Paired, the patients' difficulty falls out: the interval is narrower than either model's own.
    assert found["auc"]["high"] - found["auc"]["low"] < one["auc"]["high"] - one["auc"]["low"]
    same = paired_differences(labels, first, first, groups)
    assert same["auc"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def every_arrangement(labels: np.ndarray, a: np.ndarray, b: np.ndarray, patients: np.ndarray, of: Any) -> np.ndarray:
    """The second's score minus the first's under all 2^G ways to swap the models in G patients, as they are first."""
    swap = (np.arange(2 ** len(set(patients)))[:, None] >> patients & 1).astype(bool)
    return np.asarray(of(labels, np.where(swap, a, b)) - of(labels, np.where(swap, b, a)))


def auc_of_each(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of every row of scores (A, N), by scipy: Mann and Whitney's U over the number of pairs."""
    one, other = scores[:, labels == 1], scores[:, labels == 0]
    u = stats.mannwhitneyu(one, other, axis=1, method="asymptotic").statistic
    return np.asarray(u / (one.shape[1] * other.shape[1]))


def accuracy_of_each(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.asarray(((scores >= 0.5) == labels).mean(1))


@pytest.mark.slow
def test_a_paired_difference_against_every_arrangement() -> None:
    """Eight patients, every one of the 256 ways to swap the models in them, scipy for the scores."""
    labels, a = random_case(6, images=80)
    b = np.clip(a + np.random.default_rng(1).normal(0.08 * (2 * labels - 1), 0.15), 0, 1)
    patients = np.arange(80) % 8
    ranks = stats.rankdata(a), stats.rankdata(b)
    for metric, of, pair in (
        ("auc", auc_of_each, ranks),
        ("accuracy", accuracy_of_each, (a, b)),
    ):
        arrangements = every_arrangement(labels, *pair, patients, of)
        exact = np.mean(np.abs(arrangements) >= abs(arrangements[0]) - 1e-12)
        found = paired_difference(labels, a, b, patients, metric, resamples=10_000)
        assert found["difference"] == pytest.approx(arrangements[0])
        assert found["p"] == pytest.approx(exact, abs=0.01)
        assert 0.005 < exact < 0.9  # neither is trivial
        whole = paired_differences(labels, a, b, patients, resamples=10_000)[metric]
        assert (found["low"], found["high"]) == (whole["low"], whole["high"])


def test_a_paired_difference_by_hand() -> None:
    # Six patients of one malignant and one benign image each; b is right in all, a is wrong in all. Only the two
    # arrangements that swap nobody or everybody reach an AUC of 1 against 0: p = 2 / 64.
    labels, patients = [1, 0] * 6, np.repeat(np.arange(6), 2)
    found = paired_difference(labels, [0.1, 0.9] * 6, [0.9, 0.1] * 6, patients, resamples=20_000)
    assert found == {"difference": 1.0, "low": 1.0, "high": 1.0, "p": pytest.approx(2 / 64, abs=0.004)}
    # Repeats are averaged first: in the second one the models change places.
    a, b = [[0.1, 0.9] * 6, [0.9, 0.1] * 6], [[0.9, 0.1] * 6, [0.1, 0.9] * 6]
    assert paired_difference(labels, a, b, patients) == {"difference": 0, "low": 0, "high": 0, "p": 1.0}


def test_models_that_rank_alike_on_two_scales_do_not_differ() -> None:
    labels, a = random_case(9, images=120)
    patients = np.arange(120) % 10
    for b in (0.3 * a, 0.6 + 0.4 * a, a**3):
        assert paired_difference(labels, a, b, patients) == {"difference": 0, "low": 0, "high": 0, "p": 1.0}


@pytest.mark.slow
def test_a_better_model_on_another_scale_is_found_and_p_agrees_with_the_interval() -> None:
    """Where both models share a scale the swap of scores and that of ranks tell the same; where they do not, the swap
    of scores breaks the order of the images and loses the difference."""
    random = np.random.default_rng(3)
    patients = np.repeat(np.arange(10), 8)
    labels = (patients < 5).astype(int)
    truth = labels - 0.5 + random.normal(0, 0.1, 10)[patients]
    a, b = (1 / (1 + np.exp(-(2 * truth + random.normal(0, noise, 80)))) for noise in (2.0, 0.8))
    squeezed = 0.9 + 0.1 * b  # in the same order, all of it above nearly every score of the other
    assert auc_of_each(labels, np.stack([a, squeezed])) == pytest.approx(
        [sk.roc_auc_score(labels, model) for model in (a, b)]
    )
    plain, other = (paired_difference(labels, a, model, patients) for model in (b, squeezed))
    assert other == plain  # an AUC knows no scale
    assert other["low"] is not None and other["low"] > 0
    ranks = stats.rankdata(a), stats.rankdata(squeezed)
    exact, of_scores = (
        np.mean(np.abs(found) >= abs(found[0]) - 1e-12)
        for found in (every_arrangement(labels, *pair, patients, auc_of_each) for pair in (ranks, (a, squeezed)))
    )
    assert other["p"] == pytest.approx(exact, abs=0.01)
    assert exact < 0.01
    assert of_scores > 0.1


def test_a_paired_difference_is_undefined_where_the_score_is() -> None:
    nothing = {"difference": None, "low": None, "high": None, "p": None}
    assert paired_difference([1, 1], [0.2, 0.3], [0.4, 0.5], ["a", "b"]) == nothing
    found = paired_difference([1, 1, 0], [0.2, 0.3, 0.1], [0.4, 0.05, 0.1], ["a", "b", "c"])
    assert found["difference"] == pytest.approx(-0.5)  # one benign patient: a value, and no interval
    assert found["low"] is None and found["p"] == pytest.approx(0.5, abs=0.5)
    with pytest.raises(ValueError, match="The metric is one of auc"):
        paired_difference([1, 0], [0.2, 0.3], [0.4, 0.5], ["a", "b"], metric="kappa")
    with pytest.raises(ValueError, match="as many repeats"):
        paired_difference([1, 0], [[0.2, 0.3]] * 2, [0.4, 0.5], ["a", "b"])


@pytest.mark.slow
def test_the_permutation_test_keeps_its_level() -> None:
    """Two models that differ by noise only: p is below .1 in about a tenth of 200 cohorts."""
    random, below = np.random.default_rng(2), 0
    labels, patients = np.repeat([0, 1], 60), np.repeat(np.arange(24), 5)
    for cohort in range(200):
        hard = np.repeat(random.normal(0, 0.2, 24), 5)
        a, b = (np.clip(0.35 + 0.3 * labels + hard + random.normal(0, 0.2, 120), 0, 1) for _ in range(2))
        p = paired_difference(labels, a, b, patients, resamples=200, seed=cohort)["p"]
        below += p is not None and p <= 0.1
    assert 8 <= below <= 34
