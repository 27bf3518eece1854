"""The types that the viewer's JSDoc tells hold, as TypeScript's compiler sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.npm import package

ROOT = Path(__file__).resolve().parents[2]
TYPESCRIPT = "5.9.3"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compiler() -> Path:
    """tsc, fetched by npm where it is not at hand yet."""
    return package("typescript", TYPESCRIPT) / "bin" / "tsc"


def test_the_types_of_the_viewer_hold(compiler: Path) -> None:
    """viewer/jsconfig.json says how strictly; editors read it too."""
    command = ["node", str(compiler), "--project", str(ROOT / "viewer" / "jsconfig.json"), "--pretty", "false"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout
