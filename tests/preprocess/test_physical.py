"""Images at a physical scale: sizes and places worked out by hand, pixels by Pillow and by shape."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dala.errors import TooLarge
from dala.intake.patch import Patch
from dala.intake.pixel_size import PixelSize
from dala.preprocess.fields import overlapping
from dala.preprocess.physical import CELL, MOST_FIELDS, views_at_scale
from dala.preprocess.scale import ASSUMED, Scale, scale_of
from dala.preprocess.views import Input
from tests.helpers.generated import examples

ASKED = Input(224, 320, (700, 460), "none", 0.5, (245, 161))


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def known(rows: float, columns: float | None = None) -> Scale:
    return Scale((rows, rows if columns is None else columns), "user")


@pytest.mark.parametrize(
    ("size", "scale", "seen", "grid"),
    [
        # (height, width), um of rows and columns, network pixels of a view, fields (rows, columns)
        ((460, 700), (0.35, 0.35), (322, 490), (1, 1)),  # a BreakHis 200X original is one field
        ((456, 700), (0.35, 0.35), (319, 490), (1, 1)),
        ((224, 224), (161 / 224, 245 / 224), (322, 490), (1, 1)),  # the squeezed edition is stretched back
        ((460, 700), (0.7, 0.7), (322, 490), (2, 2)),  # 100X: 980 x 644 px, exactly four
        ((460, 700), (1.75, 1.75), (322, 490), (5, 5)),  # 40X: 2450 x 1610 px
        ((460, 700), (0.175, 0.175), (161, 245), (1, 1)),  # 400X: half a field, as it is
        ((768, 896), (0.25, 0.25), (384, 448), (1, 1)),  # UCSB
        ((1000, 1000), (0.42, 0.42), (322, 490), (3, 2)),  # BACH: 840 px square
        ((1000, 400), (0.5, 0.5), (490, 400), (3, 1)),  # upright: a field is 322 wide, and 400 is one and a quarter
        ((512, 512), (0.25, 0.25), (256, 256), (1, 1)),  # TNBC
    ],
)
def test_sizes_and_grids(
    size: tuple[int, int], scale: tuple[float, float], seen: tuple[int, int], grid: tuple[int, int]
) -> None:
    found = views_at_scale(image(*size), known(*scale), ASKED)
    assert found.for_network.shape == (grid[0] * grid[1], *seen, 3)
    assert found.for_gate.shape == (grid[0] * grid[1], 224, 224, 3)
    assert found.grid == grid and found.extent is not None
    assert found.extent == (round(size[0] * scale[0] / 0.5), round(size[1] * scale[1] / 0.5))


def test_one_field_is_the_whole_image_resampled_by_pillow() -> None:
    pixels = image(460, 700)
    found = views_at_scale(pixels, known(0.35), ASKED)
    expected = Image.fromarray(pixels).resize((490, 322), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found.for_network[0], np.asarray(expected))
    np.testing.assert_array_equal(
        found.for_gate[0], np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC))
    )
    assert found.places[0].box == (0, 0, 700, 460) and found.places[0].seen == (0, 0, 490, 322)


def test_nothing_is_resampled_at_the_networks_own_scale() -> None:
    pixels = image(840, 840)
    found = views_at_scale(pixels, known(0.5), ASKED)
    assert [view.seen for view in found.places] == [view.box for view in found.places]
    assert [view.box for view in found.places] == [
        (left, top, left + 490, top + 322) for top in (0, 256, 518) for left in (0, 350)
    ]
    for view, place in zip(found.for_network, found.places, strict=True):
        left, top, right, bottom = place.box
        np.testing.assert_array_equal(view, pixels[top:bottom, left:right])


def test_a_circle_on_the_specimen_is_a_circle_to_the_network() -> None:
    """A disc of 80 um, drawn on pixels that are higher than wide: isotropic after resampling."""
    rows, columns = np.indices((224, 224))
    up, across = (rows - 112) * 161 / 224, (columns - 112) * 245 / 224
    disc = (np.hypot(up, across) < 40).astype(np.uint8)[..., None] * np.full(3, 255, np.uint8)
    seen = views_at_scale(disc, known(161 / 224, 245 / 224), ASKED).for_network[0, ..., 0] > 127
    height, width = np.ptp(np.flatnonzero(seen.any(1))) + 1, np.ptp(np.flatnonzero(seen.any(0))) + 1
    assert (height, width) == (pytest.approx(160, abs=2), pytest.approx(160, abs=2))


@given(st.integers(1, 5000), st.sampled_from([322, 490]))
@examples(200)
def test_fields_cover_and_overlap(length: int, field: int) -> None:
    found = overlapping(length, field, CELL)
    assert found[0][0] == 0 and found[-1][1] == length
    if length <= 1.5 * field:
        assert found == [(0, length)]
        return
    assert {end - start for start, end in found} == {field}
    overlaps = [before[1] - after[0] for before, after in pairwise(found)]
    assert min(overlaps) >= 0 and max(overlaps) <= field / 2 + CELL
    assert len(found) == -(-length // field)
    if len(found) * (field - CELL) + CELL >= length:
        assert all(start % CELL == 0 for start, _ in found[:-1])


@pytest.mark.slow
def test_too_many_fields_are_refused_in_a_sentence() -> None:
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    assert len(views_at_scale(pixels, Scale((0.35, 0.35), ASSUMED), ASKED).places) <= MOST_FIELDS
    with pytest.raises(TooLarge, match=r"^At 0\.5 um per pixel .* 2\.0 x 1\.5 mm, \d+ fields .* slide.*\.$"):
        views_at_scale(pixels, known(0.5), ASKED)
    with pytest.raises(TooLarge, match=r"an assumed 0\.49 .* say how large a pixel is"):
        views_at_scale(pixels, Scale((0.49, 0.49), ASSUMED), ASKED)


@pytest.mark.parametrize(
    ("size", "given", "expected"),
    [
        ((460, 700), PixelSize(0.4, 0.3, "file", "OME-XML"), Scale((0.4, 0.3), "file", "OME-XML")),
        ((460, 700), None, Scale((0.35, 0.35), "assumed")),
        ((100, 200), None, Scale((0.6, 0.6), "assumed")),  # 200 px show 120 um
        ((460, 700), PixelSize(50, 50, "file", "DICOM"), Scale((0.35, 0.35), "assumed")),  # of a film
    ],
)
def test_the_scale_of_a_patch(size: tuple[int, int], given: PixelSize | None, expected: Scale) -> None:
    found = scale_of(Patch(image(*size), "", "", "array", (), given))
    assert found == expected and found.known == (expected.source != "assumed")


def test_scales_in_words() -> None:
    assert known(0.35).whence == "given by the user"
    assert Scale((0.7, 0.7), "name", "BreakHis 100X").whence == "BreakHis 100X"
    assert known(0.35).in_words == "0.35 um per pixel"
    assert known(0.71875, 1.09375).in_words == "1.09 x 0.719 um per pixel"
    assert Scale((0.35, 0.35), "assumed").times(0.7).um_per_pixel == pytest.approx((0.245, 0.245))


def test_the_gate_sees_no_image_larger_than_the_network_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    found = views_at_scale(pixels, Scale((0.25, 0.25), "user"), ASKED)
    assert found.for_network.shape == found.for_gate.shape == (1, 75, 75, 3)
