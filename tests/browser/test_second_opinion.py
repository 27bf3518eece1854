"""The main job in a real browser: upload, verdict, drag the slider, see another picture; a bad file is a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from dala.explain.render import encode_png
from dala.phantoms import PHANTOMS, draw
from tests.browser.conftest import Served, Visit


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "patch.png"
    path.write_bytes(encode_png(draw(PHANTOMS[2], seed=5).pixels))
    return path


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(path)


def settle(page: Page) -> None:
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)


def panel(page: Page, number: int) -> bytes:
    image = page.get_by_test_id("stImage").nth(number).locator("img")
    expect(image).to_be_visible()
    page.wait_for_load_state("networkidle")
    return image.screenshot()


def test_upload_verdict_and_slider(visit: Callable[..., Visit], app: Served, patch: Path) -> None:
    visited = visit()
    page = visited.page
    upload(page, patch)
    expect(page.get_by_text("DT Grad-CAM: above the threshold")).to_be_visible(timeout=60_000)
    settle(page)
    verdict = page.get_by_role("heading", level=2).inner_text()
    assert verdict.split()[-1] in ("Benign", "Malignant")
    probability = page.get_by_text("Model probability").inner_text()
    area = page.get_by_test_id("stMetric").nth(1)
    tissue, gradcam, dt, before = panel(page, 0), panel(page, 1), panel(page, 2), area.inner_text()
    thumb = page.get_by_role("slider", name="Dynamic threshold")
    box = thumb.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 80, y, steps=5)
    page.mouse.up()
    expect(area).not_to_have_text(before)
    settle(page)
    assert panel(page, 2) != dt
    assert panel(page, 1) == gradcam
    assert panel(page, 0) == tissue
    assert page.get_by_role("heading", level=2).inner_text() == verdict
    assert page.get_by_text("Model probability").inner_text() == probability
    assert {urlsplit(url).hostname for url in visited.requests if not url.startswith("blob:")} == {"localhost"}
    assert visited.complaints == []
    assert "Traceback" not in app.log.read_text()


def test_a_text_file_named_png_is_a_sentence(visit: Callable[..., Visit], patch: Path, tmp_path: Path) -> None:
    page = visit().page
    fake = tmp_path / "fake.png"
    fake.write_text("no picture at all")
    upload(page, fake)
    alert = page.get_by_test_id("stAlert")
    expect(alert).to_be_visible(timeout=30_000)
    assert alert.inner_text().strip().endswith(".")
    page.get_by_role("button", name="Remove").first.click()
    settle(page)
    upload(page, patch)
    expect(page.get_by_text("DT Grad-CAM: above the threshold")).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (480, False)])
def test_nothing_overflows(visit: Callable[..., Visit], patch: Path, width: int, dark: bool) -> None:
    page = visit(width=width, dark=dark).page
    upload(page, patch)
    expect(page.get_by_text("DT Grad-CAM: above the threshold")).to_be_attached(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
