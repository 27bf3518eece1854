"""Behind nginx as the document configures it, below a path, with TLS and log-in: pages, websocket, a slide's tiles."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, WebSocket, expect

from tests.browser.test_login import Provider, log_in, provider, settings, written  # noqa: F401  a fixture
from tests.helpers import slides
from tests.helpers.browser import PAGE_MS, ROOT, free_port, fresh_page, script_ended, serving

BASE = "dala"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
# Nobody can check a certificate that this test signs for itself.
UNCHECKED = ssl._create_unverified_context()


@pytest.fixture(scope="module")
def nginx() -> str:
    """Debian's. Absent: a skip, but a failure where CI is set."""
    if NGINX is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("nginx is not installed.")
    return NGINX


def configuration(folder: Path, port: int, app: int) -> str:
    """The block of the document, word for word but for its addresses, in the frame that a test's own nginx needs."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.search(r"^```nginx\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    server = found[1]
    for said, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("tools.hospital.example;", "localhost;"),
        ("/etc/ssl/tools.pem", str(folder / "proxy.pem")),
        ("/etc/ssl/tools.key", str(folder / "proxy.key")),
        ("127.0.0.1:8501/", f"127.0.0.1:{app}/"),
    ):
        assert server.count(said) == 1, f"the document no longer says {said}"
        server = server.replace(said, here)
    own = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # pytest's folders are for their owner alone
    return (
        f"{user}daemon off;\nworker_processes 1;\npid {folder / 'pid'};\nerror_log {folder / 'error.log'};\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{own}{server}}}\n"
    )


@contextmanager
def proxy(nginx: str, folder: Path, port: int, app: int) -> Iterator[str]:
    """nginx before the app at the port `app`; the address that browsers see."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-keyout", folder / "proxy.key", "-out", folder / "proxy.pem"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (folder / "nginx.conf").write_text(configuration(folder, port, app))
    errors = folder / "error.log"
    running = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", errors])
    address = f"https://localhost:{port}/{BASE}"
    try:
        deadline = time.monotonic() + 10
        while status(f"{address}/_stcore/health") != 200:
            assert running.poll() is None and time.monotonic() < deadline, errors.read_text()
            time.sleep(0.05)
        yield address
    finally:
        running.terminate()
        running.wait(10)


def status(url: str, cookies: str = "") -> int:
    """What is answered to somebody with these cookies; 0 for nobody there."""
    try:
        with urlopen(Request(url, headers={"Cookie": cookies}), timeout=10, context=UNCHECKED) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


def test_a_slide_behind_nginx_below_a_path_with_log_in(
    chromium: Browser,
    provider: Provider,  # noqa: F811
    nginx: str,
    tmp_path: Path,
) -> None:
    folder, port, inner = tmp_path / "slides", free_port(), free_port()
    folder.mkdir()
    slides.aperio(folder / "made.svs", slides.pyramid(slides.drawn(2048, 1536), 3))
    seen = f"https://localhost:{port}/{BASE}"
    auth = settings(port, provider, redirect_uri=f"{seen}/oauth2callback")
    options = ("--secrets.files", str(written(tmp_path / "secrets.toml", auth)), "--browser.serverAddress", "localhost",
               "--browser.serverPort", str(port))  # fmt: skip
    with (
        serving(inner, tmp_path / "log", *options, environment={"DALA_SLIDES": str(folder)}, base=BASE, warm=False),
        proxy(nginx, tmp_path / "nginx", port, inner) as address,
        fresh_page(chromium, ignore_https_errors=True) as page,
    ):
        sockets: list[WebSocket] = []
        tiles: dict[str, int] = {}
        elsewhere: list[str] = []
        complaints: list[str] = []
        page.on("websocket", lambda one: sockets.append(one))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda one: tiles.update({one.url: one.status}) if "/tiles/" in one.url else None)
        ours = (address, provider.issuer, "data:", "blob:")
        page.on("request", lambda one: None if one.url.startswith(ours) else elsewhere.append(one.url))
        page.goto(f"{address}/slides")
        log_in(page)
        page.goto(f"{address}/slides")
        page.get_by_role("combobox").click(timeout=PAGE_MS)
        with page.expect_response(lambda one: "/tiles/" in one.url, timeout=PAGE_MS):
            page.get_by_role("option", name="made.svs").click()
        canvas = page.locator("canvas").first
        expect(canvas).to_be_visible(timeout=PAGE_MS)
        script_ended(page)
        assert tiles and set(tiles.values()) == {200} and all(url.startswith(f"{address}/tiles/") for url in tiles)
        canvas.click()
        expect(page.locator(".st-key-verdict, .st-key-maps").first).to_be_visible(timeout=PAGE_MS)
        script_ended(page)
        socket = sockets[-1]
        assert socket.url == f"wss://localhost:{port}/{BASE}/_stcore/stream" and not socket.is_closed()
        assert (elsewhere, complaints) == ([], [])

        # A tile is for who opened the slide: not for somebody without their cookies, nor when the tab is closed.
        cookies = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
        assert all(one["secure"] for one in page.context.cookies() if one["name"] == "dala_browser")
        tile = next(iter(tiles))
        assert (status(tile, cookies), status(tile)) == (200, 404)
        page.close()
        deadline = time.monotonic() + 5
        while status(tile, cookies) == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status(tile, cookies) == 404
