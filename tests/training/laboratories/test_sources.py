"""Images of several laboratories at their physical scale; tissue tiles that are held out by their name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import tissue
from dala.errors import DataError
from dala.training.laboratories.sources import TESTED, TRAINED, at_scale, items_of


def test_an_image_is_resampled_to_half_a_micrometre_in_both_directions() -> None:
    image = Image.new("RGB", (100, 80))
    assert at_scale(image, (0.25, 0.25)).size == (50, 40)
    assert at_scale(image, (1.0, 0.5)).size == (100, 160)
    assert at_scale(image, (0.5, 0.5)) is image
    squeezed = Image.new("RGB", (224, 224))
    assert at_scale(squeezed, (161 / 224, 245 / 224)).size == (490, 322)


def test_the_shared_images_of_every_laboratory(shared_data: Path) -> None:
    items = items_of(shared_data)
    counts = {name: sum(item.laboratory == name for item in items) for name in ("BreakHis", "UCSB", "BRCA-M2C")}
    assert counts == {"BreakHis": 689, "UCSB": 24, "BRCA-M2C": 45}
    first = {item.laboratory: item for item in reversed(items)}
    assert first["BreakHis"].seen().size == (490, 322)
    assert first["UCSB"].seen().size == (448, 384)
    assert all(item.group.startswith(f"{item.laboratory}/") for item in items)
    assert {item.laboratory for item in items_of(shared_data, TESTED)} == {"TNBC", "BACH"}
    with pytest.raises(DataError):
        items_of(shared_data / "slides", TRAINED)


def test_tiles_are_held_out_by_their_name(tmp_path: Path) -> None:
    for name in tissue.CLASSES:
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / name / f"{number:03d}.png")
    tiles = tissue.load(tmp_path)
    assert len(tiles.records) == 240
    assert tiles.classes[tiles.labels[0]] == tiles.records[0].tissue
    held_out = [tile.name for tile in tiles.records if tile.held_out]
    assert 15 < len(held_out) < 60  # 15 % of 240 expected
    assert held_out == [tile.name for tile in tissue.load(tmp_path).records if tile.held_out]
    (tmp_path / "stroma").rename(tmp_path / "other")
    with pytest.raises(DataError, match="no folder stroma"):
        tissue.load(tmp_path)
