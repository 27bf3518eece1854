"""The UCSB reader on drawn miniatures: names, folders, arrays, copies, and the count on the true images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import ucsb
from dala.errors import DataError

NAMES = ("ytma10_010704_benign1.tif", "ytma10_010704_malignant2_ccd.tif", "YTMA55_030603_benign3.JPG")


def draw(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng([number, len(folder.name)]).integers(0, 256, (24, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def test_an_image_says_its_array_and_class(tmp_path: Path) -> None:
    draw(tmp_path, *NAMES)
    draw(tmp_path / "masks", *NAMES)
    found = ucsb.load(tmp_path)
    assert [(r.name, r.array, r.date) for r in found.records] == [
        ("ytma55_030603_benign3", "ytma55", "030603"),
        ("ytma10_010704_benign1", "ytma10", "010704"),
        ("ytma10_010704_malignant2", "ytma10", "010704"),
    ]
    assert found.labels.tolist() == [0, 0, 1]
    assert found.groups.tolist() == [record.name for record in found.records]
    assert found.laboratories.tolist() == ["UCSB"] * 3
    assert found.notes == ()


def test_contradictions_and_copies_are_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "benign", NAMES[0], "ytma10_010704_benign4.tif")
    draw(tmp_path / "malignant", NAMES[1], "ytma12_010804_benign1.tif", "cells.png")
    shutil.copy(tmp_path / "benign" / NAMES[0], tmp_path / "benign" / "ytma12_010804_benign2.tif")
    shutil.copy(tmp_path / "malignant" / NAMES[1], tmp_path / "benign" / "ytma12_010804_benign3.tif")
    found = ucsb.load(tmp_path)
    assert [record.name for record in found.records] == ["ytma10_010704_benign1", "ytma10_010704_benign4"]
    notes = " ".join(found.notes)
    assert "It lies in folder 'malignant', but the name says benign." in notes
    assert "'cells.png' is not a UCSB name" in notes
    assert "ytma10_010704_benign1.tif and ytma12_010804_benign2.tif are the same image and used once." in notes
    assert "ytma10_010704_malignant2_ccd.tif and ytma12_010804_benign3.tif are left out" in notes


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        ucsb.load(tmp_path / "absent")
    with pytest.raises(DataError, match="no usable UCSB image"):
        ucsb.load(tmp_path)


def test_the_true_images(shared_data: Path) -> None:
    found = ucsb.load(shared_data / "ucsb")
    assert (len(found.records), int(found.labels.sum()), len(set(found.groups))) == (24, 9, 24)
    assert {record.array for record in found.records} == {"ytma10", "ytma12", "ytma23", "ytma55"}
