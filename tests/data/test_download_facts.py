"""The facts of published images: packed without loss, compared with files, and git's own ids."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from dala.data.breakhis import OFFICIAL_COUNTS, parse_name
from dala.data.download_facts import (
    Fact,
    breakhis_facts,
    check_breakhis,
    git_tree,
    packed,
    read_table,
    unpacked,
)
from dala.errors import DataError

NAMES = ("SOB_B_A-14-1-40-001.png", "SOB_B_A-14-1-40-002.png", "SOB_B_A-14-1-40-005.png", "SOB_M_DC-14-2-200-017.png")


def contents() -> dict[str, bytes]:
    return {name: name.encode() * (1 + number) for number, name in enumerate(NAMES)}


def facts() -> dict[str, Fact]:
    return {name: Fact(len(data), hashlib.sha256(data).digest()[:8]) for name, data in contents().items()}


def test_the_shipped_facts_are_of_the_official_set() -> None:
    found = Counter()
    for name, fact in breakhis_facts().items():
        told = parse_name(name)
        found[told.subtype, told.magnification] += 1
        assert 300_000 < fact.size < 1_000_000 and len(fact.digest) == 8
    assert found == {
        (subtype, at): count
        for subtype, counts in OFFICIAL_COUNTS.items()
        for at, count in zip((40, 100, 200, 400), counts, strict=True)
    }


def test_packing_loses_nothing() -> None:
    assert dict(unpacked(packed(facts()))) == facts()
    one = {NAMES[0]: Fact(2**24 - 1, bytes(range(8)))}
    assert dict(unpacked(packed(one))) == one
    with pytest.raises(DataError, match="three digits"):
        packed({"SOB_B_A-14-1-40-1.png": Fact(1, bytes(8))})


def test_a_table_is_read() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    assert read_table([f"a-001.png\t1\t{digest}\n", "\n"]) == {"a-001.png": Fact(1, bytes.fromhex(digest)[:8])}


def test_files_are_compared_with_the_facts(tmp_path: Path) -> None:
    for name, data in contents().items():
        (tmp_path / "breast").mkdir(exist_ok=True)
        (tmp_path / "breast" / name).write_bytes(data)
    told: list[tuple[int, int]] = []
    checked = check_breakhis(tmp_path, lambda done, total: told.append((done, total)), facts())
    assert checked.complete
    assert checked.lines == ("4 of 4 images have the published size and sha256.",)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    (tmp_path / "breast" / NAMES[0]).unlink()
    changed = tmp_path / "breast" / NAMES[1]
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")  # of the same size
    (tmp_path / "breast" / "mine.png").write_bytes(b"")
    checked = check_breakhis(tmp_path, None, facts())
    assert not checked.complete
    assert checked.lines == (
        "2 of 4 images have the published size and sha256.",
        f"1 image missing, for example {NAMES[0]}.",
        "1 image differs from the published one:",
        f"  breast/{NAMES[1]}",
        "1 further PNG file that the official data set does not have.",
    )


def test_the_true_originals_are_the_published_ones(shared_data: Path) -> None:
    checked = check_breakhis(shared_data / "breakhis_originals")
    assert checked.lines[0] == "44 of 7,909 images have the published size and sha256."
    assert len(checked.lines) == 2  # the others are missing, and nothing differs


def test_a_folder_has_the_id_that_git_gives_it(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("There is no git here.")
    (tmp_path / "tiles").mkdir()
    for name, content in {"b.png": b"\0\1", "a.png": b"", "A b.png": b"x" * 999}.items():
        (tmp_path / "tiles" / name).write_bytes(content)

    def run(*words: str) -> str:
        done = subprocess.run([git, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "-q")
    run("add", "tiles")
    assert git_tree(tmp_path / "tiles") == run("rev-parse", f"{run('write-tree')}:tiles")
