"""The BRCA-M2C reader on drawn miniatures: labels from dots, patients, what is left out, and the true tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import brca_m2c
from dala.errors import DataError

# Dots of class 1, 2 and 3 of each tile.
TILES = {
    "TCGA-A7-A0D9-01Z-00-DX1_1_1_1000_1000_0.98": (3, 50, 1),
    "TCGA-A7-A0D9-01Z-00-DX2_5_1_1000_1000_0.98": (0, 49, 0),
    "TCGA-AC-A23C-01Z-00-DX1_7_2_1000_1000_0.98": (4, 0, 6),
    "TCGA-AC-A23E-01Z-00-DX1_7_2_1000_1000_1.01": (0, 0, 0),
}


def draw(root: Path, dots: str = "dots", ending: str = ".txt") -> Path:
    for folder in ("images", dots):
        (root / folder).mkdir(parents=True)
    for number, (name, cells) in enumerate(TILES.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.jpg")
        lines = [f"{n} {29 - n % 30} {kind}" for kind, count in enumerate(cells, start=1) for n in range(count)]
        (root / dots / f"{name}{ending}").write_text("\n".join(lines) + "\n")
    return root


def test_dots_make_the_label(tmp_path: Path) -> None:
    draw(tmp_path / "BRCA")
    for root in (tmp_path, tmp_path / "BRCA"):
        found = brca_m2c.load(root)
        assert found.labels.tolist() == [1, 0, 0]
        assert found.groups.tolist() == ["TCGA-A7-A0D9", "TCGA-AC-A23C", "TCGA-AC-A23E"]
        assert [(record.hospital, record.cells) for record in found.records] == [
            ("A7", (3, 50, 1)),
            ("AC", (4, 0, 6)),
            ("AC", (0, 0, 0)),
        ]
        assert set(found.laboratories) == {"BRCA-M2C"}
        assert found.notes == ("1 tile left out: between 1 and 49 epithelial cells, neither tumour nor free of it.",)


def test_the_published_tree_is_read_too(tmp_path: Path) -> None:
    draw(tmp_path, "labels", "_gt_class_coords.txt")
    assert brca_m2c.load(tmp_path).labels.tolist() == [1, 0, 0]


def test_dots_are_places_and_classes(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("\ufeff7 12 2\n\n4.0 3.0 1\n", encoding="utf-8")
    assert brca_m2c.read_dots(tmp_path / "one.txt").tolist() == [[12, 7, 2], [3, 4, 1]]
    (tmp_path / "none.txt").write_text("\n")
    assert brca_m2c.read_dots(tmp_path / "none.txt").shape == (0, 3)


@pytest.mark.parametrize("text", ["1 2\n", "1 2 4\n", "1 2 one\n", "1 2 3 1 2 1\n", "1 2 1 5\n1 2\n"])
def test_other_files_of_dots_are_left_out(tmp_path: Path, text: str) -> None:
    draw(tmp_path)
    (tmp_path / "dots" / f"{next(iter(TILES))}.txt").write_text(text)
    found = brca_m2c.load(tmp_path)
    assert found.labels.tolist() == [0, 0]
    assert "cannot be read as dots" in found.notes[0]


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        brca_m2c.load(tmp_path / "absent")
    with pytest.raises(DataError, match="no BRCA-M2C tree"):
        brca_m2c.load(tmp_path)
    draw(tmp_path)
    names = list(TILES)
    (tmp_path / "dots" / f"{names[0]}.txt").unlink()
    (tmp_path / "images" / f"{names[2]}.jpg").rename(tmp_path / "images" / "tile.jpg")
    found = brca_m2c.load(tmp_path)
    assert [record.name for record in found.records] == [names[3]]
    assert any("Its dots are missing" in note for note in found.notes)
    assert any("'tile.jpg' is not a TCGA name" in note for note in found.notes)


@pytest.mark.slow
def test_the_true_tiles(shared_data: Path) -> None:
    found = brca_m2c.load(shared_data / "brca_m2c")
    assert (found.labels == 1).sum() == 32
    assert (found.labels == 0).sum() == 13
    assert found.notes == ("8 tiles left out: between 1 and 49 epithelial cells, neither tumour nor free of it.",)
    assert {record.hospital for record in found.records} == {"A7", "AC"}
    darker = []
    for record in found.records:
        with Image.open(record.path) as image:
            grey = np.asarray(image.convert("L"), np.float64)
        x, y, _ = brca_m2c.read_dots(record.dots).T
        assert (x < grey.shape[1]).all() and (y < grey.shape[0]).all(), record.name
        darker.append(grey.mean() - grey[y, x].mean())
    assert np.mean(darker) > 40  # of 255: nuclei are dark; with x and y exchanged it is 1
