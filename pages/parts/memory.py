"""The memory of a process that answers everybody."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from contextlib import suppress
from functools import cache

from dala.files import cache_dir
from dala.runtime.memory import give_back_files, give_back_freed

M_ARENA_MAX = -8  # malloc.h of glibc
EVERY_S, WORKED_S = 15.0, 0.5  # how often memory is given back, and after how much of the processor's time


@cache
def share_memory() -> None:
    """Two arenas for all threads, unless `MALLOC_ARENA_MAX` says otherwise: glibc would give many of a server's threads
    one of their own, and what is free in one is of no use to the others. What is free in both goes back to the system
    now and then, for images of many sizes leave holes of many sizes; so do the kept files of weights, which an engine
    reads once for every size."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError, TypeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    threading.Thread(target=_give_back, name="memory", daemon=True).start()


def _give_back() -> None:
    before = time.process_time()
    while True:
        time.sleep(EVERY_S)
        if time.process_time() - before > WORKED_S:
            give_back_freed()
            give_back_files(cache_dir())
            before = time.process_time()
