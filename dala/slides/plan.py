"""Which fields of a slide a scan looks at, and in which order: coarse to fine, so that any beginning is an even map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import SlideError
from dala.intake.image import who_is
from dala.slides.grid import Box, Grid
from dala.slides.reader import Slide
from dala.slides.tissue import Tissue, find_tissue

LEAST_TISSUE = 0.10  # share of a field; of 230 fields of BreakHis, all tissue, 3 % have less
BLOCK, ROUNDS = 4, 16
# The ordered dither of 4 x 4 (Bayer 1973): each quarter of the ranks is spread evenly over the block.
DITHER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


@dataclass(frozen=True)
class Spot:
    """A field that is looked at: its `column` and `row` in the grid, and the share of it that is tissue."""

    column: int
    row: int
    tissue: float


@dataclass(frozen=True, eq=False)
class Plan:
    """The `spots` in the order in which a scan looks at them; the first `coarse` of them, about a sixteenth, are spread
    over all of them."""

    grid: Grid
    spots: tuple[Spot, ...]
    coarse: int

    def box(self, number: int) -> Box:
        """Of a spot, in pixels of level 0."""
        return self.grid.box(self.spots[number].column, self.spots[number].row)

    @cached_property
    def numbers(self) -> dict[tuple[int, int], int]:
        """The number of the spot at (column, row)."""
        return {(spot.column, spot.row): number for number, spot in enumerate(self.spots)}


def plan_of(slide: Slide, tissue: Tissue | None = None) -> Plan:
    """The fields with at least `LEAST_TISSUE`, and those that a damaged overview does not show.

    Raises SlideError as `Slide.grid` and `find_tissue` do, and "no_tissue" where there is none.
    """
    grid = slide.grid
    found = find_tissue(slide) if tissue is None else tissue
    lost = slide.overview.unreadable
    shares = shares_of(grid, found.mask if lost is None else found.mask | lost, found.downsample)
    plan = ordered(grid, shares, LEAST_TISSUE)
    if not plan.spots:
        raise SlideError(
            "no_tissue", f"No tissue was found on {who_is(slide.name)}; a field of it can still be looked at."
        )
    return plan


def shares_of(grid: Grid, mask: NDArray[np.bool_], downsample: tuple[float, float]) -> NDArray[np.float64]:
    """The share of every field (rows, columns) of the grid that is tissue, by a mask of this `downsample` (x, y)."""
    height, width = mask.shape
    sums = cv2.integral(mask.view(np.uint8))  # (h + 1, w + 1) int32; in int64 half a gigabyte of a large slide
    shares = np.zeros((grid.rows, grid.columns))
    for row in range(grid.rows):
        for column in range(grid.columns):
            left, top, right, bottom = grid.box(column, row)
            x0, y0 = min(round(left / downsample[0]), width - 1), min(round(top / downsample[1]), height - 1)
            x1, y1 = max(x0 + 1, round(right / downsample[0])), max(y0 + 1, round(bottom / downsample[1]))
            x1, y1 = min(x1, width), min(y1, height)
            inside = int(sums[y1, x1]) - int(sums[y0, x1]) - int(sums[y1, x0]) + int(sums[y0, x0])
            shares[row, column] = inside / ((x1 - x0) * (y1 - y0))
    return shares


def ordered(grid: Grid, shares: NDArray[np.float64], least: float) -> Plan:
    """A plan of all fields with at least the share `least`.

    Fields are grouped by blocks of 4 x 4, and blocks with few of them go together with the next ones until they have
    16. Each of 16 rounds takes a sixteenth of every group, by the dither's ranks, so that the first round is a
    sixteenth of the plan and has been in every block that is full.
    """
    spots: list[Spot] = []
    groups = _groups(np.argwhere(shares >= least).tolist())
    coarse = 0
    for turn in range(ROUNDS):
        taken = [at for group in groups for at in group[_share(turn, group) : _share(turn + 1, group)]]
        spots += [Spot(column, row, round(float(shares[row, column]), 4)) for row, column in taken]
        coarse = coarse or len(spots)
    return Plan(grid, tuple(spots), coarse)


def _groups(fields: list[list[int]]) -> list[list[tuple[int, int]]]:
    """The (row, column) of fields by groups of blocks, each in the order of its turns; blocks are gone through as an ox
    ploughs, so that those which are put together lie side by side."""
    blocks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, column in fields:
        blocks.setdefault((row // BLOCK, column // BLOCK), []).append((row, column))
    found: list[list[tuple[int, int]]] = [[]]
    for down, across in sorted(blocks, key=lambda at: (at[0], at[1] if at[0] % 2 == 0 else -at[1])):
        if len(found[-1]) >= ROUNDS:
            found.append([])
        found[-1] += blocks[down, across]
    if len(found) > 1 and len(found[-1]) < ROUNDS:
        last = found.pop()
        found[-1] += last

    def turn(at: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
        """By the dither's rank; of equal ones the fuller block's first."""
        row, column = at
        return int(DITHER[row % BLOCK, column % BLOCK]), -len(blocks[row // BLOCK, column // BLOCK]), at

    return [sorted(group, key=turn) for group in found]


def _share(turn: int, group: list[tuple[int, int]]) -> int:
    """How many of a group have been taken when a round begins; of a small one the first round takes one."""
    size = len(group)
    return (turn * size + ROUNDS // 2) // ROUNDS if size >= ROUNDS else -(-turn * size // ROUNDS)
