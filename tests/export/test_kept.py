"""An opinion as it is kept: what is read back are the same maps, to the last bit, and foreign records are none."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from dala.explanation.threshold import threshold
from dala.export.kept import kept_record, maps_of, thumbnail
from dala.export.worth import beside_the_verdict
from dala.opinion import Explanation, Opinion


def test_the_maps_come_back_to_the_last_bit(opinion: Opinion, explanation: Explanation) -> None:
    record = json.loads(json.dumps(kept_record(opinion, explanation)))
    # Of two maps that are mirrors only one is kept.
    assert len(record["maps"]) == 1 and record["classes"] == ["benign", "malignant"]
    found = maps_of(record)
    assert list(found) == list(opinion.maps)
    for name, one in found.items():
        np.testing.assert_array_equal(one.values, opinion.maps[name].values)
        assert (one.target, one.box, one.lattice) == (name, opinion.maps[name].box, opinion.maps[name].lattice)
    height, width = opinion.image.shape[:2]
    again = threshold(found["malignant"].upsampled(height, width), record["rule"], record["parameter"])
    assert (again.threshold, again.kept_area) == (record["threshold"], record["kept_area"])


def test_the_record_names_no_file_and_holds_the_words_of_then(opinion: Opinion, explanation: Explanation) -> None:
    record = kept_record(opinion, explanation)
    assert record["file"] is None and opinion.patch.name not in json.dumps(record)
    assert record["worth"] == beside_the_verdict(opinion)
    assert record["weights_sha256"] == opinion.model.card.fields["sha256"]
    assert (record["positive"], record["status"]) == ("malignant", "ok")


@pytest.mark.parametrize(
    "changes",
    [
        {"maps": {}},
        {"maps": None},
        {"maps": {"malignant": [[1.0], [1.0, 2.0]]}},
        {"maps": {"malignant": "text"}},
        {"maps": {"malignant": [[float("nan")]]}},
        {"map": None},
        {"map": {"box": 3, "lattice": None}},
        {"classes": None},
    ],
    ids=str,
)
def test_a_record_without_maps_has_none(opinion: Opinion, explanation: Explanation, changes: dict[str, Any]) -> None:
    assert maps_of({**kept_record(opinion, explanation), **changes}) == {}
    assert maps_of({}) == {}


def test_a_thumbnail_is_small_and_looks_like_the_image() -> None:
    pixels = np.zeros((460, 700, 3), np.uint8)
    pixels[:, :350] = (200, 30, 120)
    small = cv2.imdecode(np.frombuffer(thumbnail(pixels), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert small.shape == (95, 144, 3)
    np.testing.assert_allclose(small[40, 20], (200, 30, 120), atol=8)
    np.testing.assert_allclose(small[40, 120], 0, atol=8)
    assert cv2.imdecode(np.frombuffer(thumbnail(pixels[:3, :5]), np.uint8), cv2.IMREAD_COLOR).shape == (3, 5, 3)
