"""What is promised of an answer, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dala.stats.conformal import Scaling
from dala.training.laboratories.promise import (
    LEAST,
    Answered,
    known_laboratory,
    least_malignant,
    pooling_of,
    unknown_laboratory,
)


def test_shares_of_answers_and_of_wrong_ones() -> None:
    answer = np.array([[True, True, False, True]])
    wrong = np.array([[True, False, True, False]])  # the third has no answer: it cannot be wrong
    of = Answered.of(answer, wrong, np.array(["a", "b", "c", "d"]))
    assert of.share["value"] == 3 / 4
    assert of.wrong["value"] == pytest.approx(1 / 3)


def test_the_least_probability_holds_in_every_laboratory_and_above_it() -> None:
    first = np.array([1, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6])
    # From .7 on none is wrong; with .6 a quarter is.
    assert least_malignant([first]) == 0.7
    # A benign image at .95 in another: alone above .95 it is all wrong, so nothing can be promised below 1.
    second = np.array([0, 1]), np.array([0.95, 0.5])
    assert least_malignant([first, second]) == 1.0
    assert least_malignant([(np.array([1]), np.array([0.99])), (np.array([1]), np.array([0.2]))]) == LEAST


def test_in_an_unknown_laboratory_benign_is_never_answered() -> None:
    labels, p = np.array([0, 0, 1, 1]), np.array([0.01, 0.95, 0.95, 0.2])
    of = unknown_laboratory(labels, np.array(list("abcd")), p, 0.9)
    assert (of.share["value"], of.wrong["value"]) == (0.5, 0.5)


def test_a_known_laboratory_that_is_told_apart_answers_nearly_everything() -> None:
    labels = np.repeat([0, 1], 20)
    groups = np.array([f"p{k}" for k in range(40)])
    margins = np.where(labels == 1, 3.0, -3.0)[None] + np.linspace(0, 0.1, 40)
    known = known_laboratory(labels, groups, margins, Scaling())
    # Of 39 others, 38 (1 - .05 of 40) must lie at or above the threshold: one lies below, and so do the two least sure
    # patients of all, each below the threshold of the others.
    assert known.answered.share["value"] == 38 / 40
    assert known.answered.wrong["value"] == 0.0
    assert 0.9 < known.thresholds[0.05] <= known.thresholds[0.10] < 1


@pytest.mark.slow
def test_one_malignant_field_among_many_is_found_by_the_most_suspicious_and_lost_in_the_mean() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    margins = np.where(labels == 1, 2.0, -2.0) + draw.normal(0, 1, 400)
    found = pooling_of(labels, np.full(400, "A"), margins)
    assert found["auc"]["top_1"]["12"] > found["auc"]["mean"]["12"] + 0.1
    assert found["chosen"]["rule"] == "top_k"
    assert found["chosen"]["k"] == 1
    assert found["chosen"]["shift"] >= 0


def test_no_wrong_answer_among_few_patients_is_not_never() -> None:
    """Five patients answered, none wrong: the upper end is 1 - .025^(1/5) = .5218 (Clopper and Pearson's table)."""
    answer = np.array([[True] * 5 + [False]])
    of = Answered.of(answer, np.zeros((1, 6), bool), np.array(list("abcdef")))
    assert of.wrong["value"] == of.wrong["low"] == 0
    assert of.wrong["high"] == pytest.approx(0.5218, abs=1e-4)
