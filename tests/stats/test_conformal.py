"""Scaling against scikit-learn; thresholds and sets by hand; coverage over simulated cohorts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dala.runtime.calibration import Calibration
from dala.stats.conformal import (
    Cohort,
    Scaling,
    fit_scaling,
    groups_needed,
    least_probability,
    measure_sets,
    members,
    sigmoid,
    thresholds_of,
)
from tests.helpers.cohorts import cohort_of, simulated


def test_fit_is_an_unpenalised_logistic_regression() -> None:
    draw = np.random.default_rng(0)
    margins, labels = draw.normal(0, 3, (1, 200)), draw.integers(0, 2, 200)
    labels = np.where(draw.random(200) < 0.7, margins[0] > 0, labels).astype(np.int64)
    weights = draw.uniform(0.5, 2, 200)
    for bias in (False, True):
        fitted = fit_scaling(margins, labels, weights, bias=bias)
        known = LogisticRegression(C=np.inf, fit_intercept=bias, tol=1e-10).fit(margins.T, labels, weights)
        assert 1 / fitted.temperature == pytest.approx(known.coef_[0, 0], rel=1e-3)
        assert fitted.bias == pytest.approx(known.intercept_[0] if bias else 0, abs=1e-3)
    assert fit_scaling(margins, labels, weights, temperature=False) == Scaling(1.0, 0.0)


def test_repeats_share_a_images_weight() -> None:
    draw = np.random.default_rng(1)
    margins = draw.normal(0, 2, (3, 50))
    labels = (margins.mean(0) + draw.normal(0, 2, 50) > 0).astype(np.int64)
    three = fit_scaling(margins, labels, np.ones(50), bias=True)
    flat = fit_scaling(margins.reshape(1, -1), np.tile(labels, 3), np.ones(150), bias=True)
    assert (three.temperature, three.bias) == pytest.approx((flat.temperature, flat.bias), rel=1e-4)


def test_temperature_stays_in_its_bounds_where_classes_do_not_overlap() -> None:
    labels = np.array([0, 0, 1, 1])
    assert fit_scaling(np.array([[-2.0, -1, 1, 2]]), labels, np.ones(4)).temperature == pytest.approx(0.1)
    assert fit_scaling(np.array([[2.0, 1, -1, -2]]), labels, np.ones(4)).temperature == pytest.approx(10)


def test_threshold_by_hand() -> None:
    # Three groups: sizes 1, 2, 1, so shares 1, 1/2, 1/2, 1, and one share for the patient to come: 4 in all.
    confidence, order = np.array([[0.9, 0.8, 0.3, 0.6]]), np.array([0, 1, 1, 2])
    # Sorted .9 (1), .8 (1.5), .6 (2.5), .3 (3); alpha .5 asks for 2, .375 for 2.5, .25 for 3, .2 for 3.2: too much.
    for alpha, expected in ((0.5, 0.6), (0.375, 0.6), (0.37, 0.3), (0.25, 0.3), (0.2, 0.0)):
        assert least_probability(confidence, order, alpha) == expected
    # A second repeat halves the shares within a group: .9 (.5), .8 (.75), .7 (1.25), .6 (1.75), .5 (2) ...
    twice = np.array([[0.9, 0.8, 0.3, 0.6], [0.7, 0.2, 0.1, 0.5]])
    assert least_probability(twice, order, 0.5) == 0.5


@pytest.mark.parametrize(
    ("groups", "alpha", "possible"), [(8, 0.1, False), (9, 0.1, True), (18, 0.05, False), (19, 0.05, True)]
)
def test_how_many_groups_an_alpha_needs(groups: int, alpha: float, possible: bool) -> None:
    confidence = np.linspace(0.3, 0.9, groups)[None]
    assert least_probability(confidence, np.arange(groups), alpha) == (pytest.approx(0.3) if possible else 0)
    assert (groups_needed(alpha) <= groups) is possible


def test_thresholds_for_each_class_come_from_its_own_groups() -> None:
    probability = np.array([[0.1, 0.2, 0.9, 0.7]])  # confidence .9, .8 benign, .9, .7 malignant
    labels, order = np.array([0, 0, 1, 1]), np.arange(4)
    assert thresholds_of(probability, labels, order, 0.4, each_class=False) == pytest.approx((0.8, 0.8))
    assert thresholds_of(probability, labels, order, 0.4, each_class=True) == pytest.approx((0.8, 0.7))


def test_sets_by_hand() -> None:
    cohort = Cohort.of([0, 0, 0, 1, 1], ["a", "a", "b", "c", "d"], [[0.1, 0.5, 0.9, 0.8, 0.3]])
    inside = members(sigmoid(cohort.margins), [(0.6, 0.6)] * 4, cohort.order)
    assert inside[0].astype(int).tolist() == [[1, 1, 0, 0, 1]]  # the second was empty and became both
    assert inside[1].astype(int).tolist() == [[0, 1, 1, 1, 0]]
    found = measure_sets(cohort, inside)
    values = {key: {name: one["value"] for name, one in part.items()} for key, part in found.items()}
    # Covered: yes, yes (both), no, yes, no. By group: a 1, b 0, c 1, d 0.
    assert values["coverage"] == pytest.approx({"by_picture": 0.6, "by_group": 0.5, "benign": 0.5, "malignant": 0.5})
    assert values["not_sure"] == pytest.approx({"by_picture": 0.2, "by_group": 1 / 8, "benign": 1 / 4, "malignant": 0})
    # Sure: images 1, 3, 4, 5, right in 1 and 4; by group a 1/2 of 1/2, b, c, d.
    assert values["right_when_sure"] == pytest.approx(
        {"by_picture": 0.5, "by_group": 1.5 / 3.5, "when_benign": 0.5, "when_malignant": 0.5}
    )
    everything = members(sigmoid(cohort.margins), [(0.0, 0.0)] * 4, cohort.order)
    none_sure = measure_sets(cohort, everything)
    assert none_sure["right_when_sure"]["by_picture"] == {"value": None, "low": None, "high": None}
    assert none_sure["coverage"]["by_group"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_thresholds_that_are_served_give_the_measured_sets() -> None:
    """members() here and Calibration.set_of() on the server are one rule."""
    calibration = Calibration(("benign", "malignant"), 1.0, (0.0, 0.0), {0.1: (0.7, 0.6)})
    probability = np.array([[0.1, 0.3, 0.35, 0.5, 0.6, 0.95]])
    inside = members(probability, [(0.7, 0.6)], np.zeros(6, dtype=np.intp))
    for k, p in enumerate(probability[0]):
        served = calibration.set_of(np.array([1 - p, p]), 0.1).classes
        assert served == tuple(name for name, part in zip(calibration.classes, inside[:, 0, k], strict=True) if part)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_coverage_of_new_patients_in_simulation(alpha: float) -> None:
    """Thresholds of 30 groups, 20 new groups each time: hits average at 1 - alpha, up to 1 / 31 above."""
    covered = []
    for seed in range(150):
        known, new = cohort_of(simulated(2 * seed, 15, 15)), cohort_of(simulated(2 * seed + 1, 10, 10))
        least = thresholds_of(sigmoid(known.margins), known.labels, known.order, alpha, each_class=False)
        p = sigmoid(new.margins)
        confidence = np.where(new.labels == 1, p, 1 - p)
        covered.append(np.average(confidence >= least[0], weights=np.broadcast_to(new.by_group, p.shape)))
    error = np.std(covered) / np.sqrt(len(covered))
    assert 1 - alpha - 3 * error < np.mean(covered) < 1 - alpha + 1 / 31 + 3 * error


def test_a_temperature_changes_no_set() -> None:
    cohort = cohort_of(simulated(7))
    answers = []
    for scaling in (Scaling(), Scaling(3.0), Scaling(0.4)):
        p = scaling.probability(cohort.margins)
        least = thresholds_of(p, cohort.labels, cohort.order, 0.2, each_class=False)
        answers.append(members(p, [least] * len(cohort.names), cohort.order))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_groups_are_resampled_within_their_class() -> None:
    cohort = cohort_of(simulated(8, 4, 9))
    draws = cohort.draws
    np.testing.assert_array_equal(draws[:, :4].sum(1), 4)
    np.testing.assert_array_equal(draws[:, 4:].sum(1), 9)
    assert draws[:, 0].mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("labels", "groups", "probabilities"),
    [
        ([0, 1], ["a", "b"], [[0.1, 0.2]]),  # one group of each class
        ([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.1, 0.2, 0.3, 1.1]]),
        ([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.1, 0.2, 0.3, float("nan")]]),
        ([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.1, 0.2]]),
        ([0, 0, 1, 1], ["a", "b"], [[0.1, 0.2, 0.3, 0.4]]),
    ],
)
def test_unusable_predictions_are_a_sentence(labels: Any, groups: Any, probabilities: Any) -> None:
    with pytest.raises(ValueError, match=r"^Calibration .+\.$"):
        Cohort.of(labels, groups, probabilities)
