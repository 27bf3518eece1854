"""Curves by hand and by scikit-learn, counts and patients from a few predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from dala.stats.conformal import Cohort
from dala.stats.paired import paired_difference
from dala.studies import headline, predictions
from dala.studies.blocks import Chart, Choice
from dala.studies.names import MODELS, NETWORK, PROBE
from dala.studies.predictions import (
    Predictions,
    confusion_table,
    patient_chart,
    patients,
    roc_band,
    roc_lines,
    worst_patients,
)
from tests.helpers.records import cells, partly


def held_out(probabilities: list[list[float]], labels: list[int], groups: list[str]) -> Predictions:
    by_model = {name: tuple(map(tuple, probabilities)) for name in MODELS}
    return partly(Predictions, labels=tuple(labels), groups=tuple(groups), probabilities=by_model)


@pytest.mark.slow
def test_the_area_under_each_curve_is_its_auc() -> None:
    told, found = headline.STUDY.read(), predictions.STUDY.read()
    assert told is not None and found is not None
    for line, name in zip(roc_lines(found.record), MODELS, strict=True):
        assert line.low is not None and line.high is not None
        assert line.name == MODELS[name]
        area = np.trapezoid(line.y, line.x)
        assert area == pytest.approx(told.record.scores[name]["auc"]["value"], abs=0.005)
        assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high, strict=True))


def test_a_curve_goes_through_scikit_learns_points() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], [50, 70])
    # Two decimals, so that there are ties.
    probabilities = np.clip(draw.normal(0.35 + 0.3 * labels, 0.2), 0, 1).round(2)
    groups = [f"g{label}{k % 5}" for k, label in enumerate(labels)]
    line = roc_band(Cohort.of(labels, groups, probabilities), probabilities[None], "one")
    x, y, _ = roc_curve(labels, probabilities, drop_intermediate=False)
    # With 50 benign images every share of false alarms is on the grid of hundredths.
    for share in np.unique(x):
        assert line.y[1 + round(100 * share)] == pytest.approx(y[x == share].max())
    assert np.trapezoid(line.y, line.x) == pytest.approx(roc_auc_score(labels, probabilities), abs=0.003)


def test_repeats_are_averaged_at_the_same_false_alarms() -> None:
    # First repeat: both malignant above both benign. Second: one of the malignant below both.
    labels, groups = [0, 0, 1, 1], ["a", "b", "c", "d"]
    probabilities = np.array([[0.1, 0.2, 0.8, 0.9], [0.3, 0.4, 0.2, 0.9]])
    line = roc_band(Cohort.of(labels, groups, probabilities), probabilities, "two")
    assert (line.x[0], line.y[0]) == (0, 0)
    assert line.y[1] == pytest.approx(0.75)  # no false alarm: all, and half
    assert line.y[51] == pytest.approx(0.75)
    assert line.y[-1] == 1


def test_patients_alike_leave_no_band_and_patients_apart_leave_one() -> None:
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    alike = np.array([[0.2, 0.6, 0.2, 0.6, 0.4, 0.8, 0.4, 0.8]])
    line = roc_band(Cohort.of(labels, groups, alike), alike, "alike")
    assert line.low == line.y == line.high
    apart = np.array([[0.2, 0.6, 0.2, 0.6, 0.1, 0.1, 0.8, 0.8]])
    line = roc_band(Cohort.of(labels, groups, apart), apart, "apart")
    assert line.low is not None and line.high is not None
    # No false alarm: found are 0, half or all, as the malignant patients are c c, c d or d d.
    assert (line.low[1], line.y[1], line.high[1]) == (0, 0.5, 1)


@pytest.mark.slow
def test_the_p_value_against_the_probe_agrees_with_its_interval() -> None:
    stored = predictions.STUDY.read()
    assert stored is not None
    cohort, of = stored.record.cohort, stored.record.by_model
    found = paired_difference(cohort.labels, of[PROBE], of[NETWORK], cohort.groups)
    assert found["low"] is not None and found["p"] is not None
    assert found["low"] > 0 and found["p"] < 0.05


def test_confusion_counts_are_means_of_the_repeats() -> None:
    record = held_out([[0.1, 0.6, 0.9, 0.9], [0.1, 0.2, 0.9, 0.4]], [0, 0, 1, 1], ["a", "b", "c", "d"])
    rows = cells(confusion_table(record))
    assert len(rows) == 2 * len(MODELS)
    assert rows[0] == ["DALAResNet50", "2 benign", "1.5 (75.0 %)", "0.5 (25.0 %)"]
    assert rows[1] == ["", "2 malignant", "0.5 (25.0 %)", "1.5 (75.0 %)"]


def test_patients_are_sorted_by_what_went_wrong() -> None:
    record = held_out([[0.1, 0.6, 0.9, 0.9, 0.2]], [0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"])
    rows = patients(record)
    assert [(row.name, row.malignant, row.images, row.right) for row in rows] == [
        ("b", False, 1, 0.0),
        ("d", True, 1, 0.0),
        ("a", False, 1, 1.0),
        ("c", True, 2, 1.0),
    ]
    assert rows[3].probability == pytest.approx(0.9)
    assert worst_patients(rows).endswith("wrong of 2 of 4 groups: b (benign), d (malignant).")
    assert worst_patients(rows[2:]) == "No group has most of its images called wrong."
    # On the chart classes stand together, each from the least probability to the largest.
    assert patient_chart(rows).rows_in_order == ["a", "b", "d", "c"]


def test_the_band_is_of_the_model_that_is_chosen() -> None:
    record = held_out([[0.1, 0.6, 0.9, 0.9]], [0, 0, 1, 1], ["a", "b", "c", "d"])
    (choice,) = [block for block in predictions.section(record) if isinstance(block, Choice)]
    assert list(choice.options) == list(MODELS.values())
    (chart,) = choice.body("Colour alone")
    assert isinstance(chart, Chart)
    assert [line.name for line in chart.lines if line.low is not None] == ["Colour alone"]
