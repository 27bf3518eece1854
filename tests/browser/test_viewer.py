"""The viewer in a real browser: linked zoom and pan, live numbers that are the server's, lens, screens, fallback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from dala.explanation.render import encode_png
from dala.explanation.threshold import RULES
from dala.phantoms.tissue import PHANTOMS, draw
from tests.helpers.browser import Served, Visit, downloaded, go_to, script_ended, settle, until

KINDS = ("patch", "gradcam", "dt")
READINGS = ("threshold", "area", "evidence", "regions")


def canvas(page: Page, kind: str) -> Locator:
    return page.locator(f".viewer [data-kind={kind}] canvas")


def pane(page: Page, kind: str) -> Locator:
    return page.locator(f".viewer [data-kind={kind}] .pane")


def parameter(page: Page) -> Locator:
    return page.get_by_role("slider", name="Dynamic threshold")


def opened(visited: Visit, example: str = "Solid sheets") -> Page:
    page = visited.page
    page.get_by_role("button", name=example, exact=True).click()
    expect(page.locator(".viewer .value-area")).not_to_be_empty(timeout=60_000)
    settle(page)
    return page


def frames(page: Page, count: int = 2) -> None:
    page.evaluate("n => new Promise(done => { const f = () => n-- ? requestAnimationFrame(f) : done(); f() })", count)


def views(page: Page) -> list[tuple[float, ...]]:
    """Zoom and centre (pixels of the display image) that each pane was last drawn with."""
    frames(page)
    said = [canvas(page, kind).get_attribute("data-view") or "" for kind in KINDS]
    return [tuple(float(number) for number in one.split()) for one in said]


def view(page: Page) -> tuple[float, ...]:
    first, *others = views(page)
    assert others == [first, first], "the panes are not linked"
    return first


def middle(page: Page, kind: str) -> tuple[float, float]:
    box = pane(page, kind).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def readings(page: Page) -> list[str]:
    return [page.locator(f".viewer .value-{name}").inner_text() for name in READINGS]


def agreed(page: Page) -> None:
    """Waits until the server has said the kept area that the viewer shows, which it draws a frame after a change."""
    frames(page)
    expect(page.get_by_text("Table and downloads")).to_contain_text(f"kept area: {readings(page)[1]}")


def record(page: Page) -> dict[str, Any]:
    return json.loads(downloaded(page, "Numbers (JSON)"))["opinion"]


def as_written(numbers: dict[str, Any]) -> list[str]:
    """The server's numbers as the viewer writes them."""
    return [
        f"{numbers['threshold']:.3g}",
        f"{100 * numbers['kept_area']:.1f} %",
        f"{100 * numbers['kept_evidence']:.0f} %",
        str(len(numbers["regions"])),
    ]


def pixels(page: Page, kind: str) -> np.ndarray:
    data = canvas(page, kind).evaluate("canvas => canvas.toDataURL().split(',')[1]")
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)


def fits(page: Page, shown: tuple[str, ...]) -> None:
    """Nothing is wider than the screen; these panes are shown at first, and all of them when they are asked for."""
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.get_by_test_id("stMain").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    assert page.locator(".viewer").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    assert tuple(kind for kind in KINDS if canvas(page, kind).is_visible()) == shown
    page.locator(".viewer .shown").get_by_text("All three").click()
    boxes = [pane(page, kind).bounding_box() for kind in KINDS]
    assert all(box is not None and box["width"] > 300 for box in boxes)


def keys_reach_everything(page: Page) -> None:
    """The threshold is put back."""
    # Every control is reached with the keyboard and shows that it has it.
    page.locator(".viewer [name=target]:checked").focus()
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
                let e = document.activeElement;
                while (e?.shadowRoot) e = e.shadowRoot.activeElement;
                if (!e?.closest(".viewer")) return null;
                const shown = e.type === "radio" ? e.closest("label") : e;
                const width = parseFloat(getComputedStyle(shown).outlineWidth);
                return [e.className.split(" ")[0] || e.name || e.tagName, width];
            }""")
        )
    names = [one[0] for one in reached if one is not None]
    for name in ("rule", "parameter", "SUMMARY", "shown", "lens", "out", "in", "fit", "full", "pane"):
        assert name in names, reached
    assert names.count("pane") == 3
    assert all(width >= 1 for _, width in filter(None, reached)), reached
    # An arrow key moves the slider. The browser waits for further keys before it tells the server.
    area = page.locator(".viewer .value-area")
    before = area.inner_text()
    parameter(page).focus()
    parameter(page).press("ArrowRight")
    expect(parameter(page)).to_have_value("1.05")
    expect(area).not_to_have_text(before, use_inner_text=True)
    agreed(page)
    settle(page)
    assert record(page)["parameter"] == pytest.approx(1.05)
    put_back(page)


def put_back(page: Page) -> None:
    """Threshold and view as they were at first."""
    page.locator(".viewer .reset").click()
    expect(parameter(page)).to_have_value("1")
    agreed(page)
    script_ended(page)


@pytest.fixture(scope="module")
def visited_solid(visits: Callable[..., AbstractContextManager[Visit]]) -> Iterator[Visit]:
    """The example "Solid sheets", opened once for tests that leave the viewer as they found it."""
    with visits() as visited:
        opened(visited)
        yield visited


@pytest.fixture
def solid(visited_solid: Visit) -> Iterator[Page]:
    """Its page. Before a test the whole image is shown in all three panes and nothing lies under the pointer."""
    page = visited_solid.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.mouse.move(5, 5)
    page.locator(".viewer .shown").get_by_text("All three").click()
    page.get_by_role("button", name="Fit").click()
    page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
    frames(page)
    yield page
    assert visited_solid.complaints == []


def test_wheel_drag_and_keys_move_all_panes_alike(solid: Page, visited_solid: Visit, app: Served) -> None:
    visited, page = visited_solid, solid
    zoom, x, y = view(page)
    assert zoom == 1
    left, top = middle(page, "gradcam")

    # The point under the pointer stays where it is.
    page.mouse.move(left + 60, top - 30)
    page.mouse.wheel(0, -400)
    expect(canvas(page, "patch")).not_to_have_attribute("data-view", re.compile(r"^1\.0000 "))
    zoomed, x2, y2 = view(page)
    assert zoomed == pytest.approx(np.exp(0.6), rel=1e-3)
    assert x2 > x
    assert y2 < y

    # A drag to the left by 50 pixels shows what lay 50 pixels to the right.
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left - 50, top + 20, steps=5)
    page.mouse.up()
    _, x3, y3 = view(page)
    box = pane(page, "dt").bounding_box()
    assert box is not None
    scale = zoomed * min(box["width"] / 700, box["height"] / 460)
    assert x3 - x2 == pytest.approx(50 / scale, abs=0.01)
    assert y3 - y2 == pytest.approx(-20 / scale, abs=0.01)

    pane(page, "patch").focus()
    for key, moved in (("ArrowRight", 1), ("ArrowLeft", 1), ("ArrowDown", 2), ("ArrowUp", 2), ("+", 0), ("-", 0)):
        before = view(page)
        page.keyboard.press(key)
        after = view(page)
        assert after[moved] != before[moved], key
        assert (after[moved] > before[moved]) is (key in ("ArrowRight", "ArrowDown", "+")), key
    page.keyboard.press("0")
    assert view(page) == (1, x, y)
    # Neither below the whole image nor without end.
    page.keyboard.press("-")
    assert view(page) == (1, x, y)
    for _ in range(30):
        page.keyboard.press("+")
    box = pane(page, "patch").bounding_box()
    assert box is not None
    assert view(page)[0] * box["width"] / 700 == pytest.approx(8, rel=0.01)
    page.get_by_role("button", name="Fit").click()
    assert view(page) == (1, x, y)
    assert visited.complaints == []
    hosts = {urlsplit(url).hostname for url in visited.requests if not url.startswith(("blob:", "data:"))}
    assert hosts == {"localhost"}
    assert "Traceback" not in app.log.read_text()


def test_two_fingers_zoom(solid: Page) -> None:
    page = solid
    left, top = middle(page, "patch")
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (left - 30, top), (left + 30, top))
    for apart in (40, 50, 60):
        touch("touchMove", (left - apart, top), (left + apart, top))
    touch("touchEnd")
    assert view(page)[0] == pytest.approx(2, rel=0.02)
    session.detach()


def test_a_page_that_is_scrolled_goes_on_scrolling_over_a_pane(solid: Page) -> None:
    page = solid
    page.set_viewport_size({"width": 1280, "height": 600})
    frames(page)
    pane(page, "patch").scroll_into_view_if_needed()
    before = view(page)
    scrolled = page.get_by_test_id("stMain").evaluate("e => e.scrollTop")
    # Nothing to zoom out of: the wheel belongs to the page.
    page.mouse.move(*middle(page, "patch"))
    page.mouse.wheel(0, 100)
    page.wait_for_function("top => document.querySelector('[data-testid=stMain]').scrollTop > top", arg=scrolled)
    assert view(page) == before


def test_numbers_follow_a_drag_without_the_server_and_are_its_own_after_it(solid: Page, visited_solid: Visit) -> None:
    page, sent = solid, visited_solid.sent
    before = readings(page)
    start = record(page)
    assert before == as_written(start)
    # The download has scrolled the page.
    parameter(page).hover()
    box = parameter(page).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    asked = len(sent)
    seen = {tuple(before)}
    for step in range(1, 9):
        page.mouse.move(x - 12 * step, y)
        frames(page)
        seen.add(tuple(readings(page)))
    assert len(seen) == 9, "every move has numbers of its own"
    page.wait_for_timeout(400)
    assert len(sent) == asked, "a slider that is held asks the server nothing"
    page.mouse.up()
    agreed(page)
    settle(page)
    assert len(sent) == asked + 1
    after = record(page)
    assert after["parameter"] == float(parameter(page).input_value())
    assert after["parameter"] < start["parameter"]
    assert readings(page) == as_written(after)
    put_back(page)


def test_the_panes_are_the_exports(solid: Page) -> None:
    """At one screen pixel for each of the image the overlay differs by rounding only, and DT by its lines only.

    Besides, the page draws a scale bar, at the lower left.
    """
    page = solid
    page.set_viewport_size({"width": 1280, "height": 1400})
    frames(page)
    width = 1280
    # The margins of the page depend on its width.
    for _ in range(3):
        space = page.locator(".viewer .stage").bounding_box()
        assert space is not None
        width += 700 - round(space["width"])
        page.set_viewport_size({"width": width, "height": 1400})
        frames(page)
    for kind, button, differ in (("gradcam", "Grad-CAM (PNG)", 0.0), ("dt", "DT Grad-CAM (PNG)", 0.06)):
        page.locator(".viewer .shown").get_by_text("DT Grad-CAM" if kind == "dt" else "Grad-CAM", exact=True).click()
        expect(page.locator(".viewer .zoom")).to_have_text("100 %")
        frames(page)
        drawn = pixels(page, kind)
        exported = cv2.imdecode(np.frombuffer(downloaded(page, button), np.uint8), cv2.IMREAD_COLOR_RGB)
        assert drawn.shape == exported.shape == (460, 700, 3)
        far = np.abs(drawn.astype(int) - exported).max(axis=2) > 2
        far[-40:, :240] = False
        assert far.mean() <= differ


def test_the_lens_shows_the_other_image(solid: Page) -> None:
    page = solid
    for kind, other in (("patch", "dt"), ("dt", "patch"), ("gradcam", "patch")):
        expected = pixels(page, other)
        plain = pixels(page, kind)
        pane(page, kind).focus()
        page.keyboard.press("l")
        expect(page.get_by_role("button", name="Lens")).to_have_attribute("aria-pressed", "true")
        frames(page)
        seen = pixels(page, kind)
        rows, columns = (side // 2 for side in seen.shape[:2])
        inside = np.s_[rows - 40 : rows + 40, columns - 40 : columns + 40]
        np.testing.assert_allclose(seen[inside].astype(int), expected[inside], atol=1)  # rounding of the browser's
        np.testing.assert_array_equal(seen[:, :20], plain[:, :20])
        page.keyboard.press("l")
        frames(page)
        np.testing.assert_array_equal(pixels(page, kind), plain)


def test_a_region_tells_its_numbers(solid: Page) -> None:
    page = solid
    region = record(page)["regions"][0]
    left, top, right, bottom = region["box"]
    # What was seen before may have scrolled the pane's upper edge below the navigation.
    page.get_by_test_id("stMain").evaluate("main => { main.scrollTop = 0; }")
    pane(page, "dt").hover()
    box = canvas(page, "dt").bounding_box()
    assert box is not None
    scale = min(box["width"] / 700, box["height"] / 460)  # the pane may be lower than the image is
    beside, above = (box["width"] - 700 * scale) / 2, (box["height"] - 460 * scale) / 2
    tip = page.get_by_role("tooltip")
    # Somewhere in its box lies the region.
    found = set()
    for x in np.linspace(left + 1, right - 1, 5):
        for y in np.linspace(top + 1, bottom - 1, 5):
            page.mouse.move(box["x"] + beside + x * scale, box["y"] + above + y * scale)
            if tip.is_visible():
                found.add(tip.inner_text().split("; here")[0])
    assert f"Region 1: area {100 * region['area']:.1f} %, evidence {100 * region['evidence']:.1f} %" in found
    crosses = [page.locator(f".viewer [data-kind={kind}] .cross") for kind in KINDS]
    assert [cross.evaluate("e => getComputedStyle(e).visibility") for cross in crosses] == ["visible"] * 2 + ["hidden"]
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_full_screen_fills_it_and_comes_back(solid: Page) -> None:
    page = solid
    button = page.get_by_role("button", name="Full screen")
    before = pane(page, "dt").bounding_box()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.locator(".viewer .shown").get_by_text("DT Grad-CAM", exact=True).click()
    frames(page, 4)
    large = pane(page, "dt").bounding_box()
    assert before is not None
    assert large is not None
    assert large["width"] > 2 * before["width"]
    assert large["y"] + large["height"] <= 900
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")


def test_three_panes_fit_take_either_theme_and_every_key(solid: Page) -> None:
    """A narrow screen is looked at in `test_access.py`, on the page of a phone."""
    page = solid
    fits(page, KINDS)
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        expect(page.locator(".viewer")).to_have_css("color-scheme", theme)
    keys_reach_everything(page)


def test_every_rule_target_and_display_setting_reaches_the_server(solid: Page) -> None:
    """One of the last of that page, for it leaves the settings changed."""
    page = solid
    start = record(page)
    for rule in ("evidence", "otsu", "percentile", "fixed", "mean_std"):
        page.get_by_label("Threshold rule").select_option(rule)
        expect(page.get_by_text("Table and downloads")).to_contain_text(f", {RULES[rule].label}, ")
        agreed(page)
        settle(page)
        numbers = record(page)
        assert numbers["rule"] == rule
        assert readings(page) == as_written(numbers)
    other = "benign" if start["target"] == "malignant" else "malignant"
    page.locator(".viewer .targets").get_by_text(other).click()
    expect(page.get_by_text("Table and downloads")).to_contain_text(f"towards {other}")
    settle(page)
    numbers = record(page)
    assert numbers["target"] == other
    assert readings(page) == as_written(numbers)
    expect(page.get_by_text(f"Grad-CAM towards {other}")).to_be_visible()

    page.locator(".viewer summary").click()
    page.get_by_label("Colour map").select_option("magma")
    page.get_by_label("Scale of the last colour").select_option("fixed")
    limit = float(page.get_by_label("Last colour (raw map units)").input_value())
    until(page, lambda: record(page)["colour_limit"] == limit)  # which the page itself does not write
    page.keyboard.press("Escape")


def test_a_scale_bar_where_the_pixel_size_is_known(solid: Page) -> None:
    """One of the last of that page, for it changes the size of a pixel."""
    page = solid
    page.get_by_role("button", name="Change").click()
    page.get_by_role("radio", name="Unknown").click()
    expect(canvas(page, "patch")).to_have_attribute("data-scale", "", timeout=60_000)
    settle(page)
    without = pixels(page, "patch")
    page.get_by_role("spinbutton", name="Or micrometres per pixel").fill("0.35")
    page.get_by_role("spinbutton", name="Or micrometres per pixel").press("Enter")
    expect(canvas(page, "patch")).to_have_attribute("data-scale", re.compile(r"\d"), timeout=60_000)
    settle(page)

    def bar() -> tuple[float, float]:
        """Its length in micrometres and in CSS pixels, as the canvas says."""
        length, unit, long = (canvas(page, "patch").get_attribute("data-scale") or "").split()
        return float(length) * {"µm": 1, "mm": 1000}[unit], float(long)

    microns, long = bar()
    box = pane(page, "patch").bounding_box()
    assert box is not None
    # 700 pixels of 0.35 um fill the pane's width.
    assert long == pytest.approx(microns / (700 * 0.35) * box["width"], rel=0.01)
    assert 0.1 * box["width"] < long <= 0.3 * box["width"]
    # What is drawn is a white bar so long, at the lower left.
    changed = (pixels(page, "patch") != without).any(-1)
    rows = np.nonzero(changed)[0]
    assert rows.min() > 0.7 * changed.shape[0]
    white = (pixels(page, "patch") == 255).all(-1) & changed
    assert white.sum(1).max() == pytest.approx(long, abs=2)
    # Twice as large, it stands for half as much or is twice as long.
    pane(page, "patch").focus()
    for _ in range(4):
        page.keyboard.press("+")
    frames(page)
    zoomed, longer = bar()
    assert longer / zoomed == pytest.approx(1.25**4 * long / microns, rel=0.01)


def test_a_large_patch_shows_its_own_pixels(solid: Page, tmp_path: Path) -> None:
    """1600 x 1200 with a pattern of single pixels: lost at display size, seen again when zoomed in.

    From here on the page of these tests shows other images.
    """
    tissue = cv2.resize(draw(PHANTOMS[2]).pixels, (1600, 1200), interpolation=cv2.INTER_CUBIC)
    tissue[500:700:2, 700:900] = 0
    tissue[501:700:2, 700:900] = 255
    path = tmp_path / "large.png"
    Image.fromarray(tissue).save(path, dpi=(203_200, 203_200))  # 0.125 um a pixel: a single field
    page = solid
    page.locator("input[type=file]").set_input_files(path)
    expect(page.get_by_text("Your image: large.png")).to_be_visible(timeout=60_000)
    expect(page.locator("[data-stale=true]")).to_have_count(0, timeout=60_000)
    expect(page.locator(".viewer .value-area")).not_to_be_empty(timeout=60_000)
    settle(page)
    assert readings(page) == as_written(record(page))
    page.locator(".viewer .shown").get_by_text("Patch", exact=True).click()
    pane(page, "patch").focus()
    for _ in range(40):
        page.keyboard.press("+")
    expect(page.locator(".viewer .zoom")).to_have_text("800 %")
    frames(page, 3)
    grey = pixels(page, "patch").mean(axis=2)
    row = grey[grey.shape[0] // 2 - 32 : grey.shape[0] // 2 + 32, grey.shape[1] // 2]
    # Four dark and four light rows of the patch, each eight screen pixels high.
    assert (row < 60).mean() == pytest.approx(0.5, abs=0.1)
    assert (row > 195).mean() == pytest.approx(0.5, abs=0.1)


def test_settings_survive_another_image(solid: Page) -> None:
    page = solid
    page.get_by_label("Threshold rule").select_option("fixed")
    parameter(page).focus()
    parameter(page).press("ArrowRight")
    expect(page.get_by_text("Table and downloads")).to_contain_text("fraction = 0.51")
    settle(page)
    page.get_by_role("combobox", name="Examples").click()
    page.get_by_role("option", name="Drawn example: mucin pools").click()
    expect(page.get_by_text("Table and downloads")).to_contain_text("fraction = 0.5;", timeout=60_000)
    settle(page)
    expect(parameter(page)).to_have_value("0.5")
    expect(page.get_by_label("Threshold rule")).to_have_value("fixed")
    numbers = record(page)
    assert numbers["sha256"] == hashlib.sha256(encode_png(draw("mucin_pools").pixels)).hexdigest()
    assert readings(page) == as_written(numbers)
    # Another page, and back: the viewer is put up again as it was left.
    parameter(page).focus()
    parameter(page).press("ArrowLeft")
    expect(page.get_by_text("Table and downloads")).to_contain_text("fraction = 0.49;")
    go_to(page, "Batch")
    expect(page.locator(".viewer")).to_have_count(0)
    go_to(page, "Second opinion")
    expect(page.get_by_text("Table and downloads")).to_contain_text("fraction = 0.49;", timeout=60_000)
    expect(parameter(page)).to_have_value("0.49")


def test_the_plain_view_is_remembered_by_the_address_and_stands_in_for_a_viewer_that_cannot_start(solid: Page) -> None:
    """The last of that page, which has no viewer any more."""
    page = solid
    page.get_by_text("Plain view", exact=True).click()
    expect(page.get_by_test_id("stMetric")).to_have_count(4)
    settle(page)
    expect(page).to_have_url(re.compile(r"plain=true"))
    page.reload()  # which goes on with the image
    expect(page.get_by_test_id("stMetric")).to_have_count(4, timeout=60_000)
    expect(page.locator(".viewer")).to_have_count(0)
    page.get_by_text("Plain view", exact=True).click()
    expect(page.locator(".viewer .value-area")).not_to_be_empty()
    expect(page).not_to_have_url(re.compile(r"plain=true"))

    page.add_init_script("delete window.createImageBitmap")
    page.reload()
    alert = page.get_by_test_id("stAlert").filter(has_text="The viewer could not run in this browser")
    expect(alert).to_contain_text("createImageBitmap is not defined", timeout=60_000)
    expect(page.get_by_test_id("stMetric")).to_have_count(4)
    expect(page.get_by_test_id("stImage").filter(has_text="DT Grad-CAM").locator("img").last).to_be_visible()
    expect(page).to_have_url(re.compile(r"plain=true"))
    script_ended(page)
    line = page.get_by_text("Table and downloads")
    before = line.inner_text()
    parameter(page).press("ArrowRight")
    expect(line).not_to_have_text(before)
