"""The main job in a real browser: upload, verdict, drag the slider, see another image; a bad file is a sentence."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
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
    url = image.evaluate("""async image => {
        const content = await (await fetch(image.src)).blob();
        return new Promise(done => {
            const reader = new FileReader();
            reader.onload = () => done(reader.result);
            reader.readAsDataURL(content);
        });
    }""")
    return base64.b64decode(url.partition(",")[2])


def record(page: Page) -> dict[str, Any]:
    return json.loads(downloaded(page, "Numbers (JSON)"))["opinion"]


@pytest.fixture(scope="module")
def visited(visits: Callable[..., AbstractContextManager[Visit]]) -> Iterator[Visit]:
    """One visit for all of these tests."""
    with visits() as found:
        yield found


@pytest.fixture
def page(visited: Visit, patch: Path) -> Page:
    """Its page, with the patch and its answer; what was there before is replaced."""
    page = visited.page
    if not page.get_by_text("Your image: patch.png").is_visible():
        upload(page, patch)
        expect(page.get_by_text("Your image: patch.png")).to_be_visible(timeout=60_000)
        wait_for_verdict(page)
    return page


def test_dragging_the_slider_redraws_one_panel_and_runs_no_network(page: Page, visited: Visit, app: Served) -> None:
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


def test_the_slider_keeps_the_focus_when_the_server_answers(page: Page) -> None:
    slider = page.get_by_role("slider", name="Dynamic threshold")
    slider.focus()
    start = float(slider.input_value())
    for times in range(1, 4):
        page.keyboard.press("ArrowRight")  # wherever the focus is by now
        expect(page.get_by_text(OF_WHAT)).to_contain_text(f"k = {start + 0.05 * times:.3g}", timeout=60_000)
        settle(page)
        expect(slider).to_be_focused()


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


def test_no_answer_stands_below_the_name_of_another_image(page: Page, tmp_path: Path) -> None:
    second = tmp_path / "ducts.png"
    second.write_bytes(encode_png(draw("regular_ducts", seed=2).pixels))
    answers = [said(page)]
    page.evaluate(WATCH)
    upload(page, second)
    expect(page.get_by_text("Your image: ducts.png")).to_be_visible(timeout=60_000)
    settle(page)
    answers.append(said(page))
    assert answers[0] != answers[1]
    seen = page.evaluate("[...window.seen]")
    hidden = {"patch.png: ", "ducts.png: "}  # of the one before, too, for a moment
    assert set(seen) <= hidden | {f"patch.png: {answers[0]}", f"ducts.png: {answers[1]}"}
    assert f"ducts.png: {answers[1]}" in seen


def test_downloads_are_the_bytes_on_the_screen(page: Page) -> None:
    """Of the plain view; what the viewer draws is compared pixel by pixel in test_viewer.py."""
    page.get_by_text("Plain view", exact=True).click()
    expect(plain_panel(page, "dt")).to_be_visible(timeout=60_000)
    settle(page)
    for name, button in (("gradcam", "Grad-CAM (PNG)"), ("dt", "DT Grad-CAM (PNG)")):
        content = downloaded(page, button)
        assert content.startswith(b"\x89PNG")
        assert content == fetched(plain_panel(page, name))
    page.get_by_text("Plain view", exact=True).click()
    expect(page.locator(KEPT_AREA)).not_to_be_empty(timeout=60_000)
    settle(page)


def panels_are_of_one_size_and_seen_without_scrolling(page: Page) -> None:
    boxes = []
    for name in PANELS:
        expect(panel(page, name)).to_be_in_viewport(ratio=1)
        boxes.append(panel(page, name).bounding_box())
    assert all(box is not None and box["width"] > 300 for box in boxes)
    for side in ("y", "width", "height"):
        values = [box[side] for box in boxes if box is not None]
        assert max(values) - min(values) < 1


def test_an_example_takes_the_place_of_an_upload(page: Page) -> None:
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


def test_refusals_are_sentences(visited: Visit, patch: Path, tmp_path: Path) -> None:
    """A text file named PNG, a patch that takes its place, and a grey image, which gets the reason and no verdict."""
    page = visited.page
    fake = tmp_path / "fake.png"
    fake.write_text("no image at all")
    upload(page, fake)
    alert = page.get_by_test_id("stAlert")
    kinds = "PNG, JPEG, TIFF, BMP, WebP, PGM and DICOM"
    expect(alert).to_have_text(f"'fake.png' is not an image of an accepted kind ({kinds}).")
    settle(page)
    upload(page, patch)
    expect(page.get_by_text("Your image: patch.png")).to_be_visible(timeout=60_000)
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
