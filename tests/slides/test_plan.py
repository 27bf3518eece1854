"""Plans: every field with tissue once, and any beginning an even map of the slide."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dala.errors import SlideError
from dala.slides.grid import Grid
from dala.slides.plan import BLOCK, DITHER, LEAST_TISSUE, ordered, plan_of, shares_of
from dala.slides.reader import open_slide
from tests.helpers import slides
from tests.helpers.generated import examples

SIZES = st.tuples(st.integers(1, 9000), st.integers(1, 9000))


@given(size=SIZES, um=st.floats(0.1, 0.72), step=st.sampled_from([1.0, 2.0, 4.0, 4.0003]))
@examples(100)
def test_the_grid_covers_the_slide(size: tuple[int, int], um: float, step: float) -> None:
    grid = Grid(size, (245 / um, 161 / um), step)
    for axis, count in enumerate((grid.columns, grid.rows)):
        ends = [grid.box(*((n, 0) if axis == 0 else (0, n)))[axis::2] for n in range(count)]
        assert ends[0][0] == 0 and all(0 <= start < end <= size[axis] for start, end in ends)
        assert size[axis] - ends[-1][1] <= step + 1
        assert len({end - start for start, end in ends}) == 1
        assert all(after[0] <= before[1] + step + 1 for before, after in pairwise(ends))
    for place in ((0, 0), (grid.columns - 1, grid.rows - 1)):
        left, top, right, bottom = grid.cell(*place)
        if min(right - left, bottom - top) > 1:
            assert grid.at(left + 0.6, top + 0.6) == place


@given(columns=st.integers(1, 40), rows=st.integers(1, 40), seed=st.integers(0, 10**6), density=st.floats(0, 1))
@examples(100)
def test_a_plan_is_a_permutation_and_its_first_sixteenth_is_everywhere(
    columns: int, rows: int, seed: int, density: float
) -> None:
    grid = Grid((columns * 490, rows * 322), (490, 322))
    shares = (np.random.default_rng(seed).random((rows, columns)) < density).astype(float)
    plan = ordered(grid, shares, LEAST_TISSUE)
    spots = [(spot.row, spot.column) for spot in plan.spots]
    assert sorted(spots) == sorted(map(tuple, np.argwhere(shares > 0).tolist()))
    assert plan.coarse <= max(1, len(spots) / 12) and (plan.coarse > 0) == bool(spots)
    blocks = Counter((row // BLOCK, column // BLOCK) for row, column in spots)
    seen = {(row // BLOCK, column // BLOCK) for row, column in spots[: plan.coarse]}
    assert {block for block, count in blocks.items() if count == 16} <= seen
    assert plan.numbers == {(column, row): number for number, (row, column) in enumerate(spots)}


@given(side=st.integers(16, 60), seed=st.integers(0, 10**6))
@examples(30)
def test_the_beginning_is_near_to_everything(side: int, seed: int) -> None:
    """Of a round piece of tissue with holes: most fields are within a block of one of the first, none beyond three."""
    rows, columns = np.indices((side, side))
    shares = ((rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 2) ** 2).astype(float)
    shares[np.random.default_rng(seed).random(shares.shape) < 0.2] = 0
    plan = ordered(Grid((side * 490, side * 322), (490, 322)), shares, LEAST_TISSUE)
    first = np.array([(spot.row, spot.column) for spot in plan.spots[: plan.coarse]])
    far = [np.abs(first - (spot.row, spot.column)).max(1).min() for spot in plan.spots]
    assert np.mean(np.array(far) <= 4) > 0.85 and max(far) <= 12


def test_whole_blocks_are_looked_at_in_the_order_of_the_dither() -> None:
    plan = ordered(Grid((8 * 490, 4 * 322), (490, 322)), np.ones((4, 8)), LEAST_TISSUE)
    assert len(plan.spots) == 32 and plan.coarse == 2
    for turn in range(16):
        assert {int(DITHER[spot.row % 4, spot.column % 4]) for spot in plan.spots[2 * turn : 2 * turn + 2]} == {turn}
    assert sorted(DITHER.ravel().tolist()) == list(range(16))


def test_shares_worked_out_by_hand() -> None:
    grid = Grid((64, 32), (32, 32))
    mask = np.zeros((4, 8), bool)  # 8 pixels of level 0 each
    mask[0, :4] = mask[3, 7] = True
    assert shares_of(grid, mask, (8.0, 8.0)).tolist() == [[0.25, 0.0625]]
    assert [(one.column, one.tissue) for one in ordered(grid, np.array([[0.25, 0.0625]]), LEAST_TISSUE).spots] == [
        (0, 0.25)
    ]


@pytest.mark.slow
def test_the_plan_of_a_slide(tmp_path: Path) -> None:
    """Tissue from (512, 512) to (1536, 1536): all fields that it touches by a tenth, and no other."""
    slides.generic(tmp_path / "one.tiff", slides.pyramid(slides.drawn(), 4))
    with open_slide(tmp_path / "one.tiff") as slide:
        plan = plan_of(slide)
    expected = {
        (column, row)
        for column in range(plan.grid.columns)
        for row in range(plan.grid.rows)
        for left, top, right, bottom in [plan.grid.box(column, row)]
        if max(0, min(right, 1536) - max(left, 512)) * max(0, min(bottom, 1536) - max(top, 512)) > 0.11 * 490 * 322
    }
    assert {(spot.column, spot.row) for spot in plan.spots} == expected and len(expected) >= 9


def test_no_tissue_is_a_sentence(tmp_path: Path) -> None:
    slides.generic(tmp_path / "glass.tiff", slides.pyramid(np.full((800, 800, 3), 243, np.uint8), 3))
    with open_slide(tmp_path / "glass.tiff") as slide, pytest.raises(SlideError) as error:
        plan_of(slide)
    assert error.value.name == "no_tissue"
