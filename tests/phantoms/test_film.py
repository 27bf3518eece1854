"""The drawn film: the same for a seed, a breast that is found, a mass that is brighter than what is around it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dala.gate.checks import film_reason
from dala.phantoms.film import FILMS, draw_film
from dala.preprocess.mammogram import crop_breast


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_film_with_a_mass(seed: int) -> None:
    drawn = draw_film(FILMS[0], seed)
    np.testing.assert_array_equal(drawn.pixels, draw_film(FILMS[0], seed).pixels)
    assert drawn.pixels.shape == (720, 540, 3)
    assert np.ptp(drawn.pixels, axis=2).max() == 0
    assert not drawn.pixels.flags.writeable
    assert "not a radiograph and has no diagnosis" in drawn.description
    mass = drawn.lesion_mask
    ring = cv2.dilate(mass.astype(np.uint8), np.ones((61, 61), np.uint8)).astype(bool) & ~mass
    grey = drawn.pixels[..., 0].astype(float)
    assert grey[mass].mean() > grey[ring].mean() + 25
    assert 0.005 < mass.mean() < 0.05
    assert film_reason(cv2.resize(drawn.pixels, (224, 224))) is None
    breast = crop_breast(drawn.pixels)
    assert not breast.mirrored
    left, top, right, bottom = breast.box
    rows, columns = np.nonzero(mass)
    assert left < columns.min() / 540 and columns.max() / 540 < right
    assert top < rows.min() / 720 and rows.max() / 720 < bottom
    assert right < 0.8  # neither letters nor the black box


@pytest.mark.slow
def test_seeds_differ_and_wrong_names_are_said() -> None:
    assert (draw_film(seed=1).pixels != draw_film(seed=2).pixels).any()
    with pytest.raises(ValueError, match="no film phantom 'xray'"):
        draw_film("xray")
    with pytest.raises(ValueError, match="zero or a positive"):
        draw_film(seed=-1)
