"""Counts and figures as a reader expects them."""

from __future__ import annotations

import pytest

from dala.words import chance, counted, figure, share


@pytest.mark.parametrize(("count", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1204, "1,204 images")])
def test_a_count_agrees_with_its_noun(count: int, words: str) -> None:
    assert counted(count, "image") == words


def test_an_irregular_plural_is_given() -> None:
    assert (counted(1, "case is", "cases are"), counted(2, "case is", "cases are")) == ("1 case is", "2 cases are")


def test_figures_carry_their_interval_sign_and_unit() -> None:
    interval = {"value": 0.9291, "low": 0.85, "high": 0.9959}
    assert figure(interval) == "0.929 (0.850\u00a0to\u00a00.996)"
    assert figure(interval, percent=True) == "92.9\u00a0% (85.0\u00a0to\u00a099.6)"
    assert (
        figure({"value": 0.02, "low": -0.004, "high": 0.05}, signed=True) == "+0.020 (\u22120.004\u00a0to\u00a0+0.050)"
    )
    assert figure({"value": -0.0001, "low": None, "high": None}, signed=True) == "0.000"
    assert figure({"value": None, "low": None, "high": None}) == "undefined"


def test_chances_and_shares() -> None:
    assert [chance(p) for p in (None, 0.0004, 0.849)] == ["undefined", "under 0.001", "0.849"]
    assert share(0.0613) == "6.1\u00a0%"
