"""A store on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dala.cases.store import Store
from tests.helpers.cases import sqlite_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    found = sqlite_store(tmp_path / "cases")
    yield found
    found.database.close()
