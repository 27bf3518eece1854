"""A file that is on its way while the page becomes another one arrives: the uploader stays the same one throughout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from tests.helpers.browser import PAGE_MS, Visit, script_ended, settle

UPLOADS = "**/_stcore/upload_file/**"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    paths = [tmp_path_factory.mktemp("dropped") / f"{name}.png" for name in ("first", "second", "third")]
    for seed, path in enumerate(paths):
        path.write_bytes(encode_png(draw("solid_sheets", seed=seed).pixels))
    return paths


class Held:
    """While it holds, what is uploaded does not reach the server; then all of it does."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._routes: list[Route] = []
        page.route(UPLOADS, lambda route: self._routes.append(route))

    def wait(self) -> None:
        until(self._page, lambda: bool(self._routes))

    def let_go(self) -> None:
        for route in self._routes:
            route.continue_()
        self._page.unroute(UPLOADS)


def until(page: Page, happened: Callable[[], bool]) -> None:
    for _ in range(PAGE_MS // 20):
        if happened():
            return
        page.wait_for_timeout(20)
    pytest.fail("It did not happen.")


def drop(page: Page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)


def shown(page: Page, path: Path) -> None:
    settle(page)
    expect(page.get_by_text(f"Your image: {path.name}")).to_be_visible(timeout=PAGE_MS)


def test_while_an_example_is_answered_and_put_away(visit: Callable[..., Visit], files: list[Path]) -> None:
    page = visit().page
    held = Held(page)
    drop(page, files[0])
    held.wait()
    page.get_by_role("button", name="Single files", exact=True).click()
    page.locator(".st-key-verdict").wait_for(timeout=PAGE_MS)
    script_ended(page)
    held.let_go()
    shown(page, files[0])
    held = Held(page)
    drop(page, files[1])
    held.wait()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.locator(".st-key-hero").wait_for(timeout=PAGE_MS)
    script_ended(page)
    held.let_go()
    shown(page, files[1])


class HeldSocket:
    """Between page and server: while `holds`, what the server says waits here; `asked` counts what the page says.

    What holds `passes` does not wait.
    """

    def __init__(self, page: Page, passes: bytes | None = None) -> None:
        self.holds, self.asked, self.passes = False, 0, passes
        self.waiting: list[str | bytes] = []
        page.route_web_socket("**/_stcore/stream", self._between)

    def _between(self, browser: WebSocketRoute) -> None:
        self._browser, server = browser, browser.connect_to_server()

        def to_server(message: str | bytes) -> None:
            self.asked += 1
            server.send(message)

        def to_browser(message: str | bytes) -> None:
            passes = self.passes is not None and isinstance(message, bytes) and self.passes in message
            (self.waiting.append if self.holds and not passes else browser.send)(message)

        browser.on_message(to_server)
        server.on_message(to_browser)

    def let_go(self) -> None:
        self.holds = False
        for message in self.waiting:
            self._browser.send(message)


def said_all(page: Page, socket: HeldSocket) -> None:
    """Waits until the server has said nothing more for a second."""
    said = -1
    while said != len(socket.waiting):
        said = len(socket.waiting)
        page.wait_for_timeout(1000)


def test_while_the_answer_to_the_one_before_is_on_its_way(visit: Callable[..., Visit], files: list[Path]) -> None:
    page = visit().page
    socket = HeldSocket(page)
    page.reload()
    page.locator(".st-key-hero").wait_for(timeout=PAGE_MS)
    settle(page)
    held = Held(page)
    drop(page, files[0])
    held.wait()
    socket.holds, before = True, socket.asked
    held.let_go()
    until(page, lambda: socket.asked > before)
    said_all(page, socket)
    before = socket.asked
    drop(page, files[1])
    until(page, lambda: socket.asked > before)
    said_all(page, socket)
    socket.let_go()
    shown(page, files[1])


def test_the_box_of_examples_does_not_put_a_file_away(visit: Callable[..., Visit], files: list[Path]) -> None:
    """The browser sends the example again with each file, as long as it has not drawn the page with the first one."""
    page = visit().page
    socket = HeldSocket(page, passes=b"/upload_file/")  # the addresses that are uploaded to
    page.reload()
    page.locator(".st-key-hero").wait_for(timeout=PAGE_MS)
    settle(page)
    page.get_by_role("combobox", name="Examples").click()
    page.get_by_role("option", name="Drawn example: single files").click()
    page.locator(".st-key-verdict").wait_for(timeout=PAGE_MS)
    settle(page)
    socket.holds = True
    for path in files[:2]:
        with page.expect_response(UPLOADS):
            drop(page, path)
        said_all(page, socket)
    socket.let_go()
    shown(page, files[1])


def test_on_the_batch_page(visit: Callable[..., Visit], files: list[Path]) -> None:
    """The second file is on its way while the first is analysed."""
    page = visit().page
    page.goto(f"{page.url.rstrip('/')}/batch")
    page.get_by_role("button", name="Analyse the images").wait_for(timeout=PAGE_MS)
    settle(page)
    drop(page, files[0])
    start = page.get_by_role("button", name="Analyse 1 image")
    start.wait_for(timeout=PAGE_MS)
    settle(page)
    held = Held(page)
    drop(page, files[1])
    held.wait()
    start.click()
    page.get_by_role("button", name="All as CSV").wait_for(timeout=PAGE_MS)
    settle(page)
    held.let_go()
    expect(page.get_by_role("button", name="Analyse 2 images")).to_be_visible(timeout=PAGE_MS)
