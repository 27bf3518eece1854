"""One app for all tests in a browser, and a fresh profile of the browser for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser

from tests.helpers import access
from tests.helpers.browser import PAGE_MS, Served, Visit, free_port, fresh_page, script_ended, serving


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app, served by this Python on a free port with the project's own configuration; it keeps cases of its own."""
    folder = tmp_path_factory.mktemp("app")
    with ExitStack() as ends:
        with pytest.MonkeyPatch.context() as patch:  # the server has a copy of the environment
            patch.delenv("DALA_DATABASE", raising=False)
            patch.setenv("DALA_CASES_FOLDER", str(folder / "cases"))
            served = ends.enter_context(serving(free_port(), folder / "streamlit.log"))
        yield served


@pytest.fixture(scope="session")
def visits(chromium: Browser, app: Served) -> Callable[..., AbstractContextManager[Visit]]:
    """`with visits(width=1280, height=900, dark=False) as visited` opens the app in a fresh browser profile."""

    @contextmanager
    def open_app(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Visit]:
        with fresh_page(chromium, width, height, color_scheme="dark" if dark else "light") as page:
            visited = Visit(page)
            page.on("request", lambda request: visited.requests.append(request.url))
            page.on("websocket", lambda websocket: visited.requests.append(websocket.url))
            page.on("websocket", lambda websocket: websocket.on("framesent", lambda said: visited.sent.append(said)))
            page.on("pageerror", lambda error: visited.complaints.append(str(error)))
            page.on("console", lambda line: visited.complaints.append(line.text) if line.type == "error" else None)
            page.goto(app.url)
            page.locator(".st-key-notice").wait_for(timeout=PAGE_MS)  # before its first run no script runs either
            script_ended(page)
            yield visited

    return open_app


@pytest.fixture
def visit(visits: Callable[..., AbstractContextManager[Visit]]) -> Iterator[Callable[..., Visit]]:
    """`visit(width=1280, height=900, dark=False)` does it for the length of a test."""
    with ExitStack() as profiles:
        yield lambda *given, **named: profiles.enter_context(visits(*given, **named))


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return access.source()
