"""A reload goes on where the page was: image, threshold, batch; in this browser only, and as no step of its history."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from dala.phantoms.tissue import PHANTOMS
from tests.helpers.browser import PAGE_MS, Visit, fresh_page, go_to, script_ended, settle, small_patch


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("reloaded")
    paths = [folder / f"{name}-kept.png" for name in PHANTOMS[:2]]
    for name, path in zip(PHANTOMS, paths, strict=False):
        path.write_bytes(small_patch(name, 2))
    return paths


def token_of(page: Page) -> str | None:
    return next(iter(parse_qs(urlsplit(page.url).query).get("visit", [])), None)


def with_token(page: Page) -> str:
    page.wait_for_url(re.compile("visit="), timeout=PAGE_MS)
    token = token_of(page)
    assert token is not None
    assert len(token) == 32  # 192 bits in base64
    return token


def test_an_image_its_threshold_and_a_batch_stay(
    visit: Callable[..., Visit], chromium: Browser, files: list[Path]
) -> None:
    page = visit().page
    assert token_of(page) is None
    steps = page.evaluate("history.length")
    page.locator("input[type=file]").first.set_input_files(files[1])
    slider = page.get_by_role("slider", name="Dynamic threshold")
    slider.wait_for(timeout=PAGE_MS)
    settle(page)
    before = slider.input_value()
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    chosen = slider.input_value()
    assert chosen != before
    expect(page.get_by_text("Table and downloads")).to_contain_text(f"k = {float(chosen):.3g};")
    script_ended(page)
    heading = page.get_by_role("heading", level=2).inner_text()
    token = with_token(page)
    assert page.evaluate("history.length") == steps

    def as_it_was() -> None:
        expect(page.get_by_text(f"Your image: {files[1].name}")).to_be_visible(timeout=PAGE_MS)
        expect(slider).to_have_value(chosen, timeout=PAGE_MS)
        script_ended(page)
        assert slider.input_value() == chosen
        assert page.get_by_role("heading", level=2).inner_text() == heading

    page.reload()
    as_it_was()
    assert with_token(page) == token

    with fresh_page(chromium) as other:
        other.goto(page.url)
        script_ended(other)
        expect(other.get_by_text("A second opinion on breast tissue")).to_be_visible(timeout=PAGE_MS)
        expect(other.get_by_text(files[1].name)).to_have_count(0)
        assert "dala_browser" not in other.evaluate("document.cookie")

    # In a second tab of the same browser the image is there, and what is done to it there changes nothing here.
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.get_by_text(f"Your image: {files[1].name}")).to_be_visible(timeout=PAGE_MS)
    second.get_by_role("button", name="Remove").click()
    expect(second.get_by_text("A second opinion on breast tissue")).to_be_visible(timeout=PAGE_MS)
    go_to(page, "Slides")
    page.wait_for_url(re.compile("/slides"), timeout=PAGE_MS)
    with_token(page)
    page.reload()
    script_ended(page)
    go_to(page, "Second opinion")
    as_it_was()

    # Files that are a batch stay, too. That a drawn example does is seen in `test_viewer.py`.
    page.locator("input[type=file]").first.set_input_files(files)
    page.wait_for_url(re.compile("/batch"), timeout=PAGE_MS)
    with_token(page)
    page.reload()
    expect(page.get_by_role("button", name="All as CSV")).to_be_visible(timeout=PAGE_MS)
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=PAGE_MS)
    expect(page.get_by_test_id("stException")).to_have_count(0)
