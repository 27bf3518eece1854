"""The breast of a drawn film is found and cleaned, whatever else is on the film; real films come out the right way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.preprocess.mammogram import MARGIN, SIDE, Breast, crop_breast, find_breast, squeezed
from tests.helpers.films import film as draw


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union, margin not counted."""
    inner = np.zeros_like(truth)
    inner[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    return float((found & truth & inner).sum() / ((found | truth) & inner).sum())


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("background", [3, 20, 60])
@pytest.mark.parametrize("frame", [0, 4, 14])
def test_the_breast_is_found_beside_label_black_box_and_frame(right: bool, background: int, frame: int) -> None:
    film, truth = draw(right=right, background=background, frame=frame)
    if frame > MARGIN:  # what the frame covers is lost
        truth[:frame] = truth[-frame:] = truth[:, :frame] = truth[:, -frame:] = False
    found, chest_left = find_breast(film)
    assert chest_left is not right
    assert overlap(found, truth) > 0.93


def test_nothing_of_the_film_is_left_outside_the_breast() -> None:
    with_all, truth = draw(background=60, frame=4)
    bare, _ = draw(background=20, label=False, box=False)
    breast = crop_breast(with_all)
    left, top, right, bottom = (round(share * SIDE) for share in breast.box)
    inside = truth[top:bottom, left:right]
    assert breast.pixels.shape == inside.shape
    assert breast.pixels[~inside].mean() < 3  # the skin line is blurred, so not exactly 0
    assert (breast.pixels[inside] > 0).mean() > 0.92  # the first percentile and the flattened top are 0
    # Labels and background do not reach the network: the same breast on another film gives almost the same image.
    difference = np.abs(breast.resized(96).astype(int) - crop_breast(bare).resized(96))
    assert difference.mean() < 5


def test_the_box_is_where_the_breast_is() -> None:
    film, _ = draw(right=True, frame=0)
    breast = crop_breast(film)
    left, top, right, bottom = breast.box
    assert breast.mirrored
    assert left == pytest.approx(0.45, abs=0.02)
    assert right == pytest.approx(1 - MARGIN / SIDE)
    # The quarter of the widest row that is asked for is reached at sqrt(1 - 1/16) of the half-axis of .35.
    assert (top, bottom) == (pytest.approx(0.5 - 0.339, abs=0.02), pytest.approx(0.5 + 0.339, abs=0.02))


def test_a_right_breast_is_the_mirror_of_a_left_one() -> None:
    film, _ = draw()
    left, right = crop_breast(film), crop_breast(film[:, ::-1].copy())
    assert (left.mirrored, right.mirrored) == (False, True)
    assert np.array_equal(left.pixels, right.pixels)
    assert left.box == pytest.approx((1 - right.box[2], right.box[1], 1 - right.box[0], right.box[3]))


def test_exposure_is_taken_out() -> None:
    film, _ = draw(background=10)
    darker = np.round(10 + 0.5 * (film.astype(float) - 10)).astype(np.uint8)
    one, other = crop_breast(film), crop_breast(darker)
    assert np.abs(one.resized(96).astype(int) - other.resized(96)).mean() < 4
    assert (one.pixels.min(), one.pixels.max()) == (0, 255)


def test_a_strip_of_light_along_the_chest_wall_is_cut_off() -> None:
    film, _ = draw()
    plain = crop_breast(film)
    film[:, :30] = np.maximum(film[:, :30], 110)
    lit = crop_breast(film)
    assert lit.box == pytest.approx(plain.box, abs=0.03)


def test_rows_of_a_file_that_broke_off_are_not_breast() -> None:
    film, _ = draw()
    film[200:] = 128
    found, _ = find_breast(film)
    assert not found[198:].any()
    assert found[100:190].any()


def test_a_image_that_is_cropped_already_is_kept_whole() -> None:
    film, _ = draw(label=False, box=False)
    inside = film[120:180, 5:80]  # nothing but breast
    breast = crop_breast(inside)
    assert breast.box == pytest.approx((MARGIN / SIDE, MARGIN / SIDE, 1 - MARGIN / SIDE, 1 - MARGIN / SIDE))
    tight = film[45:255, 0:170]  # the breast touches all four edges
    again = crop_breast(tight)
    left, top, right, bottom = again.box
    assert (left, top) == (pytest.approx(0.02, abs=0.01), pytest.approx(0.02, abs=0.06))
    assert (right, bottom) == (pytest.approx(0.95, abs=0.05), pytest.approx(0.98, abs=0.06))


def test_preparing_twice_changes_little() -> None:
    once = crop_breast(draw()[0])
    twice = crop_breast(once.pixels)
    assert not twice.mirrored
    assert np.corrcoef(once.resized(64)[..., 0].ravel(), twice.resized(64)[..., 0].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_film_is_no_error(value: int) -> None:
    breast = crop_breast(np.full((50, 70, 3), value, dtype=np.uint8))
    assert isinstance(breast, Breast)
    assert breast.pixels.size > 0


def test_noise_and_tiny_images_are_no_error() -> None:
    draws = np.random.default_rng(0)
    for shape in ((1, 1), (2, 500), (64, 64, 3)):
        breast = crop_breast(draws.integers(0, 255, shape, dtype=np.uint8))
        left, top, right, bottom = breast.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_an_original_and_its_thumbnail_agree() -> None:
    original, _ = draw(size=1196)
    thumbnail = squeezed(original)
    assert np.array_equal(crop_breast(original).pixels, crop_breast(thumbnail).pixels)


def test_the_resized_breast_is_grey_in_three_channels() -> None:
    resized = crop_breast(draw()[0]).resized(96)
    assert resized.shape == (96, 96, 3)
    assert np.ptp(resized, axis=2).max() == 0


def test_the_callers_image_stays_as_it_is() -> None:
    film, _ = draw()
    film.flags.writeable = False
    before = film.copy()
    crop_breast(film)
    assert np.array_equal(film, before)


@pytest.mark.slow
def test_real_films_have_the_chest_wall_where_their_name_says(shared_data: Path) -> None:
    files = sorted((shared_data / "mini_ddsm").rglob("[BC]_*.jpg"))[::40]
    assert len(files) > 50
    agree, shares = [], []
    for file in files:
        breast = crop_breast(np.asarray(Image.open(file)))
        agree.append(breast.mirrored == ("RIGHT" in file.name))
        shares.append((breast.box[2] - breast.box[0]) * (breast.box[3] - breast.box[1]))
    assert np.mean(agree) > 0.97
    assert 0.25 < np.median(shares) < 0.75
