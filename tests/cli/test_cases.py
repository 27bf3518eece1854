"""Commands for kept cases: what they print, and that a store is made by none that only looks at a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from dala.cases.opening import store_from_environment
from dala.cases.people import LOCAL
from dala.cases.store import Store
from dala.cli.main import main
from tests.helpers.cases import ANNA, BEN, case, image

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store that the commands find."""
    monkeypatch.delenv("DALA_DATABASE")
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "kept"))
    found = store_from_environment()
    assert found is not None
    return found


def said(capsys: Capture, *words: str | Path, status: int = 0) -> str:
    """What a command prints; on standard error where it fails."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_cases_are_listed(store: Store, capsys: Capture) -> None:
    ids = [
        store.keep(ANNA, case(title="Two \x1b[31mducts")),
        store.keep(BEN, case(image(answer="benign"), image("b"), shared=True)),
    ]
    lines = said(capsys, "cases", "list").splitlines()
    assert [line.split()[0] for line in lines] == [ids[1], ids[0], "2"] and "Two [31mducts" in lines[1]
    assert said(capsys, "cases", "list", "--limit", "1").splitlines()[-1] == "2 cases, 1 of them listed."
    (record,) = map(json.loads, said(capsys, "cases", "list", "--json", "--text", "ducts").splitlines())
    assert (record["id"], record["reader"], record["images"], record["shared"]) == (ids[0], ANNA.name, 1, False)
    assert said(capsys, "cases", "list", "--answer", "not sure") == "0 cases.\n"


def test_a_backup_is_restored_into_an_empty_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    identity = store.keep(ANNA, case())
    out = said(capsys, "cases", "backup", "--to", tmp_path / "b.zip")
    assert out.startswith("1 case and 1 image written")
    assert (tmp_path / "b.zip").stat().st_mode & 0o077 == 0
    head = out.splitlines()[1].removeprefix("The log ends at ").rstrip(".")
    assert "empty store" in said(capsys, "cases", "restore", tmp_path / "b.zip", status=1)
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "other"))
    said(capsys, "cases", "restore", tmp_path / "b.zip")
    other = store_from_environment()
    assert other is not None and other is not store and other.image(LOCAL, identity, 1) == b"bytes of field.png"
    assert said(capsys, "audit", "verify", "--head", head).startswith("3 entries: none was changed")


def test_an_export_is_imported_by_the_local_user(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    ids = [store.keep(ANNA, case(title=f"{number}")) for number in range(3)]
    assert said(capsys, "cases", "export", "--to", tmp_path / "e.zip", "--id", ids[0], "--id", ids[2]).startswith(
        "2 cases"
    )
    assert said(capsys, "cases", "import", tmp_path / "e.zip") == "0 cases imported; 2 cases were there already.\n"
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "other"))
    assert said(capsys, "cases", "import", tmp_path / "e.zip") == "2 cases imported.\n"
    other = store_from_environment()
    assert other is not None and other.case(LOCAL, ids[2]).owner == (LOCAL.id, LOCAL.name)
    assert "no such case" in said(capsys, "cases", "export", "--to", tmp_path / "x.zip", "--id", ids[1], status=1)


def test_what_is_no_archive_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("DALA_DATABASE")
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "kept"))
    (tmp_path / "letter.zip").write_text("a letter")
    for verb in ("restore", "import"):
        said(capsys, "cases", verb, tmp_path / "letter.zip", status=1)
    assert not (tmp_path / "kept").exists()


@pytest.mark.slow
def test_an_altered_log_is_told_entry_by_entry(store: Store, capsys: Capture) -> None:
    """Altered as somebody would who owns the file: past the triggers that forbid it."""
    ids = [store.keep(ANNA, case()) for _ in range(5)]
    out = said(capsys, "audit", "verify")
    head = out.splitlines()[1].split()[4].rstrip(".")
    assert out.startswith("5 entries: none was changed, removed, moved or cut off.")
    assert [json.loads(line)["case_id"] for line in said(capsys, "audit", "list").splitlines()] == ids
    assert len(said(capsys, "audit", "list", "--id", ids[3]).splitlines()) == 1

    def alter(*statements: str) -> str:
        with store.database.engine.begin() as connection:
            for statement in (
                "DROP TRIGGER IF EXISTS audit_no_update",
                "DROP TRIGGER IF EXISTS audit_no_delete",
                *statements,
            ):
                connection.execute(text(statement))
        return said(capsys, "audit", "verify", status=1)

    assert "Entry 2 was changed" in alter("UPDATE audit SET who = 'ben' WHERE number = 2")
    alter("UPDATE audit SET who = 'idp|anna' WHERE number = 2", "UPDATE audit SET number = 9 WHERE number = 3")
    assert "cut off" in alter("UPDATE audit SET number = 3 WHERE number = 9", "DELETE FROM audit WHERE number = 5")
    with store.database.engine.begin() as connection:  # the head set back to the fourth entry: only a note shows it
        connection.execute(
            text("UPDATE audit_head SET number = 4, sha256 = (SELECT sha256 FROM audit WHERE number = 4)")
        )
    said(capsys, "audit", "verify")
    assert "cut off or written anew" in said(capsys, "audit", "verify", "--head", head, status=1)


def test_cases_that_are_switched_off_are_a_sentence(capsys: Capture) -> None:
    assert said(capsys, "cases", "list", status=1) == "dala: Cases are switched off (DALA_DATABASE=off).\n"


def test_expired_cases_are_counted(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    store.keep(ANNA, case())
    assert "DALA_CASES_DAYS is not set" in said(capsys, "cases", "expire")
    monkeypatch.setenv("DALA_CASES_DAYS", "1")
    assert said(capsys, "cases", "expire") == "0 cases older than 1 day deleted.\n"
