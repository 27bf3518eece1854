"""A store on each database, and on any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dala.cases.store import Store
from tests.helpers.cases import lay_tables, open_at, sqlite_store
from tests.helpers.postgres import Cluster, cluster, newest

Open = Callable[[], Store]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A cluster of PostgreSQL for the whole session."""
    with cluster(newest()) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that has its tables and nothing in them."""
    if request.param == "sqlite":
        lay_tables(tmp_path / "cases")
        return f"sqlite:///{tmp_path / 'cases' / 'cases.sqlite3'}"
    running: Cluster = request.getfixturevalue("postgres")
    return running.with_tables()


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def lasting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of a whole file of tests, which only look at what one fixture has kept there."""
    folder = tmp_path_factory.mktemp("lasting")
    if request.param == "sqlite":
        found = sqlite_store(folder)
    else:
        running: Cluster = request.getfixturevalue("postgres")
        found = open_at(running.with_tables(), folder / "images")
    yield found
    found.database.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Another store, into which nothing comes."""
    found = sqlite_store(tmp_path_factory.mktemp("empty"))
    yield found
    found.database.close()


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
