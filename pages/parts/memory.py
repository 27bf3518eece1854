"""The memory of a process that answers everybody."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

M_ARENA_MAX = -8  # malloc.h of glibc


def share_memory() -> None:
    """Two arenas for all threads, unless `MALLOC_ARENA_MAX` says otherwise: glibc would give many of a server's threads
    one of their own, and what is free in one is of no use to the others."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError, TypeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
