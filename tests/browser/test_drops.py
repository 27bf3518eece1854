"""A file that is on its way while the page becomes another one arrives: the uploader stays the same one throughout."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.helpers.browser import PAGE_MS, Served, fresh_page, go_to, script_ended, settle, small_patch, until

UPLOADS = "**/_stcore/upload_file/**"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    paths = [tmp_path_factory.mktemp("dropped") / f"{name}.png" for name in ("first", "second", "third")]
    for seed, path in enumerate(paths):
        path.write_bytes(small_patch(seed=seed))
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


def drop(page: Page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)


def shown(page: Page, path: Path) -> None:
    settle(page)
    expect(page.get_by_text(f"Your image: {path.name}")).to_be_visible(timeout=PAGE_MS)
    script_ended(page)


class HeldSocket:
    """Between page and server: while `holds`, what the server says waits here. What contains `passes` does not wait."""

    def __init__(self, page: Page) -> None:
        self.holds = False
        self.passes: bytes | None = None
        self.waiting: list[str | bytes] = []
        page.route_web_socket("**/_stcore/stream", self._between)

    def _between(self, browser: WebSocketRoute) -> None:
        self._browser, server = browser, browser.connect_to_server()

        def to_browser(message: str | bytes) -> None:
            passes = self.passes is not None and isinstance(message, bytes) and self.passes in message
            (self.waiting.append if self.holds and not passes else browser.send)(message)

        browser.on_message(server.send)
        server.on_message(to_browser)

    def said(self) -> list[str]:
        """The kinds of what waits: `script_finished` of a run to its end, `file_urls_response` of where to upload."""
        found = []
        for message in self.waiting:
            told = ForwardMsg.FromString(message if isinstance(message, bytes) else message.encode())
            if told.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                found.append(str(told.WhichOneof("type")))
        return found

    def let_go(self) -> None:
        self.holds, self.passes = False, None
        for message in self.waiting:
            self._browser.send(message)
        self.waiting.clear()


def ran(socket: HeldSocket) -> int:
    """How many runs to their end the server has told of."""
    return socket.said().count("script_finished")


def ran_after(socket: HeldSocket, ended: int) -> bool:
    return ran(socket) > ended


@pytest.fixture(scope="module")
def visited(chromium: Browser, app: Served) -> Iterator[tuple[Page, HeldSocket]]:
    """One visit for all of these tests, with what stands between page and server."""
    with fresh_page(chromium) as page:
        socket = HeldSocket(page)
        page.goto(app.url)
        yield page, socket


@pytest.fixture
def page(visited: tuple[Page, HeldSocket]) -> Page:
    """Its empty first page."""
    page, _ = visited
    if "/batch" in page.url:
        go_to(page, "Second opinion")
    hero, remove = page.locator(".st-key-hero"), page.get_by_role("button", name="Remove", exact=True)
    hero.or_(remove).first.wait_for(timeout=PAGE_MS)
    script_ended(page)
    if remove.is_visible():
        remove.click()
    hero.wait_for(timeout=PAGE_MS)
    script_ended(page)
    return page


@pytest.fixture
def socket(visited: tuple[Page, HeldSocket]) -> HeldSocket:
    return visited[1]


def test_while_an_example_is_answered_and_put_away(page: Page, files: list[Path]) -> None:
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


def test_while_the_answer_to_the_one_before_is_on_its_way(page: Page, socket: HeldSocket, files: list[Path]) -> None:
    held = Held(page)
    drop(page, files[0])
    held.wait()
    socket.holds = True
    held.let_go()
    until(page, lambda: "script_finished" in socket.said())
    drop(page, files[1])
    until(page, lambda: "file_urls_response" in socket.said())
    socket.let_go()
    shown(page, files[1])


def test_the_box_of_examples_does_not_put_a_file_away(page: Page, socket: HeldSocket, files: list[Path]) -> None:
    """The browser sends the example again with each file, as long as it has not drawn the page with the first one."""
    page.get_by_role("combobox", name="Examples").click()
    page.get_by_role("option", name="Drawn example: single files").click()
    page.locator(".st-key-verdict").wait_for(timeout=PAGE_MS)
    settle(page)
    socket.passes = b"/upload_file/"  # the addresses that are uploaded to
    socket.holds = True
    for path in files[:2]:
        ended = ran(socket)
        with page.expect_response(UPLOADS):
            drop(page, path)
        until(page, partial(ran_after, socket, ended))
    socket.let_go()
    shown(page, files[1])


def test_on_the_batch_page(page: Page, files: list[Path]) -> None:
    """The second file is on its way while the first is analysed."""
    go_to(page, "Batch")
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
