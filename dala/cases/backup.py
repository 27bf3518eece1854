"""All of a store in one file and back, while others keep and delete: every table as JSON lines, every image.

The tables are read in one snapshot and no bytes are removed meanwhile, so a backup is one moment of the store. It is
the same on every database: what was kept in SQLite can be restored into PostgreSQL.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Table, func, insert, select, update

from dala import __version__
from dala.cases import audit
from dala.cases.archives import MANIFEST, read_image, reading, write_image, writing
from dala.cases.database import HEAD
from dala.cases.people import SERVER, Person
from dala.cases.store import Store
from dala.cases.tables import AuditRow, Base, BlobRow, CaseRow, HeadRow, Utc
from dala.errors import CaseError, StoreError

KIND = "backup"
PIECE = 500  # rows
LONGEST_ROW = 2**28  # characters


@dataclass(frozen=True)
class Backup:
    """What a backup holds; `missing` are images whose bytes were damaged or missing when it was made; `head` is where
    the log ends."""

    cases: int
    images: int
    missing: tuple[str, ...]
    head: str


def back_up(store: Store, to: Path) -> Backup:
    """Write everything into the file `to`, which is whole or as it was. StoreError as everything of the store."""
    with store.database.answering(), store.images.copying(), writing(to) as archive:
        with store.database.snapshot() as connection:
            counts = {table.name: _dump(connection, table, archive) for table in Base.metadata.sorted_tables}
            hashes = list(connection.scalars(select(BlobRow.sha256).order_by(BlobRow.sha256)))
            head = audit.head_of(connection)
        missing = []
        for sha256 in hashes:
            try:
                write_image(archive, store.images, sha256)
            except StoreError:
                missing.append(sha256)
        manifest = {
            "kind": KIND,
            "format": 1,
            "dala": __version__,
            "schema": HEAD,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": counts,
            "images": len(hashes) - len(missing),
            "missing": missing,
            "log_head": str(head),
        }
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    store.collect()  # what was deleted meanwhile
    return _summary(manifest)


def look_at(source: Path) -> Backup:
    """What a backup holds, by its own words; CaseError for a file that is none."""
    with reading(source, KIND) as (_, manifest):
        return _summary(manifest)


def _summary(manifest: dict[str, Any]) -> Backup:
    return Backup(manifest["rows"]["cases"], manifest["images"], tuple(manifest["missing"]), manifest["log_head"])


def restore(store: Store, source: Path, person: Person = SERVER) -> Backup:
    """Bring everything of a backup into an empty store, all of it or nothing. CaseError for a store that is not empty,
    and for a file that is no backup, is damaged, of a newer schema, or holds a log that was altered."""
    with reading(source, KIND) as (archive, manifest):
        if manifest["schema"] != HEAD:
            raise CaseError(
                f"This backup has the schema {manifest['schema']}; this version of dala restores {HEAD} only."
            )
        with store.database.read(SERVER) as session:
            _need_empty(session.connection())
        with store.database.answering("nothing was restored"):
            for name in archive.namelist():
                if name.startswith("images/"):
                    sha256 = name.removeprefix("images/")
                    store.images.put(read_image(archive, sha256), sha256)
        with store.database.write(SERVER) as session:
            connection = session.connection()
            _need_empty(connection)
            for table in Base.metadata.sorted_tables:
                found = _load(connection, table, archive)
                if found != manifest["rows"][table.name]:
                    raise CaseError("This backup of cases is damaged: rows are missing.")
            verified = audit.verify(audit.entries(session), audit.head_of(session))
            if verified.problems:
                raise CaseError(f"The log in this backup was altered: {verified.problems[0]}")
            audit.append(session, person, "restored", [None], head=manifest["log_head"])
        return _summary(manifest)


def _need_empty(connection: Connection) -> None:
    for row in (CaseRow, AuditRow):
        if connection.scalar(select(func.count()).select_from(row.__table__)):
            raise CaseError("A backup is restored into an empty store, and this one holds cases or a log already.")


def _dump(connection: Connection, table: Table, archive: zipfile.ZipFile) -> int:
    count = 0
    asked = select(table).order_by(*table.primary_key).execution_options(yield_per=PIECE)
    with archive.open(_member(table), "w", force_zip64=True) as file:
        for row in connection.execute(asked).mappings():
            line = {column.name: _plain(row[column]) for column in table.columns}
            file.write(json.dumps(line, allow_nan=False).encode("ascii") + b"\n")
            count += 1
    return count


def _load(connection: Connection, table: Table, archive: zipfile.ZipFile) -> int:
    count = 0
    piece: list[dict[str, Any]] = []
    for row in _rows(archive, table):
        count += 1
        if table is HeadRow.__table__:  # the one row is there
            connection.execute(update(table).values(**row))
            continue
        piece.append(row)
        if len(piece) == PIECE:
            connection.execute(insert(table), piece)
            piece = []
    if piece:
        connection.execute(insert(table), piece)
    return count


def _rows(archive: zipfile.ZipFile, table: Table) -> Iterator[dict[str, Any]]:
    with archive.open(_member(table)) as file, io.TextIOWrapper(file, "ascii") as text:
        while line := text.readline(LONGEST_ROW):
            record = json.loads(line)
            yield {column.name: _typed(column, record[column.name]) for column in table.columns}


def _member(table: Table) -> str:
    return f"tables/{table.name}.jsonl"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if isinstance(value, datetime) else value


def _typed(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(value, validate=True)
    return datetime.fromisoformat(value) if isinstance(column.type, Utc) else value
