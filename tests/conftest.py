"""Fixtures that several rooms use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Exact numbers are torch's; the engines have tests of their own, and the served app of the browser tests chooses its.
os.environ["DALA_ENGINE"] = "torch"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the repository; a test that needs it is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared images are not at {folder}")
    return folder
