"""Slides of every vendor, with every fault: right pixels or a sentence, never a hang, never white where tissue was."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dala.errors import DalaError, SlideError
from dala.intake.pixel_size import PixelSize
from dala.slides import reader
from dala.slides.grid import Grid
from dala.slides.reader import Level, Slide, open_slide
from tests.helpers import slides
from tests.helpers.slides import SIDE, VENDORS, drawn, pyramid

WHOLE = 1024


def plain() -> np.ndarray:
    return drawn(WHOLE, WHOLE)


def levels() -> list[np.ndarray]:
    return pyramid(plain(), 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for name, (make, _, _) in VENDORS.items():
        make(folder / name, levels())
    return folder


def stored(pixels: np.ndarray) -> np.ndarray:
    """A level as Pillow decodes the tiles that were written."""
    tiles = iter([np.asarray(Image.open(io.BytesIO(one))) for one in slides.tiles(pixels)])
    across, down = -(-pixels.shape[1] // SIDE), -(-pixels.shape[0] // SIDE)
    rows = [np.concatenate([next(tiles) for _ in range(across)], 1) for _ in range(down)]
    return np.concatenate(rows)[: pixels.shape[0], : pixels.shape[1]]


def name_of(error: pytest.ExceptionInfo[SlideError]) -> str:
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence and slides.MARKER not in sentence
    return error.value.name


@pytest.mark.parametrize("name", VENDORS)
def test_every_vendor_is_recognised_and_every_level_is_what_was_stored(name: str, made: Path) -> None:
    _, kind, um = VENDORS[name]
    with open_slide(made / name) as slide:
        assert (slide.format, slide.size, slide.name) == (kind, (WHOLE, WHOLE), name)
        assert slide.um is not None and slide.um.source == "file"
        assert (slide.um.rows, slide.um.columns) == pytest.approx((um, um))
        assert [(one.width, one.height, one.downsample) for one in slide.levels] == [
            (WHOLE >> number, WHOLE >> number, 2.0**number) for number in range(3)
        ]
        for number, pixels in enumerate(levels()):
            seen, scanned = slide.read_box((0, 0, WHOLE, WHOLE), (WHOLE >> number, WHOLE >> number))
            assert np.array_equal(seen, stored(pixels)) and scanned.all()


@pytest.mark.parametrize("name", VENDORS)
def test_tiles_make_up_the_slide(name: str, made: Path) -> None:
    with open_slide(made / name) as slide:
        assert slide.halvings == 2
        level = stored(levels()[1])
        assert np.array_equal(slide.read_tile(1, 1, 0), level[:256, 256:512])
        assert slide.read_tile(2, 0, 0).shape == (256, 256, 3)
        for place in ((1, 2, 0), (1, 0, -1), (3, 0, 0), (-1, 0, 0)):
            with pytest.raises(IndexError):
                slide.read_tile(*place)


def test_what_lies_beside_the_scanned_part_is_left_out(made: Path) -> None:
    """Leica's frame is twice as wide and high as what was scanned; (0, 0) is the scanned part's corner."""
    with open_slide(made / "leica.scn") as slide:
        seen, _ = slide.read_box((0, 0, 300, 200), (300, 200))
        assert np.array_equal(seen, stored(plain())[:200, :300])


def test_a_large_slide_without_a_pyramid_is_flat(made: Path) -> None:
    with open_slide(made / "generic.tiff") as slide:
        assert not slide.flat
        slide.size, slide.levels = (100_000, 80_000), (Level(100_000, 80_000, 1.0), Level(25_000, 20_000, 4.0))
        assert slide.flat
        slide.levels = (*slide.levels, Level(6250, 5000, 16.0))
        assert not slide.flat


def test_edges_are_tiles_of_their_own_size(tmp_path: Path) -> None:
    slides.generic(tmp_path / "odd.tiff", pyramid(drawn(1000, 700), 2))
    with open_slide(tmp_path / "odd.tiff") as slide:
        assert slide.halvings == 2
        assert slide.read_tile(0, 3, 2).shape == (700 - 512, 1000 - 768, 3)
        assert slide.read_tile(2, 0, 0).shape == (175, 250, 3)


@pytest.mark.slow
def test_coarse_tiles_are_of_the_overview_where_it_is_there_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that are asked for; to decode one takes up to 50 ms, to cut it out two."""
    slides.generic(tmp_path / "wide.tiff", pyramid(drawn(8192, 4096), 3), 0.5)

    def never(*_: object) -> None:
        raise AssertionError("decoded although it lies in the overview")

    with open_slide(tmp_path / "wide.tiff") as slide:
        decoded = {place: slide.read_tile(*place) for place in ((4, 1, 0), (5, 0, 0))}
        overview = slide.overview
        assert overview.downsample == (16, 16) and overview.unreadable is None
        with monkeypatch.context() as bent:
            bent.setattr(slide, "_read", never)
            for place, wanted in decoded.items():
                found = slide.read_tile(*place)
                assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).max() <= 2
            with pytest.raises(AssertionError):
                slide.read_tile(3, 0, 0)
            # Of an overview with a hole the tile would be white where tissue may be.
            bent.setattr(slide, "_overview", replace(overview, unreadable=np.zeros(overview.scanned.shape, bool)))
            with pytest.raises(AssertionError):
                slide.read_tile(5, 0, 0)


def test_a_field_has_the_slide_s_scale_and_the_model_s_size(made: Path) -> None:
    with open_slide(made / "generic.tiff") as slide:
        patch = slide.read_field(1, 2)
        assert patch.pixels.shape == (322, 490, 3) and not patch.pixels.flags.writeable
        assert patch.pixel_size == PixelSize(0.5, 0.5, "file", "slide properties")
        assert np.array_equal(patch.pixels, stored(plain())[644:966, 490:980])
        last = slide.read_field(slide.grid.columns - 1, slide.grid.rows - 1)
        assert np.array_equal(last.pixels, stored(plain())[-322:, -490:])


@pytest.mark.parametrize(
    ("um", "level"), [(0.25, 1), (0.125, 2), (0.5, 0), (0.575, 0), (0.72, 0), (0.29, 0), (0.2875, 1)]
)
def test_the_level_is_the_coarsest_that_is_fine_enough(um: float, level: int, made: Path) -> None:
    with open_slide(made / "generic.tiff", um) as slide:
        assert slide.field_level == level
        patch = slide.read_field(0, 0)
        assert patch.pixel_size == PixelSize(um * 2**level, um * 2**level, "user", "told")
        assert patch.width * um * 2**level == pytest.approx(min(245, WHOLE * um), abs=um * 2**level)


def test_too_coarse_is_a_sentence(made: Path) -> None:
    with open_slide(made / "generic.tiff", 0.73) as slide, pytest.raises(SlideError) as error:
        slide.read_field(0, 0)
    assert name_of(error) == "too_coarse"


@pytest.mark.parametrize("um", [None, 264.6, 0.01, 2.1])
def test_no_pixel_size_is_asked_for_and_never_guessed(um: float | None, tmp_path: Path) -> None:
    slides.generic(tmp_path / "none.tiff", pyramid(drawn(600, 600), 2), um)
    with open_slide(tmp_path / "none.tiff") as slide:
        assert slide.um is None and slide.overview.pixels.shape == (38, 38, 3)
        with pytest.raises(SlideError) as error:
            slide.read_field(0, 0)
        assert name_of(error) == "no_pixel_size"
    with open_slide(tmp_path / "none.tiff", (0.5, 0.25)) as slide:
        assert slide.um == PixelSize(0.5, 0.25, "user", "told")
    for wrong in (2.5, 0.01, 0):
        with pytest.raises(DalaError):
            open_slide(tmp_path / "none.tiff", wrong)


def test_eight_threads_see_the_same(made: Path) -> None:
    truth = stored(plain())
    for name in ("aperio.svs", "pyramid.ome.tif"):
        with open_slide(made / name, cache=2**20) as slide, ThreadPoolExecutor(8) as pool:
            places = [(x, y) for x in range(0, 780, 97) for y in range(0, 780, 97)]
            seen = pool.map(lambda at, one=slide: one.read_box((*at, at[0] + 240, at[1] + 240), (240, 240))[0], places)
            for (x, y), pixels in zip(places, seen, strict=True):
                assert np.array_equal(pixels, truth[y : y + 240, x : x + 240])


# Faults


def test_what_is_no_slide_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").write_bytes(b"")
    (tmp_path / "letter.svs").write_text(f"This is a letter to {slides.MARKER}.\n" * 50)
    (tmp_path / "alone.mrxs").write_bytes(slides.jpeg(slides.labelled()))
    reasons = {"absent.svs": "absent", "empty.svs": "empty", "letter.svs": "not_a_slide", ".": "not_a_slide"}
    for name, expected in (reasons | {"alone.mrxs": "no_folder"}).items():
        with pytest.raises(SlideError) as error:
            open_slide(tmp_path / name)
        assert name_of(error) == expected


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A classic TIFF whose first directory says that of a tag, as a long number."""
    changed = bytearray(data)
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = [at + 2 + 12 * number for number in range(count)]
    (entry,) = [one for one in entries if struct.unpack_from("<H", data, one)[0] == tag]
    struct.pack_into("<HII", changed, entry + 2, 4, 1, value)
    return bytes(changed)


WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH = 256, 257, 322, 323


@pytest.mark.parametrize("name", ["aperio.svs", "generic.tiff"])
@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        (WIDTH, 0, "damaged"),
        (WIDTH, 2_000_000_000, "damaged"),
        (LENGTH, 1_000_000, "damaged"),
        (TILE_WIDTH, 0, "damaged"),
        (TILE_WIDTH, 2**30, "layout"),  # memory for one such tile cannot be had, and OpenSlide would end the process
        (TILE_LENGTH, 2**17, "layout"),
    ],
)
def test_a_header_that_claims_what_cannot_be(
    name: str, tag: int, value: int, expected: str, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(with_tag((made / name).read_bytes(), tag, value))
    with pytest.raises(SlideError) as error:
        open_slide(path)
    assert name_of(error) == expected


def test_larger_than_glass_is_refused_before_memory_is_taken(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST_OVERVIEW", 100)
    with pytest.raises(SlideError) as error:
        open_slide(made / "generic.tiff")
    assert name_of(error) == "too_large"


def test_a_name_that_is_no_text_is_said_as_text(made: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"lat\xe9 \n.svs")
    path.write_bytes((made / "aperio.svs").read_bytes())
    with open_slide(path) as slide:
        assert slide.name == "lat\ufffd \ufffd.svs" and slide.read_field(0, 0).pixels.size
    path.write_bytes(b"no slide")
    with pytest.raises(SlideError) as error:
        open_slide(path)
    assert name_of(error) == "not_a_slide" and "lat\ufffd" in str(error.value)


def test_a_pipe_beside_a_dicom_slide_is_not_waited_for(tmp_path: Path) -> None:
    slides.dicom(tmp_path / "slide.dcm", levels())
    with open_slide(tmp_path / "slide.dcm") as slide:
        assert slide.format == "DICOM"
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(SlideError) as error:
        open_slide(tmp_path / "slide.dcm")
    assert name_of(error) == "not_a_slide"


def test_a_refusal_passes_from_one_process_to_another() -> None:
    error = pickle.loads(pickle.dumps(SlideError("damaged", "It is damaged.")))
    assert (error.name, str(error)) == ("damaged", "It is damaged.")


def test_true_slides_open_or_say_why_not(shared_data: Path) -> None:
    expected = {
        "unreadable.svs": "damaged",
        "unopenable.tiff": "compression",
        "mammogram_jpeg_extended.dcm": "not_a_slide",
        "vl_wsi_jpeg.dcm": "not_a_slide",
    }
    for name, reason in expected.items():
        with pytest.raises(SlideError) as error, open_slide(shared_data / "slides" / name) as slide:
            slide.read_field(0, 0)
        assert name_of(error) == reason
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        assert (slide.size, slide.format) == ((2220, 2967), "Aperio SVS")
        assert slide.um == PixelSize(0.499, 0.499, "file", "slide properties")


def test_ome_of_another_kind_is_a_sentence(tmp_path: Path) -> None:
    import tifffile

    for name, pixels, more, expected in (
        ("deep", np.zeros((3, 512, 512), np.uint16), {"photometric": "minisblack"}, "not_bright_field"),
        ("strips", np.zeros((512, 512, 3), np.uint8), {"photometric": "rgb", "tile": None}, "layout"),
    ):
        with tifffile.TiffWriter(tmp_path / f"{name}.ome.tif", ome=True) as file:
            how = {"tile": (256, 256), **more}
            file.write(pixels, subifds=1, **how)
            file.write(pixels[..., ::2, ::2] if name == "deep" else pixels[::2, ::2], subfiletype=1, **how)
        with pytest.raises(SlideError) as error:
            open_slide(tmp_path / f"{name}.ome.tif")
        assert name_of(error) == expected


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_without_jpeg(compression: str | None, tmp_path: Path) -> None:
    import tifffile

    levels, how = pyramid(drawn(600, 500), 2), {"tile": (256, 256), "photometric": "rgb", "compression": compression}
    with tifffile.TiffWriter(tmp_path / "plain.ome.tif", ome=True) as file:
        file.write(levels[0], subifds=1, **how)
        file.write(levels[1], subfiletype=1, **how)
    with open_slide(tmp_path / "plain.ome.tif", 0.5) as slide:
        assert np.array_equal(slide.read_box((0, 0, 600, 500), (600, 500))[0], levels[0])
        assert np.array_equal(slide.read_box((0, 0, 600, 500), (300, 250))[0], levels[1])


def tissue_is_where_it_was(slide: Slide, whole: np.ndarray) -> int:
    """Reads the slide in boxes; none may be white that was not. The number of those that could not be read."""
    unreadable = 0
    for y in range(0, whole.shape[0], 256):
        for x in range(0, whole.shape[1], 256):
            truth = whole[y : y + 256, x : x + 256]
            try:
                seen, scanned = slide.read_box((x, y, x + truth.shape[1], y + truth.shape[0]), truth.shape[1::-1])
            except SlideError:
                unreadable += 1
                continue
            if not scanned.all():
                continue
            before, after = (cv2.resize(one, (16, 16), interpolation=cv2.INTER_AREA).min(2) for one in (truth, seen))
            assert not ((before < 200) & (after > 240)).any()
    return unreadable


@pytest.mark.parametrize("name", ["aperio.svs", "generic.tiff", "pyramid.ome.tif", "mirax.mrxs"])
def test_a_file_that_ends_early(name: str, made: Path, tmp_path: Path) -> None:
    """Cut at every twentieth: a sentence at once, or boxes that are right or cannot be read."""
    truth, path = stored(plain()), tmp_path / name
    shutil.copy(made / name, path)
    cut = path
    if name == "mirax.mrxs":
        shutil.copytree((made / name).with_suffix(""), path.with_suffix(""))
        cut = path.with_suffix("") / "Data0000.dat"
    data, outcomes = cut.read_bytes(), []
    for part in range(1, 20):
        cut.write_bytes(data[: len(data) * part // 20])
        try:
            with open_slide(path) as slide:
                outcomes.append(tissue_is_where_it_was(slide, truth))
        except SlideError as error:
            assert str(error).endswith(".")
            outcomes.append(-1)
    # At a third of it, nobody can have read it all.
    assert all(one != 0 for one in outcomes[:6]), outcomes


def test_a_damaged_tile_costs_itself_only(made: Path, tmp_path: Path) -> None:
    """The error ends OpenSlide's handle for all threads; they go on, and all other tiles are as they were."""
    path, truth = tmp_path / "hole.svs", stored(plain())
    data = bytearray((made / "aperio.svs").read_bytes())
    starts = [at for at in range(len(data) - 3) if data[at : at + 3] == b"\xff\xd8\xff"][:16]
    data[starts[6] : starts[6] + 3] = b"\0\0\0"
    path.write_bytes(data)
    with open_slide(path) as slide, ThreadPoolExecutor(4) as pool:

        def seen(number: int) -> bool | None:
            y, x = (side * SIDE for side in divmod(number, 4))
            try:
                box = slide.read_box((x, y, x + SIDE, y + SIDE), (SIDE, SIDE))[0]
            except SlideError as error:
                assert error.name == "damaged"
                return None
            return np.array_equal(box, truth[y : y + SIDE, x : x + SIDE])

        found = list(pool.map(seen, [*range(16), *range(16)]))
    assert [number for number, right in enumerate(found) if right is None] == [6, 22]
    assert all(right is not False for right in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aperio.svs", "pyramid.ome.tif"])
def test_flipped_bytes_never_hang_nor_crash(name: str, made: Path, tmp_path: Path) -> None:
    """100 files with one byte of the directory or anywhere changed."""
    data, random, path = (made / name).read_bytes(), np.random.default_rng(4711), tmp_path / name
    for number in range(100):
        broken = bytearray(data)
        at = int(random.integers(0, len(data))) if number % 2 else len(data) - 1 - int(random.integers(0, 4000))
        broken[at] ^= int(random.integers(1, 256))
        path.write_bytes(broken)
        try:
            with open_slide(path) as slide:
                assert max(slide.size) < 10**6
                _ = slide.overview if max(slide.size) <= 4096 else slide.read_box((0, 0, 512, 512), (512, 512))
        except SlideError as error:
            assert str(error).endswith(".")


# The grid


def test_a_grid_worked_out_by_hand() -> None:
    grid = Grid((1000, 700), (490, 322))
    assert (grid.columns, grid.rows) == (3, 3)
    assert grid.box(0, 0) == (0, 0, 490, 322) and grid.box(1, 1) == (490, 322, 980, 644)
    assert grid.box(2, 2) == (510, 378, 1000, 700) and grid.cell(2, 2) == (980, 644, 1000, 700)
    assert grid.at(0, 0) == (0, 0) and grid.at(490, 321.9) == (1, 0) and grid.at(5000, -3) == (2, 0)
    small = Grid((300, 200), (490, 322))
    assert (small.columns, small.rows, small.box(0, 0)) == (1, 1, (0, 0, 300, 200))
    with pytest.raises(IndexError):
        grid.box(3, 0)
