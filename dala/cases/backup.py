"""All of a store in one file and back, while others keep and delete: every table as JSON lines, every image.

The tables are read in one snapshot and no bytes are removed meanwhile, so a backup is one moment of the store. It is
the same on every database: what was kept in SQLite can be restored into PostgreSQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from dala import __version__
from dala.cases import audit
from dala.cases.archives import MANIFEST, read_image, reading, write_image, writing
from dala.cases.database import HEAD
from dala.cases.people import SERVER, Person
from dala.cases.rows import TABLES, dump, fill, rows_of
from dala.cases.store import Store
from dala.cases.tables import AuditRow, BlobRow, CaseRow
from dala.errors import CaseError, StoreError

KIND = "backup"


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
            counts = {table.name: dump(connection, table, archive) for table in TABLES.sorted_tables}
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
    """Bring everything of a backup into an empty store, all of it or nothing; one of an older schema goes through the
    migrations first. CaseError for a store that is not empty, and for a file that is no backup, is damaged, of a newer
    schema, or holds a log that was altered."""
    with reading(source, KIND) as (archive, manifest):
        with store.database.read(SERVER) as session:
            _need_empty(session.connection())
        with store.database.answering("nothing was restored"), rows_of(archive, manifest, store.images.folder) as rows:
            for name in archive.namelist():
                if name.startswith("images/"):
                    sha256 = name.removeprefix("images/")
                    store.images.put(read_image(archive, sha256), sha256)
            with store.database.write(SERVER) as session:
                connection = session.connection()
                _need_empty(connection)
                for table in TABLES.sorted_tables:
                    fill(connection, table, rows(table))
                verified = audit.verify(audit.entries(session), audit.head_of(session))
                if verified.problems:
                    raise CaseError(f"The log in this backup was altered: {verified.problems[0]}")
                audit.append(session, person, "restored", [None], head=manifest["log_head"])
        return _summary(manifest)


def _need_empty(connection: Connection) -> None:
    for row in (CaseRow, AuditRow):
        if connection.scalar(select(func.count()).select_from(row.__table__)):
            raise CaseError("A backup is restored into an empty store, and this one holds cases or a log already.")
