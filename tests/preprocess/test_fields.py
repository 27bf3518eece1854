"""Fields of view: how many, where they lie, and that serving cuts by the same rule."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dala.preprocess.fields import MAX_FIELDS, adjacent_boxes, crossing_boxes, field_grid
from dala.preprocess.views import cut, preprocess
from dala.runtime.card import Card, read_card

FIELD = (700, 460)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((2048, 1536), (3, 3)),  # 2.93 fields wide, 3.34 high
        ((700, 460), (1, 1)),
        ((224, 224), (1, 1)),
        ((1000, 689), (1, 1)),  # 1.43 wide, 1.498 high
        ((1050, 690), (2, 2)),  # 1.5 and 1.5
        ((1400, 460), (1, 2)),
        ((2800, 1380), (3, 4)),  # exactly twelve
    ],
)
def test_how_many_fields(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert field_grid(*size, FIELD) == grid


@pytest.mark.parametrize("size", [(4000, 4000), (30_000, 20_000), (50_000, 300), (300, 50_000)])
def test_never_more_than_the_most(size: tuple[int, int]) -> None:
    rows, columns = field_grid(*size, FIELD)
    assert 6 <= rows * columns <= MAX_FIELDS


def test_boxes_of_the_official_image() -> None:
    boxes = adjacent_boxes(2048, 1536, (3, 3))
    assert boxes[0] == (0, 0, 683, 512)
    assert boxes[4] == (683, 512, 1365, 1024)
    assert boxes[8] == (1365, 1024, 2048, 1536)
    covered = np.zeros((1536, 2048), int)
    for left, top, right, bottom in boxes:
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()
    assert crossing_boxes(2048, 1536, (3, 3)) == [
        (341, 256, 1024, 768), (1024, 256, 1706, 768), (341, 768, 1024, 1280), (1024, 768, 1706, 1280),
    ]  # fmt: skip
    assert crossing_boxes(1400, 460, (1, 2)) == []


def test_serving_cuts_into_the_same_fields() -> None:
    fields = json.loads(json.dumps(read_card("breakhis")[0].fields))
    pixels = np.random.default_rng(0).integers(0, 255, (1100, 1500, 3), dtype=np.uint8)
    assert preprocess(pixels, Card(fields).input).grid == (1, 1)
    fields["input"]["preprocess"] = "fields"
    found = preprocess(pixels, Card(fields).input)
    assert found.grid == (2, 2)
    assert [view.box for view in found.places] == adjacent_boxes(1500, 1100, found.grid)
    np.testing.assert_array_equal(found.for_network, cut(pixels, found.grid, 224)[0])
