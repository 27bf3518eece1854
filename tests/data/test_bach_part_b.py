"""The reader of tiles of BACH part B on drawn miniatures, and on the true tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import bach_part_b
from dala.errors import DataError


def draw(folder: Path, name: str, marked: int | None, value: int = 1) -> None:
    """A tile of 20 x 20 pixels whose mask has `marked` pixels of `value`; None: no mask."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(map(ord, folder.name + name))).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{name}.jpg")
    if marked is not None:
        mask = np.zeros(400, np.uint8)
        mask[:marked] = value
        Image.fromarray(mask.reshape(20, 20)).save(folder / f"{name}_mask.png")


def test_what_is_marked_is_malignant_and_the_rest_is_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "A03", "region0_tile1", 100)
    draw(tmp_path / "A03", "region0_tile2", 0)
    draw(tmp_path / "A05", "region0_tile1", 40, value=2)
    for name, marked, value in (("tile3", None, 1), ("tile4", 9, 3)):
        draw(tmp_path / "A05", name, marked, value)
    found = bach_part_b.load(tmp_path)
    assert [(r.name, r.label, r.marked, r.findings) for r in found.records] == [
        ("A03/region0_tile1", 1, 0.25, ("in situ",)),
        ("A05/region0_tile1", 1, 0.1, ("invasive",)),
    ]
    assert found.groups.tolist() == ["A03", "A05"]
    assert found.laboratories.tolist() == ["BACH", "BACH"]
    notes = " ".join(found.notes)
    assert "tile3.jpg is left out: Its mask tile3_mask.png is missing." in notes
    assert "tile4.jpg is left out: The mask tile4_mask.png holds something else" in notes
    assert "1 tile left out: nothing is marked, which does not make it normal." in notes


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        bach_part_b.load(tmp_path / "absent")
    draw(tmp_path / "A03", "tile1", 0)
    (tmp_path / "A03" / "tile1_mask.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no usable BACH part B image"):
        bach_part_b.load(tmp_path)


@pytest.mark.slow
def test_the_true_tiles(shared_data: Path) -> None:
    for root, name in ((shared_data / "bach_part_b", "A03"), (shared_data / "bach_part_b" / "A03", "A03")):
        found = bach_part_b.load(root)
        assert (len(found.records), set(found.groups), set(found.labels)) == (60, {name}, {1})
        assert sum(record.findings == ("invasive",) for record in found.records) == 8
