"""The schema is that of the tables, and a filled database of every older one becomes it, whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text

from dala.cases import audit
from dala.cases.database import HEAD, MIGRATIONS, Database, upgrade
from dala.cases.people import SERVER, Role, person_of
from dala.cases.store import Store
from dala.cases.tables import Base
from dala.cases.tokens import Tokens, digest
from dala.errors import StoreError
from tests.helpers.cases import ANNA, BEN, case, image, sqlite_store
from tests.helpers.postgres import Cluster
from tests.helpers.released import FIRST, FOLDER, check_released

NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "next", "{head}"
def upgrade():
    op.add_column("cases", sa.Column("colour", sa.Text(), nullable=False, server_default="violet"))
    op.create_index("ix_cases_colour", "cases", ["colour"])
    op.execute("UPDATE cases SET colour = title WHERE title <> ''")
    {then}
"""


def difference(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migrations_make_the_tables_that_the_code_speaks_of(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    running: Cluster | None = request.getfixturevalue("postgres") if kind == "postgresql" else None
    database = Database(f"sqlite:///{tmp_path / 'new' / 'cases.sqlite3'}" if running is None else running.database())
    assert running is None or database.schema() is None
    database.prepare()
    assert database.schema() == HEAD
    assert difference(database) == []
    database.close()


def test_the_newest_schema_is_the_one_that_is_asked_for() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [HEAD]
    for kind in ("sql", "zip"):
        names = {path.stem for path in FOLDER.glob(f"*.{kind}")}
        assert names == {script.revision for script in scripts.walk_revisions()}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda path: path.stem)
def test_a_filled_database_of_every_released_schema_is_read(path: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cases.sqlite3") as connection:
        connection.executescript(path.read_text(encoding="utf-8"))
    connection.close()
    store = sqlite_store(tmp_path)
    assert store.database.schema() == HEAD and difference(store.database) == []
    with store.database.snapshot() as rows:
        assert all(rows.scalar(select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables)
    check_released(store)
    store.keep(ANNA, case())
    store.delete(ANNA, FIRST)
    store.database.close()


def test_tokens_of_before_act_as_readers_until_the_next_log_in(tmp_path: Path) -> None:
    """0002: whether somebody still administers is not known of a token that was made before roles were followed."""
    released = (FOLDER / "0001.sql").read_text(encoding="utf-8")
    with sqlite3.connect(tmp_path / "cases.sqlite3") as connection:
        connection.executescript(released)
        for number, (person, role) in enumerate(
            (("idp|17", "administrator"), ("lis", "teacher"), ("local", "administrator"))
        ):
            secret = digest(f"dala_{number}")
            connection.execute(
                "INSERT INTO tokens VALUES (?, ?, 'N', ?, ?, '', '2026-03-01 12:30:15.123456', NULL, NULL, NULL)",
                (f"{number}", person, role, secret),
            )
    connection.close()
    store = sqlite_store(tmp_path)
    tokens = Tokens(store.database)
    roles = [found.role.value for number in range(3) if (found := tokens.person(f"dala_{number}")) is not None]
    assert roles == ["reader", "teacher", "administrator"]
    person = person_of({"iss": "idp", "sub": "17", "roles": ["administrator"]}, {})
    assert person is not None
    tokens.meet(person)
    found = tokens.person("dala_0")
    assert found is not None and (found.id, found.role) == (person.id, Role.ADMINISTRATOR)
    store.database.close()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations in a folder of their own, to which one can be added."""
    place = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def add(scripts: Path, then: str = "") -> None:
    (scripts / "versions" / "next.py").write_text(NEXT.format(head=HEAD, then=then), encoding="utf-8")


def test_a_filled_database_goes_on_to_a_later_schema(store: Store, scripts: Path) -> None:
    identity = store.keep(ANNA, case(image("a"), image("b"), title="red"))
    store.keep(BEN, case())
    add(scripts)
    with store.database._writing.begin() as connection:
        upgrade(connection, HEAD, "next", scripts)
    with store.database.engine.connect() as connection:
        assert set(connection.scalars(text("SELECT colour FROM cases"))) == {"red", "violet"}
    assert store.database.schema() == "next"
    assert store.case(ANNA, identity).title == "red" and store.image(ANNA, identity, 2) == b"bytes of b"
    with store.database.read(SERVER) as session:
        assert audit.verify(audit.entries(session), audit.head_of(session)).problems == ()


@pytest.mark.slow
def test_a_migration_that_fails_leaves_the_database_as_it_was(store: Store, scripts: Path) -> None:
    identity = store.keep(ANNA, case(title="red"))
    add(scripts, "raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError), store.database._writing.begin() as connection:
        upgrade(connection, HEAD, "next", scripts)
    assert store.database.schema() == HEAD and difference(store.database) == []
    assert "colour" not in {column["name"] for column in inspect(store.database.engine).get_columns("cases")}
    assert store.case(ANNA, identity).title == "red"


def test_a_database_of_a_newer_version_is_left_alone(store: Store) -> None:
    with store.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer"):
        store.database.prepare()
    assert store.database.schema() == "9999"
