"""The frame in a real browser: the notice is seen, nothing goes to another host, nothing complains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.helpers.browser import PAGE_MS, Served, Visit, bar_link, free_port, fresh_page, serving

NOTICE = "For research and teaching only, not for diagnosis. Nothing leaves this machine."


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of a CSS colour `rgb(r, g, b)`."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_notice_is_seen_and_readable_nothing_goes_to_another_host_and_nothing_complains(
    visit: Callable[..., Visit], app: Served
) -> None:
    visited = visit(dark=True)
    page = visited.page
    expect(page).to_have_title("DALA second opinion")
    for dark in (True, False):
        page.emulate_media(color_scheme="dark" if dark else "light")
        # The theme follows the browser's light or dark setting.
        expect(page.locator(".stApp")).to_have_css("color-scheme", "dark" if dark else "light")
        for width in (1280, 480):
            page.set_viewport_size({"width": width, "height": 900})
            notice = page.get_by_text(NOTICE)
            expect(notice).to_be_in_viewport(ratio=1)
            text = luminance(notice.evaluate("e => getComputedStyle(e).color"))
            ground = luminance(page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor"))
            assert (text < ground) is not dark
            assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 7  # WCAG 2 AAA
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    # Some of Streamlit's widgets are fetched only after the page has run.
    visited.page.wait_for_load_state("networkidle")
    icons = visited.page.evaluate("[...document.querySelectorAll('link[rel~=icon]')].map(link => link.href)")
    assert any(url.startswith("ws://localhost") for url in visited.requests)
    assert {urlsplit(url).hostname for url in [*visited.requests, *icons]} == {"localhost"}
    # The menu offers the themes and no developer tools.
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_test_id("stMainMenu").get_by_role("button").click()
    menu = page.get_by_test_id("stMainMenuPopover")
    expect(menu).to_contain_text("About")
    expect(menu).to_contain_text("Dark")
    expect(menu).not_to_contain_text("Rerun")
    expect(page.get_by_text("Deploy")).to_have_count(0)
    assert visited.complaints == []
    assert "Traceback" not in app.log.read_text()


# Its second server is asked for a case first.
FRAME = "browser/test_cases.py::test_a_case_is_kept_found_opened_after_a_restart_changed_compared_and_deleted"


@pytest.mark.exhaustive(instead=FRAME)
@pytest.mark.parametrize("asked", ["evidence", "second_opinion"])
def test_a_server_that_is_asked_for_one_page_first_shows_its_frame_too(
    chromium: Browser, tmp_path: Path, asked: str
) -> None:
    """Each with a server of its own: in that of the other tests app.py has run already."""
    with serving(free_port(), tmp_path / "streamlit.log") as served, fresh_page(chromium) as page:
        page.goto(f"{served.url}/{asked}")
        expect(page.get_by_text(NOTICE)).to_be_visible(timeout=PAGE_MS)
        for name in ("Second opinion", "Evidence"):
            expect(bar_link(page, name)).to_be_visible()
        if asked == "evidence":
            expect(page.get_by_role("heading", name="Evidence", exact=True)).to_be_visible(timeout=PAGE_MS)
        else:
            expect(page.get_by_test_id("stFileUploader")).to_be_visible(timeout=PAGE_MS)
