"""The drawn images: the same for the same seed, with stains and masks where they are claimed to be."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest
from skimage.color import rgb2hed

from dala.phantoms import tissue
from dala.phantoms.sheet import EOSIN, HAEMATOXYLIN, HEIGHT, WIDTH
from dala.phantoms.tissue import NOTICE, PHANTOMS

pytestmark = pytest.mark.slow

draw = lru_cache(tissue.draw.__wrapped__)  # which remembers eight; here all stay

BENIGN = ("regular_ducts", "loose_stroma")
WITH_LESION = tuple(name for name in PHANTOMS if name not in BENIGN)

# Share of the image that is lesion at seed 0; drawn once, looked at, written down.
AREAS = {
    "regular_ducts": 0.0,
    "loose_stroma": 0.0,
    "solid_sheets": 0.612,
    "single_files": 0.245,
    "nest_beside_ducts": 0.260,
    "mucin_pools": 0.163,
}

# Mean and standard deviation of red, green and blue at seed 0. The bytes themselves may differ between processors.
COLOURS = {
    "regular_ducts": ((194.74, 121.45, 198.00), (40.18, 48.04, 23.80)),
    "loose_stroma": ((182.78, 126.77, 197.18), (42.78, 38.86, 24.17)),
    "solid_sheets": ((165.75, 100.73, 183.92), (46.83, 33.21, 24.19)),
    "single_files": ((189.42, 102.42, 190.49), (40.33, 36.78, 21.53)),
    "nest_beside_ducts": ((184.58, 122.97, 195.22), (47.68, 51.78, 26.99)),
    "mucin_pools": ((200.78, 161.97, 211.20), (35.34, 49.66, 24.01)),
}


@pytest.mark.parametrize("name", PHANTOMS)
def test_the_drawing_has_not_changed(name: str) -> None:
    pixels = draw(name).pixels.astype(float)
    mean, spread = COLOURS[name]
    assert pixels.mean((0, 1)) == pytest.approx(mean, abs=0.05)
    assert pixels.std((0, 1)) == pytest.approx(spread, abs=0.05)


@pytest.mark.parametrize("name", PHANTOMS)
def test_image_and_its_words(name: str) -> None:
    phantom = draw(name)
    assert phantom.pixels.shape == (HEIGHT, WIDTH, 3) == (460, 700, 3)
    assert phantom.pixels.dtype == np.uint8
    assert phantom.lesion_mask.shape == (HEIGHT, WIDTH)
    assert phantom.lesion_mask.dtype == bool
    for array in (phantom.pixels, phantom.lesion_mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
    assert (phantom.name, phantom.seed) == (name, 0)
    assert "-like" in phantom.title
    assert phantom.description.endswith(NOTICE)
    assert "not tissue" in NOTICE
    assert "no diagnosis" in NOTICE


@pytest.mark.parametrize("name", PHANTOMS)
def test_same_seed_same_image_other_seed_other_image(name: str) -> None:
    first, again, other = draw(name), tissue.draw.__wrapped__(name), draw(name, 1)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.lesion_mask, again.lesion_mask)
    assert np.abs(first.pixels.astype(int) - other.pixels).mean() > 10


def test_phantoms_of_one_seed_are_different_images() -> None:
    images = [draw(name).pixels.astype(int) for name in PHANTOMS]
    for index, one in enumerate(images):
        for another in images[:index]:
            assert np.abs(one - another).mean() > 10


@pytest.mark.parametrize("name", PHANTOMS)
def test_lesion_area(name: str) -> None:
    assert draw(name).lesion_mask.mean() == pytest.approx(AREAS[name], abs=0.004)


more = pytest.mark.exhaustive(instead="phantoms/test_tissue.py::test_lesion_is_bluer_than_what_surrounds_it")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=more)])
@pytest.mark.parametrize("name", WITH_LESION)
def test_lesion_is_bluer_than_what_surrounds_it(name: str, seed: int) -> None:
    """Haematoxylin by scikit-image's stain separation: at least twice as dense in the lesion as outside."""
    phantom = draw(name, seed)
    haematoxylin = rgb2hed(phantom.pixels)[..., 0]
    mask = phantom.lesion_mask
    assert 0.05 < mask.mean() < 0.7
    assert haematoxylin[mask].mean() > 2 * haematoxylin[~mask].mean()


def test_nest_lies_left_and_ducts_and_fat_right() -> None:
    for seed in range(3):
        phantom = draw("nest_beside_ducts", seed)
        assert not phantom.lesion_mask[:, 430:].any()
        assert phantom.lesion_mask[200:260, 150:250].all()
        assert phantom.pixels[:, 640:].mean() > 215  # mostly empty fat cells


@pytest.mark.parametrize("name", PHANTOMS)
def test_stain_vectors_are_those_of_the_separation(name: str) -> None:
    """Dense pixels lie between the two stain vectors: little is left for the third, and eosin dominates in stroma."""
    density = -np.log10(np.maximum(draw(name).pixels.reshape(-1, 3).astype(float), 1) / 246)
    stains, *_ = np.linalg.lstsq(np.stack([HAEMATOXYLIN, EOSIN], 1).astype(float), density.T, rcond=None)
    rest = density.T - np.stack([HAEMATOXYLIN, EOSIN], 1) @ stains
    assert np.sqrt((rest**2).mean()) < 0.05
    assert stains.min() > -0.15
    assert 0.3 < np.percentile(stains[0], 99) < 1.3  # nuclei
    assert 0.15 < np.percentile(stains[1], 90) < 0.6  # collagen


def test_nuclei_of_the_lesion_are_larger() -> None:
    """Share of the dense haematoxylin that survives an opening by 19 pixels, the width of a resting nucleus."""

    def coarse_share(pixels: np.ndarray) -> float:
        dense = (rgb2hed(pixels)[..., 0] > 0.07).astype(np.uint8)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (19, 19))
        return float(cv2.morphologyEx(dense, cv2.MORPH_OPEN, kernel).sum() / dense.sum())

    assert coarse_share(draw("solid_sheets").pixels) > 1.5 * coarse_share(draw("regular_ducts").pixels)


def test_unknown_name_and_bad_seed() -> None:
    with pytest.raises(ValueError, match=r"no phantom 'cat'; there are regular_ducts, .*mucin_pools\.$"):
        draw("cat")
    with pytest.raises(ValueError, match="zero or a positive"):
        draw("solid_sheets", -1)
