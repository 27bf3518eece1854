"""The browser's rules against Python's on the same maps: thresholds, masks, regions and sums, equal to the last bit."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, Route

from dala.explanation.render import COLOUR_MAPS, _number, _tick_step, colours
from dala.explanation.threshold import RULES, Regions, threshold
from pages.parts.component import FOLDER

Field = NDArray[np.float32]
SERVED = "http://viewer.test/"
MINIMUM_AREA = 0.002

LOAD = """async served => {
    const names = ["rules", "colour_bar", "numbers"];
    window.rules = Object.assign({}, ...await Promise.all(names.map(name => import(`${served}heatmap/${name}.js`))));
    window.bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
    window.text = array => {
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        let letters = "";
        for (let i = 0; i < bytes.length; i += 8192) letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
        return btoa(letters);
    };
}"""
APPLY = """([values, width, height, settings, minimum]) => {
    const field = new rules.Field(new Float32Array(bytes(values)), width, height);
    return settings.map(([rule, parameter]) => {
        const {threshold, mask, keptArea, keptEvidence, regions, dropped, reason, regionAt} =
            rules.threshold(field, rule, parameter, minimum);
        const numbers = regions.map(({x, y}) => regionAt(x, y));
        return {
            threshold: Number.isNaN(threshold) ? null : threshold,
            mask: text(mask), keptArea, keptEvidence, regions, dropped, reason, numbers,
        };
    });
}"""


@pytest.fixture(scope="module")
def page(blank: Page) -> Page:
    """The modules as they are, each from its own address."""

    def serve(route: Route) -> None:
        path = FOLDER / route.request.url.removeprefix(SERVED)
        route.fulfill(path=path, content_type="text/javascript", headers={"Access-Control-Allow-Origin": "*"})

    blank.route(f"{SERVED}**", serve)
    blank.evaluate(LOAD, SERVED)
    return blank


def text(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def compare(page: Page, field: Field, settings: list[tuple[str, float]], minimum: float = MINIMUM_AREA) -> int:
    """Both languages on one field; returns how many of the settings kept something."""
    height, width = field.shape
    answers = page.evaluate(APPLY, [text(field), width, height, settings, minimum])
    kept = 0
    for (rule, parameter), answer in zip(settings, answers, strict=True):
        regions = threshold(field, rule, parameter, minimum)
        said = f"{rule} {parameter} on {field.shape}"
        assert answer["threshold"] == (None if np.isnan(regions.threshold) else regions.threshold), said
        mask = np.frombuffer(base64.b64decode(answer["mask"]), np.uint8).reshape(field.shape).astype(bool)
        np.testing.assert_array_equal(mask, regions.mask, err_msg=said)
        assert answer["keptArea"] == regions.kept_area, said
        assert answer["keptEvidence"] == regions.kept_evidence, said
        assert answer["dropped"] == regions.dropped, said
        assert answer["reason"] == (regions.reason or ""), said
        assert [(one["area"], one["evidence"]) for one in answer["regions"]] == [
            (one.area, one.evidence) for one in regions.regions
        ], said
        assert [(one["x"], one["y"]) for one in answer["regions"]] == [top(one) for one in regions.regions], said
        assert [tuple(one["box"]) for one in answer["regions"]] == [one.box for one in regions.regions], said
        assert answer["numbers"] == list(range(len(regions.regions))), said
        kept += bool(regions.regions)
    return kept


def top(region: Any) -> tuple[int, int]:
    """Where render.py puts the number of a region: the first point of the outline's top row."""
    outline = region.contours[0]
    x, y = outline[np.argmin(outline[:, 1])]
    return int(x), int(y)


def every_rule(rng: np.random.Generator, per_rule: int) -> list[tuple[str, float]]:
    """Each rule at its ends, its default and at steps of its slider."""
    settings = []
    for name, rule in RULES.items():
        steps = round((rule.maximum - rule.minimum) / rule.step)
        values = {rule.minimum, rule.maximum, rule.default}
        values |= {round(rule.minimum + rule.step * int(step), 2) for step in rng.integers(0, steps + 1, per_rule)}
        settings += [(name, value) for value in sorted(values)]
    return settings


def smooth(rng: np.random.Generator, height: int, width: int) -> Field:
    """What the page shows: a small map, enlarged bilinearly."""
    cells = rng.integers(1, 15, 2)
    values = rng.standard_normal(cells).astype(np.float32) * np.float32(10.0 ** rng.integers(-8, 6))
    values += np.float32(rng.normal() * values.std())
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


MORE_MAPS = pytest.mark.exhaustive(instead="viewer/test_rules.py::test_random_maps_of_many_sizes")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=MORE_MAPS) for seed in range(1, 6))])
def test_random_maps_of_many_sizes(page: Page, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = settings = 0
    for _ in range(40):
        height, width = (int(side) for side in rng.integers(1, 100, 2))
        chosen = every_rule(rng, 2)
        kept += compare(page, smooth(rng, height, width), chosen)
        settings += len(chosen)
    assert settings > 800
    assert kept > settings / 2


OTHER_SIDES = pytest.mark.exhaustive(instead="viewer/test_rules.py::test_maps_of_the_size_of_the_screen")


@pytest.mark.parametrize(
    "shape", [(460, 700), *(pytest.param(shape, marks=OTHER_SIDES) for shape in ((505, 768), (768, 577)))]
)
def test_maps_of_the_size_of_the_screen(page: Page, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    assert compare(page, smooth(rng, *shape), every_rule(rng, 1))


def test_noise_with_thousands_of_parts_that_touch_diagonally(page: Page) -> None:
    rng = np.random.default_rng(2)
    for shape in ((97, 61), (1, 300), (300, 1)):
        field = rng.standard_normal(shape).astype(np.float32)
        for minimum in (0.0, 0.0005, MINIMUM_AREA):
            compare(page, field, every_rule(rng, 1), minimum)


MORE_TIES = pytest.mark.exhaustive(instead="viewer/test_rules.py::test_ties_are_kept_and_ordered_alike")


@pytest.mark.parametrize("maps", [10, pytest.param(30, marks=MORE_TIES)])
def test_ties_are_kept_and_ordered_alike(page: Page, maps: int) -> None:
    rng = np.random.default_rng(3)
    for _ in range(maps):
        height, width = (int(side) for side in rng.integers(2, 30, 2))
        levels = rng.integers(-2, 4, (height, width)).astype(np.float32)
        compare(page, levels, every_rule(rng, 1), float(rng.choice([0.0, MINIMUM_AREA])))
    # Equal squares: area and evidence are the same, so only OpenCV's own order tells them apart.
    squares = np.kron(rng.integers(0, 2, (20, 20)), np.ones((3, 3))).astype(np.float32)
    shifted = np.pad(squares, ((1, 0), (0, 1)))
    for field in (squares, shifted, np.ascontiguousarray(squares[:, 1:])):
        compare(page, field, [("fixed", 0.5)], 0.0)


@pytest.mark.parametrize(
    "field",
    [
        np.full((20, 30), -1, np.float32),
        np.zeros((20, 30), np.float32),
        np.full((20, 30), 3.7, np.float32),
        np.full((1, 1), 2, np.float32),
        np.full((20, 30), 1e-39, np.float32),
        np.full((20, 30), 3e-38, np.float32),
        np.where(np.arange(600).reshape(20, 30) == 77, np.float32(1), np.float32(-1)),
        np.where(np.arange(600).reshape(20, 30) == 77, np.float32(1e-7), np.float32(-1)),
        np.where(np.arange(600).reshape(20, 30) < 300, np.float32(1e30), np.float32(1e-30)),
    ],
    ids=["negative", "zero", "constant", "pixel", "denormal", "tiny", "speck", "rounding", "enormous"],
)
def test_degenerate_maps(page: Page, field: Field) -> None:
    compare(page, field, every_rule(np.random.default_rng(4), 3))


EVERY_STEP = pytest.mark.exhaustive(instead="viewer/test_rules.py::test_every_step_of_every_slider_on_one_map")


@pytest.mark.parametrize("each", [4, pytest.param(1, marks=EVERY_STEP)])
def test_every_step_of_every_slider_on_one_map(page: Page, each: int) -> None:
    """Every fourth, and every one."""
    field = smooth(np.random.default_rng(5), 23, 35)
    compare(
        page,
        field,
        [
            (name, float(f"{rule.minimum + step * rule.step:.4f}"))
            for name, rule in RULES.items()
            for step in range(0, round((rule.maximum - rule.minimum) / rule.step) + 1, each)
        ],
    )


def test_sums_of_all_lengths_are_those_of_numpy(page: Page) -> None:
    rng = np.random.default_rng(6)
    for count in (0, 1, 7, 8, 9, 127, 128, 129, 1000, 8191, 8192, 8193, 30_001, 200_000):
        values = rng.random(count).astype(np.float32)
        sums = "text => { const v = new Float32Array(bytes(text)), d = Float64Array.from(v);"
        sums += " return [rules.bufferedSum(v, v.length), rules.pairwiseSum(d, 0, d.length)] }"
        buffered, pairwise = page.evaluate(sums, text(values))
        assert buffered == float(values.sum(dtype=np.float64))
        assert pairwise == float(values.astype(np.float64).sum())


def test_colours_are_those_of_the_exports(page: Page) -> None:
    rng = np.random.default_rng(7)
    for limit in (1e-30, 0.02, 1.0, 7.3, 1e20):
        field = smooth(rng, 40, 50)
        field *= np.float32(limit / max(abs(field.max()), abs(field.min())) * 1.3)
        call = "([v, limit]) => text(rules.colourIndices(new rules.Field(new Float32Array(bytes(v)), 50, 40), limit))"
        indices = np.frombuffer(base64.b64decode(page.evaluate(call, [text(field), limit])), np.uint8).reshape(40, 50)
        np.testing.assert_array_equal(COLOUR_MAPS["magma"][indices], colours(field, limit, "magma"))


def test_numbers_are_written_as_python_writes_them(page: Page) -> None:
    rng = np.random.default_rng(8)
    values = [0.0, 1.0, 0.5, 6.25, 6.75, 12.5, 13.5, 99.95, 0.05, 1e-5, 123456.0, 999.6, 0.00099996, 9.995e-5, 2.675]
    values += [float(value) for value in 10.0 ** rng.uniform(-9, 7, 300)] + [
        int(n) / 16 for n in rng.integers(0, 1600, 99)
    ]
    written = page.evaluate("v => v.map(x => [rules.general(x), rules.rounded(x, 1), rules.rounded(x, 0)])", values)
    assert written == [[f"{value:.3g}", f"{value:.1f}", f"{value:.0f}"] for value in values]


@pytest.mark.parametrize("limit", [0.02, 0.5, 1.0, 7.3, 42.0, 1234.0, 3e-7, 5e9])
def test_the_bar_has_the_ticks_of_the_exported_bar(page: Page, limit: float) -> None:
    answer = page.evaluate("limit => rules.ticks(limit, 5)", limit)
    exponent = int(np.floor(np.log10(limit)))
    exponent = 0 if -2 <= exponent <= 3 else exponent
    assert answer["exponent"] == exponent
    step = _tick_step(limit, 5)
    inner = [step * index for index in range(1, 6) if step * index < limit * (1 - 1e-9)]
    unit = 10.0**exponent
    assert [label for _, label in answer["values"]] == [_number(v / unit, limit / unit) for v in (0, *inner, limit)]


def test_outlines_go_once_around_every_region_and_every_hole(page: Page) -> None:
    call = """([v, width, height]) => {
        const field = new rules.Field(new Float32Array(bytes(v)), width, height);
        const {mask} = rules.threshold(field, "fixed", 0.5, 0);
        return rules.outlines(field, mask, 0.5);
    }"""

    def lines(field: Field) -> list[NDArray[np.float64]]:
        found = page.evaluate(call, [text(field), field.shape[1], field.shape[0]])
        return [np.array(line).reshape(-1, 2) for line in found]

    # Values 1 inside, 0 outside and the limit .5: the line lies half a pixel out, and at the image's edge on it.
    block = np.zeros((6, 7), np.float32)
    block[2:4, 3:7] = 1
    (line,) = lines(block)
    assert {(x, y) for x, y in line.tolist()} == {
        *((x + 0.5, y) for x in (3, 4, 5, 6) for y in (2.0, 4.0)),
        *((x, y + 0.5) for x in (3.0, 7.0) for y in (2, 3)),
    }
    ring = np.zeros((7, 7), np.float32)
    ring[1:6, 1:6] = 1
    ring[3, 3] = 0
    assert len(lines(ring)) == 2
    # Two pixels that touch at a corner are one region, and so have one outline.
    assert len(lines(np.eye(2, dtype=np.float32))) == 1
    # Where the field crosses the limit between two pixels, the line does too.
    (line,) = lines(np.array([[0.25, 1.0]], np.float32))
    assert min(line[:, 0]) == pytest.approx(0.5 + (0.5 - 0.25) / 0.75)
    # As many lines as OpenCV finds, whose outer lines are 8-connected and whose holes are 4-connected too.
    rng = np.random.default_rng(9)
    for _ in range(10):
        noise = np.asarray(cv2.GaussianBlur(rng.standard_normal((60, 80)).astype(np.float32), (0, 0), 1.5))
        noise /= noise.max()
        regions: Regions = threshold(noise, "fixed", 0.5, 0.0)
        assert len(lines(noise)) == sum(len(region.contours) for region in regions.regions)
