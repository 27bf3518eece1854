"""The main job in a real browser: upload, verdict, drag the slider, see another image; a bad file is a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import pytest
from playwright.sync_api import Locator, Page, expect

from dala.explanation.render import encode_png
from dala.phantoms.tissue import PHANTOMS, draw
from tests.helpers.browser import Served, Visit, downloaded, settle

PANELS = {"patch": "Patch", "gradcam": "Grad-CAM towards", "dt": "DT Grad-CAM: above the threshold"}
KEPT_AREA = ".viewer .value-area"
OF_WHAT = "Table and downloads"  # the server's line: which setting they are of


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "patch.png"
    path.write_bytes(encode_png(draw(PHANTOMS[2], seed=5).pixels))
    return path


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(path)


def wait_for_verdict(page: Page) -> None:
    expect(page.get_by_role("heading", level=2)).to_be_visible(timeout=60_000)
    expect(page.get_by_text(PANELS["dt"])).to_be_attached(timeout=60_000)
    settle(page)


def said(page: Page) -> str:
    return page.get_by_role("heading", level=2).inner_text()


def panel(page: Page, name: str) -> Locator:
    return page.locator(".viewer figure").filter(has_text=re.compile(f"^{PANELS[name]}")).locator("canvas")


def plain_panel(page: Page, name: str) -> Locator:
    return page.get_by_test_id("stImage").filter(has_text=PANELS[name]).locator("img").last


def images(page: Page) -> dict[str, bytes]:
    """Screenshots of the three panes, from the same place: a download scrolls the page below its header."""
    page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
    panel(page, "patch").hover()
    page.mouse.move(0, 0)
    return {name: panel(page, name).screenshot() for name in PANELS}


def fetched(image: Locator) -> bytes:
    """The very bytes of the image that the browser shows."""
    return bytes(
        image.evaluate("async image => [...new Uint8Array(await (await fetch(image.src)).arrayBuffer())]"),
    )


def record(page: Page) -> dict[str, Any]:
    return json.loads(downloaded(page, "Numbers (JSON)"))["opinion"]


def test_dragging_the_slider_redraws_one_panel_and_runs_no_network(
    visit: Callable[..., Visit], app: Served, patch: Path
) -> None:
    visited = visit()
    page = visited.page
    upload(page, patch)
    wait_for_verdict(page)
    verdict, numbers = said(page), record(page)
    assert numbers["prediction"] in verdict.lower()
    before = images(page)
    area = page.locator(KEPT_AREA)
    shown = area.inner_text()

    slider = page.get_by_role("slider", name="Dynamic threshold")
    slider.hover()  # from under the header, where the screenshots may have scrolled it
    box = slider.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 80, y, steps=5)
    page.mouse.up()
    expect(area).not_to_have_text(shown, use_inner_text=True)
    expect(page.get_by_text(OF_WHAT)).to_contain_text(f"kept area: {area.inner_text()}")
    settle(page)

    after = images(page)
    assert {name for name in PANELS if after[name] != before[name]} == {"dt"}
    assert said(page) == verdict
    moved = record(page)
    assert moved["parameter"] < numbers["parameter"]
    assert moved["kept_area"] > numbers["kept_area"]
    # That nothing went through the network is counted in tests/pages; here the map that came back is the same.
    assert moved["map"] == numbers["map"] and moved["probabilities"] == numbers["probabilities"]
    assert {urlsplit(url).hostname for url in visited.requests if not url.startswith("blob:")} == {"localhost"}
    assert visited.complaints == []
    assert "Traceback" not in app.log.read_text()


def test_downloads_are_the_bytes_on_the_screen(visit: Callable[..., Visit], app: Served, patch: Path) -> None:
    """Of the plain view; what the viewer draws is compared pixel by pixel in test_viewer.py."""
    page = visit().page
    page.goto(f"{app.url}/?plain=true")
    settle(page)
    upload(page, patch)
    wait_for_verdict(page)
    for name, button in (("gradcam", "Grad-CAM (PNG)"), ("dt", "DT Grad-CAM (PNG)")):
        content = downloaded(page, button)
        assert content.startswith(b"\x89PNG")
        assert content == fetched(plain_panel(page, name))


def panels_are_of_one_size_and_seen_without_scrolling(page: Page) -> None:
    boxes = []
    for name in PANELS:
        expect(panel(page, name)).to_be_in_viewport(ratio=1)
        boxes.append(panel(page, name).bounding_box())
    assert all(box is not None and box["width"] > 300 for box in boxes)
    for side in ("y", "width", "height"):
        values = [box[side] for box in boxes if box is not None]
        assert max(values) - min(values) < 1


def test_refusals_are_sentences(visit: Callable[..., Visit], patch: Path, tmp_path: Path) -> None:
    """A text file named PNG, a patch that takes its place, and a grey image, which gets the reason and no verdict."""
    visited = visit()
    page = visited.page
    fake = tmp_path / "fake.png"
    fake.write_text("no image at all")
    upload(page, fake)
    alert = page.get_by_test_id("stAlert")
    kinds = "PNG, JPEG, TIFF, BMP, WebP, PGM and DICOM"
    expect(alert).to_have_text(f"'fake.png' is not an image of an accepted kind ({kinds}).")
    settle(page)
    upload(page, patch)
    wait_for_verdict(page)
    expect(page.get_by_text("fake.png").filter(visible=True)).to_have_count(0)
    visited.complaints.clear()  # of images that went before they had come
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), cv2.imread(str(patch), cv2.IMREAD_GRAYSCALE))
    upload(page, grey)
    expect(page.get_by_test_id("stAlert").filter(has_text="The image is grey")).to_be_visible(timeout=60_000)
    settle(page)
    expect(page.get_by_role("heading", name="Outside the model's competence")).to_be_visible()
    expect(page.get_by_test_id("stAlert")).to_contain_text("The image is grey")
    expect(page.get_by_role("heading", level=2)).to_have_count(1)
    expect(page.get_by_text(PANELS["dt"])).to_have_count(0)
    page.get_by_text("Show me anyway").click()
    expect(page.get_by_text(PANELS["dt"])).to_be_attached(timeout=60_000)
    settle(page)
    expect(page.get_by_role("heading", name="Outside the model's competence")).to_be_visible()
    assert record(page)["status"] == "outside"
    assert visited.complaints == []


def test_an_example_takes_the_place_of_an_upload(visit: Callable[..., Visit], patch: Path) -> None:
    page = visit().page
    upload(page, patch)
    wait_for_verdict(page)
    page.get_by_role("combobox", name="Examples").click()
    page.get_by_role("option", name="Drawn example: mucin pools").click()
    # For a moment the refusal of the upload may stand beside it.
    told = page.get_by_test_id("stAlert").filter(has_text="it is not tissue and has no diagnosis")
    expect(told).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stAlert")).to_have_count(1)
    settle(page)
    panels_are_of_one_size_and_seen_without_scrolling(page)
    assert record(page)["file"] is None  # nobody has said that the name may be written
    page.get_by_text("Add your own read and a comment").click()
    page.get_by_text("Include the file name").click()
    expect(page.get_by_role("switch", name="Include the file name")).to_be_checked()
    page.wait_for_timeout(500)  # the click on its way to the server: no run has begun that could be waited for
    settle(page)
    assert record(page)["file"] == "mucin_pools.png"
    expect(page.get_by_text("patch.png").filter(visible=True)).to_have_count(0)


WATCH = """() => {
  window.seen = new Set();
  const look = () => {
    const verdict = document.querySelector('.st-key-verdict h2');
    const visible = verdict && getComputedStyle(verdict).visibility === 'visible';
    const name = document.querySelector('.st-key-image-line')?.innerText.match(/[\\w]+\\.png/)?.[0];
    if (name) window.seen.add(name + ': ' + (visible ? verdict.innerText : ''));
    requestAnimationFrame(look);
  };
  look();
}"""


def test_no_answer_stands_below_the_name_of_another_image(visit: Callable[..., Visit], tmp_path: Path) -> None:
    page, (first, second) = visit().page, (tmp_path / "sheets.png", tmp_path / "ducts.png")
    first.write_bytes(encode_png(draw("solid_sheets", seed=2).pixels))
    second.write_bytes(encode_png(draw("regular_ducts", seed=2).pixels))
    answers = []
    upload(page, first)
    wait_for_verdict(page)
    answers.append(said(page))
    page.evaluate(WATCH)
    upload(page, second)
    expect(page.get_by_text("Your image: ducts.png")).to_be_visible(timeout=60_000)
    settle(page)
    answers.append(said(page))
    assert answers[0] != answers[1]
    seen = page.evaluate("[...window.seen]")
    hidden = {"sheets.png: ", "ducts.png: "}  # of the one before, too, for a moment
    assert set(seen) <= hidden | {f"sheets.png: {answers[0]}", f"ducts.png: {answers[1]}"}
    assert f"ducts.png: {answers[1]}" in seen


def test_the_slider_keeps_the_focus_when_the_server_answers(visit: Callable[..., Visit], patch: Path) -> None:
    page = visit().page
    upload(page, patch)
    wait_for_verdict(page)
    slider = page.get_by_role("slider", name="Dynamic threshold")
    slider.focus()
    for times in range(1, 4):
        page.keyboard.press("ArrowRight")  # wherever the focus is by now
        expect(page.get_by_text(OF_WHAT)).to_contain_text(f"k = {1 + 0.05 * times:.3g}", timeout=60_000)
        settle(page)
        expect(slider).to_be_focused()
