"""Changes with sliders: neutral ones leave every pixel, the others do what they say."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dala.data.perturb import blur, restain, scaled
from dala.phantoms.tissue import draw
from dala.teaching.draw import activation_cells, signed_cells
from dala.teaching.perturb import NEUTRAL, SLIDERS, as_patch, levels, perturbed

FRAME = (700, 460)


@pytest.fixture(scope="module")
def view() -> np.ndarray:
    return np.ascontiguousarray(draw("regular_ducts").pixels[:224, :224])


@pytest.mark.slow
def test_neutral_changes_nothing(view: np.ndarray) -> None:
    assert perturbed(view, dict(NEUTRAL), FRAME) is view
    assert perturbed(view, {}, FRAME) is view


@pytest.mark.parametrize("slider", SLIDERS, ids=lambda slider: slider.name)
def test_every_slider_changes_the_image_and_not_its_input(view: np.ndarray, slider) -> None:
    before = view.copy()
    for value in (slider.minimum, slider.maximum):
        if value == slider.neutral:
            continue
        changed = perturbed(view, {slider.name: value}, FRAME)
        assert changed.shape == view.shape and changed.dtype == np.uint8
        assert np.abs(changed.astype(int) - view).mean() > 0.1
    np.testing.assert_array_equal(view, before)


def test_changes_follow_each_other_as_in_a_laboratory(view: np.ndarray) -> None:
    settings = {"blur": 1.5, "eosin": 1.6, "brightness": 0.8}  # not in the order of their effect
    expected = blur(scaled(restain(view, np.array([1, 1.6, 1])), 0.8), 1.5)
    np.testing.assert_array_equal(perturbed(view, settings, FRAME), expected)


def test_a_half_turn_turns_twice_into_itself_inside(view: np.ndarray) -> None:
    # 180 degrees about the centre of an even side: pixel (i, j) goes to (223 - i, 223 - j).
    turned = perturbed(view, {"rotation": 180.0}, FRAME)
    np.testing.assert_allclose(turned[5:-5, 5:-5].astype(int), view[::-1, ::-1][5:-5, 5:-5], atol=3)


def test_a_turn_keeps_the_shape_of_its_own_frame() -> None:
    """A square of a 2:1 frame, squeezed into the view, is as wide after a quarter turn as it was high."""
    view = np.zeros((200, 200, 3), np.uint8)
    view[60:140, 80:120] = 255  # in the frame of 400 x 200: 80 x 80
    turned = perturbed(view, {"rotation": 90.0}, (400, 200))
    # At the sides come its mirror images, from beyond the upper and the lower border.
    assert np.abs(turned.astype(int) - view)[:, 40:160].mean() < 3


def test_a_crop_of_a_quarter_is_twice_as_large() -> None:
    view = np.zeros((100, 100, 3), np.uint8)
    view[40:60, 40:60] = 200
    assert (perturbed(view, {"crop": 0.25}, FRAME)[..., 0] > 100).sum() == pytest.approx(40 * 40, rel=0.1)


@pytest.mark.parametrize("slider", SLIDERS, ids=lambda slider: slider.name)
def test_sliders_take_views_that_are_not_square(slider) -> None:
    view = np.ascontiguousarray(draw("regular_ducts").pixels[:322, :490])
    for value in (slider.minimum, slider.maximum):
        assert perturbed(view, {slider.name: value}, FRAME).shape == view.shape


def test_a_half_turn_of_a_field_is_the_field_from_behind() -> None:
    view = np.ascontiguousarray(draw("regular_ducts").pixels[:322, :490])
    turned = perturbed(view, {"rotation": 180.0}, FRAME)
    np.testing.assert_allclose(turned[5:-5, 5:-5].astype(int), view[::-1, ::-1][5:-5, 5:-5], atol=3)


def test_the_middle_of_a_field_enlarged_stays_in_the_middle() -> None:
    view = np.zeros((100, 200, 3), np.uint8)
    view[45:55, 95:105] = 200
    rows, columns = np.nonzero(perturbed(view, {"crop": 0.25}, FRAME)[..., 0] > 100)
    assert (rows.mean(), columns.mean()) == (pytest.approx(49.5, abs=0.5), pytest.approx(99.5, abs=0.5))
    assert len(rows) == pytest.approx(20 * 20, rel=0.1)


def test_a_view_at_a_physical_scale_is_seen_as_it_is(view: np.ndarray) -> None:
    size = as_patch(view, 0.5).pixel_size
    assert size is not None and (size.rows, size.columns) == (0.5, 0.5)
    assert as_patch(view).pixel_size is None


def test_levels_lie_on_the_steps_with_neutral_among_them() -> None:
    for slider in SLIDERS:
        found = levels(slider)
        assert found == sorted(found)
        assert (found[0], found[-1]) == (slider.minimum, slider.maximum)
        assert slider.neutral in found
        for value in found:
            assert (value - slider.minimum) / slider.step == pytest.approx(
                round((value - slider.minimum) / slider.step)
            )


def test_the_network_sees_exactly_the_changed_view(view: np.ndarray) -> None:
    patch = as_patch(view.copy())
    np.testing.assert_array_equal(patch.pixels, view)
    assert patch.sha256 == hashlib.sha256(view.tobytes()).hexdigest()
    assert not patch.pixels.flags.writeable


def test_cells_are_drawn_as_they_are() -> None:
    white = np.full((4, 6, 3), 255, np.uint8)
    cells = signed_cells(white, np.array([[-2.0, 0.0, 1.0]]), 2.0)
    # 30 % of white tissue and 70 % of the colour: full blue, pale, half way to vermilion.
    half = (np.array((244, 244, 244)) + np.array((213, 94, 0))) / 2
    for column, colour in ((0, (0, 114, 178)), (2, (244, 244, 244)), (4, half)):
        np.testing.assert_allclose(cells[0, column], 0.3 * 255 + 0.7 * np.round(colour), atol=1)
        assert (cells[:, column : column + 2] == cells[0, column]).all()
    dark = activation_cells(white, np.array([[0.0, 5.0]]), 5.0)
    np.testing.assert_allclose(dark[0, 0], 0.3 * 255 + 0.7 * np.array((68, 1, 84)), atol=1)
    np.testing.assert_allclose(dark[0, 5], 0.3 * 255 + 0.7 * np.array((253, 231, 37)), atol=1)
    assert (activation_cells(white, np.zeros((1, 2)), 0.0) == dark[0, 0]).all()
