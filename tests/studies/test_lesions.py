"""Scores of a map against a mask, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dala.studies.lesions import area_under_precision_recall, overlap, pointing_game

MASK = np.array([[True, True], [False, False]])


def test_pointing_game() -> None:
    assert pointing_game(np.array([[1, 3], [2, -1]], np.float32), MASK) == 1
    assert pointing_game(np.array([[1, 3], [4, -1]], np.float32), MASK) == 0
    assert pointing_game(np.array([[4, 3], [4, 4]], np.float32), MASK) == pytest.approx(1 / 3)


def test_precision_and_recall() -> None:
    # Descending: hit (precision 1), miss, hit (2 of 3), miss.
    field = np.array([[4, 2], [3, 1]], np.float32)
    assert area_under_precision_recall(field, MASK) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert area_under_precision_recall(np.zeros((2, 2), np.float32), MASK) == pytest.approx(0.5)


def test_overlap() -> None:
    kept = np.array([[True, False], [True, False]])
    assert overlap(kept, MASK) == pytest.approx(1 / 3)
    assert overlap(MASK, MASK) == 1
    assert overlap(np.zeros((2, 2), bool), MASK) == 0
    assert overlap(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0


def test_what_cannot_be_scored_is_refused() -> None:
    field = np.zeros((2, 2), np.float32)
    for mask in (np.zeros((2, 2), bool), np.ones((2, 2), bool)):
        with pytest.raises(ValueError, match="empty or full"):
            pointing_game(field, mask)
        with pytest.raises(ValueError, match="empty or full"):
            area_under_precision_recall(field, mask)
    with pytest.raises(ValueError, match="does not fit"):
        pointing_game(field, np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="does not fit"):
        overlap(np.zeros((3, 3), bool), MASK)
