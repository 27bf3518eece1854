"""Rows of a backup: out of a database, into another one, and forwards from an older schema to this version's."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Connection, DateTime, LargeBinary, MetaData, Table, event, insert, select, update

from dala.cases.database import HEAD, MIGRATIONS, SQLITE, VERSIONS, Database, known_schemas, upgrade
from dala.cases.images import UNFINISHED, private
from dala.cases.tables import Base, HeadRow, JsonText, Utc
from dala.errors import CaseError

Row = dict[str, Any]
Rows = Callable[[Table], Iterator[Row]]  # those of a table of this version's schema
TABLES = Base.metadata
PIECE = 500  # rows
LONGEST_ROW = 2**28  # characters


def dump(connection: Connection, table: Table, archive: zipfile.ZipFile) -> int:
    """Write a table as JSON lines; how many rows these were."""
    count = 0
    with archive.open(_member(table), "w", force_zip64=True) as file:
        for row in _rows_in(connection, table):
            line = {name: _plain(value) for name, value in row.items()}
            file.write(json.dumps(line, allow_nan=False).encode("ascii") + b"\n")
            count += 1
    return count


def fill(connection: Connection, table: Table, rows: Iterator[Row]) -> int:
    """Insert rows into an empty table; how many these were."""
    count = 0
    piece: list[Row] = []
    for row in rows:
        count += 1
        if table.name == HeadRow.__tablename__:  # the one row is there
            connection.execute(update(table).values(**row))
            continue
        piece.append(row)
        if len(piece) == PIECE:
            connection.execute(insert(table), piece)
            piece = []
    if piece:
        connection.execute(insert(table), piece)
    return count


@contextmanager
def rows_of(archive: zipfile.ZipFile, manifest: dict[str, Any], folder: Path) -> Iterator[Rows]:
    """What a backup holds, as rows of this version's schema.

    Those of an older schema are first filled into a database of that schema, a file in `folder` that goes away again,
    which the migrations then bring forwards. Raises CaseError for a newer schema, and where rows are missing.
    """
    schema = manifest["schema"]
    if schema == HEAD:
        yield lambda table: _counted(archive, table, manifest)
        return
    if schema not in known_schemas(MIGRATIONS):
        raise CaseError(
            f"This backup has the schema {str(schema)[:20]}, which is newer than this version of dala; update dala."
        )
    private(folder)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as place:
        between = Database(URL.create(SQLITE, database=str(Path(place) / "backup.sqlite3")))
        try:
            with between.answering("nothing was restored"), between.engine.begin() as connection:
                upgrade(connection, None, schema, MIGRATIONS)
                for table in _tables_in(connection):
                    fill(connection, table, _counted(archive, table, manifest))
                upgrade(connection, schema, HEAD, MIGRATIONS)
                yield lambda table: _rows_in(connection, table)
        finally:
            between.close()


def _tables_in(connection: Connection) -> list[Table]:
    """The tables of a database of whatever schema, in the order in which they can be filled."""
    found = MetaData()

    @event.listens_for(found, "column_reflect")
    def _in_utc(_: object, __: object, column: dict[str, Any]) -> None:
        if isinstance(column["type"], DateTime):
            column["type"] = Utc()

    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != VERSIONS]


def _rows_in(connection: Connection, table: Table) -> Iterator[Row]:
    asked = select(table).order_by(*table.primary_key).execution_options(yield_per=PIECE)
    for row in connection.execute(asked).mappings():
        yield {column.name: row[column] for column in table.columns}


def _counted(archive: zipfile.ZipFile, table: Table, manifest: dict[str, Any]) -> Iterator[Row]:
    """The rows of a member; CaseError at the end if they are fewer or more than the manifest says."""
    count = 0
    with archive.open(_member(table)) as file, io.TextIOWrapper(file, "ascii") as text:
        while line := text.readline(LONGEST_ROW):
            record = json.loads(line)
            yield {column.name: _typed(column, record[column.name]) for column in table.columns}
            count += 1
    if count != manifest["rows"][table.name]:
        raise CaseError("This backup of cases is damaged: rows are missing.")


def _member(table: Table) -> str:
    return f"tables/{table.name}.jsonl"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if isinstance(value, datetime) else value


def _typed(column: Column[Any], value: Any) -> Any:
    if isinstance(column.type, LargeBinary) and value is not None:
        return base64.b64decode(value, validate=True)
    if isinstance(column.type, Utc) and value is not None:
        return datetime.fromisoformat(value)
    # What is JSON in the database is an object or a list; a table of an older schema does not tell it from text.
    is_json = isinstance(value, (dict, list)) and not isinstance(column.type, JsonText)
    return json.dumps(value, allow_nan=False) if is_json else value
