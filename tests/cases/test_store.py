"""What is kept is found again, equal, by those who may see it, and by nobody else."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from dala import __version__
from dala.cases import audit
from dala.cases.kept import NewCase, Query
from dala.cases.people import LOCAL, SERVER, Person
from dala.cases.store import Store
from dala.cases.tables import AuditRow, CaseRow, DeckRow, ImageRow, TokenRow
from dala.errors import CaseError, Forbidden, NotFound, StoreError
from tests.helpers.cases import ANNA, BEN, CHIEF, TEACHER, WEIGHTS, case, image, opinion, sha256, sqlite_store

FULL = case(
    image("a.png", probability=0.875, answer="not sure", laboratory="BreakHis"),
    replace(image("ü \N{MICROSCOPE}.jpg"), origin={"slide": "S.svs", "box": [0, 512, 512, 1024]}),
    image("no bytes.png", answer="outside", laboratory=None),
    title="Two ducts, \N{GREEK SMALL LETTER MU}m",
    comment="First line\nsecond; 100 % sure_of it",
    read_before={"call": "benign", "confidence": 0.7},
    read_after={"call": "malignant", "confidence": None},
    agrees=True,
    diagnosis="malignant",
    subtype="lobular",
    patient="P-17",
    shared=False,
)


def log(store: Store) -> list[tuple[str, str, str | None]]:
    with store.database.read(SERVER) as session:
        return [(entry.who, entry.what, entry.case_id) for entry in audit.entries(session)]


def verified(store: Store) -> audit.Verified:
    with store.database.read(SERVER) as session:
        return audit.verify(audit.entries(session), audit.head_of(session))


@pytest.mark.slow
def test_a_case_is_after_a_restart_what_was_kept(store: Store, opened: Callable[[], Store]) -> None:
    images = [*FULL.images[:2], replace(FULL.images[2], data=None)]
    before = datetime.now(UTC)
    identity = store.keep(ANNA, replace(FULL, images=images))
    store.database.close()
    again = opened()
    found = again.case(ANNA, identity)
    kept = {name: getattr(found, name) for name in NewCase.__dataclass_fields__ if name != "images"}
    assert kept == {name: getattr(FULL, name) for name in kept}
    assert [(one.number, one.name, one.settings, one.opinion, one.thumbnail, one.origin) for one in found.images] == [
        (n, one.name, one.settings, one.opinion, one.thumbnail, one.origin) for n, one in enumerate(images, start=1)
    ]
    assert [one.version for one in found.images] == [__version__] * 3
    assert found.images[0].opinion["weights_sha256"] == WEIGHTS
    assert [again.image(ANNA, identity, n) for n in (1, 2, 3)] == [images[0].data, images[1].data, None]
    assert [one.sha256 for one in found.images] == [sha256(images[0].data), sha256(images[1].data), None]
    assert found.owner == found.reader == (ANNA.id, ANNA.name) and found.may_change
    assert before <= found.created == found.changed <= datetime.now(UTC)
    assert len(identity) == 22 and found.answer == "malignant"


def test_bytes_are_kept_once_and_go_with_the_last_that_holds_them(store: Store) -> None:
    first, second = (store.keep(ANNA, case(image("same"), image(f"own {n}"))) for n in (1, 2))
    assert sorted(store.images.names()) == sorted(sha256(f"bytes of {n}".encode()) for n in ("same", "own 1", "own 2"))
    store.delete(ANNA, first)
    assert sorted(store.images.names()) == sorted(sha256(f"bytes of {n}".encode()) for n in ("same", "own 2"))
    assert store.image(ANNA, second, 1) == b"bytes of same"
    store.delete(ANNA, second)
    assert list(store.images.names()) == []


def test_no_bytes_are_kept_where_none_are_to_be(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path, keeps_images=False)
    identity = store.keep(ANNA, case())
    assert store.image(ANNA, identity, 1) is None and list(store.images.names()) == []
    assert store.case(ANNA, identity).images[0].opinion == opinion()


def test_a_deleted_case_leaves_the_fact_and_no_text(store: Store, tmp_path: Path) -> None:
    secret = "Ductus Nebukadnezar"
    fields: dict[str, Any] = {"title": secret, "comment": secret, "patient": secret, "subtype": secret}
    identity = store.keep(ANNA, case(image(secret), **fields))
    if store.database.is_sqlite:  # PostgreSQL's files are its own affair: VACUUM clears them
        assert any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    store.delete(ANNA, identity)
    with pytest.raises(NotFound):
        store.case(ANNA, identity)
    assert log(store) == [(ANNA.id, "kept", identity), (ANNA.id, "deleted", identity)]
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert secret.encode() not in path.read_bytes(), path
    assert verified(store).problems == ()


# Who may see and change what


def call_every_method(store: Store, identity: str, person: Person, to: Path) -> dict[str, Any]:
    """Every public method of the store, asked by a person for a case; an error stands for an answer."""
    calls: dict[str, Any] = {
        "case": lambda: store.case(person, identity),
        "image": lambda: store.image(person, identity, 1),
        "search": lambda: store.search(person, Query(ids=[identity])).total + store.search(person).total,
        "ids": lambda: store.ids(person),
        "choices": lambda: [*store.choices(person).answers, *store.choices(person).readers],
        "rows_for_agreement": lambda: store.rows_for_agreement(person),
        "add": lambda: store.add(person, identity, image()),
        "check_own": lambda: store.check_own(person, identity),
        "change": lambda: store.change(person, identity, title="Mine now"),
        "delete": lambda: store.delete(person, identity),
        "export": lambda: store.export(person, [identity], to / "stolen.zip"),
    }
    answers = {}
    for name, call in calls.items():
        try:
            answers[name] = call()
        except CaseError as error:
            answers[name] = error
    return answers


# What asks for no case of somebody's: it keeps a new one, or is called by the server itself.
OWN, SERVERS = {"keep", "import_"}, {"insert", "expire", "collect", "claim", "let_go"}


def test_every_public_method_gives_somebody_else_nothing(store: Store, tmp_path: Path) -> None:
    identity = store.keep(ANNA, FULL)
    absent = "A" * 22
    answers = call_every_method(store, identity, BEN, tmp_path)
    public = {name for name, _ in inspect.getmembers(Store, callable) if not name.startswith("_")}
    assert public == answers.keys() | OWN | SERVERS, "a new method needs a line in this test"
    for name, answer in answers.items():
        assert isinstance(answer, NotFound) or not answer, name
    of_absent = call_every_method(store, absent, BEN, tmp_path)
    assert {name: str(answer) for name, answer in of_absent.items()} == {n: str(a) for n, a in answers.items()}
    assert store.case(ANNA, identity).title == FULL.title
    assert [who for who, _, _ in log(store)] == [ANNA.id, ANNA.id]
    assert not (tmp_path / "stolen.zip").exists()


@pytest.mark.parametrize("table", [CaseRow, ImageRow, AuditRow, DeckRow, TokenRow])
def test_a_query_that_forgets_the_person_is_narrowed_all_the_same(store: Store, table: Any) -> None:
    store.keep(ANNA, FULL)
    now = datetime.now(UTC)
    with store.database.write(ANNA) as session:
        session.add(
            DeckRow(
                id="d", owner_id=ANNA.id, owner_name="", title="", seed=0, shared=True, anonymous=True, key="",
                created=now,
            )
        )  # fmt: skip
        session.add(
            TokenRow(id="t", person_id=ANNA.id, person_name="", role="", sha256="", label="", created=now)
        )  # fmt: skip
    for person, some in ((ANNA, True), (CHIEF, True), (BEN, False), (None, False)):
        with store.database.read(person) as session:  # type: ignore[arg-type]
            assert bool(session.scalars(select(table)).all()) == some
            assert bool(session.scalar(select(func.count()).select_from(table))) == some
            assert bool(session.scalars(select(table.__mapper__.primary_key[0]).select_from(table)).all()) == some


def test_a_change_without_a_condition_touches_own_cases_only(store: Store) -> None:
    mine, others = store.keep(BEN, FULL), store.keep(ANNA, FULL)
    with store.database.write(BEN) as session:
        session.execute(update(CaseRow).values(title="all"))
    assert (store.case(BEN, mine).title, store.case(ANNA, others).title) == ("all", FULL.title)


def test_a_shared_case_is_seen_by_all_and_changed_by_its_owner_or_an_administrator(store: Store) -> None:
    identity = store.keep(ANNA, replace(FULL, shared=True))
    assert store.case(BEN, identity).title == FULL.title and not store.case(BEN, identity).may_change
    assert store.image(BEN, identity, 1) == FULL.images[0].data
    (row,) = store.search(BEN).rows
    assert row.reader == (ANNA.id, ANNA.name) and not row.own and row.shared
    for act in (lambda: store.change(BEN, identity, title="Mine"), lambda: store.delete(BEN, identity)):
        with pytest.raises(CaseError) as refused:
            act()
        assert not isinstance(refused.value, NotFound)
    assert store.change(CHIEF, identity, title="Seen by the chief").title == "Seen by the chief"
    store.change(ANNA, identity, shared=False)
    with pytest.raises(NotFound):
        store.case(BEN, identity)
    store.delete(CHIEF, identity)
    assert store.search(CHIEF).total == 0


@pytest.mark.parametrize(
    "wrong", ["", "x", "../../etc/passwd", "A" * 22, "A" * 21 + "\0", "A" * 22 + "\n", "' OR 1=1 --"]
)
def test_an_address_that_is_none_is_no_case(store: Store, wrong: str) -> None:
    store.keep(ANNA, FULL)
    for act in (store.case, store.delete, lambda who, what: store.image(who, what, 1)):
        with pytest.raises(NotFound):
            act(ANNA, wrong)
    with pytest.raises(NotFound):
        store.image(ANNA, store.ids(ANNA)[0], 4)


# Changing


def test_a_change_is_logged_by_its_fields_and_the_first_read_stays(store: Store) -> None:
    identity = store.keep(LOCAL, FULL)
    changed = store.change(
        LOCAL, identity, comment="new", agrees=False, title=FULL.title, read_after={"call": "benign"}
    )
    assert (changed.comment, changed.agrees, changed.read_after) == ("new", False, {"call": "benign"})
    assert changed.changed > changed.created
    with store.database.read(SERVER) as session:
        *_, last = audit.entries(session)
    assert (last.what, last.details) == ("changed", '{"fields": ["agrees", "comment", "read_after"]}')
    with pytest.raises(CaseError):
        store.change(LOCAL, identity, read_before={"call": "malignant"})
    entries = len(log(store))
    assert store.change(LOCAL, identity, comment="new").changed == changed.changed
    assert len(log(store)) == entries


@pytest.mark.parametrize(
    "wrong",
    [
        case(title="x" * 201),
        case(title="a\0b"),
        case(comment="\ud800"),
        case(read_before={"call": "perhaps"}),
        case(read_after={"confidence": 1}),
        case(diagnosis="carcinoma"),
        case(image(data=b"")),
        case(replace(image(), opinion={"status": "ok"})),
        case(replace(image(), opinion={**opinion(), "x": float("nan")})),
        case(replace(image(), settings={"x": b"bytes"})),
        case(replace(image(), thumbnail=b"x" * 300_000)),
        NewCase([]),
        NewCase([image()] * 101),
    ],
)
def test_what_cannot_be_kept_is_a_sentence_and_leaves_nothing(store: Store, wrong: NewCase) -> None:
    with pytest.raises(CaseError):
        store.keep(ANNA, wrong)
    assert store.search(ANNA).total == 0 and list(store.images.names()) == [] and log(store) == []


def test_a_visit_is_logged_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = store.keep(ANNA, replace(FULL, shared=True))
    for person in (BEN, BEN, ANNA, BEN):
        store.case(person, identity)
        store.image(person, identity, 1)
    assert log(store)[1:] == [(BEN.id, "seen", identity), (ANNA.id, "seen", identity)]
    monkeypatch.setattr(audit, "SEEN_AGAIN", timedelta(0))
    store.case(BEN, identity)
    assert log(store)[3:] == [(BEN.id, "seen", identity)]


def test_damaged_and_missing_bytes_are_said_to_be(store: Store) -> None:
    identity = store.keep(ANNA, case())
    path = store.images.path(sha256(b"bytes of field.png"))
    for alter, match in (
        (lambda: path.write_bytes(b"altered"), "damaged"),
        (lambda: path.write_bytes(b"Bytes of field.png"), "damaged"),
        (path.unlink, "missing"),
    ):
        alter()
        with pytest.raises(StoreError, match=match):
            store.image(ANNA, identity, 1)
        store.keep(ANNA, case())  # the same bytes come again
        assert store.image(ANNA, identity, 1) == b"bytes of field.png"


# Finding


@pytest.fixture(scope="module")
def filled(lasting: Store) -> Store:
    """Six cases that nothing changes."""
    return fill(lasting)


def fill(store: Store) -> Store:
    """Six cases of Anna's, kept a day apart from 1 to 6 March 2026."""
    for day, (title, answer, p, call, laboratory) in enumerate(
        (
            ("Alpha DUCT", "malignant", 0.9, "malignant", "UCSB"),
            ("beta duct 100%", "malignant", 0.8, "benign", "TCGA"),
            ("Gamma", "benign", 0.1, "malignant", "UCSB"),
            ("delta_x", "not sure", 0.5, "benign", None),
            ("Straße", "outside", 0.5, "not sure", None),
            ("zeta", "benign", 0.2, None, "TCGA"),
        ),
        start=1,
    ):
        read = None if call is None else {"call": call}
        store.insert(
            ANNA,
            f"{title[0] * 22}",
            case(
                image(answer=answer, probability=p, laboratory=laboratory),
                title=title,
                read_before=read,
                agrees=p > 0.5,
            ),
            "kept",
            reader=(ANNA.id, ANNA.name),
            created=datetime(2026, 3, day, 23, 59, tzinfo=UTC),
        )
    return store


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        (Query(), "z S d G b A"),
        (Query(descending=False), "A b G d S z"),
        (Query("duct"), "b A"),
        (Query("DUCT alp"), "A"),
        (Query("100%"), "b"),
        (Query("%"), "b"),
        (Query("a_x"), "d"),
        (Query("STRASSE"), "S"),
        (Query("abel field"), "z S d G b A"),
        (Query("nothing\0 like it"), ""),
        (Query(answer="benign"), "z G"),
        (Query(answer="outside"), "S"),
        (Query(agrees=True), "b A"),
        (Query(differs=True), "G b"),
        (Query(differs=False), "A"),
        (Query(laboratory="TCGA"), "z b"),
        (Query(reader=BEN.id), ""),
        (Query(since=date(2026, 3, 5)), "z S"),
        (Query(until=date(2026, 3, 2)), "b A"),
        (Query(ids=["z" * 22, "q" * 22]), "z"),
        (Query(order="probability"), "A b d z G S"),
        (Query(order="answer", descending=False), "G z A b d S"),
        (Query(order="laboratory", descending=False), "b z A G S d"),
    ],
)
def test_a_query_finds_what_it_asks_for(filled: Store, query: Query, titles: str) -> None:
    found = filled.search(ANNA, query)
    assert " ".join(row.title[0] for row in found.rows) == titles
    assert found.total == len(titles.split())
    assert [row.title[0] * 22 for row in found.rows] == filled.ids(ANNA, query)
    assert [row.id for row in filled.rows_for_agreement(ANNA, query)] == filled.ids(ANNA, query)


def test_pages_of_a_list_hold_every_case_once(filled: Store) -> None:
    pages = [filled.search(ANNA, Query(order="agrees"), offset, 4) for offset in (0, 4, 8)]
    assert [page.total for page in pages] == [6, 6, 6] and [len(page.rows) for page in pages] == [4, 2, 0]
    assert len({row.id for page in pages for row in page.rows}) == 6
    with pytest.raises(CaseError):
        filled.search(ANNA, Query(order="owner_id; DROP TABLE cases"))


def test_a_row_says_what_a_list_shows(filled: Store) -> None:
    row = filled.search(ANNA, Query("beta")).rows[0]
    assert (row.answer, row.probability, row.laboratory, row.call) == ("malignant", 0.8, "TCGA", "benign")
    assert (row.images, row.own, row.agrees, row.thumbnail) == (1, True, True, b"\xff\xd8field.png")
    assert filled.choices(ANNA).answers == ("benign", "malignant", "not sure", "outside")
    assert filled.choices(ANNA).laboratories == ("TCGA", "UCSB")
    assert filled.choices(ANNA).readers == ((ANNA.id, ANNA.name),)


# How long


def test_old_cases_go_and_the_log_says_so(store: Store) -> None:
    filled = fill(store)
    assert filled.expire(datetime(2027, 1, 1, tzinfo=UTC)) == 0
    filled.days = 30
    assert filled.expire(datetime(2026, 4, 3, 12, tzinfo=UTC)) == 3  # kept on 1, 2 and 3 March, late in the evening
    assert [row.title[0] for row in filled.search(ANNA, Query(descending=False)).rows] == ["d", "S", "z"]
    assert [what for _, what, _ in log(filled)[-3:]] == ["expired"] * 3
    assert verified(filled).problems == ()


def test_bytes_that_a_killed_process_left_are_collected(store: Store) -> None:
    identity = store.keep(ANNA, case())
    store.images.put(b"nothing holds these")
    assert store.collect() == 1
    assert store.image(ANNA, identity, 1) == b"bytes of field.png" and store.collect() == 0


# Many


@pytest.mark.slow
def test_thousands_of_cases_are_listed_without_lag(store: Store) -> None:
    """5,000 of two readers: a page of 50, its count, a search and the choices, the fastest of three."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with store.database.write(ANNA) as session:
        cases: list[dict[str, Any]] = []
        for number in range(5000):
            who, answer = (ANNA, BEN)[number % 2], ("benign", "malignant", "not sure")[number % 3]
            cases.append(
                dict(
                    id=f"{number:022}", owner_id=who.id, owner_name=who.name, reader_id=who.id, reader_name=who.name,
                    created=now + timedelta(hours=number), changed=now, title=f"Case {number}", comment="x" * 500,
                    subtype="", shared=number % 10 == 1, images=1, answer=answer, probability=number / 5000,
                    laboratory="UCSB", call="benign", words=f"case {number} needle{number % 7} " + "x" * 500,
                )
            )  # fmt: skip
        said = opinion()
        images = [
            dict(
                case_id=one["id"], number=1, name="", sha256=None, settings={}, opinion=said, origin=None,
                thumbnail=b"x" * 3000, weights_sha256=WEIGHTS, version="",
            )
            for one in cases
        ]  # fmt: skip
        for table, rows in ((CaseRow, cases), (ImageRow, images)):
            session.connection().execute(insert(table.__table__), rows)
    asked = {
        "first page": lambda: store.search(ANNA),
        "last page": lambda: store.search(ANNA, Query(order="probability"), 2950, 50),
        "filtered": lambda: store.search(ANNA, Query("needle3", answer="malignant", differs=True, order="reader")),
        "choices": lambda: store.choices(ANNA),
        "for figures": lambda: store.rows_for_agreement(ANNA),
    }
    took = {}
    for name, ask in asked.items():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        took[name] = min(times)
    print({name: f"{seconds * 1000:.0f} ms" for name, seconds in took.items()})
    assert store.search(ANNA).total == 3000
    pages = [store.search(ANNA, Query(order="probability"), offset, 200).rows for offset in range(0, 3000, 200)]
    assert [len(rows) for rows in pages] == [200] * 15 and len({row.id for rows in pages for row in rows}) == 3000
    assert max(took.pop("for figures"), 0) < 1.5 and max(took.values()) < 0.3, took


def test_an_image_is_added_to_ones_own_case_alone(store: Store) -> None:
    identity = store.keep(ANNA, case(image("a.png", answer="benign", probability=0.1), shared=True))
    found = store.add(ANNA, identity, image("b.png", answer="malignant", probability=0.8))
    assert [one.name for one in found.images] == ["a.png", "b.png"]
    assert store.image(ANNA, identity, 2) == b"bytes of b.png"
    (row,) = store.search(ANNA, Query(text="b.png")).rows
    assert (row.images, row.answer, row.probability) == (2, "malignant", 0.8)
    for person, error in ((BEN, Forbidden), (TEACHER, Forbidden)):
        with pytest.raises(error):
            store.add(person, identity, image("c.png"))
    store.change(ANNA, identity, shared=False)
    with pytest.raises(NotFound):
        store.add(BEN, identity, image("c.png"))
    # What nobody holds is not left behind.
    assert len(list(store.images.names())) == 2
    with pytest.raises(CaseError):
        store.add(ANNA, identity, replace(image("d.png"), opinion={}))
