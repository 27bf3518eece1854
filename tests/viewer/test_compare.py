"""Two images side by side: one view, one threshold, one scale of colours, and as many micrometres for each point."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from dala.explanation.gradcam import SignedMap
from dala.intake.patch import Patch
from dala.intake.pixel_size import given
from pages.parts.cases.pair import Side, packed, usual
from pages.parts.cases.reopen import Then
from pages.parts.component import sources
from tests.viewer.test_mount import MOUNT

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 60, 90


def side(name: str, strongest: float, um: float | None, classes: tuple[str, ...] = ("benign", "malignant")) -> Side:
    """Noise under a ramp from -1 to `strongest`."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    patch = Patch(pixels, name, name, "test", (), given(um))
    ramp = np.linspace(-1, strongest, 6, dtype=np.float32).reshape(2, 3)
    signed = SignedMap(ramp, classes[-1])
    maps = {classes[0]: replace(signed, values=-ramp, target=classes[0]), classes[-1]: signed}
    return Side(f"{name}-{strongest}-{um}", name, f"{name} answered", Then(patch, pixels, maps))


def mounted(page: Page, *sides: Side) -> None:
    data = packed(sides, usual(sides[0]))
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate(MOUNT, [*sources("heatmap", "compare"), base64.b64encode(data).decode()])
    expect(page.locator(".side .value-regions").last).not_to_be_empty()


def views(page: Page) -> list[list[float]]:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found = page.locator(".side [data-kind=dt] canvas").evaluate_all("all => all.map(one => one.dataset.view)")
    return [[float(value) for value in str(one).split()] for one in found]


def bars(page: Page) -> list[float]:
    """How long the scale bars are, in CSS pixels for each micrometre."""
    told = page.locator(".side [data-kind=dt] canvas").evaluate_all("all => all.map(one => one.dataset.scale)")
    return [float(long) / float(microns) for microns, _, long in (str(one).split() for one in told)]


def test_zoom_threshold_target_and_colours_are_those_of_both(blank: Page) -> None:
    mounted(blank, side("one", 1.0, None), side("two", 4.0, None))
    assert blank.locator(".side .whose").all_inner_texts() == ["one", "two"]
    assert blank.locator(".side .answer").all_inner_texts() == ["one answered", "two answered"]
    # The stronger of the two maps ends the bar, towards either class.
    expect(blank.locator(".bar-title")).to_contain_text("last colour: maximum of both images")
    expect(blank.locator(".ticks span").last).to_have_text("4.00")
    areas = blank.locator(".side .value-area").all_inner_texts()
    blank.get_by_role("slider", name="Dynamic threshold").fill("0")
    for number in (0, 1):
        expect(blank.locator(".side .value-area").nth(number)).not_to_have_text(areas[number])
    blank.get_by_text("benign", exact=True).click()
    expect(blank.locator(".side figcaption:visible")).to_have_count(2)
    expect(blank.locator(".side [data-kind=gradcam] figcaption").last).to_have_text("Grad-CAM towards benign")
    blank.locator(".side").nth(1).locator("[data-kind=dt] .pane").press("+")
    one, two = views(blank)
    assert one == two and one[0] == 1.25
    blank.locator(".side").nth(0).locator("[data-kind=dt] .pane").press("ArrowRight")
    moved, same = views(blank)
    assert moved == same and moved[1] > one[1]
    # Without pixel sizes there is no common scale to offer.
    expect(blank.get_by_role("button", name="Same scale")).to_be_hidden()
    blank.get_by_role("button", name="Fit").click()
    assert [view[0] for view in views(blank)] == [1, 1]


def test_at_the_same_scale_a_micrometre_is_as_long_in_both(blank: Page) -> None:
    mounted(blank, side("fine", 1.0, 0.25), side("coarse", 1.0, 0.5))
    views(blank)
    first, second = bars(blank)
    assert first == pytest.approx(second, rel=1e-3)
    blank.get_by_role("button", name="Zoom in").click()
    blank.locator(".side").nth(1).locator("[data-kind=dt] .pane").press("ArrowRight")
    fine, coarse = views(blank)
    assert fine[0] == coarse[0]
    # So many micrometres from the middle of either, where the view is not held by an edge.
    assert (coarse[1] - WIDTH / 2) * 0.5 >= (fine[1] - WIDTH / 2) * 0.25 >= 0
    first, second = bars(blank)
    assert first == pytest.approx(second, rel=1e-3)
    blank.get_by_role("button", name="Same scale").click()
    views(blank)
    first, second = bars(blank)
    assert first == pytest.approx(2 * second, rel=1e-3), "each image fills its pane again"


def test_a_side_without_the_class_keeps_its_own(blank: Page) -> None:
    mounted(blank, side("breast", 1.0, None), side("other", 2.0, None, ("normal", "cancer")))
    captions = blank.locator(".side [data-kind=gradcam] figcaption")
    assert captions.all_inner_texts() == ["Grad-CAM towards malignant", "Grad-CAM towards normal"]
    blank.get_by_text("benign", exact=True).click()
    expect(captions.first).to_have_text("Grad-CAM towards benign")
    expect(captions.last).to_have_text("Grad-CAM towards normal")


def test_one_image_alone_is_shown_in_the_same_way(blank: Page) -> None:
    mounted(blank, side("alone", 1.0, 0.25))
    expect(blank.locator(".side")).to_have_count(1)
    expect(blank.locator(".side canvas:visible")).to_have_count(3)
    expect(blank.locator(".bar-title")).to_contain_text("last colour: maximum of this image")
    expect(blank.get_by_role("button", name="Same scale")).to_be_hidden()
