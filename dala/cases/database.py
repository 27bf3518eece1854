"""The database of cases, SQLite or PostgreSQL: engine, transactions, schema, and its errors as sentences."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dala.cases.images import private
from dala.cases.people import Person
from dala.cases.visibility import PERSON, PersonSession
from dala.errors import StoreError

HEAD = "0002"  # the newest schema in migrations/versions
MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_SECONDS, CONNECT_SECONDS = 20, 5
ADVISORY = 0x64616C61  # the number under which PostgreSQL lets one process at a time change the schema
IMMEDIATE = "dala_immediate"
VERSIONS = "alembic_version"  # the table that says which schema there is
SQLITE, POSTGRESQL = "sqlite", "postgresql"
# SQLSTATE of PostgreSQL, by its first two or all five characters
FULL, WAITED, NO_RIGHT, READ_ONLY = ("53100",), ("55P03", "57014", "40P01"), ("42501",), ("25006",)
GONE = ("08", "57", "53")


class Database:
    """Where cases are kept. One object serves all threads; nothing is connected until it is asked."""

    def __init__(self, url: str | URL) -> None:
        self.url = checked_url(url)
        self.engine = _engine(self.url)
        self._writing = self.engine.execution_options(**{IMMEDIATE: True})

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == SQLITE

    @property
    def file(self) -> Path | None:
        """SQLite's file."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    def __str__(self) -> str:
        """Where it is, without a password."""
        return str(self.file) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self, person: Person) -> Iterator[PersonSession]:
        """A session that sees one state of what `person` may see, and changes nothing."""
        with self.answering(), PersonSession(self.engine, info={PERSON: person}) as session:
            yield session

    @contextmanager
    def write(self, person: Person) -> Iterator[PersonSession]:
        """A session of one transaction: all of it is kept, or after an error none of it."""
        with (
            self.answering("nothing was changed"),
            PersonSession(self._writing, info={PERSON: person}, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees everything as it was at one moment, however much is written meanwhile."""
        level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self.answering(), self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    @contextmanager
    def answering(self, outcome: str = "") -> Iterator[None]:
        """Turn what goes wrong in the block into a StoreError of one sentence; `outcome` says what came of it."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"{self._problem(error)}{f'; {outcome}' if outcome else ''}.") from error
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            where = f" {error.filename}" if error.filename else ""
            raise StoreError(
                f"The store of cases cannot use{where or ' its folder'}: {reason}{f'; {outcome}' if outcome else ''}."
            ) from error

    def _problem(self, error: Exception) -> str:
        original = getattr(error, "orig", None)
        said = str(original or error).lower()
        state = str(getattr(original, "sqlstate", None) or "")
        if state in FULL or "disk is full" in said or "no space left" in said:
            return "The disk of the case database is full"
        if isinstance(error, PoolTimeout) or state in WAITED or "locked" in said or "busy" in said:
            return "The case database is busy; try again in a moment"
        if state in READ_ONLY or "readonly" in said:
            return "The case database cannot be written to"
        if "malformed" in said or "not a database" in said:
            return f"The case database {self} is damaged or no database of SQLite"
        if state in NO_RIGHT or "password" in said or "authentication" in said:
            return f"The case database {self} does not let this server in"
        disconnected = isinstance(error, DBAPIError) and error.connection_invalidated
        if disconnected or state[:2] in GONE or "unable to open" in said or "connect" in said or "i/o error" in said:
            return f"The case database {self} does not answer"
        return f"The case database cannot do this ({type(original or error).__name__})"

    # The schema

    def schema(self) -> str | None:
        """The name of the schema that is there; None for an empty database. Raises StoreError where none answers."""
        with self.answering(), self.engine.connect() as connection:
            return _schema_of(connection)

    def prepare(self) -> None:
        """Make the tables, or bring those of an older release to this one's; StoreError for those of a newer one."""
        if self.file is not None:
            with self.answering():
                private(self.file.parent)
                self.file.touch(mode=0o600, exist_ok=True)
                self._write_ahead()
        if self.schema() == HEAD:
            return
        with self.answering(), self._writing.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY})
            found = _schema_of(connection)  # another process may have been first
            if found != HEAD:
                upgrade(connection, found)

    def _write_ahead(self) -> None:
        """WAL, in which readers and a writer do not wait for each other; SQLite remembers it in the file."""
        for attempt in range(50):
            try:
                self._pragma("journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                if attempt == 49:
                    raise
                time.sleep(0.1)  # others are opening it, and this statement does not wait for them

    def truncate_log(self) -> None:
        """Let SQLite's write-ahead log go, in which a deleted text may still stand; best effort."""
        if self.is_sqlite:
            with suppress(SQLAlchemyError, sqlite3.Error):  # while others read; the next one does it
                self._pragma("wal_checkpoint(TRUNCATE)")

    def _pragma(self, said: str) -> None:
        """What SQLite takes outside transactions only."""
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute(f"PRAGMA {said}")
        finally:
            connection.close()

    def close(self) -> None:
        """Let all connections go."""
        self.engine.dispose()


def checked_url(url: str | URL) -> URL:
    """The address of a database of a kind that is supported; StoreError without its password for others."""
    try:
        found = make_url(url)
        backend = found.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            "DALA_DATABASE is no address of a database; it is one such as postgresql+psycopg://USER:PASSWORD@HOST/NAME."
        ) from error
    if backend == POSTGRESQL:
        return found.set(drivername="postgresql+psycopg")
    if backend == SQLITE and found.database and found.database != ":memory:":
        return found.set(drivername="sqlite+pysqlite")
    raise StoreError("DALA_DATABASE is off, sqlite:////PATH, or postgresql+psycopg://USER:PASSWORD@HOST/NAME.")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == SQLITE:
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
        return engine
    options = f"-c lock_timeout={BUSY_SECONDS}s -c timezone=UTC"
    return create_engine(
        url,
        pool_pre_ping=True,  # a server that was restarted is asked again, not complained about
        pool_timeout=BUSY_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": BUSY_SECONDS * 1000,  # a network that swallows everything is an error, too
            "options": options,
        },
    )


def _on_sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_on_sqlite_begin` says, not where the driver guesses
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "foreign_keys=ON",
        "synchronous=FULL",
        "secure_delete=ON",  # what is deleted is overwritten
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_sqlite_begin(connection: Connection) -> None:
    """Whoever will write says so at once: two readers that both want to write later would have to fail."""
    kind = "IMMEDIATE" if connection.get_execution_options().get(IMMEDIATE) else "DEFERRED"
    connection.exec_driver_sql(f"BEGIN {kind}")


def _schema_of(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, VERSIONS):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar()
    return None if found is None else str(found)


def known_schemas(scripts: Path = MIGRATIONS) -> set[str]:
    """The names of all schemas up to the newest."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(scripts)).walk_revisions()}


def upgrade(connection: Connection, found: str | None, to: str = HEAD, scripts: Path = MIGRATIONS) -> None:
    """Run the migrations from the schema `found` up to `to` within the connection's own transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    if found is not None and found not in known_schemas(scripts):
        raise StoreError(
            f"The case database has the schema {found}, which is newer than this version of dala; update dala."
        )
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise StoreError("The case database cannot be brought to the schema of this version.") from error
