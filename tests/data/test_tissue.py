"""Fields laid out of tissue tiles, by tiles of one grey each."""

from __future__ import annotations

import numpy as np

from dala.data.tissue import field_of


def test_a_field_is_laid_out_of_every_tile_once() -> None:
    """24 of 30, none twice; of 3 tiles some must come again."""
    tiles = [np.full((5, 5, 3), level, np.uint8) for level in range(30)]
    field = field_of(tiles, np.random.default_rng(0))
    assert field.shape == (20, 30, 3)
    levels = field[::5, ::5, 0]
    assert len(np.unique(levels)) == 24
    np.testing.assert_array_equal(np.kron(levels, np.ones((5, 5))), field[..., 0])
    assert set(np.unique(field_of(tiles[:3], np.random.default_rng(0)))) <= {0, 1, 2}


def test_a_field_of_one_tile_has_no_seams() -> None:
    tile = np.random.default_rng(0).integers(0, 255, (5, 5, 3)).astype(np.uint8)
    field = field_of([tile], np.random.default_rng(0))
    assert field.shape == (20, 30, 3)
    np.testing.assert_array_equal(field[:5, :5], tile)
    for edge in (5, 10, 15):  # what meets at an edge is the same on both sides
        np.testing.assert_array_equal(field[edge - 1], field[edge])
        np.testing.assert_array_equal(field[:, edge - 1], field[:, edge])
