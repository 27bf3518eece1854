from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import color

from benchmarks.colour_map import contrast, pixels_of
from dala.explanation import render
from dala.explanation.threshold import FloatField, Regions, threshold

VIRIDIS_FIRST, VIRIDIS_LAST = (68, 1, 84), (253, 231, 37)
TISSUE = (100, 150, 200)


def plain(shape: tuple[int, int], colour: tuple[int, int, int] = TISSUE) -> render.Pixels:
    return np.full((*shape, 3), colour, dtype=np.uint8)


def two_squares() -> FloatField:
    """120 x 160: two squares of 30 pixels, the left one (value 1) at 20, 20 and the right one (0.5) at 100, 60."""
    field = np.full((120, 160), -0.2, dtype=np.float32)
    field[20:50, 20:50] = 1.0
    field[60:90, 100:130] = 0.5
    field[115, 5] = 0.7  # Too small to be a region.
    return field


def kept(field: FloatField) -> Regions:
    return threshold(field, "fixed", 0.0)


def test_look_up_tables_are_the_published_ones() -> None:
    # First and last colours as published by matplotlib, the maps' home.
    ends = {
        "verdant": ((6, 93, 88), (249, 252, 43)),  # as benchmarks/colour_map.py makes it
        "viridis": (VIRIDIS_FIRST, VIRIDIS_LAST),
        "magma": ((0, 0, 4), (252, 253, 191)),
        "inferno": ((0, 0, 4), (252, 255, 164)),
        "cividis": ((0, 34, 78), (254, 232, 56)),
    }
    assert list(render.COLOUR_MAPS) == list(ends)
    for name, (first, last) in ends.items():
        table = render.COLOUR_MAPS[name].astype(int)
        assert table.shape == (256, 3)
        assert np.abs(table[0] - first).max() <= 1 and np.abs(table[255] - last).max() <= 1
        lightness = table @ np.array([0.2126, 0.7152, 0.0722])
        assert np.diff(lightness[::8]).min() > 0


def test_the_colours_for_tissue_are_uniform_and_none_of_its_own() -> None:
    lab = color.rgb2lab(render.COLOUR_MAPS["verdant"][None])[0]
    steps = color.deltaE_ciede2000(lab[:-8:8], lab[8::8])
    assert steps.min() > 0.8 * steps.mean() and steps.max() < 1.2 * steps.mean()  # viridis: 0.66 and 1.3
    assert np.diff(lab[::4, 0]).min() > 0
    # Haematoxylin and eosin lie from blue over purple to pink: between 260 degrees and 20.
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    assert hue.min() > 95 and hue.max() < 200


@pytest.mark.slow
def test_the_colours_stand_out_on_tissue_of_every_laboratory(shared_data: Path) -> None:
    folders = ("breakhis_originals", "ucsb", "brca_m2c/images", "bach_part_b", "camelyon_tiles", "tnbc/images")
    for folder in folders:
        pixels = pixels_of(shared_data / folder)
        least, usual, ends = contrast(render.COLOUR_MAPS["verdant"], pixels)
        # A difference of 5 is seen at a glance; viridis falls to that, for a third of it is purple.
        assert least > 10 and usual > 15 and ends > 30, folder
        assert least > 1.5 * contrast(render.COLOUR_MAPS["viridis"], pixels)[0], folder


def test_colours_are_linear_in_the_raw_value() -> None:
    # Half of the limit: index floor(127.5 + 0.5) = 128, whatever else is in the field. Nothing is stretched.
    field = np.array([[-1, 0, 1e-6, 0.5, 1, 2]], dtype=np.float32)
    rgb = render.colours(field, 1.0, "viridis")
    assert rgb[0].tolist() == render.COLOUR_MAPS["viridis"][[0, 0, 0, 128, 255, 255]].tolist()
    assert np.array_equal(render.colours(field[:, 3:4], 1.0, "viridis")[0, 0], rgb[0, 3])
    seen = render.overlay(plain((1, 6)), field, 1.0, opacity=1)
    assert (seen != plain((1, 6))).any(axis=2).tolist() == [[False, False, True, True, True, True]]


def test_overlay_blends_by_hand() -> None:
    # 0.75 tissue + 0.25 colour. Last colour (253, 231, 37): 138.25, 170.25, 159.25. First (68, 1, 84): 92, 112.75, 171.
    field = np.array([[-1, 0, 0.001, 1, 7]], dtype=np.float32)
    result = render.overlay(plain((1, 5)), field, 1.0, "viridis", 0.25)
    assert result[0].tolist() == [list(TISSUE), list(TISSUE), [92, 113, 171], [138, 170, 159], [138, 170, 159]]


def test_opacity_at_its_ends() -> None:
    field = two_squares()
    assert np.array_equal(render.overlay(plain(field.shape), field, 1.0, "magma", 0.0), plain(field.shape))
    solid = render.overlay(plain(field.shape), field, 1.0, "magma", 1.0)
    assert np.array_equal(solid[30, 30], render.COLOUR_MAPS["magma"][255])


@pytest.mark.parametrize("limit", [3e-7, 0.05, 1.0, 4321.0])
@pytest.mark.parametrize("colour_map", render.COLOUR_MAPS)
def test_the_bar_shows_the_overlay_s_colours(limit: float, colour_map: str) -> None:
    bar = render.colour_bar(limit, colour_map, None, 400)
    column = bar[:, 20]  # Through the coloured part; its frame is the only ink there.
    first, last = np.flatnonzero((column == render.BAR_INK).all(1))[[0, -1]]
    colours = column[first + 1 : last]
    rows = len(colours)
    assert rows > 250
    values = (limit * (1 - (np.arange(rows) + 0.5) / rows)).astype(np.float32)[:, None]
    overlay = render.overlay(plain((rows, 1)), values, limit, colour_map, 1.0)
    assert np.array_equal(overlay[:, 0], colours)


@pytest.mark.parametrize("share", [0.1, 0.37, 0.5, 0.93])
def test_the_bar_marks_the_threshold(share: float) -> None:
    with_mark = render.colour_bar(2.0, "viridis", 2.0 * share, 400)
    without = render.colour_bar(2.0, "viridis", None, 400)
    first, last = np.flatnonzero((without[:, 20] == render.BAR_INK).all(1))[[0, -1]]
    left_of_bar = np.flatnonzero((with_mark[:, 9] == render.DARK).all(1))
    assert len(left_of_bar) > 0 and not (without[:, 9] == render.DARK).all(1).any()
    row = left_of_bar.mean()
    assert (last - row - 0.5) / (last - first - 1) == pytest.approx(share, abs=1.5 / (last - first))


def test_a_threshold_beyond_the_bar_is_not_marked_on_it() -> None:
    beyond = render.colour_bar(0.05, "viridis", 0.07, 400)
    assert not (beyond == render.DARK).all(2).any()
    assert not np.array_equal(beyond, render.colour_bar(0.05, "viridis", None, 400))


def test_the_bar_s_numbers_change_with_the_limit_and_the_words() -> None:
    bars = [
        render.colour_bar(1.0, "viridis", None, 300),
        render.colour_bar(2.0, "viridis", None, 300),
        render.colour_bar(1e-6, "viridis", None, 300),
        render.colour_bar(1.0, "viridis", None, 300, clipped=True),
        render.colour_bar(1.0, "viridis", None, 300, caption="top: fixed scale"),
        render.colour_bar(1.0, "viridis", None, 300, title="towards benign"),
    ]
    assert len({bar.tobytes() for bar in bars}) == len(bars)
    assert {bar.shape[0] for bar in bars} == {300}


@pytest.mark.parametrize(
    ("limit", "most", "step"), [(1.0, 5, 0.2), (1.0, 4, 0.5), (0.034, 8, 0.005), (3.4e-6, 8, 5e-7), (900.0, 10, 100.0)]
)
def test_ticks_are_round_numbers(limit: float, most: int, step: float) -> None:
    assert render._tick_step(limit, most) == pytest.approx(step)


def test_numbers_have_the_figures_of_the_largest() -> None:
    assert [render._number(value, 0.0343) for value in (0.0343, 0.01, 0)] == ["0.0343", "0.0100", "0"]
    assert [render._number(value, 345.0) for value in (345.4, 50.0)] == ["345", "50"]


def test_dt_overlay_colours_only_what_is_kept() -> None:
    field = two_squares()
    result = render.dt_overlay(plain(field.shape), field, kept(field), 1.0, "viridis", 0.25)
    assert result[40, 35].tolist() == [138, 170, 159]  # Inside the left square, as in the overlay by hand.
    half = render.COLOUR_MAPS["viridis"][128]
    by_hand = [round(0.75 * tissue + 0.25 * int(colour)) for tissue, colour in zip(TISSUE, half, strict=True)]
    assert result[80, 115].tolist() == by_hand
    changed = (result != TISSUE).any(2)
    assert not changed[115, 5]  # The dropped speck.
    allowed = np.zeros_like(changed)
    for top, left in ((20, 20), (60, 100)):  # Squares, their outlines and their tags on the upper edge.
        allowed[top - 14 : top + 34, left - 14 : left + 34] = True
    assert not (changed & ~allowed).any()


@pytest.mark.parametrize("tissue", [(0, 0, 0), (255, 255, 255), (230, 160, 200), (90, 50, 130)])
def test_outlines_are_a_light_line_on_a_dark_one(tissue: tuple[int, int, int]) -> None:
    field = two_squares()
    result = render.dt_overlay(plain(field.shape, tissue), field, kept(field), 1.0, opacity=0.3).astype(int)
    across = result[40, 14:26].mean(1)  # Across the left edge of the left square, away from its tag.
    lightest = 4 + int(across[4:9].argmax())
    assert across[lightest] > 225  # Antialiased, so not quite white.
    assert across[lightest - 3 : lightest].min() < 40 and across[lightest + 1 : lightest + 4].min() < 40


def test_holes_are_outlined_too() -> None:
    field = two_squares()
    field[30:44, 28:42] = -1
    result = render.dt_overlay(plain(field.shape, (200, 120, 160)), field, kept(field), 1.0)
    across = result[37, 25:30].astype(int).mean(1)
    assert across.max() > 225 and across[0] < 40 and across[-1] < 40
    assert result[37, 35].tolist() == [200, 120, 160]


def test_tags_number_the_regions_as_in_the_table() -> None:
    field = two_squares()
    field[60:90, 100:130] = 1.0
    field[90, 115] = 1.0  # One pixel more: the right square becomes the largest, number 1.
    regions = kept(field)
    assert regions.regions[0].box == (100, 60, 130, 91)
    result = render.dt_overlay(plain(field.shape), field, regions, 1.0)
    first, second = result[53:68, 92:108], result[13:28, 12:28]  # The tags on the upper left corners.
    for tag in (first, second):
        assert (tag == render.DARK).all(2).sum() > 40 and (tag == render.LIGHT).all(2).sum() > 20
    digits = [(tag[3:12, 5:11].astype(int).mean(2) > 150).sum() for tag in (first, second)]
    assert digits[0] < digits[1]  # A 1 has less ink than a 2.


def test_tags_stay_inside_the_image() -> None:
    field = np.full((60, 60), -1, dtype=np.float32)
    field[0:20, 40:60] = 1
    result = render.dt_overlay(plain(field.shape), field, kept(field), 1.0)
    tag = (result == render.DARK).all(2)
    assert tag[2:14, 33:47].sum() > 60


def test_panels_are_the_single_images() -> None:
    field = two_squares()
    image = np.random.default_rng(0).integers(0, 256, (*field.shape, 3), dtype=np.uint8)
    result = render.panels(image, field, kept(field), None, "inferno", 0.6, "towards malignant")
    assert result.limit == 1.0
    assert np.array_equal(result.patch, image) and result.patch is not image
    assert np.array_equal(result.gradcam, render.overlay(image, field, 1.0, "inferno", 0.6))
    assert np.array_equal(result.dt, render.dt_overlay(image, field, kept(field), 1.0, "inferno", 0.6))
    assert np.array_equal(
        result.bar,
        render.colour_bar(1.0, "inferno", 0.0, 200, title="towards malignant", caption="top: maximum of this image"),
    )


def test_panels_on_a_fixed_scale_say_so() -> None:
    field = two_squares()
    result = render.panels(plain(field.shape), field, kept(field), 0.5)
    assert result.limit == 0.5
    assert np.array_equal(
        result.bar, render.colour_bar(0.5, "verdant", 0.0, 200, caption="top: fixed scale", clipped=True)
    )
    assert np.array_equal(result.gradcam[30, 30], result.gradcam[70, 110])  # 1.0 and 0.5 both have the last colour.
    below = render.panels(plain(field.shape), field, kept(field), 2.0)
    assert np.array_equal(below.bar, render.colour_bar(2.0, "verdant", 0.0, 200, caption="top: fixed scale"))


@pytest.mark.parametrize("limit", [None, 1.0])
@pytest.mark.parametrize("positive", [-1.0, 0.0, 1e-9])
def test_a_map_without_evidence_colours_nothing(limit: float | None, positive: float) -> None:
    field = np.full((40, 50), -1, dtype=np.float32)
    field[10:20, 10:20] = positive
    result = render.panels(plain(field.shape), field, kept(field), limit)
    assert result.limit == 0
    for panel in (result.patch, result.gradcam, result.dt):
        assert np.array_equal(panel, plain(field.shape))
    greys = result.bar.max(2).astype(int) - result.bar.min(2)
    assert greys.max() < 10 and result.bar.min() < 60  # Words, but no colour.


def test_arguments_are_not_written() -> None:
    image, field = plain((120, 160)), two_squares()
    regions = kept(field)
    before = (image.copy(), field.copy(), regions.mask.copy())
    image.flags.writeable = field.flags.writeable = False
    render.panels(image, field, regions)
    render.colours(field, 1.0, "viridis")
    render.encode_png(image)
    assert all(np.array_equal(now, then) for now, then in zip((image, field, regions.mask), before, strict=True))


def test_png_holds_the_pixels_and_nothing_else() -> None:
    array = np.random.default_rng(1).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    data = render.encode_png(array)
    assert data == render.encode_png(array)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB" and image.info == {}
        assert np.array_equal(np.asarray(image), array)
    chunks, position = [], 8
    while position < len(data):
        chunks.append(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}


def test_errors_are_sentences() -> None:
    image, field = plain((120, 160)), two_squares()
    with pytest.raises(ValueError, match="no colour map named 'jet'"):
        render.overlay(image, field, 1.0, "jet")
    for limit in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be a positive number"):
            render.colour_bar(limit, "viridis", None, 300)
    with pytest.raises(ValueError, match="opacity lies between 0 and 1"):
        render.overlay(image, field, 1.0, opacity=1.5)
    with pytest.raises(ValueError, match="does not have the size of the image"):
        render.overlay(image[:-1], field, 1.0)
    with pytest.raises(ValueError, match="uint8"):
        render.overlay(image.astype(np.float32), field, 1.0)
    with pytest.raises(ValueError, match="regions belong to a field"):
        render.dt_overlay(image, field, kept(field[:-1]), 1.0)
    with pytest.raises(ValueError, match="height of at least"):
        render.colour_bar(1.0, "viridis", None, 50)
    with pytest.raises(ValueError, match="written as PNG"):
        render.encode_png(image[:, :, 0])
