"""Decks: who sees what before and after it is revealed, what is kept of a read, and what goes when a deck goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dala.cases.backup import back_up, restore
from dala.cases.deck_records import MadeDeck, NewItem
from dala.cases.decks import MOST_READERS, Decks
from dala.cases.people import LOCAL, Person, Role
from dala.cases.store import Store
from dala.cases.tokens import Tokens
from dala.errors import CaseError, NotFound
from tests.helpers.cases import sqlite_store

ADA, BEN, EVE = (
    Person("ada", "Ada", Role.TEACHER),
    Person("ben", "Ben", Role.READER),
    Person("eve", "Eve", Role.ADMINISTRATOR),
)
WORDS = "Look at the edge."
OUTLINE = ((0.1, 0.1), (0.4, 0.1), (0.4, 0.5))
ITEMS = [
    NewItem(b"first png", "SOB_M_DC-1.png", "malignant", "ductal carcinoma", WORDS, {"status": "outside"}),
    NewItem(b"second png", "two.png", "benign", "adenosis"),
    NewItem(b"first png", "three.png", None),
]


@pytest.fixture
def decks(store: Store) -> Decks:
    return Decks(store)


@pytest.fixture
def made(decks: Decks) -> MadeDeck:
    return decks.make(ADA, "Monday", 7, ITEMS, anonymous=True)


def test_a_class_reads_and_the_teacher_reveals(decks: Decks, made: MadeDeck) -> None:
    one, two = decks.join(None, made.id, " Anna  B "), decks.join(BEN, made.id, "Zoe")
    assert decks.title(None, made.id) == "Monday"
    assert decks.image(None, made.id, 2, secret=one) == b"second png"
    decks.answer(None, made.id, one, 1, "malignant", OUTLINE)
    decks.answer(BEN, made.id, two, 1, "not sure")
    decks.answer(BEN, made.id, two, 2, "benign", ((0.5, 0.5),))

    # The other reader's answers, the diagnosis and the words are nowhere in what a student gets.
    seen = decks.read_by(None, made.id, one)
    assert [(item.number, item.revealed, item.truth, item.reads) for item in seen.items] == [
        (number, False, None, None) for number in (1, 2, 3)
    ]
    assert seen.readers == {1: "Anna B"} and seen.items[0].own is not None and seen.items[1].own is None
    for told in ("Zoe", "carcinoma", "adenosis", WORDS, "SOB_M", "outside", "not sure"):
        assert told not in str(asdict(seen))

    led = decks.led(ADA, made.id)
    assert led.readers == {1: "Anna B", 2: "Zoe"}
    first = led.items[0]
    assert first.reads is not None and first.truth is not None
    assert [(read.reader, read.call, read.mark) for read in first.reads] == [
        (1, "malignant", OUTLINE),
        (2, "not sure", ()),
    ]
    assert (first.truth.diagnosis, first.truth.subtype, first.truth.words) == (
        "malignant",
        "ductal carcinoma",
        WORDS,
    )

    decks.reveal(ADA, made.id, "", [1])
    seen = decks.read_by(None, made.id, one)
    assert [item.revealed for item in seen.items] == [True, False, False]
    assert seen.items[0].truth is not None and seen.items[0].truth.diagnosis == "malignant"
    assert seen.items[0].truth.name == "", "a file's name stays the teacher's"
    assert seen.items[0].reads is not None and [read.call for read in seen.items[0].reads] == ["malignant", "not sure"]
    assert seen.items[1].truth is None and seen.items[1].reads is None
    assert seen.readers == {1: "Anna B"}


def test_a_call_is_given_once_and_not_after_the_answer(decks: Decks, made: MadeDeck) -> None:
    one, two = decks.join(None, made.id, "1"), decks.join(None, made.id, "2")
    decks.answer(None, made.id, one, 1, "benign")
    with pytest.raises(CaseError, match="the first call stays"):
        decks.answer(None, made.id, one, 1, "malignant")
    decks.reveal(ADA, made.id, "", [1])
    with pytest.raises(CaseError, match="has been revealed"):
        decks.answer(None, made.id, two, 1, "malignant")
    reads = decks.led(ADA, made.id).items[0].reads
    assert reads is not None and [read.call for read in reads] == ["benign"]
    for number, call, mark in ((2, "perhaps", ()), (2, "benign", ((1.1, 0.0),)), (2, "benign", ((0.5, 0.5),) * 2001)):
        with pytest.raises(CaseError):
            decks.answer(None, made.id, one, number, call, mark)
    for number in (0, 4):
        with pytest.raises(NotFound):
            decks.answer(None, made.id, one, number, "benign")


def test_who_leads_a_deck(decks: Decks, made: MadeDeck) -> None:
    """Its owner, an administrator who logged in, and who has its key; not another reader and not the local user."""
    assert decks.led(ADA, made.id).title == decks.led(EVE, made.id).title == decks.led(None, made.id, made.key).title
    for person, key in ((BEN, ""), (None, ""), (LOCAL, ""), (BEN, made.id), (LOCAL, "wrong")):
        assert not decks.leads(person, made.id, key)
        with pytest.raises(NotFound):
            decks.led(person, made.id, key)
        with pytest.raises(NotFound):
            decks.reveal(person, made.id, key, [1])
        with pytest.raises(NotFound):
            decks.change(person, made.id, key, shared=False)
        with pytest.raises(NotFound):
            decks.delete(person, made.id, key)
        with pytest.raises(NotFound):
            decks.image(person, made.id, 1, key=key)
    assert not any(item.revealed for item in decks.led(ADA, made.id).items)


def test_without_its_address_and_a_name_nobody_sees_anything(decks: Decks, made: MadeDeck) -> None:
    secret, other = decks.join(None, made.id, "1"), decks.make(ADA, "Other", 1, ITEMS, anonymous=True)
    for id in ("", "x" * 22, made.id[:-1], made.id + "x", made.id.swapcase(), "../" + made.id, "%", "\0" * 22):
        for call in (
            lambda id=id: decks.title(None, id),
            lambda id=id: decks.join(None, id, "2"),
            lambda id=id: decks.read_by(None, id, secret),
            lambda id=id: decks.image(None, id, 1, secret=secret),
            lambda id=id: decks.answer(None, id, secret, 1, "benign"),
            lambda id=id: decks.led(ADA, id),
        ):
            with pytest.raises(NotFound):
                call()
        assert not decks.needs_no_login(id) and not decks.leads(ADA, id)
    # What one deck's reader knows opens no other deck.
    for wrong in ("", "x" * 22, secret[:-1]):
        with pytest.raises(NotFound):
            decks.read_by(None, made.id, wrong)
    with pytest.raises(NotFound):
        decks.read_by(None, other.id, secret)
    with pytest.raises(NotFound):
        decks.image(None, other.id, 1, secret=secret)


def test_a_deck_is_open_to_whom_its_teacher_opens_it(decks: Decks, made: MadeDeck) -> None:
    secret = decks.join(None, made.id, "1")
    assert decks.needs_no_login(made.id)
    decks.change(ADA, made.id, "", anonymous=False)
    assert not decks.needs_no_login(made.id)
    with pytest.raises(NotFound):
        decks.read_by(None, made.id, secret)
    assert decks.read_by(BEN, made.id, secret).me == 1
    decks.change(ADA, made.id, "", shared=False, anonymous=True)
    for person in (None, BEN):
        with pytest.raises(NotFound):
            decks.read_by(person, made.id, secret)
    assert not decks.needs_no_login(made.id)
    assert decks.led(ADA, made.id).readers == {1: "1"}


def test_only_teachers_make_decks_and_see_theirs(decks: Decks, made: MadeDeck) -> None:
    with pytest.raises(CaseError, match="Only a teacher"):
        decks.make(BEN, "Mine", 1, ITEMS)
    decks.join(None, made.id, "1")
    assert [(deck.title, deck.items, deck.readers) for deck in decks.own(ADA)] == [("Monday", 3, 1)]
    assert decks.own(BEN) == [] == decks.own(LOCAL)
    local = decks.make(LOCAL, "Of nobody", 1, ITEMS, anonymous=True)
    assert decks.own(LOCAL) == [] and not decks.leads(LOCAL, local.id) and decks.leads(LOCAL, local.id, local.key)


def test_names_are_one_readers_only(decks: Decks, made: MadeDeck) -> None:
    decks.join(None, made.id, "Anna")
    with pytest.raises(CaseError, match="under this name already"):
        decks.join(None, made.id, " ANNA ")
    for name in ("", "   ", "x" * 61, "a\0b", "a\u202eb"):
        with pytest.raises(CaseError, match="1 to 60 characters"):
            decks.join(None, made.id, name)
    assert decks.led(ADA, made.id).readers == {1: "Anna"}


@pytest.mark.slow
def test_many_join_and_answer_at_once(decks: Decks, made: MadeDeck, opened: Callable[[], Store]) -> None:
    """At two servers on one database."""
    failures: list[Exception] = []
    servers = decks, Decks(opened())

    def student(number: int) -> None:
        try:
            here = servers[number % 2]
            secret = here.join(None, made.id, f"student {number}")
            for case in (1, 2, 3):
                here.answer(None, made.id, secret, case, "benign" if number % 2 else "malignant", ((0.5, 0.5),))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=student, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    led = decks.led(ADA, made.id)
    assert failures == []
    assert sorted(led.readers) == list(range(1, 13)) and len(set(led.readers.values())) == 12
    for item in led.items:
        assert item.reads is not None
        calls = {led.readers[read.reader]: read.call for read in item.reads}
        assert calls == {f"student {n}": "benign" if n % 2 else "malignant" for n in range(12)}


def test_a_class_is_full_at_some_point(decks: Decks, made: MadeDeck, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_READERS == 500
    monkeypatch.setattr("dala.cases.decks.MOST_READERS", 1)
    decks.join(None, made.id, "1")
    with pytest.raises(CaseError, match="at most 1 readers"):
        decks.join(None, made.id, "2")


def test_a_deleted_deck_leaves_nothing_but_the_fact(decks: Decks, made: MadeDeck, store: Store) -> None:
    secret = decks.join(None, made.id, "1")
    decks.answer(None, made.id, secret, 1, "benign")
    assert len(list(store.images.names())) == 2, "two of the three images are the same"
    decks.delete(ADA, made.id)
    assert list(store.images.names()) == []
    with pytest.raises(NotFound):
        decks.led(ADA, made.id)
    with store.database.snapshot() as connection:
        for table in ("decks", "deck_items", "deck_readers", "deck_reads", "blobs"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
        logged = connection.exec_driver_sql("SELECT who, what FROM audit ORDER BY number").all()
    assert [tuple(row) for row in logged] == [("ada", "deck made"), ("ada", "deck deleted")]


@pytest.mark.slow
def test_a_backup_brings_decks_and_tokens_back(decks: Decks, made: MadeDeck, store: Store, tmp_path: Path) -> None:
    secret = decks.join(None, made.id, "Anna")
    decks.answer(None, made.id, secret, 1, "malignant", OUTLINE)
    decks.reveal(ADA, made.id, "", [1])
    token = Tokens(store.database).create(ADA)
    back_up(store, tmp_path / "backup.zip")
    again = sqlite_store(tmp_path / "again")
    restore(again, tmp_path / "backup.zip")
    assert Decks(again).led(ADA, made.id) == decks.led(ADA, made.id)
    assert Decks(again).read_by(None, made.id, secret) == decks.read_by(None, made.id, secret)
    assert Decks(again).image(None, made.id, 2, secret=secret) == b"second png"
    assert Tokens(again.database).person(token.secret) == ADA
    again.database.close()


def test_old_decks_go_where_cases_do(decks: Decks, made: MadeDeck, store: Store) -> None:
    assert decks.expire() == 0
    store.days = 30
    assert decks.expire() == 0
    assert decks.expire(datetime.now(UTC) + timedelta(days=31)) == 1
    assert not decks.leads(ADA, made.id) and list(store.images.names()) == []


def test_what_cannot_be_a_deck_is_a_sentence(decks: Decks, store: Store) -> None:
    for title, items in (
        ("", ITEMS),
        ("x" * 201, ITEMS),
        ("Monday", []),
        ("Monday", ITEMS * 17),
        ("Monday", [NewItem(b"png", "a.png", "perhaps")]),
        ("Monday", [NewItem(b"", "a.png", "benign")]),
        ("Monday", [NewItem(b"png", "a.png", "benign", words="x" * 2001)]),
    ):
        with pytest.raises(CaseError):
            decks.make(ADA, title, 1, items)
    store.keeps_images = False
    with pytest.raises(CaseError, match="keeps no images"):
        decks.make(ADA, "Monday", 1, ITEMS)
    assert list(store.images.names()) == []
