"""Decoding and resizing: values by hand, the published 224x224 images bit for bit, one sentence for a bad file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data.breakhis import load
from dala.data.pixels import load_pixels, read_rgb
from dala.errors import DataError


@dataclass(frozen=True)
class File:
    path: Path


def saved(path: Path, pixels: np.ndarray, mode: str | None = None) -> File:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return File(path)


def test_order_values_and_progress(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(20)]
    files = [saved(tmp_path / f"{i}.png", pixels) for i, pixels in enumerate(images)]
    calls: list[tuple[int, int]] = []
    pixels = load_pixels(files, size=8, progress=lambda done, total: calls.append((done, total)))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.stack(images))
    assert calls == [(i, 20) for i in range(1, 21)]


def test_a_reduction_averages_instead_of_skipping_pixels(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    # Taking every eighth column would give 200 throughout; the mean of the stripes is 100.
    assert np.abs(load_pixels([saved(tmp_path / "s.png", stripes)], size=8).astype(int) - 100).max() <= 10


def test_both_axes_fill_the_square(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 30:] = 255
    pixels = load_pixels([saved(tmp_path / "w.png", wide)], size=10)[0]
    assert (pixels[:, :4] < 30).all() and (pixels[:, 6:] > 225).all()


def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", np.full((4, 4), 77, dtype=np.uint8))
    palette = saved(tmp_path / "palette.png", np.full((4, 4, 3), (10, 20, 30), dtype=np.uint8), "P")
    clear = saved(tmp_path / "clear.png", np.full((4, 4, 4), (10, 20, 30, 0), dtype=np.uint8))
    pixels = load_pixels([grey, palette, clear], size=4)
    assert (pixels[0] == 77).all()
    np.testing.assert_array_equal(pixels[1], np.asarray(Image.open(palette.path).convert("RGB")))
    assert (pixels[2] == (10, 20, 30)).all()


def test_no_images_give_an_empty_array() -> None:
    assert load_pixels([], size=4).shape == (0, 4, 4, 3)


def test_one_sentence_for_what_cannot_be_read(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", np.zeros((50, 50, 3), dtype=np.uint8))
    cut = saved(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8))
    cut.path.write_bytes(cut.path.read_bytes()[:4000])
    header = File(tmp_path / "header.png")
    header.path.write_bytes(good.path.read_bytes()[:20])
    text = File(tmp_path / "text.png")
    text.path.write_text("hello")
    empty = File(tmp_path / "empty.png")
    empty.path.write_bytes(b"")
    deep = saved(tmp_path / "deep.png", np.zeros((4, 4), dtype=np.uint16))
    missing = File(tmp_path / "missing.png")
    for bad in (cut, header, text, empty, deep, missing):
        with pytest.raises(DataError) as error:
            load_pixels([good, bad, good], size=8)
        sentence = str(error.value)
        assert sentence.count(str(bad.path)) == 1 and "\n" not in sentence and sentence.endswith(".")
    with pytest.raises(DataError, match="no such file"):
        read_rgb(missing.path)
    with pytest.raises(DataError, match="'I;16' pixels"):
        read_rgb(deep.path)


def test_the_squeeze_is_the_one_of_the_224_edition(shared_data: Path) -> None:
    edition = {record.name: record for record in load(shared_data / "breakhis_200x_224").records}
    both = [record for record in load(shared_data / "breakhis_originals", 200).records if record.name in edition]
    assert [record.name for record in both] == [
        "SOB_B_A-14-29960CD-200-007.png",
        "SOB_M_MC-14-18842D-200-016.png",
    ]
    assert read_rgb(both[0].path).size == (700, 460)
    published = load_pixels([edition[record.name] for record in both])
    np.testing.assert_array_equal(load_pixels(both), published)
