"""What is known of every published image: size and digest of BreakHis's 7,909, the git trees of BRCA-M2C.

breakhis.sha256 holds the facts in 83 kB: an LZMA stream of the runs of names ("SOB_B_A-14-22549AB-100 1 27 3,9": the
numbers 1 to 27 without 3 and 9), the sizes, and the first 8 bytes of each sha256, which leaves one damaged file in
2^64 unseen. `python -m dala.data.download_facts FILE.tsv` writes it from lines of name, size and sha256.
"""

from __future__ import annotations

import hashlib
import lzma
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dala.data.pixels import Progress
from dala.data.tree import LISTED
from dala.errors import DataError
from dala.files import write_bytes
from dala.words import counted

FACTS = Path(__file__).with_name("breakhis.sha256")
DIGEST, SIZE = 8, 3  # bytes of each


@dataclass(frozen=True)
class Fact:
    """Size in bytes and the first bytes of the sha256 of a published file."""

    size: int
    digest: bytes


@dataclass(frozen=True)
class Checked:
    """Whether a data set is complete, and what was found, a line each."""

    complete: bool
    lines: tuple[str, ...]


def packed(facts: Mapping[str, Fact]) -> bytes:
    """The facts by file name as breakhis.sha256 holds them; names must end with a number of three digits and ".png"."""
    runs: dict[str, list[int]] = {}
    for name in sorted(facts):
        stem, number = name.removesuffix(".png").rsplit("-", 1)
        if name != f"{stem}-{int(number):03d}.png":
            raise DataError(f"'{name}' does not end like a BreakHis name, with three digits and .png.")
        runs.setdefault(stem, []).append(int(number))
    lines = []
    for stem, numbers in runs.items():
        missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
        lines.append(f"{stem} {numbers[0]} {numbers[-1]} {','.join(map(str, missing))}".rstrip())
    ordered = [facts[name] for name in _names("\n".join(lines))]
    sizes = np.array([fact.size for fact in ordered], dtype="<u4").view(np.uint8).reshape(-1, 4)[:, :SIZE]
    head = "\n".join(lines).encode() + b"\0"
    return lzma.compress(head + sizes.T.tobytes() + b"".join(fact.digest for fact in ordered), preset=9)


def unpacked(content: bytes) -> Mapping[str, Fact]:
    """The facts by file name that `packed` made."""
    head, _, rest = lzma.decompress(content).partition(b"\0")
    names = list(_names(head.decode()))
    count = len(names)
    planes = np.frombuffer(rest[: SIZE * count], np.uint8).reshape(SIZE, count).astype(np.int64)
    sizes = sum(planes[byte] << (8 * byte) for byte in range(SIZE))
    digests = rest[SIZE * count :]
    return MappingProxyType(
        {
            name: Fact(int(size), digests[DIGEST * at : DIGEST * (at + 1)])
            for at, (name, size) in enumerate(zip(names, np.atleast_1d(sizes), strict=True))
        }
    )


@cache
def breakhis_facts() -> Mapping[str, Fact]:
    """Size and digest of every official BreakHis image by file name."""
    return unpacked(FACTS.read_bytes())


def check_breakhis(root: Path, progress: Progress | None = None, facts: Mapping[str, Fact] | None = None) -> Checked:
    """Compare every PNG below a folder with the published sizes and digests; nothing is decoded."""
    known = breakhis_facts() if facts is None else facts
    right: set[str] = set()
    wrong, unknown = [], 0
    files = sorted(path for path in root.rglob("*.png") if not path.name.startswith("."))
    for done, path in enumerate(files, start=1):
        fact = known.get(path.name)
        if fact is None:
            unknown += 1
        elif path.stat().st_size != fact.size or _sha256(path)[: len(fact.digest)] != fact.digest:
            wrong.append(path.relative_to(root).as_posix())
        else:
            right.add(path.name)
        if progress is not None:
            progress(done, len(files))
    spoilt = {Path(path).name for path in wrong}
    missing = sorted(name for name in known if name not in right and name not in spoilt)
    lines = [f"{len(right):,} of {len(known):,} images have the published size and sha256."]
    if missing:
        lines.append(f"{counted(len(missing), 'image')} missing, for example {missing[0]}.")
    if wrong:
        differ = "image differs from the published one" if len(wrong) == 1 else "images differ from the published ones"
        lines.append(f"{len(wrong):,} {differ}:")
        lines += [f"  {path}" for path in wrong[:LISTED]]
        lines += [f"  and {len(wrong) - LISTED:,} more"] if len(wrong) > LISTED else []
    if unknown:
        lines.append(f"{counted(unknown, 'further PNG file')} that the official data set does not have.")
    return Checked(len(right) == len(known) and not wrong, tuple(lines))


def git_tree(folder: Path) -> str:
    """The id that git gives a folder of plain files: one digest that names and contents of all of them must match."""
    entries = b""
    for path in sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.name.encode()):
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest()
        entries += b"100644 " + path.name.encode() + b"\0" + blob
    return hashlib.sha1(b"tree %d\0" % len(entries) + entries, usedforsecurity=False).hexdigest()


def _names(runs: str) -> Iterator[str]:
    for line in runs.splitlines():
        stem, first, last, *missing = line.split(" ")
        without = set(map(int, missing[0].split(","))) if missing else set()
        yield from (f"{stem}-{number:03d}.png" for number in range(int(first), int(last) + 1) if number not in without)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_table(lines: Iterable[str]) -> dict[str, Fact]:
    """Facts from lines of name, size and sha256, parted by tabs."""
    rows = [line.rstrip("\n").split("\t") for line in lines if line.strip()]
    return {name: Fact(int(size), bytes.fromhex(digest)[:DIGEST]) for name, size, digest in rows}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as table:
        write_bytes(FACTS, packed(read_table(table)))
