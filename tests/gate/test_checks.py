"""Every check of the pixels: its measurement on images whose answer is known, and its reason on one that earns it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dala.data.perturb import HED
from dala.gate.checks import (
    CHECKS,
    FILM_CHECKS,
    HISTOLOGY,
    HISTOLOGY_CHECKS,
    MAMMOGRAM,
    Histology,
    film_reason,
    histology_reason,
    measure_film,
    measure_histology,
)
from dala.phantoms.tissue import PHANTOMS, draw
from tests.helpers.films import film as draw_film

SIDE = 224


def squeezed(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def patch() -> np.ndarray:
    return squeezed(draw("solid_sheets").pixels)


def dyed(dye: np.ndarray, lamp: tuple[float, float, float] = (255, 255, 255)) -> np.ndarray:
    """One dye in smooth amounts between 0.2 and 1.2, (SIDE, SIDE, 3), under a lamp of a colour."""
    field = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(SIDE, SIDE)), (0, 0), 6)
    amount = 0.7 + 0.5 * field / np.abs(field).max()
    return (np.array(lamp) * np.exp(-amount[..., None] * dye)).round().astype(np.uint8)


BROWN = np.array([0.268, 0.570, 0.776])  # diaminobenzidine; Ruifrok & Johnston 2001


@pytest.mark.parametrize("lamp", [(255, 255, 255), (215, 250, 235)])
@pytest.mark.parametrize("dye", [HED[0], HED[1], BROWN])
def test_magenta_is_the_dyes_own_whatever_the_lamp(dye: np.ndarray, lamp: tuple[float, float, float]) -> None:
    red, green, blue = dye
    mean = dye.mean()
    expected = (green - (red + blue) / 2) / mean + 0.3 * (red - blue) / mean
    assert measure_histology(dyed(dye, lamp)).magenta == pytest.approx(expected, abs=0.03)


def test_levels_and_shares_by_hand() -> None:
    view = np.zeros((SIDE, SIDE, 3), np.uint8)
    view[:, :56] = 255  # a quarter, pure white
    view[:, 56:112] = (30, 40, 50)  # a quarter, opaque
    view[:, 112:168] = (100, 200, 150)  # a quarter that absorbs red more than green
    view[:, 168:] = (200, 100, 150)
    m = measure_histology(view)
    assert m.clipped == pytest.approx(0.25)
    assert m.mean == pytest.approx((255 + 40 + 150 + 150) / 4)
    assert m.chroma == pytest.approx((0 + 20 + 100 + 100) / 4)
    assert m.ink == pytest.approx(0.5)
    assert m.bright == pytest.approx(255, abs=0.5)
    # Deep red: densities of red 0.32, green 2.3, blue 1.7; blood, (150, 60, 80), is not so deep.
    assert measure_histology(np.full((SIDE, SIDE, 3), (185, 25, 45), np.uint8)).ink == 1
    assert measure_histology(np.full((SIDE, SIDE, 3), (150, 60, 80), np.uint8)).ink == 0


def test_a_dark_nucleus_is_no_ink_and_blue_ink_on_tissue_is() -> None:
    def plain(*colour: int) -> Histology:
        return measure_histology(np.full((SIDE, SIDE, 3), colour, np.uint8))

    assert plain(50, 25, 90).ink == 0  # mean level 55, purple
    assert plain(45, 45, 50).ink == 1  # mean level 47, black
    assert plain(20, 25, 100).ink == 1  # density of red 2.55, of green 2.32


def test_what_absorbs_blue_or_red_most_is_another_stain() -> None:
    view = np.full((SIDE, SIDE, 3), (200, 100, 150), np.uint8)
    assert measure_histology(view).other == 0
    view[:, :56] = (160, 110, 60)  # a quarter brown: blue 1.45, green 0.84
    assert measure_histology(view).other == pytest.approx(0.25, abs=0.01)
    view[:, :56] = (90, 130, 160)  # a quarter that absorbs red most, of which a quarter counts
    assert measure_histology(view).other == pytest.approx(0.0625, abs=0.01)


def test_structure_is_where_it_is() -> None:
    view = np.full((SIDE, SIDE, 3), 240, np.uint8)
    view[:, :112] = np.kron(np.indices((28, 14)).sum(0) % 2 * 100 + 100, np.ones((8, 8)))[..., None]
    # Half of the image is a chessboard; the window of sigma 4 px reaches a little over its edge.
    assert measure_histology(view).structure == pytest.approx(0.5, abs=0.06)


def test_sharpness_falls_with_blur_and_grain_rises_with_noise(patch: np.ndarray) -> None:
    blurred = [patch, *(np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma)) for sigma in (0.7, 1, 1.5, 2, 4))]
    values = [measure_histology(view).sharpness for view in blurred]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[-2]
    random = np.random.default_rng(0)
    noisy = [np.clip(patch + random.normal(0, level, patch.shape), 0, 255).astype(np.uint8) for level in (0, 20, 60)]
    grain = [measure_histology(view).grain for view in noisy]
    assert grain == sorted(grain)


@pytest.mark.slow
@pytest.mark.parametrize("name", PHANTOMS)
def test_a_drawn_patch_passes_the_checks(name: str) -> None:
    assert histology_reason(squeezed(draw(name).pixels)) is None


def inked(patch: np.ndarray) -> np.ndarray:
    view = patch.copy()
    cv2.line(view, (0, 30), (SIDE, 160), (30, 50, 150), 40)
    return view


def alone(patch: np.ndarray) -> np.ndarray:
    view = np.full_like(patch, 244)
    view[90:130, 90:130] = patch[90:130, 90:130]
    return view


SPOILT = {
    "too_dark": lambda p: (0.3 * p).astype(np.uint8),
    "blank": lambda p: np.full_like(p, 243),
    "little_tissue": alone,
    "too_bright": lambda p: np.clip(2.6 * p.astype(float), 0, 255).astype(np.uint8),
    "grey": lambda p: np.repeat(p.mean(2, keepdims=True), 3, axis=2).astype(np.uint8),
    "ink": inked,
    "stain": lambda p: dyed(BROWN),
    "noise": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 35, p.shape), 0, 255).astype(np.uint8),
    "out_of_focus": lambda p: np.asarray(cv2.GaussianBlur(p, (0, 0), 3)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_patch_gets_the_reason_that_it_earns(patch: np.ndarray, name: str) -> None:
    reason = histology_reason(SPOILT[name](patch))
    assert reason is not None
    assert reason.name == name
    assert reason.sentence.endswith(".")


def test_every_check_is_tested_and_named_once() -> None:
    assert [name for name, _, _ in HISTOLOGY_CHECKS] == list(SPOILT)
    for checks in (HISTOLOGY_CHECKS, FILM_CHECKS):
        names = [name for name, _, _ in checks]
        assert len(names) == len(set(names))
    assert CHECKS[HISTOLOGY] is histology_reason
    assert CHECKS[MAMMOGRAM] is film_reason


def test_brown_staining_of_real_tissue_is_no_h_and_e() -> None:
    data = pytest.importorskip("skimage.data")
    reason = histology_reason(squeezed(data.immunohistochemistry()))
    assert reason is not None
    assert reason.name == "stain"


def test_plain_images_give_finite_measurements() -> None:
    for level in (0, 128, 255):
        view = np.full((SIDE, SIDE, 3), level, np.uint8)
        assert all(np.isfinite(value) for value in vars(measure_histology(view)).values())
        assert all(np.isfinite(value) for value in vars(measure_film(view)).values())
        assert histology_reason(view) is not None
        assert film_reason(view) is not None


def test_films(patch: np.ndarray) -> None:
    film = squeezed(np.repeat(draw_film()[0][..., None], 3, axis=2))
    assert film_reason(film) is None
    random = np.random.default_rng(0)
    expected = {
        "coloured": patch,
        "too_dark": (0.3 * film).astype(np.uint8),
        "blank": np.full_like(film, 120),
        "no_film": np.repeat(random.integers(0, 256, (SIDE, SIDE, 1), dtype=np.uint8), 3, axis=2),
    }
    assert list(expected) == [name for name, _, _ in FILM_CHECKS]
    for name, view in expected.items():
        reason = film_reason(view)
        assert reason is not None
        assert reason.name == name


def test_real_films_pass_and_are_never_histology(shared_data: Path) -> None:
    files = sorted((shared_data / "mini_ddsm").rglob("[BC]_*.jpg"))[::150]
    films = [squeezed(np.asarray(Image.open(file).convert("RGB"))) for file in files]
    assert np.mean([film_reason(film) is None for film in films]) > 0.9
    assert all(histology_reason(film) is not None for film in films)
