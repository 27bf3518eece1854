"""Memory that is given back: read again from its file, and only what is mapped to be read."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from dala.runtime.memory import give_back_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mappings are listed by Linux alone")
SIZE = 8 * 2**20


def in_memory(path: Path) -> int:
    """Bytes of a file's mapping that lie in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(path)):
            return next(1024 * int(field.split()[1]) for field in lines if field.startswith("Rss:"))
    return 0


def mapped(path: Path, access: int) -> mmap.mmap:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    with path.open("r+b") as file:
        found = mmap.mmap(file.fileno(), SIZE, access=access)
    assert sum(found[::4096]) == 0  # every page is read; each begins with 0
    return found


@pytest.mark.slow
def test_pages_of_a_folders_files_are_given_back_and_read_again(tmp_path: Path) -> None:
    own, other = tmp_path / "graphs" / "a b.bin", tmp_path / "graphs-of-others" / "a b.bin"
    kept, theirs = mapped(own, mmap.ACCESS_READ), mapped(other, mmap.ACCESS_READ)
    assert in_memory(own) == in_memory(other) == SIZE
    give_back_files(own.parent)
    assert (in_memory(own), in_memory(other)) == (0, SIZE)
    assert kept[:] == theirs[:] == bytes(range(256)) * (SIZE // 256)
    assert in_memory(own) == SIZE
    kept.close()
    theirs.close()


def test_what_may_be_written_to_stays(tmp_path: Path) -> None:
    own = tmp_path / "graphs" / "copied.bin"
    kept = mapped(own, mmap.ACCESS_COPY)
    kept[:4096] = b"x" * 4096
    give_back_files(own.parent)
    assert kept[:4096] == b"x" * 4096
    kept.close()
