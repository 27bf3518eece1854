"""The served app in a subprocess, and what a Chromium that visits it asked for and complained of."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from tests.helpers.nursery import Forked, forked

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
PAGE_MS = 60_000  # for a page whose model is still being loaded
expect.set_options(timeout=40_000)  # a machine that is building beside the tests takes its time


@dataclass(frozen=True)
class Served:
    """A running app: where it listens, where its output goes, and the number of its process."""

    url: str
    log: Path
    process: int = 0


@dataclass(frozen=True)
class Visit:
    """A page of the browser with every request, console error and uncaught exception since it was opened, and what it
    has said to the server by its websockets."""

    page: Page
    requests: list[str] = field(default_factory=list)
    sent: list[str | bytes] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def small_patch(name: str = "solid_sheets", seed: int = 0) -> bytes:
    """A corner of a drawn field, 240 px wide, as PNG: server and browser have half as much to do as with a field."""
    return encode_png(np.ascontiguousarray(draw(name, seed=seed).pixels[:240, :240]))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serving(
    port: int,
    log: Path,
    *options: str,
    root: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    base: str = "",
    cold: bool = False,
    warm: bool = True,
) -> Iterator[Served]:
    """The app of the folder `root` below the path `base`, with further options of Streamlit's own and variables of the
    environment.

    cold: by a command, as users start it, and not by a fork of a process that has imported everything.
    warm: it makes what the first page shows as soon as it listens; three seconds of a core, where nobody looks at that.
    """
    command = ["run", "app.py", "--server.port", str(port), *options]
    command += ["--server.baseUrlPath", base] if base else []
    # As it is served elsewhere: with all cores, whatever this process may use.
    usual = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    usual |= {"DALA_ENGINE": "auto", **(environment or {})}
    with log.open("wb") as output:
        process = (
            subprocess.Popen(
                [sys.executable, "-m", "streamlit", *command],
                cwd=root,
                env=usual,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            if cold
            else forked(command, root, usual, log, warm)
        )
        served = Served(f"http://localhost:{port}/{base}".rstrip("/"), log, process.pid)
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


def _wait_until_healthy(served: Served, process: subprocess.Popen[bytes] | Forked) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{served.url}/_stcore/health", timeout=2) as answer:
                if answer.read() == b"ok":
                    return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"The app did not start:\n{served.log.read_text()}")


# Of pages/parts/look.css, which the browser has some tenths of a second later: until then thirty places of widgets
# whose code is fetched fade in and out, a tenth of what a visit costs.
STILL = """new MutationObserver((_, observer) => {
    if (!document.head) return;
    const style = document.createElement("style");
    style.textContent = "[data-testid=stSkeleton] { animation: none !important }";
    document.head.append(style);
    observer.disconnect();
}).observe(document, {childList: true, subtree: true})"""


@contextmanager
def fresh_page(chromium: Browser, width: int = 1280, height: int = 900, **context: object) -> Iterator[Page]:
    """An empty page of a browser profile that nothing was done in; context: options of Playwright's own."""
    profile = chromium.new_context(viewport={"width": width, "height": height}, **context)  # type: ignore[arg-type]
    profile.add_init_script(STILL)
    try:
        yield profile.new_page()
    finally:
        profile.close()


def bar_link(page: Page, name: str) -> Locator:
    """The link of the navigation bar on a wide screen: there is a second to each page, for phones, which is hidden as
    soon as the style sheet is there."""
    return page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"^{name}$"))


def go_to(page: Page, name: str) -> None:
    """A press on it."""
    bar_link(page, name).click()


def script_ended(page: Page) -> None:
    """Waits until the page's script does not run."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=PAGE_MS)


def settle(page: Page) -> None:
    """Waits until the script does not run and half a second long nothing was fetched."""
    script_ended(page)
    page.wait_for_load_state("networkidle")


def until(page: Page, happened: Callable[[], bool]) -> None:
    """Waits until it has: for what no element of the page tells."""
    for _ in range(PAGE_MS // 20):
        if happened():
            return
        page.wait_for_timeout(20)
    pytest.fail("It did not happen.")


def downloaded(page: Page, button: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return Path(download.value.path()).read_bytes()
