"""The lesson of docs/lesson.md in a real browser, step by step, and the marker under mouse, keys and touch."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Callable
from io import StringIO

import cv2
import numpy as np
from playwright.sync_api import Locator, Page, expect

from tests.helpers.access import BOTH, violations
from tests.helpers.browser import ROOT, Visit, downloaded, go_to, script_ended, settle

LESSON = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
NOT_CONTROLS = {"make run", "DALA_SAMPLES=FOLDER make run", "benign", "malignant"}


def canvas(page: Page) -> Locator:
    return page.locator(".marker canvas")


def rectangle(page: Page, left: float, top: float, right: float, bottom: float) -> None:
    """Draw with the mouse, in shares of the image."""
    canvas(page).scroll_into_view_if_needed()
    box = canvas(page).bounding_box()
    assert box is not None

    def move(x: float, y: float) -> None:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)

    move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 0.02)):
        move(x, y)
    page.mouse.up()


def around(page: Page) -> None:
    rectangle(page, 0.2, 0.2, 0.8, 0.7)
    expect(page.get_by_text("An area is marked.")).to_be_visible()


def place_by_click_and_by_keys(page: Page) -> None:
    canvas(page).scroll_into_view_if_needed()
    box = canvas(page).bounding_box()
    assert box is not None
    drawn = pixels(page)
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    expect(page.get_by_text("A place is marked.")).to_be_visible()
    marked = np.argwhere((pixels(page) != drawn).any(-1)) / drawn.shape[:2]
    np.testing.assert_allclose(marked.mean(0), [0.75, 0.25], atol=0.01)
    page.get_by_role("button", name="Clear the mark").click()
    np.testing.assert_array_equal(pixels(page), drawn)
    # A cross from the middle: ten times 2 % to the right, once 10 % up, set.
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A place is marked.")).to_be_visible()
    marked = np.argwhere((pixels(page) != drawn).any(-1)) / drawn.shape[:2]
    np.testing.assert_allclose(marked.mean(0), [0.4, 0.7], atol=0.01)


def finger_draws(page: Page) -> None:
    page.set_viewport_size({"width": 480, "height": 900})
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollWidth <= 480")
    canvas(page).scroll_into_view_if_needed()
    box = canvas(page).bounding_box()
    assert box is not None and box["width"] <= 480
    session = page.context.new_cdp_session(page)
    for kind, x, y in (
        ("touchStart", 0.3, 0.3), ("touchMove", 0.6, 0.3), ("touchMove", 0.6, 0.6), ("touchMove", 0.3, 0.6),
    ):  # fmt: skip
        place = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": 0}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()
    expect(page.get_by_text("An area is marked.")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 900})


def pixels(page: Page) -> np.ndarray:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = canvas(page).evaluate("canvas => canvas.toDataURL().split(',')[1]")
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)


MARKS = {1: around, 2: place_by_click_and_by_keys, 3: finger_draws}


def test_the_lesson_step_by_step(visit: Callable[..., Visit], axe: str) -> None:
    """One case is marked with the mouse around it, one by click and by keys, one with a finger on a narrow screen.

    Each part is looked at by axe in both themes.
    """
    used = set()

    def control(name: str) -> str:
        assert f"`{name}`" in LESSON, f"{name} is no step of the lesson"
        used.add(name)
        return name

    visited = visit()
    page = visited.page
    go_to(page, "Teaching")
    expect(page.get_by_role("heading", name="Teaching")).to_be_visible(timeout=60_000)
    script_ended(page)

    def part(name: str) -> None:
        page.get_by_role("radio", name=control(name)).click()
        settle(page)

    part("Read first")
    expect(page.get_by_label(control("Deck"), exact=True).first).to_be_visible()
    page.get_by_role("radio", name=control("5"), exact=True).click()
    page.get_by_role("button", name=control("Start reading")).click()
    for number in range(1, 6):
        expect(page.get_by_text(f"Case {number} of 5")).to_be_visible(timeout=60_000)
        expect(canvas(page)).to_be_visible(timeout=60_000)
        script_ended(page)
        if number in MARKS:
            MARKS[number](page)
            script_ended(page)
        page.get_by_role("radio", name=control("Malignant" if number % 2 else "Benign")).click()
        script_ended(page)
        page.get_by_role("button", name=control("Commit and reveal")).click()
        expect(page.get_by_text("The model:")).to_be_visible(timeout=60_000)
        script_ended(page)
        if number == 2:
            expect(page.get_by_text("At your mark the model's map has")).to_be_visible(timeout=60_000)
            # After it nothing can be marked.
            expect(page.get_by_role("button", name="Clear the mark")).to_have_count(0)
        name = "See the score" if number == 5 else "Next case"
        page.get_by_role("button", name=control(name)).click()
    expect(page.get_by_text("5 cases read")).to_be_visible()
    # All of them are drawings, on which the model has no score that one could agree with.
    expect(page.get_by_text("Cohen's kappa")).to_have_count(0)
    settle(page)
    rows = list(csv.DictReader(StringIO(downloaded(page, control("All reads (CSV)")).decode())))
    assert [row["call"] for row in rows] == ["malignant", "benign", "malignant", "benign", "malignant"]
    marks = [np.array([pair.split() for pair in row["mark"].split(";") if pair], float) for row in rows]
    np.testing.assert_allclose([*marks[0].min(0), *marks[0].max(0)], [0.2, 0.2, 0.8, 0.7], atol=0.02)
    np.testing.assert_allclose(marks[1], [[0.7, 0.4]], atol=0.01)
    np.testing.assert_allclose([*marks[2].min(0), *marks[2].max(0)], [0.3, 0.3, 0.6, 0.6], atol=0.02)
    assert [len(mark) for mark in marks[3:]] == [0, 0]
    page.get_by_role("button", name=control("Another round")).click()
    expect(page.get_by_role("button", name="Start reading")).to_be_visible()

    part("How it works")
    expect(page.get_by_role("heading", name="5. The dynamic threshold")).to_be_visible(timeout=60_000)
    settle(page)
    dropped = page.get_by_text(re.compile(r"here \d+ of 100 cells"))
    before = dropped.inner_text()
    target = page.get_by_role("radiogroup").filter(has_text="malignant").get_by_role("radio", checked=False)
    target.click()
    expect(dropped).not_to_have_text(before)
    expect(page.get_by_role("slider")).to_have_count(5)
    assert violations(page, axe, BOTH) == []

    part("Where it fails")
    expect(page.get_by_text("Nothing has moved.")).to_be_visible(timeout=60_000)
    for name in ("Haematoxylin (times)", "Eosin (times)", "Blur (sigma, px)", "Rotation (degrees)"):
        page.get_by_role("slider", name=control(name)).press("ArrowRight")
        settle(page)
    expect(page.get_by_text("Nothing has moved.")).to_have_count(0)
    page.get_by_role("combobox", name=control("Sweep one change over its range, the others as set")).click()
    page.keyboard.type("Hue")
    page.keyboard.press("Enter")
    expect(page.get_by_text("of these 11 images (open circles)")).to_be_visible(timeout=60_000)
    assert violations(page, axe, BOTH[::-1]) == []
    page.get_by_role("button", name=control("Reset all")).click()
    expect(page.get_by_text("Nothing has moved.")).to_be_visible(timeout=60_000)

    go_to(page, "Second opinion")
    page.get_by_text(control("Record my own read first"), exact=True).click(timeout=60_000)
    settle(page)
    page.get_by_role("button", name="Solid sheets", exact=True).click()
    expect(page.get_by_role("button", name="Record it and show the model's answer")).to_be_visible(timeout=60_000)
    # Which can be zoomed, and tells nothing of the answer.
    zoom = page.locator(".viewer .zoom")
    zoom.wait_for(timeout=60_000)
    script_ended(page)
    before = zoom.inner_text()
    page.get_by_role("button", name="Zoom in").click()
    expect(zoom).not_to_have_text(before)
    expect(page.locator(".viewer .targets")).to_be_hidden()
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    assert "malignant" not in page.locator(".viewer").inner_text().lower()
    assert visited.complaints == []
    steps = {name for name in re.findall(r"`([^`]+)`", LESSON)} - NOT_CONTROLS
    assert used == steps, "every control that the lesson names was used"
