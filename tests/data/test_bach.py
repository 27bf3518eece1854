"""The BACH adapter on drawn miniatures of the official tree: counts, contradictions, patients, copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import bach
from dala.errors import DataError

STEMS = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}


def draw_photos(root: Path, images: int = 3, size: tuple[int, int] = (32, 24)) -> Path:
    """Write `images` TIFFs a class and the ground truth into the official tree; returns the Photos folder."""
    draw = np.random.default_rng(0)
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    rows = []
    for folder, prefix in STEMS.items():
        (photos / folder).mkdir(parents=True)
        for number in range(1, images + 1):
            name = f"{prefix}{number:03d}.tif"
            pixels = draw.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / folder / name)
            rows.append(f"{name},{folder}")
    (photos / "microscopy_ground_truth.csv").write_text("\n".join(rows) + "\n")
    return photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_photos(tmp_path)


@pytest.mark.parametrize(
    ("name", "stem", "label"),
    [("n001.tif", "n001", 0), ("b099.TIFF", "b099", 1), ("IS100.tif", "is100", 2), ("iv007", "iv007", 3)],
)
def test_names(name: str, stem: str, label: int) -> None:
    assert bach.parse_name(name) == (stem, label)


@pytest.mark.parametrize("name", ["x001.tif", "n1.tif", "n001.png.tif", "iv001_patch.tif", "A03.svs"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="is not a BACH name"):
        bach.parse_name(name)


def test_load_from_every_level(photos: Path) -> None:
    for root in (photos.parents[1], photos.parent, photos):
        dataset = bach.load(root)
        assert [record.name for record in dataset.records][:4] == ["n001", "n002", "n003", "b001"]
        assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        assert dataset.classes == ("normal", "benign", "in situ", "invasive")
        assert dataset.groups.tolist() == [record.name for record in dataset.records]
        assert dataset.notes == ()
    assert "no patient list lies beside the images" in bach.grouping(dataset.records)


@pytest.mark.parametrize(
    "text",
    [
        "n001.tif,7\nn002.tif,7\nb001.tif,7\nb002.tif,8\niv003.tif,\n",
        "\ufeffImage;Class;Patient\nn001;Normal;7\nn002;Normal;7\nb001;Benign;7\nb002;Benign;8\nis001;InSitu;unknown\n",
        "patient\timage\n7\tN001.tif\n7\tn002.tif\n\n7\tb001.tif\n8\tb002.tif\n",
    ],
)
def test_the_patient_list_makes_the_groups(photos: Path, text: str) -> None:
    (photos.parent / "patient_microscopy.csv").write_text(text, encoding="utf-8")
    dataset = bach.load(photos.parents[1])
    by_name = dict(zip([record.name for record in dataset.records], dataset.groups.tolist(), strict=True))
    assert by_name["n001"] == by_name["n002"] == by_name["b001"] == "patient 7"
    assert by_name["b002"] == "patient 8"
    assert by_name["is001"] == "is001"
    assert "(2 patients of 4 images are listed)" in bach.grouping(dataset.records)
    assert "each of the other 8 images its own group" in bach.grouping(dataset.records)
    report = bach.validate(photos)
    assert (report.listed, report.patients) == (4, 2)
    assert "names 2 patients of 4 images" in report.text()


def test_a_whole_patient_list_leaves_nothing_open(photos: Path) -> None:
    names = [record.name for record in bach.load(photos).records]
    (photos / "patients.txt").write_text("".join(f"{name},{index // 2}\n" for index, name in enumerate(names)))
    assert bach.grouping(bach.load(photos).records) == "grouped by patient (6 patients of 12 images are listed)"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("patients.csv", "n001.tif,1\nn001.tif,2\n", "gives n001 two patients, 1 and 2"),
        ("patients.csv", "n001.tif,1,left\n", "Line 1 of patients.csv is not one image and its patient"),
        ("patients.csv", "name,patient\n", "names no image"),
        ("patient_microscopy.xlsx", "", "save it as CSV"),
    ],
)
def test_an_unclear_patient_list_is_refused(photos: Path, name: str, text: str, sentence: str) -> None:
    (photos / name).write_text(text)
    with pytest.raises(DataError, match=sentence):
        bach.load(photos)


def test_two_patient_lists_are_refused(photos: Path) -> None:
    for folder in (photos, photos.parent):
        (folder / "patients.csv").write_text("n001.tif,1\n")
    with pytest.raises(DataError, match="several patient lists"):
        bach.load(photos)


def test_contradictions_are_left_out(photos: Path) -> None:
    shutil.move(photos / "Normal" / "n003.tif", photos / "Benign" / "n003.tif")
    (photos / "Normal" / "cells.tif").write_bytes(b"")
    truth = photos / "microscopy_ground_truth.csv"
    truth.write_text(truth.read_text().replace("iv002.tif,Invasive", "iv002.tif,InSitu"))
    dataset = bach.load(photos)
    names = {record.name for record in dataset.records}
    assert names.isdisjoint({"n003", "iv002"})
    assert len(names) == 10
    assert any("Benign/n003.tif is left out: It lies in folder 'Benign', but the name says normal." in note
               for note in dataset.notes)  # fmt: skip
    assert any("says in situ, but the name says invasive" in note for note in dataset.notes)
    assert any("cells.tif is left out: 'cells.tif' is not a BACH name" in note for note in dataset.notes)
    assert "3 files left out:" in bach.validate(photos).text()


def test_copies_are_used_once_or_not_at_all(photos: Path) -> None:
    shutil.copy(photos / "Benign" / "b001.tif", photos / "Benign" / "b002.tif")
    shutil.copy(photos / "InSitu" / "is001.tif", photos / "Invasive" / "iv001.tif")
    dataset = bach.load(photos)
    names = {record.name for record in dataset.records}
    assert "b001" in names
    assert names.isdisjoint({"b002", "is001", "iv001"})
    assert len(names) == 9
    assert any("b001.tif and b002.tif are the same image and used once" in note for note in dataset.notes)
    assert bach.validate(photos).copies == (("b001.tif", "b002.tif"), ("is001.tif", "iv001.tif"))


def test_copies_are_told_from_images_that_begin_alike(photos: Path) -> None:
    """Files of one length whose middle is equal are compared whole."""
    middle = b"\0" * 100_000
    for name, end in (("n001", b"a"), ("n002", b"b"), ("n003", b"a")):
        (photos / "Normal" / f"{name}.tif").write_bytes(b"x" * 50_000 + middle + end * 50_000)
    names = [record.name for record in bach.load(photos).records]
    assert names[:3] == ["n001", "n002", "b001"]


def test_validate_counts_and_reads(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    report = bach.validate(photos, lambda done, total: seen.append((done, total)))
    assert seen == [(n, 12) for n in range(1, 13)]
    assert report.counts == dict.fromkeys(bach.CLASSES, 3)
    assert not report.complete
    text = report.text()
    assert "12 of 400 official images" in text and "NOT complete" in text
    assert "in situ" in text and "3/100" in text
    assert "Sizes: 32x24 (12)." in text and "12 images are not 2048x1536" in text
    assert "each image counts as its own patient" in text

    monkeypatch.setattr(bach, "OFFICIAL_COUNT", 3)
    monkeypatch.setattr(bach, "OFFICIAL_SIZE", (32, 24))
    assert bach.validate(photos).complete
    (photos / "Invasive" / "iv003.tif").write_bytes(b"II*\0 broken off")
    (photos / "microscopy_ground_truth.csv").unlink()
    broken = bach.validate(photos)
    assert not broken.complete
    assert broken.counts == {"normal": 3, "benign": 3, "in situ": 3, "invasive": 2}
    assert "cannot be read as an image" in broken.text().lower()
    assert "microscopy_ground_truth.csv is missing" in broken.text()


def test_no_tree_and_several(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        bach.load(tmp_path / "absent")
    with pytest.raises(DataError, match="There is no BACH tree"):
        bach.load(tmp_path)
    draw_photos(tmp_path / "one", 1)
    draw_photos(tmp_path / "two", 1)
    with pytest.raises(DataError, match="holds 2 BACH trees"):
        bach.load(tmp_path)
    for folder in STEMS:
        shutil.rmtree(tmp_path / "one" / "ICIAR2018_BACH_Challenge" / "Photos" / folder)
        (tmp_path / "one" / "ICIAR2018_BACH_Challenge" / "Photos" / folder).mkdir()
    with pytest.raises(DataError, match="no usable BACH image"):
        bach.load(tmp_path / "one")


def test_part_b_is_not_taken_for_part_a(shared_data: Path) -> None:
    with pytest.raises(DataError, match="There is no BACH tree"):
        bach.load(shared_data / "bach_part_b")
