"""Deletion and insertion against curves worked out by hand, for a judge that reads the mean grey level."""

from __future__ import annotations

import numpy as np
import pytest

from dala.explanation.effect import GLASS
from dala.explanation.faithfulness import ordered_curves, random_map, strongest_first


def darkness(images: np.ndarray) -> np.ndarray:
    p = 1 - images.astype(np.float64).mean(axis=(1, 2, 3, 4)) / GLASS
    return np.stack([1 - p, p], axis=1)


def quarters(a: int, b: int, c: int, d: int) -> np.ndarray:
    view = np.zeros((8, 8, 3), np.uint8)
    view[:4, :4], view[:4, 4:], view[4:, :4], view[4:, 4:] = a, b, c, d
    return view


# Only the first quarter is dark; glass is what judge and baseline share.
VIEW = quarters(0, GLASS, GLASS, GLASS)
RIGHT = np.array([[3, 2], [1, -1]], np.float32)


def test_the_right_order_by_hand() -> None:
    found = ordered_curves(VIEW, RIGHT, darkness, 1, "glass", steps=4)
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.deletion == pytest.approx([0.25, 0, 0, 0, 0])
    assert found.insertion == pytest.approx([0, 0.25, 0.25, 0.25, 0.25])
    assert found.deletion_area == pytest.approx(0.25 * 0.25 / 2)
    assert found.insertion_area == pytest.approx(0.25 * (1 - 0.25 / 2))


def test_the_inverted_order_by_hand() -> None:
    found = ordered_curves(VIEW, -RIGHT, darkness, 1, "glass", steps=4)
    assert found.deletion == pytest.approx([0.25, 0.25, 0.25, 0.25, 0])
    assert found.insertion == pytest.approx([0, 0, 0, 0, 0.25])


def test_order_is_descending_and_ties_are_drawn_by_the_seed() -> None:
    values = np.array([[1, 5], [1, -2], [1, 1]], np.float32)
    order = strongest_first(values, 0)
    assert order[0] == 1 and order[-1] == 3 and sorted(order) == list(range(6))
    np.testing.assert_array_equal(order, strongest_first(values, 0))
    assert len({tuple(strongest_first(values, seed)) for seed in range(30)}) > 5


def test_random_maps_have_no_ties() -> None:
    one = random_map((4, 5), 3)
    assert sorted(one.ravel()) == list(range(20))
    np.testing.assert_array_equal(one, random_map((4, 5), 3))
    assert (one != random_map((4, 5), 4)).any()
