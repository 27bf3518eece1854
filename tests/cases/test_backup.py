"""A backup is one moment of a store, whatever others write, and comes back on any database."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, MetaData, Table, Text, select, text

from dala.cases import audit, backup, rows
from dala.cases.backup import back_up, restore
from dala.cases.database import HEAD, MIGRATIONS, upgrade
from dala.cases.people import SERVER
from dala.cases.store import Store
from dala.cases.tables import Base, ImageRow, Utc
from dala.errors import CaseError, StoreError
from tests.helpers.archives import changed
from tests.helpers.cases import ANNA, BEN, TEACHER, add_deck_and_token, case, image, open_at, sha256, sqlite_store
from tests.helpers.postgres import Cluster
from tests.helpers.released import FIRST, FOLDER, SECOND, WHEN, check_released


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but those that a restore itself adds to."""
    with store.database.snapshot() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
            if not table.name.startswith("audit")
        }


def fill(store: Store) -> list[str]:
    """Cases, a deck that was read, and a token."""
    ids = [
        store.keep(
            ANNA, case(image("same"), image(f"{n}"), title=f"Case {n} \N{MICROSCOPE}", patient=f"P{n}", shared=True)
        )
        for n in range(3)
    ]
    ids.append(store.keep(BEN, case(replace(image(), data=None), read_before={"call": "benign", "confidence": 0.25})))
    store.case(BEN, ids[0])
    with store.database.write(TEACHER) as session:
        add_deck_and_token(session, ids[0], sha256(b"bytes of same"))
    return ids


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Another empty store."""
    if request.param == "sqlite":
        found = sqlite_store(tmp_path / "elsewhere")
    else:
        running: Cluster = request.getfixturevalue("postgres")
        found = open_at(running.database(), tmp_path / "elsewhere" / "images")
    yield found
    found.database.close()


@pytest.mark.slow
def test_what_is_restored_is_what_was_there(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    ids = fill(store)
    made = back_up(store, tmp_path / "backup.zip")
    assert (made.cases, made.images, made.missing) == (4, 4, ())
    assert restore(elsewhere, tmp_path / "backup.zip") == made
    assert everything(elsewhere) == everything(store)
    with elsewhere.database.read(SERVER) as session:
        log = list(audit.entries(session))
        assert audit.verify(log, audit.head_of(session), audit.read_head(made.head)).problems == ()
    assert log[-1].what == "restored" and len(log) == 6
    assert elsewhere.image(ANNA, ids[1], 2) == b"bytes of 1"
    assert elsewhere.case(BEN, ids[0]) == store.case(BEN, ids[0])
    elsewhere.keep(ANNA, case())  # the log goes on
    with elsewhere.database.read(SERVER) as session:
        assert audit.verify(audit.entries(session), audit.head_of(session)).problems == ()


def test_a_store_that_holds_something_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    fill(store)
    back_up(store, tmp_path / "backup.zip")
    before = everything(store)
    with pytest.raises(CaseError):
        restore(store, tmp_path / "backup.zip")
    assert everything(store) == before


@pytest.mark.slow
def test_missing_bytes_are_counted_and_the_rest_is_kept(store: Store, tmp_path: Path) -> None:
    ids = fill(store)
    store.images.remove(sha256(b"bytes of 1"))
    store.images.path(sha256(b"bytes of 2")).write_bytes(b"altered")
    made = back_up(store, tmp_path / "backup.zip")
    assert set(made.missing) == {sha256(b"bytes of 1"), sha256(b"bytes of 2")} and made.images == 2
    elsewhere = sqlite_store(tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup.zip")
    assert elsewhere.image(ANNA, ids[0], 2) == b"bytes of 0"
    with pytest.raises(StoreError, match="missing"):
        elsewhere.image(ANNA, ids[1], 2)


LATER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "later", "{head}"
def upgrade():
    op.add_column("cases", sa.Column("colour", sa.Text(), nullable=False, server_default="violet"))
    op.execute("UPDATE cases SET colour = title WHERE title <> ''")
    op.alter_column("case_images", "version", new_column_name="made_by")
    op.create_table("marks", sa.Column("case_id", sa.String(22), sa.ForeignKey("cases.id"), primary_key=True),
                    sa.Column("at", sa.DateTime(timezone=True), nullable=False))
    op.execute("INSERT INTO marks (case_id, at) SELECT id, created FROM cases")
"""


def go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this be a version of dala with a schema after the newest: a column more, one renamed, one more table. The
    folder of its migrations."""
    scripts = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "later.py").write_text(LATER.format(head=HEAD), encoding="utf-8")
    tables = MetaData()
    for table in Base.metadata.sorted_tables:
        columns = [
            Column(
                "made_by" if column is ImageRow.__table__.c.version else column.name,
                column.type,
                *(ForeignKey(key.target_fullname) for key in column.foreign_keys),
                primary_key=column.primary_key,
            )
            for column in table.columns
        ]
        Table(table.name, tables, *columns, *([Column("colour", Text)] if table.name == "cases" else []))
    Table("marks", tables, Column("case_id", Text, ForeignKey("cases.id"), primary_key=True), Column("at", Utc))
    monkeypatch.setattr(rows, "HEAD", "later")
    monkeypatch.setattr(rows, "MIGRATIONS", scripts)
    monkeypatch.setattr(backup, "TABLES", tables)
    return scripts


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.zip")), ids=lambda path: path.stem)
def test_a_backup_of_every_released_schema_is_restored(path: Path, elsewhere: Store) -> None:
    made = restore(elsewhere, path)
    assert (made.cases, made.images, made.missing) == (2, 3, ())
    assert elsewhere.database.schema() == HEAD
    check_released(elsewhere)
    assert elsewhere.image(BEN, FIRST, 2) == b"bytes of two.png"
    assert not list(elsewhere.images.folder.glob(".restoring-*"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.zip")), ids=lambda path: path.stem)
def test_a_backup_goes_through_migrations_that_there_will_be(
    path: Path, elsewhere: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = go_on(tmp_path, monkeypatch)
    with elsewhere.database._writing.begin() as connection:
        upgrade(connection, HEAD, "later", scripts)
    made = restore(elsewhere, path)
    assert (made.cases, made.images) == (2, 3)
    with elsewhere.database.engine.connect() as connection:
        title, before = "Two ducts \N{MICROSCOPE}", '{"call": "benign", "confidence": 0.75}'
        told = connection.execute(text("SELECT id, title, colour, agrees, read_before FROM cases ORDER BY id")).all()
        assert [tuple(row) for row in told] == [
            (FIRST, title, title, False, before),
            (SECOND, "", "violet", None, None),
        ]
        assert connection.execute(text("SELECT made_by FROM case_images")).scalars().all() == ["0.2.0"] * 3
        assert connection.execute(text("SELECT marks FROM deck_reads")).scalar() == "[[0.1, 0.5]]"
        marks = Table("marks", MetaData(), Column("case_id", Text), Column("at", Utc))
        assert dict(connection.execute(select(marks)).all()) == {FIRST: WHEN, SECOND: WHEN}
    with elsewhere.database.read(SERVER) as session:
        assert audit.verify(audit.entries(session), audit.head_of(session)).problems == ()


@pytest.mark.parametrize("fault", ["rows", "log", "row"])
def test_an_older_backup_that_is_damaged_is_refused_whole(
    fault: str, elsewhere: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = go_on(tmp_path, monkeypatch)
    with elsewhere.database._writing.begin() as connection:
        upgrade(connection, HEAD, "later", scripts)
    path = tmp_path / "backup.zip"
    path.write_bytes((FOLDER / f"{HEAD}.zip").read_bytes())
    if fault == "rows":
        path.write_bytes(lines_changed(path, "deck_reads", lambda lines: lines * 2))
    elif fault == "log":
        path.write_bytes(lines_changed(path, "audit", lambda lines: [forged(lines[0], "log"), *lines[1:]]))
    else:
        path.write_bytes(lines_changed(path, "cases", lambda lines: ["{}", *lines[1:]]))
    with pytest.raises(CaseError):
        restore(elsewhere, path)
    with elsewhere.database.engine.connect() as connection:
        for table in ("cases", "marks", "audit", "tokens"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
    assert not list(elsewhere.images.folder.glob(".restoring-*"))


@pytest.mark.parametrize("schema", ["9999", "head", "+1", "", None, ["0001"], {}])
def test_a_backup_of_a_schema_that_is_not_known_is_refused(schema: object, empty: Store, tmp_path: Path) -> None:
    path = tmp_path / "backup.zip"
    path.write_bytes((FOLDER / f"{HEAD}.zip").read_bytes())
    path.write_bytes(changed(path, "manifest.json", lambda record: record.update(schema=schema)))
    with pytest.raises(CaseError, match="newer" if schema == "9999" else None):
        restore(empty, path)
    assert not any(everything(empty).values())


def test_what_a_killed_restore_left_is_swept_after_an_hour(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    for name, age in (("old", 7200), ("new", 10)):
        place = store.images.folder / f".restoring-{name}"
        place.mkdir(parents=True)
        (place / "backup.sqlite3").write_bytes(b"x")
        for path in (place / "backup.sqlite3", place):
            os.utime(path, (time.time() - age,) * 2)
    store.collect()
    assert [path.name for path in store.images.folder.glob(".restoring-*/*")] == ["backup.sqlite3"]
    for place in store.images.folder.glob(".restoring-*"):
        os.utime(place, (time.time() - 7200,) * 2)
    store.collect()  # the folder of the new one is not empty
    assert [path.name for path in store.images.folder.glob(".restoring-*")] == [".restoring-new"]
    store.database.close()


@pytest.fixture(scope="module")
def backed_up(lasting: Store, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The backup of a store that holds something of everything."""
    fill(lasting)
    path = tmp_path_factory.mktemp("backup") / "backup.zip"
    back_up(lasting, path)
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["half", "row", "log", "log_and_hash", "schema", "image"])
def test_a_backup_that_is_damaged_or_altered_is_refused_whole(
    backed_up: bytes, empty: Store, tmp_path: Path, kind: str
) -> None:
    path, content = tmp_path / "backup.zip", backed_up
    path.write_bytes(content)
    if kind == "half":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "image":
        at = content.index(b"bytes of same")
        path.write_bytes(content[:at] + b"other" + content[at + 5 :])
    elif kind == "schema":
        path.write_bytes(changed(path, "manifest.json", lambda record: record.update(schema="9999")))
    elif kind == "row":
        path.write_bytes(lines_changed(path, "cases", lambda lines: lines[:-1]))
    else:
        path.write_bytes(lines_changed(path, "audit", lambda lines: [*lines[:2], forged(lines[2], kind), *lines[3:]]))
    with pytest.raises(CaseError):
        restore(empty, path)
    assert not any(everything(empty).values())


def forged(line: str, kind: str) -> str:
    entry = {**json.loads(line), "who": "somebody else"}
    return json.dumps({**entry, "sha256": audit.digest(entry)} if kind == "log_and_hash" else entry)


def lines_changed(path: Path, table: str, change: object) -> bytes:
    from tests.helpers.archives import zipped

    with zipfile.ZipFile(path) as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    lines = entries[f"tables/{table}.jsonl"].decode().splitlines()
    return zipped({**entries, f"tables/{table}.jsonl": "\n".join(change(lines)).encode() + b"\n"})  # type: ignore[operator]


@pytest.mark.slow
def test_a_backup_while_eight_threads_keep_and_delete_is_one_moment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every case of it has every image, and its log is whole; afterwards the store has lost nothing either."""
    over = threading.Event()
    kept: list[list[str]] = [[] for _ in range(8)]
    failures: list[Exception] = []

    def work(worker: int) -> None:
        number = 0
        try:
            while not over.is_set():
                number += 1
                images = [image("same"), image(f"{worker} {number}"), image(f"{worker} {number // 3}")]
                kept[worker].append(store.keep(ANNA, case(*images, title=f"{worker} {number}")))
                if number % 2 == 0:
                    store.delete(ANNA, kept[worker].pop(number % len(kept[worker])))
        except Exception as error:
            failures.append(error)

    slow = backup.write_image  # so that much is deleted while images are copied
    monkeypatch.setattr(backup, "write_image", lambda *given: (time.sleep(0.001), slow(*given)))
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    made = []
    for number in range(2):
        time.sleep(0.1)
        made.append(back_up(store, tmp_path / f"{number}.zip"))
    over.set()
    for thread in threads:
        thread.join()
    assert failures == [] and made[0].cases < made[1].cases
    for number, one in enumerate(made):
        assert one.missing == ()
        again = sqlite_store(tmp_path / f"again {number}")
        assert restore(again, tmp_path / f"{number}.zip") == one
        ids = again.ids(ANNA)
        assert len(ids) == one.cases
        for identity in ids:
            found = again.case(ANNA, identity)
            assert [again.image(ANNA, identity, n) for n in (1, 2, 3)] == [
                f"bytes of {image_.name}".encode() for image_ in found.images
            ]
        again.database.close()
    store.collect()
    assert sorted(store.ids(ANNA)) == sorted(identity for ids in kept for identity in ids)
    held = {image_.sha256 for ids in kept for identity in ids for image_ in store.case(ANNA, identity).images}
    assert set(store.images.names()) == held
