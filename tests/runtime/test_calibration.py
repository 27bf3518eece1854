"""Calibrated probabilities and sets, worked out by hand; cards that do not fit their classes are refused."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from dala.runtime.calibration import DEFAULT_ALPHA, Calibration, softmax

FIELDS: dict[str, Any] = {
    "classes": ["benign", "malignant"],
    "calibration": {
        "temperature": 2.0,
        "bias": {"malignant": math.log(3), "benign": 0.0},
        "thresholds": {"0.05": {"benign": 0.1, "malignant": 0.0}, "0.10": {"malignant": 0.6, "benign": 0.7}},
    },
}


@pytest.fixture
def calibration() -> Calibration:
    read = Calibration.of_card(FIELDS)
    assert read is not None
    return read


def test_probabilities_by_hand(calibration: Calibration) -> None:
    # Logits 0 and 2 ln 2: halved 0 and ln 2, with the bias 0 and ln 6; softmax 1/7 and 6/7.
    p = calibration.probabilities(np.array([[0, 2 * math.log(2)], [5, 5]]))
    np.testing.assert_allclose(p, [[1 / 7, 6 / 7], [1 / 4, 3 / 4]], rtol=1e-12)


def test_softmax_of_huge_logits_is_finite() -> None:
    np.testing.assert_array_equal(softmax(np.array([-1e5, 1e5])), [0, 1])


@pytest.mark.parametrize(
    ("malignant", "alpha", "expected"),
    [
        (0.6, 0.10, ("malignant",)),  # the threshold itself is enough
        (0.5999, 0.10, ("benign", "malignant")),  # no class reaches its own: never an empty set
        (0.2, 0.10, ("benign",)),
        (0.89, 0.05, ("benign", "malignant")),  # both do
        (0.95, 0.05, ("malignant",)),
        (0.0, 0.05, ("benign", "malignant")),  # a threshold of 0 is always reached
    ],
)
def test_sets_by_hand(calibration: Calibration, malignant: float, alpha: float, expected: tuple[str, ...]) -> None:
    answer = calibration.set_of(np.array([1 - malignant, malignant]), alpha)
    assert (answer.alpha, answer.classes, answer.not_sure) == (alpha, expected, len(expected) == 2)


def test_the_default_level_and_unknown_levels(calibration: Calibration) -> None:
    assert calibration.set_of(np.array([0.0, 1.0])).alpha == DEFAULT_ALPHA
    with pytest.raises(KeyError):
        calibration.set_of(np.array([0.0, 1.0]), 0.01)


def test_a_card_without_calibration_has_none() -> None:
    assert Calibration.of_card({"classes": ["benign", "malignant"]}) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(bias={"benign": 0.0}), "names the classes benign"),
        (lambda c: c["thresholds"].update({"0.10": {"benign": 0.1, "cancer": 0.1}}), "benign, cancer"),
        (lambda c: c["thresholds"].pop("0.10"), "no thresholds for the alpha that decides, 0.10"),
    ],
)
def test_a_calibration_of_other_classes_is_refused(change: Any, sentence: str) -> None:
    fields = copy.deepcopy(FIELDS)
    change(fields["calibration"])
    with pytest.raises(ValueError, match=sentence):
        Calibration.of_card(fields)


def test_a_known_laboratory_has_sets_of_its_own_and_the_card_says_which_alpha_decides() -> None:
    fields = copy.deepcopy(FIELDS)
    fields["calibration"] |= {
        "decides": 0.05,
        "laboratories": {
            "Here": {"0.05": {"benign": 0.4, "malignant": 0.5}, "0.10": {"benign": 0.6, "malignant": 0.6}}
        },
    }
    read = Calibration.of_card(fields)
    assert read is not None
    p = np.array([0.45, 0.55])
    assert read.set_of(p, laboratory="Here").classes == ("benign", "malignant")  # .45 >= .4 and .55 >= .5
    assert read.set_of(np.array([0.35, 0.65]), laboratory="Here").classes == ("malignant",)
    # Elsewhere the general thresholds hold: benign from .1, malignant always.
    assert read.set_of(np.array([0.35, 0.65])).classes == ("benign", "malignant")
    assert read.set_of(np.array([0.09, 0.91]), laboratory="Nowhere").classes == ("malignant",)
    assert read.set_of(p, laboratory="Here").alpha == 0.05
    # The answer alone: malignant where benign is below .4, so from .6; benign where malignant is below .5.
    assert read.answered_from("malignant", "Here") == pytest.approx(0.6)
    assert read.answered_from("benign", "Here") == pytest.approx(0.5)
    assert read.answered_from("malignant") == pytest.approx(0.9)
    assert read.answered_from("benign") is None, "malignant is in every set"
    for p_malignant, wanted in ((0.59, ("benign", "malignant")), (0.61, ("malignant",)), (0.49, ("benign",))):
        assert read.set_of(np.array([1 - p_malignant, p_malignant]), laboratory="Here").classes == wanted
    del fields["calibration"]["laboratories"]["Here"]["0.05"]
    with pytest.raises(ValueError, match=r"the alpha that decides, 0\.05"):
        Calibration.of_card(fields)


def test_each_laboratory_has_its_own_limits() -> None:
    strict, known = {"0.10": {"benign": 0.9, "malignant": 0.0}}, {"0.10": {"benign": 0.5, "malignant": 0.5}}
    given = {**FIELDS["calibration"], "thresholds": strict, "laboratories": {"A": known}}
    calibration = Calibration.of_card({**FIELDS, "calibration": given})
    assert calibration is not None
    p = np.array([0.95, 0.05])
    assert calibration.set_of(p, laboratory="A").classes == ("benign",)
    for elsewhere in (None, "B"):
        assert calibration.set_of(p, laboratory=elsewhere).classes == ("benign", "malignant")
    assert [calibration.holds_for(one) for one in ("A", "B", None)] == [True, False, False]


def test_weights_of_one_source_tell_no_laboratories_apart(calibration: Calibration) -> None:
    assert calibration.laboratories is None and calibration.holds_for(None)
    # A site of too few patients for limits of its own: the weights do tell laboratories apart, and know none.
    none = Calibration.of_card({**FIELDS, "calibration": {**FIELDS["calibration"], "laboratories": {}}})
    assert none is not None and not none.holds_for("A") and not none.holds_for(None)
