"""The log shows every alteration of it; nobody can alter it by the way of the database's own statements."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dala.cases import audit
from dala.cases.audit import FIRST, Entry, Head, verify
from dala.cases.people import SERVER
from dala.cases.store import Store
from dala.errors import CaseError
from tests.helpers.cases import ANNA, BEN, case


@pytest.fixture(scope="module")
def written(lasting: Store) -> Store:
    """Six entries: kept, seen, changed, kept, seen, deleted."""
    store = lasting
    first = store.keep(ANNA, case(shared=True))
    store.case(BEN, first)
    store.change(ANNA, first, title="new")
    second = store.keep(BEN, case())
    store.case(BEN, second)
    store.delete(BEN, second)
    return store


@pytest.fixture
def log(written: Store) -> tuple[list[Entry], Head]:
    """These entries, which a test may alter."""
    with written.database.read(SERVER) as session:
        found = list(audit.entries(session)), audit.head_of(session)
    assert [entry.what for entry in found[0]] == ["kept", "seen", "changed", "kept", "seen", "deleted"]
    return found


def rewritten(entries: list[Entry], previous: str = FIRST) -> list[Entry]:
    """The entries numbered and chained anew, as somebody with all rights would write them."""
    found = []
    for number, entry in enumerate(entries, start=1):
        entry = replace(entry, number=number, previous=previous)
        found.append(replace(entry, sha256=entry.expected))
        previous = found[-1].sha256
    return found


def test_a_whole_log_is_found_whole(log: tuple[list[Entry], Head]) -> None:
    entries, head = log
    assert verify(entries, head).problems == () and verify(entries, head).entries == 6
    assert head == Head(6, entries[-1].sha256)
    for entry in entries:
        assert verify(entries, head, Head(entry.number, entry.sha256)).problems == ()
    assert verify(entries, head, Head(0, FIRST)).problems == () and verify([], Head(0, FIRST)).problems == ()


def test_the_hash_is_what_the_document_says(log: tuple[list[Entry], Head]) -> None:
    """sha256 of the JSON with sorted keys of all but the hash itself: written here as an outsider would."""
    for one in log[0]:
        fields = {
            "at": one.at, "case_id": one.case_id, "details": one.details, "number": one.number,
            "previous": one.previous, "what": one.what, "who": one.who,
        }  # fmt: skip
        text_ = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
        assert hashlib.sha256(f"{{{text_}}}".encode()).hexdigest() == one.sha256


@pytest.mark.parametrize("field", ["at", "who", "what", "case_id", "details", "previous", "sha256", "number"])
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_changed_entry_is_found(log: tuple[list[Entry], Head], field: str, place: int) -> None:
    entries, head = log
    value = 77 if field == "number" else "f" * 64
    entries[place] = replace(entries[place], **{field: value})
    assert verify(entries, head).problems


@pytest.mark.parametrize("place", range(6))
def test_a_removed_entry_is_found(log: tuple[list[Entry], Head], place: int) -> None:
    entries, head = log
    assert verify(entries[:place] + entries[place + 1 :], head).problems


@pytest.mark.parametrize("place", range(5))
def test_moved_entries_are_found(log: tuple[list[Entry], Head], place: int) -> None:
    entries, head = log
    entries[place], entries[place + 1] = entries[place + 1], entries[place]
    assert verify(entries, head).problems
    numbered = [replace(entry, number=number) for number, entry in enumerate(entries, start=1)]
    assert verify(numbered, head).problems


@pytest.mark.parametrize("left", range(6))
def test_a_log_that_was_cut_off_is_found(log: tuple[list[Entry], Head], left: int) -> None:
    """By the head in the database; where that was set back, too, by a head that was noted."""
    entries, head = log
    assert verify(entries[:left], head).problems
    last = entries[left - 1] if left else None
    back = Head(0, FIRST) if last is None else Head(last.number, last.sha256)
    assert not verify(entries[:left], back).problems  # nothing in the database shows it
    assert verify(entries[:left], back, head).problems


def test_a_log_that_was_written_anew_is_found_by_a_noted_head_only(log: tuple[list[Entry], Head]) -> None:
    entries, head = log
    forged = rewritten([*entries[:3], *entries[4:], entries[0]])
    end = Head(6, forged[-1].sha256)
    assert not verify(forged, end).problems
    assert verify(forged, end, head).problems


def test_a_head_is_noted_and_read_again(log: tuple[list[Entry], Head]) -> None:
    assert audit.read_head(f" {log[1]}\n") == log[1]
    for wrong in ("", "6", "6:abc", f"x:{FIRST}"):
        with pytest.raises(CaseError):
            audit.read_head(wrong)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET who = 'x' WHERE number = 1", "DELETE FROM audit", "DELETE FROM audit WHERE number = 1"],
)
def test_the_database_refuses_to_change_the_log(written: Store, log: tuple[list[Entry], Head], statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), written.database.engine.begin() as connection:
        connection.execute(text(statement))
    with written.database.read(SERVER) as session:
        assert (list(audit.entries(session)), audit.head_of(session)) == log


def test_the_log_holds_no_text_of_a_case(store: Store) -> None:
    secret = "Nebukadnezar"
    identity = store.keep(ANNA, case(title=secret, comment=secret, patient=secret))
    store.change(ANNA, identity, title=f"{secret} II", patient=f"{secret} II")
    with store.database.read(SERVER) as session:
        assert secret not in repr(list(audit.entries(session)))
