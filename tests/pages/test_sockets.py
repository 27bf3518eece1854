"""Answers are sent at once: by the socket's option, and by how long they take."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pages.parts.sockets import at_once, send_at_once
from tests.helpers.browser import free_port, serving

DELAY = 0.04  # seconds for which Linux puts off an acknowledgement
LONGEST = 0.75 * DELAY


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_connections_send_at_once_though_their_socket_names_no_protocol(family: socket.AddressFamily) -> None:
    """As Streamlit opens it. Sockets that do not listen, and other files, are left as they are."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as listening, socket.socket(family) as idle, Path(__file__).open("rb"):
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listening.listen()
        before = send_at_once()
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)

        async def served() -> None:
            async with at_once(None):
                pass

        with ThreadPoolExecutor(1) as other:  # in this thread Playwright's loop may be running
            other.submit(asyncio.run, served()).result()
        assert send_at_once() == before >= 1
        with socket.create_connection(listening.getsockname()[:2]) as client:
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not idle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert listening.fileno() >= 0 and listening.getsockname(), "it is still open"


@pytest.mark.slow
def test_the_served_app_waits_for_no_acknowledgement(tmp_path: Path) -> None:
    """Of answers over one connection, which are head and body, each would take at least as long as one is put off."""
    with serving(free_port(), tmp_path / "log", warm=False) as served:
        client = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
        waits = []
        for _ in range(60):
            start = time.perf_counter()
            client.request("GET", "/_stcore/health")
            assert client.getresponse().read() == b"ok"
            waits.append(time.perf_counter() - start)
        client.close()
    assert sorted(waits[20:])[10] < LONGEST, waits
