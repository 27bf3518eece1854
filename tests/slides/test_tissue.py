"""Tissue on slides: drawn tissue at any density is found, pens, glass, edges and dust are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dala.errors import SlideError
from dala.phantoms.tissue import draw
from dala.slides import tissue
from dala.slides.reader import Overview, open_slide
from dala.slides.tissue import find_tissue, glass_of, threshold_of, tissue_mask
from tests.helpers import slides

GLASS = (243, 241, 238)
LEAST = 156  # pixels: 0.01 mm2 at 8 um


def overview(density: float = 1.0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """An overview at 8 um of glass with a block of drawn tissue, its optical density so many times; and the block."""
    rng = np.random.default_rng(0)
    tissue = cv2.resize(draw("solid_sheets").pixels, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    white = np.percentile(tissue, 99.9)
    canvas = np.full((215, 275, 3), GLASS, np.float32) + rng.normal(0, noise, (215, 275, 3)).astype(np.float32)
    block = np.zeros((215, 275), bool)
    block[50:165, 50:225] = True
    canvas[50:165, 50:225] *= np.clip(tissue / white, 0.004, 1) ** density
    return np.clip(canvas, 0, 255).astype(np.uint8), block


def found(pixels: np.ndarray) -> np.ndarray:
    seen = Overview(pixels, np.ones(pixels.shape[:2], bool), (16.0, 16.0))
    glass = glass_of(seen)
    assert glass is not None
    return tissue_mask(pixels, glass, LEAST)


@pytest.mark.parametrize(("density", "least"), [(1.0, 0.97), (0.5, 0.97), (0.25, 0.95)])
def test_pale_tissue_is_found_and_glass_is_not(density: float, least: float) -> None:
    pixels, block = overview(density)
    mask = found(pixels)
    assert mask[block].mean() >= least and not mask[~block].any()


def test_the_glass_is_measured() -> None:
    pixels, _ = overview()
    seen = glass_of(Overview(pixels, np.ones(pixels.shape[:2], bool), (16.0, 16.0)))
    assert seen is not None and np.abs(np.subtract(seen, GLASS)).max() <= 1.5
    yellow = (pixels * np.array([1.0, 0.98, 0.92])).astype(np.uint8)
    assert (found(yellow) == found(pixels)).mean() > 0.98


def test_strip_by_strip_it_is_what_numpy_says_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4711)
    for number in range(20):
        height, width = random.integers(3, 60, 2)
        pixels = random.integers(120 if number % 2 else 235, 256, (height, width, 3)).astype(np.uint8)
        scanned = random.random((height, width)) < 0.8
        seen = pixels[scanned].astype(float)
        neutral = seen[(seen.min(1) >= tissue.BRIGHT) & (np.ptp(seen, 1) <= tissue.NEUTRAL)]
        level = neutral.sum(1)
        expected = np.median(neutral[level >= np.median(level)], axis=0) if len(neutral) else None
        monkeypatch.setattr(tissue, "STRIP", int(random.integers(1, 400)))
        glass = glass_of(Overview(pixels, scanned, (16.0, 16.0)))
        assert (glass is None) == (expected is None or len(neutral) < 0.01 * len(seen))
        if glass is not None:
            assert glass == pytest.approx(expected)
            parts = tissue_mask(pixels, glass, 2)
            monkeypatch.setattr(tissue, "STRIP", 2**20)
            assert np.array_equal(parts, tissue_mask(pixels, glass, 2))


PENS = {
    "blue": (25, 60, 190),
    "pale blue": (110, 150, 225),
    "green": (10, 110, 60),
    "pale green": (90, 190, 120),
    "black": (25, 25, 28),
    "grey": (150, 150, 152),
}


@pytest.mark.parametrize("colour", PENS.values(), ids=PENS)
def test_a_pen_is_no_tissue(colour: tuple[int, int, int]) -> None:
    pixels, block = overview()
    cv2.line(pixels, (10, 20), (260, 30), colour, 9, cv2.LINE_AA)
    cv2.circle(pixels, (240, 190), 15, colour, 5, cv2.LINE_AA)
    mask = found(pixels)
    assert not mask[~block].any() and mask[block].mean() > 0.95


def test_edges_and_dust_are_no_tissue() -> None:
    pixels, block = overview()
    pixels[:6], pixels[:, :4] = 0, (40, 40, 42)
    pixels[180:184, 20:25] = (180, 90, 150)  # 20 pixels: too small a piece
    assert not found(pixels)[~block].any()


def test_nothing_is_closed_nor_filled() -> None:
    pixels, _ = overview()
    pixels[90:96, 100:108] = GLASS
    assert not found(pixels)[91:95, 101:107].any()


def test_the_threshold_is_half_of_otsu_s_within_limits() -> None:
    def of(dense: float) -> float:
        glass, tissue = np.linspace(0, 0.01, 500), np.linspace(dense / 5, dense, 500)
        return threshold_of(np.concatenate([glass, tissue])[None].astype(np.float32))

    assert of(1.0) == 0.05 and of(0.02) == 0.015
    assert threshold_of(np.zeros((4, 4), np.float32)) == 0.015


def test_wrong_colours_and_fluorescence_are_not_scanned(tmp_path: Path) -> None:
    swapped = cv2.cvtColor(slides.drawn(1024, 1024), cv2.COLOR_RGB2YCrCb)  # says RGB and holds something else
    dark = 255 - slides.drawn(1024, 1024)
    for number, pixels in enumerate((swapped, dark)):
        slides.generic(tmp_path / f"{number}.tiff", slides.pyramid(pixels, 3))
        with open_slide(tmp_path / f"{number}.tiff") as slide, pytest.raises(SlideError) as error:
            find_tissue(slide)
        assert error.value.name == "colours"


def test_the_area_is_that_of_the_drawing(tmp_path: Path) -> None:
    """The middle half of 1024 px at 0.5 um: 256 x 256 um, but for the phantom's own holes."""
    slides.generic(tmp_path / "one.tiff", slides.pyramid(slides.drawn(1024, 1024), 3))
    with open_slide(tmp_path / "one.tiff") as slide:
        tissue = find_tissue(slide)
        assert tissue.mask.shape == (64, 64) and tissue.downsample == (16.0, 16.0)
        assert tissue.mm2 == pytest.approx(0.256**2, rel=0.06)
    with open_slide(tmp_path / "one.tiff", 0.25) as slide:
        assert find_tissue(slide).mm2 == pytest.approx(0.128**2, rel=0.06)


def test_a_true_slide(shared_data: Path) -> None:
    """By eye: a third of it is tissue, with a hole of glass in its middle."""
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        tissue = find_tissue(slide)
        assert 0.33 < tissue.mask.mean() < 0.41
        assert not tissue.mask[:, 118:].any() or tissue.mask[:60, 118:].mean() < 0.01
