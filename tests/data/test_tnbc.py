"""The TNBC reader on drawn miniatures of both layouts, and on the true tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import tnbc
from dala.errors import DataError


def draw(path: Path, number: int, mask: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels[:, :, 0] > 127 if mask else pixels).save(path)


def test_both_layouts_say_the_patient(tmp_path: Path) -> None:
    for number, name in enumerate(("slide01_01_1", "slide01_01_2", "slide03_03_1")):
        draw(tmp_path / "flat" / "images" / f"{name}.jpg", number)
        draw(tmp_path / "flat" / "masks" / f"{name}.png", number, mask=True)
        patient, rest = name[5:7], name[8:]
        draw(tmp_path / "published" / f"Slide_{patient}" / f"{rest}.png", number)
        draw(tmp_path / "published" / f"GT_{patient}" / f"{rest}.png", number, mask=True)
    for layout in ("flat", "published"):
        found = tnbc.load(tmp_path / layout)
        assert [record.name for record in found.records] == ["slide01_01_1", "slide01_01_2", "slide03_03_1"]
        assert found.groups.tolist() == ["slide01", "slide01", "slide03"]
        assert found.labels.tolist() == [1, 1, 1]
        assert found.laboratories.tolist() == ["TNBC"] * 3
        assert found.notes == ()
        expected = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)[:, :, 0] > 127
        assert np.array_equal(tnbc.nuclei(found.records[2]), expected)


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        tnbc.load(tmp_path / "absent")
    draw(tmp_path / "images" / "slide01_01_1.png", 0)
    draw(tmp_path / "images" / "cells.png", 1)
    draw(tmp_path / "Slide_02" / "01_1.png", 2)
    with pytest.raises(DataError, match="no usable TNBC image"):
        tnbc.load(tmp_path)
    draw(tmp_path / "masks" / "slide01_01_1.png", 0, mask=True)
    found = tnbc.load(tmp_path)
    assert len(found.records) == 1
    assert sum("is not a TNBC name" in note for note in found.notes) == 2


def test_the_true_tiles(shared_data: Path) -> None:
    found = tnbc.load(shared_data / "tnbc")
    assert (len(found.records), len(set(found.groups)), set(found.labels)) == (36, 7, {1})
    mask = tnbc.nuclei(found.records[0])
    assert mask.shape == (512, 512)
    assert 0.05 < mask.mean() < 0.6
