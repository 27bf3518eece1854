"""Overviews that are kept on disk: only those of slides without a pyramid, whole, few, and of the file as it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dala.slides import overviews, reader
from dala.slides.overviews import kept
from dala.slides.reader import Overview, open_slide
from tests.helpers import slides


def made(number: int = 0, side: int = 8) -> Overview:
    return Overview(np.full((side, side, 3), number, np.uint8), np.ones((side, side), bool), (2.0, 3.0))


def test_it_is_made_once_and_is_the_same(tmp_path: Path) -> None:
    first = kept("a", lambda: made(7), tmp_path / "kept")
    second = kept("a", lambda: pytest.fail("it is made again"), tmp_path / "kept")
    assert np.array_equal(second.pixels, first.pixels) and second.pixels.dtype == np.uint8
    assert np.array_equal(second.scanned, first.scanned) and second.downsample == first.downsample == (2.0, 3.0)
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", None], ids=["empty", "torn", "other", "cut"])
def test_a_file_that_is_none_is_made_anew(content: bytes | None, tmp_path: Path) -> None:
    kept("a", lambda: made(7), tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    assert kept("a", lambda: made(8), tmp_path).pixels[0, 0, 0] == 8
    assert kept("a", lambda: made(9), tmp_path).pixels[0, 0, 0] == 8


def test_one_with_damage_is_not_kept_and_no_room_is_no_error(tmp_path: Path) -> None:
    one = made()
    damaged = Overview(one.pixels, one.scanned, one.downsample, np.ones((8, 8), bool))
    assert kept("a", lambda: damaged, tmp_path) is damaged and not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert kept("a", lambda: one, tmp_path / "file" / "below") is one


def test_those_that_were_used_last_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, key in enumerate("abc"):
        kept(key, lambda number=number: made(number, 64), tmp_path)  # type: ignore[misc]
        os.utime(tmp_path / f"{key}.npz", (number, number))
    kept("a", lambda: pytest.fail("it is there"), tmp_path)
    size = (tmp_path / "a.npz").stat().st_size
    monkeypatch.setattr(overviews, "LARGEST", 2 * size)
    kept("d", lambda: made(3, 64), tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "d"]


@pytest.mark.slow
def test_only_a_slide_without_a_pyramid_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "one.tiff"
    slides.generic(path, slides.pyramid(slides.drawn(1024, 768), 1))
    with open_slide(path) as slide:
        plain = slide.overview
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(reader, "FLAT", 512)
    with open_slide(path) as slide:
        assert slide.flat and np.array_equal(slide.overview.pixels, plain.pixels)
    with open_slide(path) as slide:
        monkeypatch.setattr(slide, "_made", lambda: pytest.fail("all of it is decoded again"))
        assert np.array_equal(slide.overview.pixels, plain.pixels)
    # A file that was written anew, and another pixel size, have another overview.
    with open_slide(path, 0.25) as slide:
        assert slide.overview.pixels.shape != plain.pixels.shape
    slides.generic(path, slides.pyramid(slides.drawn(1024, 768, seed=1), 1))
    with open_slide(path) as slide:
        assert not np.array_equal(slide.overview.pixels, plain.pixels)
