"""The evidence page in a real browser: its frame, its keyboard, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_frame import luminance
from tests.helpers.access import BOTH, violations
from tests.helpers.browser import Served, Visit, settle


def open_evidence(visited: Visit) -> Page:
    """From the first page, as a reader goes."""
    page = visited.page
    # Of the two navigations, that of a phone and Streamlit's own, the style sheet shows one.
    page.locator(".st-key-notice").wait_for()
    page.get_by_role("link", name="Evidence", exact=True).filter(visible=True).click()
    expect(page.get_by_role("heading", name="Evidence", exact=True)).to_be_attached(timeout=60_000)
    settle(page)
    return page


def turn_to(page: Page, part: str, heading: str) -> None:
    """Open a part of the page and wait for the first of its sections."""
    page.get_by_role("radio", name=part, exact=True).click()
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=60_000)
    settle(page)


PARTS = {
    "In short": "How often it is wrong",
    "Laboratories": "Laboratories",
    "Patients and leaks": "On whose patients",
    "Not sure, or refused": "What its probability is worth",
    "Changed images": "When images change",
    "Heat maps": "Where the maps lie",
    "Networks and parts": "What its parts are worth",
    "Mammograms": "Mammograms",
    "Speed and load": "Engines",
    "The weights": "The weights",
}


FITS = """width => document.documentElement.scrollWidth <= width
    && [...document.querySelectorAll(".js-plotly-plot")].every(one => one.getBoundingClientRect().width <= width)"""


@pytest.mark.exhaustive(instead="browser/test_evidence.py::test_parts_fit_and_are_drawn_by_this_host_alone")
def test_every_part_fits_wide_and_narrow(visit: Callable[..., Visit]) -> None:
    visited = visit()
    assert every_plot_fits(open_evidence(visited), PARTS, (1280, 480)) > 20
    assert visited.complaints == []


def test_parts_fit_and_are_drawn_by_this_host_alone(visit: Callable[..., Visit], app: Served, axe: str) -> None:
    """With the labels of the axes in both themes, in which axe finds nothing either.

    Then parts are turned to by keyboard and by address, numbers open by keyboard, and the band follows the choice.
    """
    visited = visit(dark=True)
    page = open_evidence(visited)
    assert violations(page, axe, BOTH) == []
    assert every_plot_fits(page, ("In short", "Heat maps", "Speed and load"), (480,)) > 5
    assert every_plot_fits(page, ("Changed images",), (1280, 480)) > 1
    labels_are_seen(page, dark=True)
    page.emulate_media(color_scheme="light")  # what was drawn in the other theme stays
    expect(page.locator(".stApp")).to_have_css("color", "rgb(34, 39, 43)")
    labels_are_seen(page, dark=False)
    assert {urlsplit(url).hostname for url in visited.requests if not url.startswith(("blob:", "data:"))} == {
        "localhost"
    }
    assert visited.complaints == []
    assert "Traceback" not in app.log.read_text()
    page.set_viewport_size({"width": 1280, "height": 900})
    by_keyboard_and_address(page)


def every_plot_fits(page: Page, parts: Iterable[str], widths: Iterable[int]) -> int:
    """How many were looked at."""
    drawn = 0
    for part in parts:
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            turn_to(page, part, PARTS[part])
            page.wait_for_function(FITS, arg=width)
            assert page.get_by_test_id("stMain").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
            for plot in page.locator(".js-plotly-plot").all():
                box = plot.bounding_box()
                assert box is not None
                assert 300 < box["width"] <= width
                drawn += 1
    return drawn


def labels_are_seen(page: Page, dark: bool) -> None:
    """Labels of the axes: large enough, and in a colour that stands out from the ground."""
    for label in ("xtick", "ytick"):
        text = page.locator(f".js-plotly-plot .{label} text").first
        expect(text).to_have_css("font-size", re.compile(r"1[2-9]px"))
        # Plotly may be drawing anew: an element that has just left the page has no colour.
        fill = "q => { const e = document.querySelector(q); return (e && getComputedStyle(e).fill) || false }"
        ink = luminance(page.wait_for_function(fill, arg=f".js-plotly-plot .{label} text").json_value())
        ground = luminance(page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor"))
        assert (ink > ground) is dark
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 7  # WCAG 2 AAA


def by_keyboard_and_address(page: Page) -> None:
    page.get_by_role("radio", name="Changed images").focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="On whose patients")).to_be_visible(timeout=60_000)
    assert "evidence-part=Patients+and+leaks" in page.url
    page.reload()
    expect(page.get_by_role("heading", name="On whose patients")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("heading", name="How often it is wrong")).to_have_count(0)
    settle(page)

    expander = page.get_by_test_id("stExpander").filter(has_text="The numbers of every patient")
    groups = expander.get_by_role("cell", name="14-10147")
    expect(groups).to_be_hidden()
    expander.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(groups).to_be_visible()

    plot = page.locator(".js-plotly-plot").first
    band = plot.locator("path.js-fill").first
    before = band.get_attribute("d")
    page.get_by_role("radio", name="Colour alone").click()
    settle(page)
    expect(band).not_to_have_attribute("d", before or "")
