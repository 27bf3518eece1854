"""A package of npm's for a test, fetched once into build/, also where several processes ask for it at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parents[2] / "build"  # not in git


def package(name: str, version: str, build: Path = BUILD) -> Path:
    """The folder of that package, which may need no others. Without npm: a skip, but a failure where CI is set."""
    folder = build / f"{name}-{version}"
    build.mkdir(exist_ok=True)
    with (build / f"{name}-{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "package.json").is_file():
            _fetch(f"{name}@{version}", folder)
    return folder


def _fetch(what: str, folder: Path) -> None:
    """Whole or not at all: unpacked beside its place and then moved there."""
    if shutil.which("npm") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("No npm on the PATH.")
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        command = ["npm", "pack", what, "--silent", "--pack-destination", place]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        (packed, *_) = [*Path(place).glob("*.tgz"), None]
        assert packed is not None, f"npm did not fetch {what}: {done.stdout}{done.stderr}"
        with tarfile.open(packed) as archive:
            archive.extractall(place, filter="data")
        (Path(place) / "package").rename(folder)
