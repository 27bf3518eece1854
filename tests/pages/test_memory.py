"""Threads share two arenas: counted in a process of its own, by the places at which glibc begins their heaps."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

HEAP = 64 << 20  # HEAP_MAX_SIZE of glibc: a heap of an arena begins at a multiple of it
PROGRAM = """
import sys, threading
from pages.parts.memory import share_memory

if "share" in sys.argv:
    share_memory()
held, ready = threading.Event(), threading.Barrier(41)

def work():
    kept = [bytearray(1000) for _ in range(3000)]
    ready.wait()
    held.wait()

threads = [threading.Thread(target=work) for _ in range(40)]
for thread in threads:
    thread.start()
ready.wait()
print(open("/proc/self/maps").read())
held.set()
"""


def heaps(*arguments: str, **environment: str) -> int:
    told = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment
    command = [sys.executable, "-c", PROGRAM, *arguments]
    maps = subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout
    starts = (int(start, 16) for start in re.findall(r"^([0-9a-f]+)-[0-9a-f]+ rw", maps, re.MULTILINE))
    return sum(start % HEAP == 0 for start in starts)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's arenas are Linux's")
def test_forty_threads_share_two_arenas_unless_told_otherwise() -> None:
    alone = heaps()
    if alone < 5:
        pytest.skip("this C library gives threads no arenas of their own")
    assert heaps("share") <= 2
    assert heaps("share", MALLOC_ARENA_MAX="5") > 2


HOLES = """
import sys, time
from pages.parts import memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

memory.EVERY_S, memory.WORKED_S = 0.1, 0.0
if "share" in sys.argv:
    memory.share_memory()
kept = [bytearray(3000) for _ in range(60_000)]
full = resident()
last = kept[-1]
del kept[:]
end = time.monotonic() + (10 if "share" in sys.argv else 0.5)
while time.monotonic() < end and full - resident() < 100:
    time.sleep(0.05)
print(full - resident())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap is Linux's")
def test_what_is_free_below_something_in_use_is_given_back() -> None:
    def freed(*arguments: str) -> float:
        command = [sys.executable, "-c", HOLES, *arguments]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    if freed() > 100:
        pytest.skip("this C library gives back by itself")
    assert freed("share") > 100  # of 180 MB
