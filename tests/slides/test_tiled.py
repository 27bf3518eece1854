"""Tiles that are copied: OpenSlide's numbers, as strictly, and OpenSlide's answer wherever they are not plain."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile
from PIL import Image

from dala.errors import SlideError
from dala.slides import tiled
from dala.slides.ome import OmeSource, is_ome
from dala.slides.reader import open_slide
from dala.slides.sources import OpenSlideSource
from dala.slides.tiled import TiledFile, TiledLevel, Unreadable, plain_tiles
from tests.helpers import slides
from tests.helpers.slides import SIDE, drawn, pyramid

CACHE = 2**22
WIDTH, HEIGHT = 1100, 700  # not whole tiles: those at the edges are stored whole


def by_openslide(path: Path, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
    """As OpenSlide blends it, over white."""
    with openslide.OpenSlide(path) as slide:
        region = slide.read_region((x, y), level, (width, height))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", region.size, "white"), region))[..., :3]


def jpeg_of(tile: np.ndarray, *, rgb: bool, sampling: int) -> bytes:
    """A tile as JPEG, with a JFIF header if it is brightness and two differences, and Adobe's if it is not."""
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=80, subsampling=sampling, keep_rgb=rgb)
    return file.getvalue()


def split(jpeg: bytes, keep_headers: bool) -> tuple[bytes, bytes]:
    """A JPEG file as a TIFF's tables and a tile without them; JFIF's and Adobe's headers stay with the tile or go."""
    at, tables, rest = 2, b"", b""
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        segment = jpeg[at:end]
        if segment[1] in (0xDB, 0xC4):
            tables += segment
        elif keep_headers or segment[1] not in (0xE0, 0xEE):
            rest += segment
        at = end
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + jpeg[at:]


def squares(pixels: np.ndarray) -> Iterator[np.ndarray]:
    filled = np.pad(pixels, ((0, -pixels.shape[0] % SIDE), (0, -pixels.shape[1] % SIDE), (0, 0)), mode="edge")
    for y in range(0, pixels.shape[0], SIDE):
        for x in range(0, pixels.shape[1], SIDE):
            yield np.ascontiguousarray(filled[y : y + SIDE, x : x + SIDE])


def write(path: Path, *, rgb: bool = False, sampling: int = 2, tables: bool = False, headers: bool = True) -> None:
    """Two levels; `tables`: those of the JPEG are in the directory; `headers`: tiles say themselves what they are."""
    with tifffile.TiffWriter(path) as file:
        for number, one in enumerate(pyramid(drawn(WIDTH, HEIGHT), 2)):
            found = [jpeg_of(tile, rgb=rgb, sampling=sampling) for tile in squares(one)]
            more: list[tuple[Any, ...]] = []
            if tables:
                shared = split(found[0], headers)[0]
                more = [(347, 7, len(shared), shared, True)]
                found = [split(tile, headers)[1] for tile in found]
            halved = None if rgb else (2, 2) if sampling else (1, 1)
            file.write(iter(found), shape=one.shape, dtype=np.uint8, tile=(SIDE, SIDE), compression="jpeg",
                       photometric="rgb" if rgb else "ycbcr", subsampling=halved,
                       subfiletype=1 if number else 0, metadata=None, extratags=more)  # fmt: skip


KINDS: dict[str, dict[str, Any]] = {
    "half the colours": {},
    "all colours": {"sampling": 0},
    "shared tables": {"tables": True},
    "shared tables, no header": {"tables": True, "headers": False},
    "red, green, blue": {"rgb": True, "sampling": 0},
    "red, green, blue, no header": {"rgb": True, "sampling": 0, "tables": True, "headers": False},
}


def never(*_: object, **__: object) -> None:
    raise AssertionError("OpenSlide was asked although tiles are plain")


def same_everywhere(path: Path, source: OpenSlideSource, boxes: int = 12) -> None:
    """Boxes at random places of every level, over edges too; those whose place is one of the level's pixels."""
    random = np.random.default_rng(4711)
    for level, (wide, high) in enumerate(source.levels):
        step = round(source.downsamples[level])
        for _ in range(boxes):
            x, y = (int(random.integers(0, side)) * step for side in (wide, high))
            width, height = (int(random.integers(1, 600)) for _ in range(2))
            found, scanned = source.read(level, x, y, width, height)
            assert np.array_equal(found, by_openslide(path, level, x, y, width, height))
            inside = np.zeros((height, width), bool)
            inside[: max(0, high - y // step), : max(0, wide - x // step)] = True
            assert np.array_equal(inside, np.ones_like(inside) if scanned is None else scanned)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_openslide_s_numbers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slide.tiff"
    write(path, **KINDS[kind])
    source = OpenSlideSource(path, CACHE)
    with monkeypatch.context() as bent:
        bent.setattr(source, "_slide", type("", (), {"read_region": never}))
        same_everywhere(path, source)


def test_a_true_slide_s_numbers_are_openslide_s(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    source = OpenSlideSource(path, CACHE)
    monkeypatch.setattr(source, "_slide", type("", (), {"read_region": never}))
    same_everywhere(path, source)


@pytest.mark.parametrize("make", [slides.generic, slides.aperio])
def test_what_scanners_write_is_plain(make: Callable[..., None], tmp_path: Path) -> None:
    """Beside the levels an Aperio file holds a thumbnail, a label and a macro image, which are no tiles."""
    make(tmp_path / "slide.tiff", pyramid(drawn(512, 512), 2))
    assert plain_tiles(tmp_path / "slide.tiff", [(512, 512), (256, 256)], CACHE) is not None


def test_what_is_not_plain_is_left_to_openslide(tmp_path: Path) -> None:
    path, pixels = tmp_path / "slide.tiff", drawn(512, 512)
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):  # two planes of focus: which of them OpenSlide means is not known here
            slides.level(file, pixels)
    assert plain_tiles(path, [(512, 512)], CACHE) is None
    for compression, photometric, tile in ((None, "rgb", (256, 256)), ("jpeg", "ycbcr", None)):
        tifffile.imwrite(path, pixels, photometric=photometric, compression=compression, tile=tile)
        assert plain_tiles(path, [(512, 512)], CACHE) is None
    write(path)
    assert plain_tiles(path, [(WIDTH, HEIGHT)], CACHE) is not None
    assert plain_tiles(path, [(WIDTH, HEIGHT), (300, 300)], CACHE) is None
    path.write_bytes(path.read_bytes()[:100])
    assert plain_tiles(path, [(WIDTH, HEIGHT)], CACHE) is None
    assert plain_tiles(tmp_path / "absent.tiff", [(WIDTH, HEIGHT)], CACHE) is None


def test_a_tile_that_is_not_stored_has_openslide_s_answer(tmp_path: Path) -> None:
    """Aperio leaves out tiles of glass; OpenSlide draws them from the level that holds them."""
    path = tmp_path / "slide.svs"
    slides.aperio(path, pyramid(drawn(1024, 1024), 3))
    with tifffile.TiffFile(path, mode="r+b") as file:
        page: Any = next(page for page in file.pages if page.imagewidth == 512 and page.is_tiled)
        counts = list(page.databytecounts)
        page.tags["TileByteCounts"].overwrite([0, *counts[1:]])
    source = OpenSlideSource(path, CACHE)
    assert source._tiles is not None
    with pytest.raises(Unreadable):
        source._tiles.read(1, 0, 0, 100, 100)
    found, _ = source.read(1, 0, 0, 300, 300)
    assert np.array_equal(found, by_openslide(path, 1, 0, 0, 300, 300)) and found.min() < 255


def damaged(path: Path, out: Path) -> None:
    """A copy of a slide in which the first tile's last third is nothing but zeros, up to its end."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        at, count = page.dataoffsets[0], page.databytecounts[0]
    data[at + count * 2 // 3 : at + count - 2] = bytes(count - 2 - count * 2 // 3)
    out.write_bytes(data)


@pytest.mark.parametrize(("make", "name"), [(slides.generic, "slide.tiff"), (slides.ome, "slide.ome.tif")])
def test_a_tile_whose_decoder_complains_is_not_shown(make: Callable[..., None], name: str, tmp_path: Path) -> None:
    """Most decoders make pixels of it and say nothing."""
    whole = drawn(600, 600, seed=1)[150:450, 150:450]  # tissue in the first tile
    make(tmp_path / name, pyramid(whole, 1 if name == "slide.tiff" else 2))
    (tmp_path / "damaged").mkdir()
    damaged(tmp_path / name, tmp_path / "damaged" / name)
    with open_slide(tmp_path / "damaged" / name) as slide:
        with pytest.raises(SlideError) as error:
            slide.read_box((0, 0, 200, 200), (200, 200))
        assert error.value.name == "damaged"
        assert slide.read_box((256, 0, 300, 200), (44, 200))[0].min() < 255


def test_a_tile_that_says_it_is_huge_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slide.tiff"
    write(path)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        level, at = TiledLevel(file.pages[0]), int(file.pages[0].dataoffsets[0])
    frame = data.index(b"\xff\xc0", at)
    struct.pack_into(">HH", data, frame + 5, 65_000, 65_000)
    path.write_bytes(data)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", never)
    with pytest.raises(Unreadable, match="not a tile"):
        TiledFile(path, [level], CACHE).read(0, 0, 0, 10, 10)


def test_as_many_bytes_are_kept_as_were_granted(tmp_path: Path) -> None:
    """It was a number of tiles once, which may be of 50 MB each."""
    slides.ome(tmp_path / "slide.ome.tif", pyramid(drawn(2048, 1024), 2))
    source = OmeSource(tmp_path / "slide.ome.tif", 3 * SIDE * SIDE * 3, "It")
    first, _ = source.read(0, 0, 0, 2048, 1024)
    assert len(source._tiles._kept) == 3 and source._tiles._bytes == 3 * SIDE * SIDE * 3
    assert np.array_equal(first, source.read(0, 0, 0, 2048, 1024)[0])
    tiny = OmeSource(tmp_path / "slide.ome.tif", 1, "It")
    assert np.array_equal(first, tiny.read(0, 0, 0, 2048, 1024)[0]) and len(tiny._tiles._kept) == 1


def test_what_lies_beyond_a_level_is_white_and_not_scanned(tmp_path: Path) -> None:
    slides.ome(tmp_path / "slide.ome.tif", pyramid(drawn(300, 200), 2))
    source = OmeSource(tmp_path / "slide.ome.tif", CACHE, "It")
    found, scanned = source.read(0, 290, 195, 20, 10)
    assert scanned is not None and scanned.sum() == 10 * 5 and scanned[:5, :10].all()
    assert (found[~scanned] == 255).all() and (found[scanned] != 255).any()
    found, scanned = source.read(0, -4, -3, 10, 10)
    assert scanned is not None and scanned.sum() == 6 * 7 and scanned[3:, 4:].all()
    found, scanned = source.read(0, 5000, 5000, 10, 10)
    assert scanned is not None and not scanned.any() and (found == 255).all()
    assert source.read(0, 0, 0, 300, 200)[1] is None


def test_a_damaged_directory_is_said_by_us_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "slide.tiff"
    write(path)
    path.write_bytes(path.read_bytes()[:5000])
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that sets up none
    assert not is_ome(path) and plain_tiles(path, [(WIDTH, HEIGHT), (300, 300)], CACHE) is None
    assert capsys.readouterr().err == ""


def test_segments_that_run_out_are_damage() -> None:
    for data in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\xff\xd8\x00\x00\x00\x00"):
        with pytest.raises((ValueError, IndexError)):
            tiled._without_guesses(data)
