"""The served app in a subprocess and a Chromium that drives it and writes down what it asked for and complained of."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
expect.set_options(timeout=20_000)  # a machine that is building beside the tests takes its time
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@dataclass(frozen=True)
class Served:
    """A running app: where it listens and where its output goes."""

    url: str
    log: Path


@dataclass(frozen=True)
class Visit:
    """A page of the browser with every request, console error and uncaught exception since it was opened."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app, served by this Python on a free port with the project's own configuration."""
    with serving(free_port(), tmp_path_factory.mktemp("app") / "streamlit.log") as served:
        yield served


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serving(port: int, log: Path, *options: str) -> Iterator[Served]:
    """The app with further options of Streamlit's own."""
    served = Served(f"http://localhost:{port}", log)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"DALA_ENGINE": "auto"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_healthy(served, process)
            yield served
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_healthy(served: Served, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{served.url}/_stcore/health", timeout=2) as answer:
                if answer.read() == b"ok":
                    return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"The app did not start:\n{served.log.read_text()}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, or the one that DALA_CHROMIUM names. Absent: a skip, but a failure where CI is set."""
    program = os.environ.get("DALA_CHROMIUM") or shutil.which("chromium")
    if program is None:
        message = "No chromium on the PATH and none named by DALA_CHROMIUM."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    # The scope is a module, for Playwright keeps an event loop running in this thread until it is left.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, app: Served) -> Iterator[Callable[..., Visit]]:
    """`visit(width=1280, height=900, dark=False)` opens the app in a fresh browser profile, once its page has run."""
    with ExitStack() as contexts:

        def open_app(width: int = 1280, height: int = 900, dark: bool = False) -> Visit:
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            contexts.callback(context.close)
            visited = Visit(context.new_page())
            visited.page.on("request", lambda request: visited.requests.append(request.url))
            visited.page.on("websocket", lambda websocket: visited.requests.append(websocket.url))
            visited.page.on("pageerror", lambda error: visited.complaints.append(str(error)))
            visited.page.on(
                "console", lambda line: visited.complaints.append(line.text) if line.type == "error" else None
            )
            visited.page.goto(app.url)
            visited.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
            return visited

        yield open_app
