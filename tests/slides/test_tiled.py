"""Tiles that are copied: OpenSlide's numbers, as strictly, and OpenSlide's answer wherever they are not plain."""

from __future__ import annotations

import gc
import io
import logging
import os
import struct
import tracemalloc
import zlib
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
from dala.slides.sources import OpenSlideSource, opener
from dala.slides.tiled import TiledFile, Unbelievable, Unreadable, directories_of
from tests.helpers import slides
from tests.helpers.slides import SIDE, drawn, pyramid

CACHE = 2**22
WIDTH, HEIGHT = 1100, 700  # not whole tiles: those at the edges are stored whole


def by_openslide(path: Path, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
    """As OpenSlide blends it, over white."""
    with openslide.OpenSlide(path) as slide:
        region = slide.read_region((x, y), level, (width, height))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", region.size, "white"), region))[..., :3]


def opened(path: Path) -> OpenSlideSource:
    source = opener(path, CACHE)()
    assert isinstance(source, OpenSlideSource)
    return source


def plain_tiles(path: Path, sizes: list[tuple[int, int]]) -> TiledFile | None:
    return tiled.plain_tiles(path, directories_of(path) or (), sizes, CACHE)


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


def write(path: Path, *, rgb: bool = False, sampling: int = 2, tables: bool = False, headers: bool = True,
          before: bytes = b"") -> None:  # fmt: skip
    """Two levels; `tables`: those of the JPEG are in the directory, behind the segments `before`; `headers`: tiles say
    themselves what they are."""
    with tifffile.TiffWriter(path) as file:
        for number, one in enumerate(pyramid(drawn(WIDTH, HEIGHT), 2)):
            found = [jpeg_of(tile, rgb=rgb, sampling=sampling) for tile in squares(one)]
            more: list[tuple[Any, ...]] = []
            if tables:
                shared = split(found[0], headers)[0]
                shared = shared[:2] + before + shared[2:]
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
    source = opened(path)
    with monkeypatch.context() as bent:
        bent.setattr(source, "_slide", type("", (), {"read_region": never}))
        same_everywhere(path, source)


def test_a_true_slide_s_numbers_are_openslide_s(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    source = opened(path)
    monkeypatch.setattr(source, "_slide", type("", (), {"read_region": never}))
    same_everywhere(path, source)


@pytest.mark.parametrize("make", [slides.generic, slides.aperio])
def test_what_scanners_write_is_plain(make: Callable[..., None], tmp_path: Path) -> None:
    """Beside the levels an Aperio file holds a thumbnail, a label and a macro image, which are no tiles."""
    make(tmp_path / "slide.tiff", pyramid(drawn(512, 512), 2))
    assert plain_tiles(tmp_path / "slide.tiff", [(512, 512), (256, 256)]) is not None


def test_what_is_not_plain_is_left_to_openslide(tmp_path: Path) -> None:
    path, pixels = tmp_path / "slide.tiff", drawn(512, 512)
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):  # two planes of focus: which of them OpenSlide means is not known here
            slides.level(file, pixels)
    assert plain_tiles(path, [(512, 512)]) is None
    for compression, photometric, tile in ((None, "rgb", (256, 256)), ("jpeg", "ycbcr", None)):
        tifffile.imwrite(path, pixels, photometric=photometric, compression=compression, tile=tile)
        assert plain_tiles(path, [(512, 512)]) is None
    write(path)
    assert plain_tiles(path, [(WIDTH, HEIGHT)]) is not None
    assert plain_tiles(path, [(WIDTH, HEIGHT), (300, 300)]) is None
    path.write_bytes(path.read_bytes()[:100])
    assert plain_tiles(path, [(WIDTH, HEIGHT)]) is None
    assert plain_tiles(tmp_path / "absent.tiff", [(WIDTH, HEIGHT)]) is None


def test_a_tile_that_is_not_stored_has_openslide_s_answer(tmp_path: Path) -> None:
    """Aperio leaves out tiles of glass; OpenSlide draws them from the level that holds them."""
    path = tmp_path / "slide.svs"
    slides.aperio(path, pyramid(drawn(1024, 1024), 3))
    with tifffile.TiffFile(path, mode="r+b") as file:
        page: Any = next(page for page in file.pages if page.imagewidth == 512 and page.is_tiled)
        counts = list(page.databytecounts)
        page.tags["TileByteCounts"].overwrite([0, *counts[1:]])
        above: Any = next(page for page in file.pages if page.imagewidth == 256 and page.is_tiled)
        at, count = above.dataoffsets[0], above.databytecounts[0]
    grey = slides.jpeg(np.full((SIDE, SIDE, 3), 7, np.uint8))  # what encoders leave there may be anything
    data = bytearray(path.read_bytes())
    assert len(grey) <= count
    data[at : at + len(grey)] = grey
    path.write_bytes(data)
    source = opened(path)
    for level, side in ((1, 300), (2, 200)):  # what lies above a tile that is not stored counts as not stored too
        found, _ = source.read(level, 0, 0, side, side)
        assert np.array_equal(found, by_openslide(path, level, 0, 0, side, side)) and found.min() < 255
    same_everywhere(path, source, 3)


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
        at = int(file.pages[0].dataoffsets[0])
    frame = data.index(b"\xff\xc0", at)
    struct.pack_into(">HH", data, frame + 5, 65_000, 65_000)
    path.write_bytes(data)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", never)
    with pytest.raises(Unreadable, match="not a tile"):
        TiledFile(path, directories_of(path) or (), CACHE).read(0, 0, 0, 10, 10)


def test_as_many_bytes_are_kept_as_were_granted(tmp_path: Path) -> None:
    """It was a number of tiles once, which may be of 50 MB each."""
    slides.ome(tmp_path / "slide.ome.tif", pyramid(drawn(2048, 1024), 2))
    three = 3 * (SIDE * SIDE * 3 + tiled.KEEPING)
    source = OmeSource(tmp_path / "slide.ome.tif", three, "It")
    first, _ = source.read(0, 0, 0, 2048, 1024)
    assert len(source._tiles._kept) == 3 and source._tiles._bytes == three
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
    assert not is_ome(path)
    with pytest.raises(Unbelievable):
        directories_of(path)
    assert capsys.readouterr().err == ""


def retagged(path: Path, number: int, **values: Any) -> None:
    """Give tags of a directory other values, in place."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        page: Any = file.pages[number] if number >= 0 else file.pages[0].pages[-number - 1]
        for name, value in values.items():
            page.tags[name].overwrite(value)


def name_of(path: Path) -> str:
    with pytest.raises(SlideError) as error, open_slide(path, 0.5) as slide:
        slide.read_box((0, 0, 200, 200), (200, 200))
    assert str(error.value).endswith(".")
    return error.value.name


def test_what_tables_say_of_colours_counts_as_little_as_at_openslide(tmp_path: Path) -> None:
    """libjpeg reads the directory's tables as a file of their own, and forgets what they say but for the tables."""
    path = tmp_path / "slide.tiff"
    jfif = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    for rgb, segment in ((True, jfif), (False, adobe)):
        write(path, rgb=rgb, sampling=0, tables=True, headers=False, before=segment)
        source = opened(path)
        assert source._tiles is not None
        same_everywhere(path, source, 3)


@pytest.mark.parametrize("tables", [b"abcd", b"\xff", b"\xff\xd8\xff\xdb\x00", b"\xff\xd8\xff\xc0\x00\x04ab\xff\xd9",
                                    b"\xff\xd8\xff\xdb\x00\x04ab\xff\xda"])  # fmt: skip
def test_tables_that_are_none_are_left_to_openslide(tables: bytes) -> None:
    assert tiled._shared(tables) is None


def test_tables_by_hand() -> None:
    quantised, huffman, restarts = b"\xff\xdb\x00\x04ab", b"\xff\xc4\x00\x03c", b"\xff\xdd\x00\x04\x00\x01"
    comment = b"\xff\xfe\x00\x04no"
    whole = b"\xff\xd8" + quantised + comment + b"\xff" + huffman + restarts + b"\xff\xd9 and more"
    assert tiled._shared(whole) == quantised + huffman
    assert tiled._shared(b"\xff\xd8\xff\xd9") == tiled._shared(b"") == b""


def test_a_tile_of_other_components_is_none(tmp_path: Path) -> None:
    tile = next(squares(drawn(300, 300)))
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        Image.fromarray(tile).convert(mode).save(file, "JPEG")
        for path in (tmp_path / "slide.tiff", tmp_path / "slide.ome.tif"):
            ome = path.name.endswith("ome.tif")
            with tifffile.TiffWriter(path, ome=ome) as writer:
                for number in range(2 if ome else 1):
                    writer.write(iter([file.getvalue()]), shape=(256, 256, 3), dtype=np.uint8, tile=(256, 256),
                                 photometric="rgb", compression="jpeg", subifds=1 if ome and not number else None,
                                 subfiletype=number)  # fmt: skip
            assert name_of(path) == "damaged"


@pytest.mark.parametrize("name", ["generic.tiff", "aperio.svs", "philips.tiff", "leica.scn", "ventana.bif",
                                  "trestle.tif", "pyramid.ome.tif"])  # fmt: skip
@pytest.mark.parametrize("count", [2**31, 2**40, 2**63])
def test_a_tile_that_would_be_larger_than_the_file_is_never_asked_for(name: str, count: int, tmp_path: Path) -> None:
    """There is no memory for it, and OpenSlide would end the process."""
    path = tmp_path / name
    slides.VENDORS[name][0](path, pyramid(drawn(1024, 1024), 3))
    with tifffile.TiffFile(path) as file:
        number = next(n for n, page in enumerate(file.pages) if page.is_tiled)
        counts = list(file.pages[number].databytecounts)
    if count > 2**32:
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[number].tags["TileByteCounts"].overwrite([count, *counts[1:]], dtype="Q")
    else:
        retagged(path, number, TileByteCounts=[count, *counts[1:]])
    assert name_of(path) == "damaged"


def test_neither_is_one_that_a_sparse_file_would_hold(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    slides.ome(path, pyramid(drawn(600, 600), 2))
    with tifffile.TiffFile(path) as file:
        counts = list(file.pages[0].databytecounts)
    retagged(path, 0, TileByteCounts=[2**30, *counts[1:]])
    os.truncate(path, 2**31)
    assert name_of(path) == "damaged"


def test_what_the_decoder_has_no_name_for_is_left_to_openslide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours at a quarter of the height raise KeyError in it."""
    path = tmp_path / "slide.tiff"
    write(path)
    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lambda _: {}[6])
    same_everywhere(path, opened(path), 2)


def test_sizes_of_nothing_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    for number, tag, expected in (
        (0, "ImageWidth", "damaged"), (-1, "ImageWidth", "damaged"), (-1, "ImageLength", "damaged"),
        (0, "TileLength", "layout"), (-1, "TileWidth", "layout"),
    ):  # fmt: skip
        slides.ome(path, pyramid(drawn(600, 600), 2))
        retagged(path, number, **{tag: 0})
        assert name_of(path) == expected, (number, tag)


def test_colours_that_are_not_read_are_a_sentence(tmp_path: Path) -> None:
    """They were shown as if they were red, green and blue."""
    path, levels = tmp_path / "slide.ome.tif", pyramid(drawn(600, 600), 2)
    for number, tag, value in ((0, "PhotometricInterpretation", 6), (-1, "PhotometricInterpretation", 0),
                               (-1, "Predictor", 3)):  # fmt: skip
        with tifffile.TiffWriter(path, ome=True) as file:
            for one, pixels in enumerate(levels):
                file.write(pixels, tile=(256, 256), photometric="rgb", compression="zlib", predictor=2,
                           subifds=None if one else 1, subfiletype=one)  # fmt: skip
        retagged(path, number, **{tag: value})
        assert name_of(path) == "layout"
    slides.ome(path, levels)
    retagged(path, -1, BitsPerSample=(16, 16, 16))
    assert name_of(path) == "not_bright_field"


@pytest.mark.slow
def test_a_tile_that_unpacks_to_more_than_a_tile_takes_no_memory(tmp_path: Path) -> None:
    compress = zlib.compressobj(9)
    bomb = b"".join(compress.compress(bytes(2**22)) for _ in range(64)) + compress.flush()
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(2):
            file.write(iter([bomb]), shape=(256, 256, 3), dtype=np.uint8, tile=(256, 256), photometric="rgb",
                       compression="zlib", subifds=None if number else 1, subfiletype=number)  # fmt: skip
    assert name_of(path) == "damaged"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not a tile"):
            tiled._inflated(bomb, SIDE * SIDE * 3)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    assert tiled._inflated(zlib.compress(bytes(10)), 10) == bytes(10)
    with pytest.raises(ValueError, match="not a tile"):
        tiled._inflated(zlib.compress(bytes(9)), 10)


def test_jpeg_2000_of_ome(tmp_path: Path) -> None:
    """Its own size is compared before anything is unpacked."""
    path, levels = tmp_path / "slide.ome.tif", pyramid(drawn(600, 500), 2)

    def coded(tile: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(tile).save(file, "JPEG2000", no_jp2=True)
        return file.getvalue()

    def made(side: int) -> None:
        with tifffile.TiffWriter(path, ome=True) as file:
            for number, one in enumerate(levels):
                tiles = [bytearray(coded(tile)) for tile in squares(one)]
                for tile in tiles:
                    struct.pack_into(">II", tile, tile.index(b"\xff\x51") + 6, side, side)
                file.write(iter(bytes(tile) for tile in tiles), shape=one.shape, dtype=np.uint8, tile=(SIDE, SIDE),
                           photometric="rgb", compression="jpeg2000", subifds=None if number else 1,
                           subfiletype=number)  # fmt: skip

    made(SIDE)
    with open_slide(path, 0.5) as slide:
        assert np.array_equal(slide.read_box((0, 0, 600, 500), (600, 500))[0], levels[0])
    made(60_000)
    assert name_of(path) == "damaged"


def test_fill_bytes_and_damaged_guesses(tmp_path: Path) -> None:
    jpeg = jpeg_of(next(squares(drawn(300, 300))), rgb=False, sampling=2)
    assert jpeg[6:11] == b"JFIF\0" and tiled._without_guesses(jpeg) == jpeg[20:]
    assert tiled._without_guesses(jpeg[:2] + b"\xff\xff" + jpeg[2:]) == jpeg[20:]
    other = jpeg.replace(b"JFIF\0\1", b"JFIF\0\2")  # a version that there is not: OpenSlide complains
    assert tiled._without_guesses(other) == other[2:]
    for alone in (0x01, 0xD0, 0xD8):
        with pytest.raises(ValueError, match="not a JPEG"):
            tiled._without_guesses(jpeg[:2] + bytes([0xFF, alone]) + jpeg[2:])


def test_a_tile_of_thousands_of_scans_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    write(path)
    (level, *_) = directories_of(path) or ()
    jpeg = jpeg_of(next(squares(drawn(300, 300))), rgb=False, sampling=2)
    assert level.decoded(jpeg).shape == (SIDE, SIDE, 3)
    with pytest.raises(ValueError, match="scans"):
        level.decoded(jpeg + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 200)


def test_as_many_directories_as_no_slide_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slide.tiff"
    write(path)
    monkeypatch.setattr(tiled, "MOST_DIRECTORIES", 1)
    with pytest.raises(Unbelievable):
        directories_of(path)
    assert name_of(path) == "damaged"
    slides.ome(tmp_path / "slide.ome.tif", pyramid(drawn(2048, 2048), 4))
    monkeypatch.setattr("dala.slides.ome.MOST_LEVELS", 2)
    assert name_of(tmp_path / "slide.ome.tif") == "damaged"


def test_its_file_is_closed_with_it(tmp_path: Path) -> None:
    def held() -> int:
        return len(os.listdir("/proc/self/fd"))

    path = tmp_path / "slide.ome.tif"
    slides.ome(path, pyramid(drawn(600, 600), 2))
    gc.collect()
    before = held()
    source = OmeSource(path, CACHE, "It")
    assert held() == before + 1
    del source
    gc.collect()
    assert held() == before


def test_segments_that_run_out_are_damage() -> None:
    for data in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\xff\xd8\x00\x00\x00\x00"):
        with pytest.raises((ValueError, IndexError)):
            tiled._without_guesses(data)
