"""What is said of nothing and of normal tissue: counts worked out by hand, how images are made, and the drawings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import tissue
from dala.phantoms.normal import NORMAL, draw_normal
from dala.runtime.predict import load_model
from dala.studies import nothing
from dala.studies.blocks import Table, Text
from dala.studies.nothing import Kind, Made, Nothing, kind_of, unsharp
from dala.studies.replies import Counts, Reply
from tests.helpers.records import cells, partly

SURE, WRONG = Reply("benign", "", 0.1, None, "benign"), Reply("malignant", "", 0.9, None, "malignant")
OUTSIDE, OPEN = Reply("outside", "blank", 0.7, None, "malignant"), Reply("not sure", "", 0.5)


def kind(name: str, expected: str, known: list[Reply], unknown: list[Reply]) -> Kind:
    return kind_of(Made(name, "drawn", expected, lambda: iter(())), known, unknown)


GLASS = kind("white glass", nothing.NOTHING, [OUTSIDE, OUTSIDE, SURE], [OUTSIDE, OUTSIDE, OPEN])
FAT = kind("drawn fat", nothing.NORMAL, [SURE, SURE, OPEN, WRONG], [OPEN, OPEN, WRONG, WRONG])
MUSCLE = kind("drawn muscle", nothing.NORMAL, [SURE, OPEN], [OPEN, OPEN])
TUMOUR = kind("tile: tumor", nothing.TUMOUR, [WRONG], [WRONG])


def test_of_nothing_no_answer_is_right_and_of_normal_tissue_only_benign() -> None:
    assert GLASS.known == Counts(images=3, benign=1, malignant=0, not_sure=0, outside=2)
    assert GLASS.outside == {"blank": 2}
    assert [(one.ungated, one.above_even) for one in (GLASS, FAT, MUSCLE)] == [(2, 2), (1, 1), (0, 0)]
    assert [one.against for one in (GLASS, FAT, MUSCLE, TUMOUR)] == [1, 3, 0, 0]


def test_the_section_names_what_is_not_as_expected() -> None:
    record = partly(Nothing, kinds=(GLASS, FAT, MUSCLE, TUMOUR))
    assert nothing.summary(record) == (
        "Of 3 images of nothing 1 are answered; of 6 images of tissue with nothing malignant in it 1 are called "
        "malignant and 3 benign."
    )
    table, _, failed, *_ = nothing.section(record)
    assert isinstance(table, Table) and isinstance(failed, Text)
    assert cells(list(table.rows)) == [
        ["white glass", "3", "0", "1", "0", "2"],
        ["drawn fat", "4", "1", "2", "1", "0"],
        ["drawn muscle", "2", "0", "1", "1", "0"],
        ["tile: tumour", "1", "1", "0", "0", "0"],
    ]
    assert "drawn fat: at its scale 1 malignant and 2 benign of 4, without one 2 and 0" in failed.markdown
    assert "white glass" in failed.markdown and "muscle" not in failed.markdown
    fine = nothing.section(partly(Nothing, kinds=(MUSCLE,)))[2]
    assert isinstance(fine, Text) and fine.markdown == "Every kind is answered as it should be."
    assert [row["Expected"] for row in nothing.reasons(record)] == [
        "no answer", "never malignant", "never malignant", "either",
    ]  # fmt: skip


def test_a_blur_is_as_wide_in_micrometres_whatever_the_pixels() -> None:
    """An edge across 0.5 um pixels and one along 1 um pixels: 16 and 84 % of the step lie two deviations apart."""
    wide = np.zeros((60, 200, 3), np.uint8)
    wide[:, 100:] = 200
    across = unsharp(wide, (1.0, 0.5), 4.0)[30, :, 0].astype(float) / 200
    down = unsharp(np.ascontiguousarray(wide.transpose(1, 0, 2)), (1.0, 0.5), 4.0)[:, 30, 0].astype(float) / 200
    for edge, um in ((across, 0.5), (down, 1.0)):
        width = np.interp(0.8413, edge, np.arange(len(edge))) - np.interp(0.1587, edge, np.arange(len(edge)))
        assert width * um == pytest.approx(8.0, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMAL)
def test_drawings_are_repeated_by_their_seed(name: str) -> None:
    first = draw_normal(name, 3)
    assert first.shape == (460, 700, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, draw_normal(name, 3))
    assert (first != draw_normal(name, 4)).any()


@pytest.mark.slow
def test_drawings_look_like_what_they_are_called() -> None:
    mean = {name: draw_normal(name).reshape(-1, 3).mean(0) for name in NORMAL}
    assert mean["white glass"].min() > 200 and np.ptp(mean["grey"]) < 1
    assert mean["fat"].min() > mean["stroma"].min() > mean["muscle"].min(), "empty cells, loose and dense eosin"
    assert mean["muscle"][1] == mean["muscle"].min(), "eosin takes green"
    with pytest.raises(ValueError, match="no drawing 'bone'"):
        draw_normal("bone")
    with pytest.raises(ValueError, match="zero or a positive"):
        draw_normal("fat", -1)


def test_only_tiles_that_training_leaves_out_are_asked(tmp_path: Path) -> None:
    for name in tissue.CLASSES:
        folder = tmp_path / "tissue_tiles_150" / name
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels + len(name)).save(folder / f"{number}.jpg")
    kinds = {made.name: made for made in nothing.tissue_kinds(tmp_path)}
    assert len(kinds) == 24 and kinds["tile: stroma"].expected == nothing.NORMAL
    assert kinds["tile: tumor"].expected == nothing.TUMOUR and kinds["tile: in situ"].expected == ""
    held_out = [tile for tile in tissue.load(tmp_path / "tissue_tiles_150").records if tile.held_out]
    assert 0 < len(held_out) < 60
    assert sum(len(list(made.images())) for name, made in kinds.items() if name.startswith("tile")) == len(held_out)
    classes = {tile.tissue for tile in held_out}
    fields = [image for name, made in kinds.items() if name.startswith("field") for image, _ in made.images()]
    assert len(fields) == nothing.MOSAICS * len(classes) and {one.shape for one in fields} == {(80, 120, 3)}
    assert {size for made in kinds.values() for _, size in made.images()} == {(0.25, 0.25)}


more = pytest.mark.exhaustive(instead="studies/test_nothing.py::test_glass_and_noise_are_not_answered")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(3, marks=more)])
def test_glass_and_noise_are_not_answered(count: int) -> None:
    """One of either kind, a quarter of it, and three, each whole."""
    made = [one for one in nothing.drawn_kinds() if one.name in ("white glass", "noise")]

    def images(one: Made) -> Iterator[tuple[nothing.Pixels, nothing.PixelSize]]:
        for pixels, um in islice(one.images(), count):
            yield (pixels[:230, :350] if count == 1 else pixels), um

    few = [Made(one.name, one.about, one.expected, partial(images, one)) for one in made]
    record = nothing.measure(few, load_model("breast"), lambda name: lambda done, total: None)
    assert [(one.name, one.known.images, one.against) for one in record.kinds] == [
        ("white glass", count, 0), ("noise", count, 0),
    ]  # fmt: skip
    assert Nothing.from_json(record.to_json()) == record
