"""Memory that has done its work, given back to the system: by the C library, and of files that were read into it."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

MADV_DONTNEED = 4  # of Linux's <sys/mman.h>


def give_back_freed() -> None:
    """The C library keeps what has been freed, unless it is asked for it. glibc only; others do it by themselves."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back_files(folder: Path) -> None:
    """Give back the pages of this `folder`'s files that lie in memory, mapped to be read. Linux only.

    One that is needed again is read from its file again, which takes time and never changes what is in it. Mappings
    that may be written to stay as they are.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        advise = ctypes.CDLL(None).madvise
        for start, end in _mapped(folder):
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def _mapped(folder: Path) -> list[tuple[int, int]]:
    """First and last address of every mapping of a file below `folder` that can be read only."""
    found = []
    for line in Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines():
        addresses, rights, _, _, _, *path = line.split(maxsplit=5)
        if path and rights.startswith("r--") and Path(path[0]).is_relative_to(folder):
            start, end = (int(address, 16) for address in addresses.split("-"))
            found.append((start, end))
    return found
