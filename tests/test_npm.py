"""What the tests fetch by npm: whole for every one of several processes, by one fetch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.npm import package

ROOT = Path(__file__).resolve().parents[1]
# In npm's place: it packs slowly, in two parts, and notes every call. $5 is the folder to pack into.
NPM = """#!/bin/sh
echo "$2" >> "$NOTES"
mkdir package
seq 100000 > package/large.js
echo '{}' > package/package.json
tar cf - package | (dd bs=1000 count=100; sleep 0.3; cat) > "$5/made.tgz" 2>/dev/null
"""
ASK = """
import sys
from pathlib import Path
from tests.helpers.npm import package
print(len((package("made", "1.2.3", Path(sys.argv[1])) / "large.js").read_text().split()))
"""


@pytest.mark.slow
def test_processes_at_once_find_it_whole_by_one_fetch(tmp_path: Path) -> None:
    (tmp_path / "npm").write_text(NPM)
    (tmp_path / "npm").chmod(0o755)
    (tmp_path / "build" / "made-1.2.3").mkdir(parents=True)  # the rest of a fetch that was killed
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "NOTES": str(tmp_path / "notes"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", ASK, str(tmp_path / "build")]
    runs = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [run.communicate(timeout=60)[0] for run in runs] == ["100000\n"] * 3
    assert (tmp_path / "notes").read_text() == "made@1.2.3\n"
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["made-1.2.3", "made-1.2.3.lock"]


def test_without_npm_it_is_skipped_and_fails_where_ci_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for value, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", value)
        with pytest.raises(outcome, match="No npm"):
            package("made", "1.2.3", tmp_path / "build")
