"""The batch in a real browser: a ZIP is analysed slice by slice, a row opens in the first page, files come down."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dala.phantoms.tissue import PHANTOMS
from tests.helpers.browser import Visit, go_to, script_ended, settle, small_patch


def opened(visit: Callable[..., Visit], path: Path, images: int) -> Visit:
    visited = visit()
    go_to(visited.page, "Batch")
    button = visited.page.get_by_role("button", name="Analyse the images")
    expect(button).to_be_disabled(timeout=60_000)
    settle(visited.page)
    visited.page.locator("input[type=file]").set_input_files(path)
    visited.page.get_by_role("button", name=f"Analyse {images} images").click()
    return visited


def test_from_a_zip_to_the_heat_map_of_one(visit: Callable[..., Visit], tmp_path: Path) -> None:
    path = tmp_path / "case.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", small_patch(PHANTOMS[2], 5))
        archive.writestr("b.png", b"no image")
    visited = opened(visit, path, 2)
    page = visited.page
    download = page.get_by_role("button", name="All as CSV")
    expect(download).to_be_visible(timeout=60_000)
    settle(page)
    with page.expect_download() as file:
        download.click()
    rows = list(csv.DictReader(io.StringIO(Path(file.value.path()).read_bytes().decode(), newline="")))
    assert [(row["file"], row["status"]) for row in rows] == [
        ("image 1", "ok"),
        ("image 2", "refused"),
    ]
    assert rows[1]["reason"].startswith("The file is not an image")
    page.get_by_text("Include file names").click()
    settle(page)
    page.wait_for_timeout(500)
    settle(page)
    with page.expect_download() as file:
        download.click()
    rows = list(csv.DictReader(io.StringIO(Path(file.value.path()).read_bytes().decode(), newline="")))
    assert [row["file"] for row in rows] == ["case.zip/a.png", "case.zip/b.png"]
    table = page.get_by_test_id("stDataFrame").bounding_box()
    assert table is not None
    page.mouse.click(table["x"] + 16, table["y"] + 36 + 36)  # the box of the first row; the table is a canvas
    page.get_by_role("button", name="Open in Second opinion").click()
    expect(page.get_by_text("From the batch: case.zip/a.png")).to_be_visible(timeout=60_000)
    expect(page.locator(".viewer .value-area")).not_to_be_empty(timeout=60_000)
    go_to(page, "Batch")
    expect(download).to_be_visible(timeout=60_000)  # the results are still there
    assert visited.complaints == []


@pytest.mark.exhaustive(instead="pages/test_batch.py::test_cancelled_it_keeps_what_it_has")
def test_cancel_stops_and_keeps(visit: Callable[..., Visit], tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    image = small_patch(PHANTOMS[0])
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}.png", image)
    page = opened(visit, path, 20).page
    expect(page.get_by_text("left")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("of 20 images analysed.")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="All as CSV")).to_be_visible(timeout=60_000)
    settle(page)


@pytest.mark.exhaustive(instead="browser/test_reload.py::test_an_image_its_threshold_and_a_batch_stay")
def test_several_files_dropped_on_the_first_page_are_a_batch(visit: Callable[..., Visit], tmp_path: Path) -> None:
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for number, path in enumerate(paths):
        path.write_bytes(small_patch(PHANTOMS[number], 6))
    visited = visit()
    page = visited.page
    page.get_by_text("Drop an H&E breast patch").wait_for(timeout=60_000)
    settle(page)
    # Also while an own read is wanted: the address holds that switch, which must not stand in the way to another page.
    switch = page.get_by_text("Record my own read first", exact=True)
    switch.click()
    expect(page).to_have_url(re.compile("read-first=true"))
    script_ended(page)
    page.locator("input[type=file]").set_input_files(paths)
    expect(page.get_by_role("button", name="All as CSV")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("All 2")).to_be_visible()
    # One more, alone, is the first page's.
    go_to(page, "Second opinion")
    page.get_by_text("Drop an H&E breast patch").wait_for(timeout=60_000)
    script_ended(page)
    switch.click()
    expect(page).not_to_have_url(re.compile("read-first=true"))
    script_ended(page)
    page.locator("input[type=file]").set_input_files(paths[1])
    expect(page.get_by_text("Your image: two.png")).to_be_visible(timeout=60_000)
    settle(page)
    # Beside a batch that is there the next files wait, and keep nobody from the first page.
    page.locator("input[type=file]").set_input_files(paths)
    expect(page.get_by_text("2 images from the first page")).to_be_visible(timeout=60_000)
    settle(page)
    go_to(page, "Second opinion")
    expect(page.get_by_text("Drop an H&E breast patch")).to_be_visible(timeout=60_000)
    settle(page)
    expect(page.get_by_text("Your image")).to_have_count(0)
    expect(page.get_by_role("button", name="All as CSV")).to_have_count(0)
    assert visited.complaints == []
