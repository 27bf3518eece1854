"""The fields of view of a slide: a grid of equal fields, the same for a click, for the plan and for the scan."""

from __future__ import annotations

import math
from dataclasses import dataclass

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Grid:
    """Fields of `field` (width, height) side by side over a slide of `size` (width, height), in pixels of level 0.

    `step` is the distance of two pixels of the level that fields are read from, in those of level 0; every field begins
    at one of them. The last column and the last row are moved inward, so that all fields have the same size and none
    hangs over the edge; a slide smaller than a field has one, of its own size.
    """

    size: tuple[int, int]
    field: tuple[float, float]
    step: float = 1.0

    @property
    def columns(self) -> int:
        return max(1, math.ceil(self.size[0] / self.field[0] - 1e-6))

    @property
    def rows(self) -> int:
        return max(1, math.ceil(self.size[1] / self.field[1] - 1e-6))

    def box(self, column: int, row: int) -> Box:
        """(left, top, right, bottom) of a field in pixels of level 0; IndexError for one that is not in the grid."""
        if not (0 <= column < self.columns and 0 <= row < self.rows):
            raise IndexError(f"({column}, {row}) is not in a grid of {self.columns} x {self.rows} fields")
        left, width = self._along(column, 0)
        top, height = self._along(row, 1)
        return left, top, left + width, top + height

    def cell(self, column: int, row: int) -> Box:
        """What a field stands for on the map: as `box`, but without what belongs to its neighbour before it."""
        ends = [
            (round(number * self.field[axis]), min(round((number + 1) * self.field[axis]), self.size[axis]))
            for axis, number in enumerate((column, row))
        ]
        return ends[0][0], ends[1][0], ends[0][1], ends[1][1]

    def at(self, x: float, y: float) -> tuple[int, int]:
        """(column, row) of the field at a point in pixels of level 0; of the nearest for a point beside the slide."""
        column, row = (math.floor(value / side) for value, side in zip((x, y), self.field, strict=True))
        return min(max(column, 0), self.columns - 1), min(max(row, 0), self.rows - 1)

    def _along(self, number: int, axis: int) -> tuple[int, int]:
        length = min(round(self.field[axis]), self.size[axis])
        start = min(number * self.field[axis], self.size[axis] - length)
        return round(math.floor(start / self.step + 1e-6) * self.step), length
