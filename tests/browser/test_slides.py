"""Slides in a real browser: opened, walked over by mouse, wheel and keys, a field asked about, all of it scanned."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.helpers import slides
from tests.helpers.browser import PAGE_MS, free_port, fresh_page, script_ended, serving

SCAN_MS = 180_000
MEAN = """canvas => {
    const ink = canvas.getContext("2d"), {width, height} = canvas;
    const data = ink.getImageData(width * 0.35, height * 0.35, width * 0.3, height * 0.3).data;
    const sum = [0, 0, 0];
    for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
    return sum.map(one => one / (data.length / 4));
}"""


def mean(canvas: Locator) -> list[float]:
    """The mean colour in the middle of what is seen."""
    found: list[float] = canvas.evaluate(MEAN)
    return found


@pytest.mark.browser
def test_a_slide_is_opened_walked_over_asked_about_and_scanned(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    slides.aperio(folder / "made.svs", slides.pyramid(slides.drawn(2048, 1536), 3))
    monkeypatch.setenv("DALA_SLIDES", str(folder))
    monkeypatch.setenv("DALA_SCANS", str(tmp_path / "scans"))
    with (
        serving(free_port(), tmp_path / "log", warm=False) as served,
        fresh_page(chromium) as page,
    ):
        complaints: list[str] = []
        tiles: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: tiles.append(request.url) if "/tiles/" in request.url else None)
        page.goto(f"{served.url}/slides")
        page.get_by_role("combobox").click(timeout=PAGE_MS)
        page.get_by_role("option", name="made.svs").click()
        canvas = page.locator("canvas").first
        expect(canvas).to_be_visible(timeout=PAGE_MS)
        script_ended(page)
        page.wait_for_load_state("networkidle")
        assert tiles and all("/tiles/" in url for url in tiles)
        red, green, _ = mean(canvas)
        assert red - green > 20, "tissue is seen, in its colours"

        # A click asks about the field under the pointer; Enter about the one that the arrows reach.
        box = canvas.bounding_box()
        assert box is not None
        canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
        told = page.locator(".slide .said")
        expect(told).to_have_text(re.compile(r"Field in column \d+ of 5, row \d+ of 5"))
        first = told.inner_text()
        expect(page.locator(".st-key-verdict, .st-key-maps").first).to_be_visible(timeout=PAGE_MS)
        script_ended(page)
        canvas.focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        expect(told).not_to_have_text(first)
        script_ended(page)

        # The wheel zooms, a drag moves: other tiles are asked for, and the picture changes.
        before, seen = mean(canvas), len(tiles)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.wheel(0, -900)
        page.wait_for_timeout(500)
        page.wait_for_load_state("networkidle")
        assert len(tiles) > seen
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + 160, box["y"] + box["height"] / 2 + 40, steps=5)
        page.mouse.up()
        page.wait_for_timeout(500)
        page.wait_for_load_state("networkidle")
        assert mean(canvas) != before
        page.get_by_role("button", name="Whole slide").click()

        # A scan to its end: the map lies over the slide, and the files are there.
        plain = mean(canvas)
        page.get_by_role("button", name="Scan the slide").click()
        expect(page.get_by_role("button", name=re.compile("Download the files"))).to_be_visible(timeout=SCAN_MS)
        script_ended(page)
        expect(page.get_by_text("This is no verdict on the slide.")).to_be_attached()
        coloured = mean(canvas)
        assert max(abs(one - other) for one, other in zip(plain, coloured, strict=True)) > 5
        assert complaints == []
        address = next(url for url in reversed(tiles))
    # The server is gone, and a tab that was closed would be: a token is worth nothing elsewhere.
    with serving(free_port(), tmp_path / "log2", warm=False) as other:
        path = address.partition("/tiles/")[2]
        with pytest.raises(OSError, match="404"):
            urlopen(f"{other.url}/tiles/{path}", timeout=10)
