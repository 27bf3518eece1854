"""Random sequences of what users do, two drops at once among them: never an error page, never a file that is lost."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

from dala.phantoms.tissue import PHANTOMS
from tests.helpers.browser import PAGE_MS, Served, Visit, go_to, script_ended, settle, small_patch

SEQUENCES = int(os.environ.get("DALA_SEQUENCES", "6"))  # 50 before a release
AT_LEAST = 2  # its four steps: reload, drop twice, away and back, drop
MORE = pytest.mark.exhaustive(instead="browser/test_random.py::test_no_sequence_ends_in_an_error_or_loses_a_file")
STEPS = 4
ACTIONS = ("drop", "drop", "drop twice", "example", "away and back", "reload")
LEAVES = ("away and back", "reload")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("dropped")
    paths = [folder / f"{name}-dropped.png" for name in PHANTOMS[:3]]
    for name, path in zip(PHANTOMS, paths, strict=False):
        path.write_bytes(small_patch(name, 2))
    return paths


def come_back(page: Page) -> None:
    """Where Evidence came all the same after Back, pressed while it was on its way: by the navigation."""
    if "/evidence" in page.url:
        go_to(page, "Second opinion")


def drop(page: Page, path: Path) -> None:
    come_back(page)
    field = page.locator("input[type=file]").first
    field.evaluate("field => { field.value = '' }")  # as its dialog does: the same file may be chosen again
    field.set_input_files(path)


def choose_example(page: Page) -> None:
    """As somebody does whose list closes because the page is just drawn, or who first comes back from the batch."""
    for _ in range(10):
        come_back(page)
        if "/batch" in page.url:
            go_to(page, "Second opinion")
        try:
            page.get_by_role("combobox", name="Examples").click(timeout=3000)
            page.get_by_role("option", name="Drawn example: single files").click(timeout=3000)
            return
        except TimeoutError:
            page.keyboard.press("Escape")
    pytest.fail("The example cannot be chosen.")


def act(page: Page, action: str, files: list[Path], random: np.random.Generator) -> str | None:
    """Do it without waiting for what was before; the name of the file that must be there afterwards, if any."""
    first, second = (files[int(place)] for place in random.permutation(len(files))[:2])
    if action.startswith("drop"):
        drop(page, first)
        if action == "drop":
            return first.name
        page.wait_for_timeout(int(random.integers(0, 400)))
        drop(page, second)
        return second.name
    if action == "example":
        choose_example(page)
        return None
    if action == "reload":
        page.reload()
        return "stays"
    for _ in range(10):  # again where the batch that two files open has come in between
        go_to(page, "Evidence")
        try:
            page.wait_for_url("**/evidence*", timeout=PAGE_MS / 10)  # before that, back would leave the app
            break
        except TimeoutError:
            continue
    page.go_back()
    come_back(page)
    page.locator("input[type=file]").first.wait_for(state="attached", timeout=PAGE_MS)
    return "stays"


def shown(page: Page, name: str) -> Locator:
    """Its answer; or, of several that are dropped before the page has run, as many as there were, in the batch."""
    return page.get_by_text(f"Your image: {name}").or_(page.get_by_text(re.compile(r"^([2-9]) of \1\b")))


def kept(page: Page, name: str, done: list[str]) -> None:
    """The file is there: as the one image of the first page, or in a row of the batch that has ended."""
    expect(shown(page, name), str(done)).to_be_visible(timeout=PAGE_MS)
    if "/batch" in page.url:
        # The table is drawn on a canvas; its rows stand for a reader of screens.
        expect(page.get_by_role("gridcell", name=name, include_hidden=True).first, str(done)).to_be_attached()


@pytest.mark.parametrize(
    "seed",
    [AT_LEAST, *(pytest.param(seed, marks=MORE) for seed in (*range(SEQUENCES), 2873) if seed != AT_LEAST)],
)
def test_no_sequence_ends_in_an_error_or_loses_a_file(
    visit: Callable[..., Visit], app: Served, files: list[Path], seed: int
) -> None:
    random = np.random.default_rng(seed)
    page = visit().page
    there: str | None = None
    done, arrived = [], True
    for _ in range(STEPS):
        action = str(random.choice(ACTIONS))
        done.append(action)
        found = act(page, action, files, random)
        if action in LEAVES and not arrived:
            there = None  # a file that was still on its way when the page was left may be there or not
        there = there if found == "stays" else found
        arrived = bool(random.integers(2))
        if arrived and there is not None:
            kept(page, there, done)
        if arrived:
            script_ended(page)
    settle(page)
    come_back(page)
    expect(page.get_by_test_id("stException"), str(done)).to_have_count(0)
    if there is not None:
        kept(page, there, done)
    assert "Traceback" not in app.log.read_text(), done
