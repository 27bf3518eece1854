"""A store on each database, and on any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dala.cases.store import Store
from tests.helpers.cases import open_at
from tests.helpers.postgres import Cluster, cluster, newest

Open = Callable[[], Store]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A cluster of PostgreSQL for the whole session."""
    with cluster(newest()) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cases' / 'cases.sqlite3'}"
    running: Cluster = request.getfixturevalue("postgres")
    return running.database()


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the store of that database, as a server does that is started; all are closed at the end."""
    stores = []

    def open_() -> Store:
        stores.append(open_at(url, tmp_path / "cases" / "images"))
        return stores[-1]

    yield open_
    for store in stores:
        store.database.close()


@pytest.fixture
def store(opened: Open) -> Store:
    """An empty store."""
    return opened()
