"""The size of blobs on drawn discs, and the error of a pixel size by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dala.data.perturb import HED, from_density
from dala.studies.nuclear_scale import SCALES, blob_scale, places


@pytest.mark.parametrize("radius", [5, 10])
def test_a_disc_is_found_at_its_radius_over_the_root_of_two(radius: int) -> None:
    """Lindeberg 1998: the scale-normalised Laplacian of a disc of radius r is largest at a Gaussian of r / sqrt 2."""
    amount = np.zeros((400, 400), np.float32)
    for row in range(40, 400, 80):
        for column in range(40, 400, 80):
            cv2.circle(amount, (column, row), radius, 1.0, -1, cv2.LINE_AA)
    pixels = from_density(amount[..., None] * HED[0] + 0.05)
    found = blob_scale(pixels)
    step = SCALES[1] / SCALES[0]
    assert found is not None and radius / np.sqrt(2) / step < found < radius / np.sqrt(2) * step


def test_of_plain_glass_nothing_is_said() -> None:
    assert blob_scale(np.full((100, 100, 3), 255, np.uint8)) is None


def test_the_error_by_hand() -> None:
    # A's blobs are 2 and 4 um, those of the others 2 and 8: their geometric mean is 4. So a pixel with blobs of 2 um is
    # taken for twice its size (error 1), one with 4 um is right; the median is a half, and one of two is within 20 %.
    found = places({"A": [2.0, 4.0, None], "B": [2.0], "C": [8.0]}, {"A": ["a", "b", "c"], "B": ["d"], "C": ["e"]})
    assert (found["A"].error, found["A"].estimated, found["A"].images) == (0.5, 2, 3)
    assert found["A"].within["value"] == pytest.approx(1 / 3)  # the third could not be told: that is no good estimate
    # B's by the mean of A, 3 um, and C, 8 um.
    assert found["B"].error == pytest.approx(np.sqrt(24) / 2 - 1, abs=1e-4)
