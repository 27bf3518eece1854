"""What the server writes is sent at once: without it every answer waits 40 ms for the other end's acknowledgement."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

OPEN_FILES = "/dev/fd"  # of this process, by number


@asynccontextmanager
async def at_once(app: Any) -> AsyncIterator[None]:
    """The server's `lifespan`; its socket listens by then."""
    send_at_once()
    yield


def send_at_once() -> int:
    """Set TCP_NODELAY on the sockets on which this process listens, from which each connection has it; how many.

    asyncio sets it on connections only where their socket names its protocol, and Streamlit's does not. An answer is
    written as head and body: without it the body waits until the head has been acknowledged, which the other end puts
    off for 40 ms.
    """
    found = 0
    with suppress(OSError):  # a system without such a folder
        for name in os.listdir(OPEN_FILES):
            with suppress(OSError, ValueError):
                number = int(name)
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    found += _set(number)
    return found


def _set(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as one:
        tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
        if not tcp or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True
