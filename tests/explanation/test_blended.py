"""Maps of overlapping fields on one lattice, and where its cells lie on the image: by hand and by planes."""

from __future__ import annotations

import numpy as np
import pytest

from dala.explanation.gradcam import Lattice, SignedMap, blended


def test_one_field_is_its_map() -> None:
    values = np.random.default_rng(0).normal(size=(1, 11, 16))
    np.testing.assert_allclose(blended(values, [(0, 0)], 32, (322, 490)), values[0], rtol=1e-6)
    np.testing.assert_allclose(blended(values[:, :10, :10], [(0, 0)], 32, (320, 320)), values[0, :10, :10], rtol=1e-6)


def test_two_fields_blend_by_their_distance_from_the_edge() -> None:
    # Cells at 0, 32, 64 and 64, 96, 128 px of an image 160 px wide: the one both have lies at the edge of either.
    maps = np.array([[[1.0, 2.0, 3.0]], [[7.0, 8.0, 9.0]]])
    assert blended(maps, [(0, 0), (0, 64)], 32, (32, 160)).tolist() == [[1, 2, 5, 8, 9]]
    # Two cells shared: the first field weighs 2 and 1 there, the second 1 and 2.
    np.testing.assert_allclose(blended(maps, [(0, 0), (0, 32)], 32, (32, 128)), [[1, 11 / 3, 19 / 3, 9]], rtol=1e-6)


def test_a_field_between_two_cells_is_interpolated() -> None:
    # The second begins at 48 px: its cells lie at 48 and 80, those of the lattice at 64 and 96.
    maps = np.array([[[1.0, 1.0]], [[0.0, 8.0]]])
    assert blended(maps, [(0, 0), (0, 48)], 32, (1, 112)).tolist() == [[1, 1, 4, 8]]


@pytest.mark.parametrize("extent", [(840, 840), (1610, 2450), (644, 980), (500, 400), (483, 1471)])
def test_a_plane_in_overlapping_fields_is_the_same_plane(extent: tuple[int, int]) -> None:
    """Fields that each see a part of one linear function give it back, on lattice and image."""
    from dala.preprocess.fields import overlapping

    def plane(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return 3.0 - 0.01 * rows[:, None] + 0.02 * columns[None, :]

    rows, columns = overlapping(extent[0], 322, 32), overlapping(extent[1], 490, 32)
    high, wide = (-(-(one[0][1] - one[0][0]) // 32) for one in (rows, columns))
    starts = [(top, left) for top, _ in rows for left, _ in columns]
    maps = np.stack([plane(top + 32.0 * np.arange(high), left + 32.0 * np.arange(wide)) for top, left in starts])
    found = blended(maps, starts, 32, extent)
    expected = plane(*(32.0 * np.arange(-(-side // 32)) for side in extent))
    # Beyond a field's last cell, less than 32 px before its edge, its value is repeated.
    np.testing.assert_allclose(found, expected, atol=0.02 * 32)
    inner = found[:-1, :-1] - expected[:-1, :-1]
    assert np.abs(inner).mean() < 0.02
    field = SignedMap(found, "malignant", lattice=Lattice.of(32, extent)).upsampled(*extent)
    ends = [32 * (-(-side // 32) - 1) for side in extent]
    seen = field[: ends[0], : ends[1]]
    np.testing.assert_allclose(seen, plane(np.arange(ends[0]), np.arange(ends[1])), atol=0.02 * 32)


def test_cells_lie_where_the_lattice_says() -> None:
    # Two cells, in the middles of pixels 0 and 4 of six; of three pixels the middles are at 0.5, 2.5 and 4.5 of these.
    one = SignedMap(np.array([[0.0, 8.0]]), "malignant", lattice=Lattice.of(4, (1, 6)))
    assert one.upsampled(1, 6).tolist() == [[0, 2, 4, 6, 8, 8]]
    assert one.upsampled(1, 3).tolist() == [[1, 5, 8]]
    shifted = SignedMap(one.values, "malignant", lattice=Lattice.of(4, (1, 6), (0.0, 1.0)))
    assert shifted.upsampled(1, 6).tolist() == [[0, 0, 2, 4, 6, 8]]


def test_without_a_lattice_cells_share_the_image() -> None:
    assert SignedMap(np.array([[0.0, 8.0]]), "malignant").upsampled(1, 4).tolist() == [[0, 2, 6, 8]]
