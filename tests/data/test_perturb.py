"""Changes of images: pixel values worked out by hand, and by libraries that do the same."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from dala.data.perturb import PERTURBATIONS, Perturbation, cropped, hue, magnified, rotated, saturation

SIDE = 224


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def blob(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A dark ellipse on white in the squeezed image; centre and half axes in its pixels."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 <= 1
    return np.repeat(np.where(inside, 20, 240).astype(np.uint8)[..., None], 3, axis=2)


def extent(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Centre (x, y) and standard deviations (x, y) of what is dark."""
    rows, columns = np.nonzero(pixels[..., 0] < 130)
    return columns.mean(), rows.mean(), columns.std(), rows.std()


@pytest.mark.parametrize("change", PERTURBATIONS, ids=lambda change: change.name)
def test_levels_ascend_and_the_neutral_one_changes_nothing(change: Perturbation) -> None:
    assert list(change.levels) == sorted(set(change.levels))
    if change.neutral is None:
        return
    assert change.neutral in change.levels
    if change.name == "blur":  # OpenCV takes sigma 0 for "derive it"; the neutral level is never applied
        return
    before = image()
    after = change.apply(before, change.neutral, np.random.default_rng(0))
    assert after.shape == before.shape and after.dtype == np.uint8
    assert np.abs(after.astype(int) - before).max() <= 1


def test_hue_turns_as_colorsys_does() -> None:
    colours = image()[:4, :4]
    turned = hue(colours, 30)
    for before, after in zip(colours.reshape(-1, 3), turned.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(before / 255))
        np.testing.assert_allclose(after, 255 * np.array(colorsys.hsv_to_rgb((h + 30 / 360) % 1, s, v)), atol=1)
    np.testing.assert_array_equal(hue(np.full((2, 2, 3), 90, np.uint8), 77), 90)  # grey has no hue


def test_saturation_by_hand() -> None:
    red = np.array([[[200, 100, 100]]], np.uint8)  # grey 0.299 * 200 + 0.701 * 100 = 129.9
    np.testing.assert_array_equal(saturation(red, 0), [[[130, 130, 130]]])
    np.testing.assert_array_equal(saturation(red, 0.5), [[[165, 115, 115]]])  # 164.95, 114.95
    np.testing.assert_array_equal(saturation(red, 2), [[[255, 70, 70]]])  # 270.1 is clipped; 70.1


def test_a_quarter_turn_swaps_the_axes_in_the_fields_proportions() -> None:
    # A disc of the 700 x 460 field is an ellipse in the squeezed image, and stays the same ellipse when turned.
    disc = blob(111.5, 111.5, 224 * 90 / 700, 224 * 90 / 460)
    x, y, wide, high = extent(rotated(disc, 90))
    assert (x, y) == pytest.approx((111.5, 111.5), abs=0.6)
    assert wide == pytest.approx(extent(disc)[2], rel=0.03)
    assert high == pytest.approx(extent(disc)[3], rel=0.03)
    # What lies 100 field pixels to the right lies 100 above after a quarter turn against the clock.
    beside = blob(111.5 + 224 * 100 / 700, 111.5, 4, 6)
    x, y, _, _ = extent(rotated(beside, 90))
    assert (x, y) == pytest.approx((111.5, 111.5 - 224 * 100 / 460), abs=0.8)


def test_magnification_scales_about_the_middle() -> None:
    off = blob(131.5, 101.5, 10, 14)
    _, _, wide, high = extent(off)
    for factor in (0.5, 2.0):
        found = magnified(off, factor)
        x, y, w, h = extent(found[40:180, 40:180] if factor < 1 else found)  # beyond lie mirrored copies
        shift_ = 40 if factor < 1 else 0
        assert (x + shift_, y + shift_) == pytest.approx((111.5 + 20 * factor, 111.5 - 10 * factor), abs=0.8)
        assert (w, h) == pytest.approx((factor * wide, factor * high), rel=0.08)


def test_half_the_magnification_does_not_alias() -> None:
    stripes = np.zeros((SIDE, SIDE, 3), np.uint8)
    stripes[:, ::2] = 255
    middle = magnified(stripes, 0.5)[80:140, 80:140]
    assert middle.std() < 0.3 * stripes.std()


def test_a_crop_is_a_part_of_the_image() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    ramp = np.stack([x, y, 0 * x], 2).astype(np.uint8)
    found = cropped(ramp, 0.25, np.random.default_rng(3)).astype(float)
    for channel, axis in ((0, 1), (1, 0)):
        line = found[..., channel].mean(1 - axis)
        assert line[-1] - line[0] == pytest.approx(111, abs=2)  # half a side
        assert np.diff(line).min() >= 0 and np.diff(line).max() <= 1  # evenly enlarged, rounded
