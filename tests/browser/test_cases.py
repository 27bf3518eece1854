"""Cases in a real browser: kept, found, opened anew after the server was started again, changed, compared, deleted."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from dala.phantoms.tissue import PHANTOMS
from tests.helpers.access import BOTH, violations
from tests.helpers.browser import (
    PAGE_MS,
    bar_link,
    downloaded,
    free_port,
    fresh_page,
    script_ended,
    serving,
    settle,
    small_patch,
)

TITLE = "**Core** <b>biopsy</b> =1+1 漢"
HEADER, ROW = 36, 64  # CSS pixels of the table


@contextmanager
def page_of_new_server(chromium: Browser, log: Path) -> Iterator[tuple[str, Page, list[str]]]:
    """The address of a server that was just started, a page of a fresh profile, and what that complains of."""
    complaints: list[str] = []
    with serving(free_port(), log, warm=False) as served, fresh_page(chromium) as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield served.url, page, complaints


def keep(page: Page, name: str, title: str) -> str:
    """Keep a corner of that drawing; the id of its case."""
    file = FilePayload(name=f"{name}.png", mimeType="image/png", buffer=small_patch(name))
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_role("slider", name="Dynamic threshold").wait_for(timeout=PAGE_MS)
    settle(page)
    box = page.locator(".st-key-keep")
    box.get_by_role("textbox", name="Title").fill(title)
    box.get_by_role("textbox", name="Patient or case").fill("P-7")
    box.get_by_role("button", name="Keep this case").click()
    box.get_by_role("link", name="Open the case").click()
    page.get_by_role("button", name="All cases").wait_for(timeout=PAGE_MS)
    settle(page)
    return parse_qs(urlsplit(page.url).query)["id"][0]


def seen(page: Page) -> list[str]:
    """What a case says and shows: verdict, words beside it, threshold and the numbers of the map."""
    page.get_by_role("slider", name="Dynamic threshold").wait_for(timeout=PAGE_MS)
    expect(page.locator(".viewer .value-regions")).not_to_be_empty(timeout=PAGE_MS)
    settle(page)
    numbers = [
        page.locator(f".viewer .value-{name}").inner_text() for name in ("threshold", "area", "evidence", "regions")
    ]
    slider = page.get_by_role("slider", name="Dynamic threshold").input_value()
    return [
        page.locator(".st-key-verdict").inner_text(),
        page.locator(".st-key-case-top").inner_text(),
        slider,
        *numbers,
    ]


def exported(page: Page, case: str) -> bytes:
    """The ZIP of the case that is open."""
    page.get_by_role("button", name="Export (ZIP)").click()
    save = f"Save case-{case[:8]}.zip"
    page.get_by_role("button", name=save).wait_for()
    return downloaded(page, save)


def test_a_case_is_kept_found_opened_after_a_restart_changed_compared_and_deleted(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axe: str
) -> None:
    """Each of the pages is looked at by axe in both themes."""
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "cases"))
    monkeypatch.delenv("DALA_DATABASE", raising=False)
    monkeypatch.setenv("DALA_API", "open")
    with page_of_new_server(chromium, tmp_path / "first.log") as (url, page, complaints):
        page.goto(url)
        script_ended(page)
        first = keep(page, PHANTOMS[0], TITLE)
        assert re.fullmatch(r"[\w-]{22}", first)
        before = seen(page)
        assert violations(page, axe, BOTH) == []
        page.get_by_text("Change title, reads and comment").click()
        page.get_by_role("textbox", name="Comment").fill("Looks <i>regular</i>.")
        page.get_by_role("button", name="Save").click()
        # Below the maps, not in the field into which it was typed.
        expect(page.get_by_test_id("stMarkdown").get_by_text("Looks <i>regular</i>.")).to_be_visible()
        script_ended(page)
        # Another one, by a program.
        files = {"image": ("sheets.png", small_patch())}
        made = httpx.post(f"{url}/api/v1/cases", files=files, data={"title": "Another"}, timeout=60)
        assert made.status_code == 201
        second = made.json()["id"]
        assert first != second
        page.get_by_role("button", name="All cases").click()
        expect(page.get_by_text("1 to 2 of 2")).to_be_visible()
        assert violations(page, axe, BOTH[::-1]) == []
        page.get_by_role("textbox", name="Search").fill("biopsy p-7")
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 to 1 of 1")).to_be_visible()
        settle(page)
        table = page.get_by_test_id("stDataFrame").bounding_box()
        assert table is not None
        page.mouse.click(table["x"] + 300, table["y"] + HEADER + ROW / 2)  # its title; the table is a canvas
        expect(page.get_by_role("heading").filter(has_text=TITLE)).to_be_visible(timeout=PAGE_MS)
        script_ended(page)
        assert parse_qs(urlsplit(page.url).query)["id"] == [first]
        archive = zipfile.ZipFile(io.BytesIO(exported(page, first)))
        assert json.loads(archive.read(f"cases/{first}.json"))["title"] == TITLE
        assert complaints == []

    with page_of_new_server(chromium, tmp_path / "second.log") as (url, page, complaints):
        page.goto(f"{url}/cases?id={first}")
        assert seen(page) == before
        # The frame is there, although no other page of this server was asked for yet.
        expect(page.get_by_text("For research and teaching only, not for diagnosis.")).to_be_visible()
        for name in ("Second opinion", "Evidence"):
            expect(bar_link(page, name)).to_be_visible()
        # Side by side: what is done to one is done to both.
        page.goto(f"{url}/compare?a={first}&b={second}")
        canvases = page.locator(".side [data-kind=dt] canvas")
        expect(canvases).to_have_count(2, timeout=PAGE_MS)
        expect(page.locator(".side .value-area").nth(1)).not_to_be_empty()
        assert violations(page, axe, BOTH) == []
        areas = [page.locator(".side .value-area").nth(side).inner_text() for side in (0, 1)]
        page.get_by_role("slider", name="Dynamic threshold").fill("2")
        for side in (0, 1):
            expect(page.locator(".side .value-area").nth(side)).not_to_have_text(areas[side])
        page.locator(".side").nth(1).locator("[data-kind=dt] .pane").press("+")
        for side in (0, 1):
            expect(canvases.nth(side)).to_have_attribute("data-view", re.compile(r"^1\.2500 "))
        expect(page.locator(".bar-title")).to_contain_text("last colour: maximum of both images")
        # Deleted by a second click, and then as if it had never been.
        page.get_by_role("link", name="Open this case").first.click()
        said = page.get_by_test_id("stMarkdown").get_by_text("Looks <i>regular</i>.")
        expect(said).to_be_visible(timeout=PAGE_MS)
        page.get_by_role("button", name="Delete", exact=True).click(timeout=PAGE_MS)
        page.get_by_role("dialog").get_by_role("button", name="Delete this case").click()
        expect(page.get_by_text("1 to 1 of 1")).to_be_visible(timeout=PAGE_MS)
        page.get_by_role("link", name="Agreement", exact=True).click()
        page.get_by_role("heading", name="Agreement", exact=True).wait_for(timeout=PAGE_MS)
        assert violations(page, axe, BOTH[::-1]) == []
        page.goto(f"{url}/cases?id={first}")
        expect(page.get_by_text("There is no such case, or it is not shared with you.")).to_be_visible(timeout=PAGE_MS)
        expect(page.get_by_role("heading")).to_have_count(0)
        assert complaints == []
