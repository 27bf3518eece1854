"""`dala token`: printed once, listed without what opens, revoked; sentences where that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from dala.cases.opening import store_from_environment
from dala.cases.people import LOCAL, Person, Role
from dala.cases.tokens import Tokens
from dala.cli.main import main


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DALA_DATABASE", raising=False)
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "cases"))


def person(secret: str) -> Person | None:
    store = store_from_environment()
    assert store is not None
    return Tokens(store.database).person(secret)


def test_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "list"]) == 0
    assert capsys.readouterr().out == "There are no tokens.\n"
    assert main(["token", "create", "--label", "QuPath"]) == 0
    own = capsys.readouterr().out.strip()
    line = ["token", "create", "--person", "lis", "--person-name", "Laboratory", "--role", "teacher", "--days", "1"]
    assert main(line) == 0
    others = capsys.readouterr().out.strip()
    assert person(own) == LOCAL and person(others) == Person("lis", "Laboratory", Role.TEACHER)
    assert main(["token", "list"]) == 0
    listed = capsys.readouterr().out
    assert own not in listed and others not in listed
    latest, first = listed.splitlines()
    assert "Laboratory, teacher: holds until" in latest and "Local user, administrator (QuPath): holds until" in first
    assert main(["token", "revoke", first.split()[0]]) == 0
    assert capsys.readouterr().out == "Revoked; still open: 1 token.\n"
    assert person(own) is None and person(others) is not None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (["revoke", "x" * 22], 1),
        (["create", "--days", "0"], 1),
        (["create", "--label", "x" * 101], 1),
        (["create", "--role", "king"], 2),
        (["create", "--days", "many"], 2),
    ],
)
def test_what_cannot_be_is_a_sentence(line: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        found = main(["token", *line])
    except SystemExit as error:
        found = error.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert found == status and printed.out == "" and "Traceback" not in printed.err


def test_where_nothing_is_kept_there_are_no_tokens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DALA_DATABASE", "off")
    assert main(["token", "create"]) == 1
    assert "DALA_DATABASE=off" in capsys.readouterr().err
