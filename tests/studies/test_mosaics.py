"""Slides laid out of tiles: what fields show is worked out by hand, and a small one is written, read and scanned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dala.slides.reader import open_slide
from dala.slides.rows import Row
from dala.studies import mosaics
from dala.studies.mosaics import FRAME, GLASS, IN_SITU, INVASIVE, WORDS, Mosaic, Mosaics, counted_by, laid_out, shows
from dala.studies.replies import Counts
from tests.helpers.records import partly
from tests.helpers.scans import quick_model
from tests.helpers.slides import drawn


def test_tiles_lie_side_by_side_on_glass() -> None:
    tiles = [(np.full((10, 20, 3), n, np.uint8), np.full((10, 20), n, np.uint8)) for n in range(3)]
    pixels, shown = laid_out(tiles, 9)
    assert pixels.shape == (2 * 10 + 2 * FRAME, 2 * 20 + 2 * FRAME, 3)
    inside = (slice(FRAME, FRAME + 20), slice(FRAME, FRAME + 40))
    expected = np.block([[np.full((10, 20), 0), np.full((10, 20), 1)], [np.full((10, 20), 2), np.full((10, 20), 9)]])
    assert np.array_equal(shown[inside], expected)
    assert (pixels[:FRAME] == GLASS).all() and (shown[:FRAME] == 9).all()


def marked(**parts: float) -> Mosaic:
    """A field of 100 x 10 px of which so many columns show a thing, and one to its right that shows nothing."""
    shown = np.zeros((10, 200), np.uint8)
    at = 0
    for name, columns in parts.items():
        shown[:, at : at + int(columns)] = {"invasive": INVASIVE, "in_situ": IN_SITU}[name]
        at += int(columns)
    return Mosaic("made", np.zeros((10, 200, 3), np.uint8), shown, WORDS, 10.0)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"invasive": 10}, INVASIVE),
        ({"invasive": 9}, None),
        ({"invasive": 12, "in_situ": 80}, INVASIVE),
        ({"invasive": 5, "in_situ": 10}, IN_SITU),
        ({}, 0),
    ],
)
def test_a_field_counts_as_what_a_tenth_of_it_shows(parts: dict[str, float], expected: int | None) -> None:
    assert shows(marked(**parts), (0, 0, 100, 10)) == expected


def test_a_field_of_normal_tissue_shows_nothing_else() -> None:
    shown = np.ones((10, 200), np.uint8)
    shown[:, 150:] = 2
    mosaic = Mosaic("made", np.zeros((10, 200, 3), np.uint8), shown, {1: "fat", 2: "stroma"}, 1.0, whole=True)
    assert [shows(mosaic, (x, 0, x + 100, 10)) for x in (0, 60)] == [1, None]
    assert shows(mosaic, (150, 0, 200, 10)) == 2


def test_counts_and_areas_worked_out_by_hand() -> None:
    rows = [
        Row(0, 0, (0, 0, 100, 10), 1.0, "malignant", 0.9),
        Row(1, 0, (100, 0, 200, 10), 1.0, "malignant", 0.9),
        Row(1, 0, (100, 0, 200, 10), 1.0, "unreadable"),
    ]
    invasive, nothing = counted_by(marked(invasive=50), rows)
    assert (invasive.shows, invasive.counts.malignant, invasive.mm2) == ("invasive carcinoma", 1, 0.1)
    assert (nothing.counts.images, nothing.unreadable, nothing.mm2) == (2, 1, 0.2)
    assert nothing.per_mm2 == pytest.approx(5)
    assert mosaics.together([invasive.counts, nothing.counts]).images == 3
    none = Counts(images=0, benign=0, malignant=0, not_sure=0, outside=0)
    record = partly(Mosaics, parts=(invasive, nothing), outlined=invasive.counts, near_miss=none, normal=nothing.counts)
    assert "of 1 field with outlined carcinoma 1 are called malignant" in mosaics.summary(record)
    assert [row["Malignant a square millimetre"] for row in mosaics.table(record)] == ["10.0", "5.0"]


@pytest.mark.slow
def test_a_mosaic_is_written_read_and_scanned(tmp_path: Path) -> None:
    tile = np.asarray(drawn(640, 640))[160:480, 160:480]
    pixels, shown = laid_out([(tile, np.full(tile.shape[:2], INVASIVE, np.uint8))] * 4, 0)
    mosaic = Mosaic("made", pixels, shown, WORDS, 0.5)
    mosaics.write_pyramid(tmp_path / "made.tiff", mosaic)
    with open_slide(tmp_path / "made.tiff") as slide:
        assert slide.um is not None and slide.um.rows == pytest.approx(0.5)
        assert np.array_equal(slide.read_box((0, 0, *slide.size), slide.size)[0], pixels)
    seen: list[tuple[int, int]] = []

    def report(name: str, unit: str) -> Callable[[int, int], None]:
        return lambda done, total: seen.append((done, total))

    record = mosaics.measure([lambda: mosaic], quick_model(), report)
    assert record.parts[0].shows == "invasive carcinoma" and seen[-1][0] == seen[-1][1]
    assert Mosaics.from_json(record.to_json()) == record
    assert mosaics.section(record)


@pytest.mark.slow
def test_true_tiles_are_laid_out(shared_data: Path) -> None:
    outlined, normal = mosaics.outlined(shared_data), mosaics.normal(shared_data)
    nodes = mosaics.lymph_nodes(shared_data)
    assert set(np.unique(nodes.shown)) == {0, 1} and nodes.pixels.shape[:2] == nodes.shown.shape == (4608, 4608)
    assert set(np.unique(outlined.shown)) == {0, 1, 2} and outlined.um == 0.42
    assert set(normal.words.values()) >= {"stroma", "adipose tissue", "muscle tissue"}
    assert set(np.unique(normal.shown)) == {0, *normal.words}
