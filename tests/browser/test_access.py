"""The first page and others by axe-core, in both themes; what is seen without scrolling; how a phone navigates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from tests.browser.test_viewer import fits, keys_reach_everything
from tests.helpers.access import violations
from tests.helpers.browser import PAGE_MS, Visit, go_to, script_ended

# By links and choices, one after another: what is pressed, and the heading that is seen then. The cases, the parts of
# the teaching and the evidence are looked at where those pages are tested.
STATES = (
    ("Batch", "Batch"),
    ("Teaching", "Teaching"),
    ("Guide", "User guide"),
    ("Lesson", "A lesson of 45 minutes: reading beside a model"),
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn field of two fields of view, of unknown scale."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    pixels = draw("single_files").pixels
    path.write_bytes(encode_png(np.ascontiguousarray(np.concatenate([pixels, pixels[::-1]])[:768])))
    return path


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grey") / "grey.png"
    cv2.imwrite(str(path), cv2.cvtColor(draw("single_files").pixels, cv2.COLOR_RGB2GRAY))
    return path


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_text(path.name).filter(visible=True).first.wait_for(timeout=PAGE_MS)
    script_ended(page)
    expect(page.locator("[data-stale=true]")).to_have_count(0, timeout=PAGE_MS)


@pytest.fixture(scope="module")
def visited_large(visits: Callable[..., AbstractContextManager[Visit]], large: Path) -> Iterator[Visit]:
    """With a strip of fields and an unknown scale, opened once for tests that leave it as they found it."""
    with visits() as visited:
        upload(visited.page, large)
        visited.page.get_by_role("slider", name="Dynamic threshold").wait_for(timeout=PAGE_MS)
        yield visited


@pytest.fixture
def shown(visited_large: Visit) -> Page:
    page = visited_large.page
    page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    return page


def test_verdict_image_maps_and_slider_are_seen_without_scrolling(shown: Page) -> None:
    """With a strip of fields and an unknown scale, the highest that the page gets above its maps."""
    page = shown
    slider = page.get_by_role("slider", name="Dynamic threshold")
    expect(page.get_by_text("2 fields of view")).to_be_visible()
    expect(page.get_by_role("heading", level=2)).to_be_in_viewport(ratio=1)
    expect(slider).to_be_in_viewport(ratio=1)
    for kind in ("patch", "gradcam", "dt"):
        expect(page.locator(f"[data-kind={kind}] canvas")).to_be_in_viewport(ratio=1)


def test_a_phone_has_words_to_navigate_by_and_the_image_first(visit: Callable[..., Visit], large: Path) -> None:
    page = visit(width=480).page
    words = page.locator(".st-key-phone-navigation")
    for name in ("Second opinion", "Batch", "Cases", "Teaching", "Evidence", "Guide"):
        expect(words.get_by_role("link", name=name, exact=True)).to_be_in_viewport(ratio=1)
    upload(page, large)
    canvas = page.locator("[data-kind=dt] canvas")
    canvas.wait_for(timeout=PAGE_MS)
    expect(canvas).to_be_in_viewport(ratio=1)
    verdict = page.locator(".viewer .verdict")
    expect(verdict).to_be_in_viewport(ratio=1)
    image, answer, heading = (
        one.bounding_box() for one in (canvas, verdict, page.get_by_role("heading", level=2).first)
    )
    assert image and answer and heading
    assert image["y"] < answer["y"] < heading["y"]
    fits(page, ("dt",))
    keys_reach_everything(page)
    words.get_by_role("link", name="Batch", exact=True).click()
    expect(page.get_by_role("heading", name="Batch", exact=True)).to_be_visible(timeout=PAGE_MS)


def test_regions_and_their_rows_light_up_together_and_reset_puts_everything_back(shown: Page) -> None:
    page = shown
    slider = page.get_by_role("slider", name="Dynamic threshold")
    first = page.locator(".regions tbody tr").first
    first.scroll_into_view_if_needed()
    pane = page.locator("[data-kind=dt] canvas")
    before = pane.evaluate("canvas => canvas.toDataURL()")
    first.hover()
    expect(first).to_have_class("chosen")
    page.wait_for_function(
        "before => document.querySelector('.st-key-maps [data-testid=stBidiComponentIsolated]').shadowRoot"
        ".querySelector('[data-kind=dt] canvas').toDataURL() !== before",
        arg=before,
    )
    first.get_by_role("button").click()
    expect(page.locator(".viewer .zoom")).not_to_have_text("100 %")
    # In the middle of the pane is the region now: pointing there lights its row.
    page.mouse.move(0, 0)
    expect(page.locator(".regions tr.chosen")).to_have_count(0)
    slider.fill("2")
    slider.dispatch_event("change")
    expect(slider).to_have_value("2")
    page.locator(".viewer .reset").click()
    expect(slider).to_have_value("1")
    assert pane.get_attribute("data-view").startswith("1.0000 ")  # type: ignore[union-attr]


def test_full_screen_keeps_the_verdict(shown: Page) -> None:
    page = shown
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement !== null")
    said = page.get_by_role("heading", level=2).first.inner_text()
    verdict = page.locator(".viewer .verdict")
    expect(verdict).to_be_in_viewport(ratio=1)
    assert verdict.inner_text().startswith(said.split(":")[0])
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement === null")


def test_axe_finds_nothing_in_any_state_of_the_first_page_and_on_others(shown: Page, axe: str, grey: Path) -> None:
    """Each state in the theme that it is drawn in and in the other one, which the next state is drawn in.

    The last one at this visit: it leaves the image.
    """
    page, themes = shown, ["light", "dark"]

    def clean(state: str) -> None:
        assert violations(page, axe, themes) == [], state
        themes.reverse()

    clean("an answer")
    page.get_by_role("button", name="Remove").hover()  # its letters, too, are seen under the pointer
    clean("a button under the pointer")
    page.get_by_role("button", name="Remove").click()
    page.locator(".st-key-hero").wait_for(timeout=PAGE_MS)
    script_ended(page)
    clean("the first page")
    upload(page, grey)
    page.get_by_text("The image is grey: the model").wait_for(timeout=PAGE_MS)
    clean("outside its competence")
    for name, heading in STATES:
        if name == "Lesson":
            page.get_by_role("radio", name=name, exact=True).click()
        else:
            go_to(page, name)
        page.get_by_role("heading", name=heading, exact=True).wait_for(timeout=PAGE_MS)
        clean(name)
