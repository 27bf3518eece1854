"""The types that the viewer's JSDoc tells hold, as TypeScript's compiler sees them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TYPESCRIPT = "5.9.3"
CACHE = ROOT / "build" / f"typescript-{TYPESCRIPT}"  # not in git

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compiler() -> Path:
    """tsc, fetched by npm where it is not at hand yet. Without npm: a skip, but a failure where CI is set."""
    found = CACHE / "node_modules" / ".bin" / "tsc"
    if not found.exists():
        if shutil.which("npm") is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("No npm on the PATH.")
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(CACHE), f"typescript@{TYPESCRIPT}"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    return found


def test_the_types_of_the_viewer_hold(compiler: Path) -> None:
    """viewer/jsconfig.json says how strictly; editors read it too."""
    command = [str(compiler), "--project", str(ROOT / "viewer" / "jsconfig.json"), "--pretty", "false"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout
