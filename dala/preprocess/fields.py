"""Fields of view: how a large image is cut into pieces about as large as those that a model was trained on."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

MAX_FIELDS = 12  # of one image as it is served: a larger one is cut into larger fields, which are shrunk more

Box = tuple[int, int, int, int]


def field_grid(width: int, height: int, field: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of equal adjacent tiles, each about as wide and high in pixels as `field` (width, height).

    An image less than one and a half fields wide and high is one tile. One with more than `MAX_FIELDS` fields gets
    larger tiles of about the field's shape, at most `MAX_FIELDS` of them.
    """
    growth = max(1.0, math.sqrt(width * height / (field[0] * field[1] * MAX_FIELDS)))
    while True:
        rows = max(1, math.floor(height / (field[1] * growth) + 0.5))
        columns = max(1, math.floor(width / (field[0] * growth) + 0.5))
        if rows * columns <= MAX_FIELDS:
            return rows, columns
        growth *= 1.02


def adjacent_boxes(width: int, height: int, grid: tuple[int, int]) -> list[Box]:
    """The tiles (left, top, right, bottom) of a grid (rows, columns), row by row; together they are the image."""
    tops, lefts = _edges(height, grid[0]), _edges(width, grid[1])
    return [(left, top, right, bottom) for top, bottom in pairwise(tops) for left, right in pairwise(lefts)]


def crossing_boxes(width: int, height: int, grid: tuple[int, int]) -> list[Box]:
    """Tiles of the same size around the inner corners of the grid, row by row: each overlaps four adjacent ones by a
    quarter, so what one of these cuts through stands whole in another. None where the grid has one row or column."""
    tops, lefts = _middles(_edges(height, grid[0])), _middles(_edges(width, grid[1]))
    return [(left, top, right, bottom) for top, bottom in pairwise(tops) for left, right in pairwise(lefts)]


def overlapping(length: int, field: int, step: int) -> list[tuple[int, int]]:
    """Where fields begin and end along an image of this `length`: one that is all of it up to one and a half fields.

    Longer ones get the fewest fields of equal size that cover them; these overlap by about half of them at most. Where
    they overlap enough, all but the last begin at multiples of `step`.
    """
    if length <= 1.5 * field:
        return [(0, length)]
    count, last = math.ceil(length / field), length - field
    step = step if last <= (count - 1) * (field - step) else 1
    starts = [last * number // (count - 1) // step * step for number in range(count - 1)] + [last]
    return [(start, start + field) for start in starts]


def _edges(length: int, parts: int) -> list[int]:
    edges: list[int] = np.linspace(0, length, parts + 1).round().astype(int).tolist()
    return edges


def _middles(edges: list[int]) -> list[int]:
    return [(low + high) // 2 for low, high in pairwise(edges)]
