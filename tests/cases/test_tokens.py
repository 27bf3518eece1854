"""Tokens: whose they are, when they end, that only their sha256 is kept, and that nobody ends somebody else's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from dala.cases.people import LOCAL, SERVER, Person, Role, person_of
from dala.cases.store import Store
from dala.cases.tables import AuditRow, PersonRow, TokenRow
from dala.cases.tokens import MOST_TOKENS, Tokens
from dala.errors import CaseError, NotFound

ADA, BEN = Person("ada", "Ada", Role.TEACHER), Person("ben", "Ben", Role.READER)


@pytest.fixture
def tokens(store: Store) -> Tokens:
    return Tokens(store.database)


def test_a_token_is_its_person_until_it_is_revoked(tokens: Tokens) -> None:
    made = tokens.create(ADA, "a script")
    assert tokens.person(made.secret) == ADA
    (token,) = tokens.listed(ADA)
    assert (token.id, token.label, token.role, token.holds) == (made.id, "a script", Role.TEACHER, True)
    assert token.expires is not None and token.expires - token.created == timedelta(days=90)
    assert token.used is not None
    tokens.revoke(ADA, made.id)
    assert tokens.person(made.secret) is None and not tokens.listed(ADA)[0].holds
    for wrong in ("", "dala_", made.secret[:-1], made.secret + "x", made.id, "\ud800", "x" * 10_000):
        assert tokens.person(wrong) is None


def test_only_its_sha256_is_kept(tokens: Tokens) -> None:
    made = tokens.create(ADA)
    with tokens.database.read(SERVER) as session:
        (row,) = session.scalars(select(TokenRow))
        assert row.sha256 == hashlib.sha256(made.secret.encode()).hexdigest()
        assert made.secret not in str(vars(row))
        logged = [(entry.who, entry.what, made.secret in entry.details) for entry in session.scalars(select(AuditRow))]
    assert logged == [("ada", "token made", False)]


def test_its_last_day_ends_it(tokens: Tokens) -> None:
    made, forever = tokens.create(ADA, days=1), tokens.create(ADA, days=None)
    with tokens.database.write(SERVER) as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(TokenRow).where(TokenRow.id == made.id).values(expires=past))
    assert tokens.person(made.secret) is None
    assert tokens.person(forever.secret) == ADA


def test_nobody_sees_or_ends_somebody_elses(tokens: Tokens) -> None:
    made = tokens.create(ADA)
    assert tokens.listed(BEN) == []
    for id in (made.id, "x" * 22):
        with pytest.raises(NotFound, match="There is no such token"):
            tokens.revoke(BEN, id)
    assert tokens.person(made.secret) == ADA
    assert [token.id for token in tokens.listed(LOCAL)] == [made.id]
    tokens.revoke(LOCAL, made.id)
    assert tokens.person(made.secret) is None


def logged_in(roles: list[str], email: str = "Eve@example.org") -> Person:
    """Eve, as her log-in now describes her."""
    claims = {"iss": "https://idp", "sub": "17", "name": "Eve", "email": email, "roles": roles}
    found = person_of(claims)
    assert found is not None
    return found


def role(tokens: Tokens, secret: str) -> Role:
    found = tokens.person(secret)
    assert found is not None and found.id == "https://idp|17"
    return found.role


@pytest.mark.parametrize("known_by", ["17", "eve@example.org"])
def test_whoever_is_taken_off_the_list_loses_the_role_at_once(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    monkeypatch.setenv("DALA_ADMINISTRATORS", f"other, {known_by}")
    made = tokens.create(logged_in([]))
    assert role(tokens, made.secret) is Role.ADMINISTRATOR
    monkeypatch.setenv("DALA_ADMINISTRATORS", "other")
    assert role(tokens, made.secret) is Role.READER and tokens.listed(SERVER)[0].role is Role.READER
    monkeypatch.setenv("DALA_TEACHERS", known_by)
    assert role(tokens, made.secret) is Role.TEACHER
    monkeypatch.setenv("DALA_ADMINISTRATORS", known_by)
    assert role(tokens, made.secret) is Role.ADMINISTRATOR


def test_a_role_that_a_log_in_no_longer_claims_is_lost_when_that_is_known(tokens: Tokens) -> None:
    made = tokens.create(logged_in(["teacher", "administrator"]))
    assert role(tokens, made.secret) is Role.ADMINISTRATOR
    tokens.meet(logged_in(["teacher"]))
    assert role(tokens, made.secret) is Role.TEACHER
    tokens.meet(logged_in([]))
    assert role(tokens, made.secret) is Role.READER


def test_a_token_never_does_more_than_its_maker_could(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokens.create(logged_in([]))
    tokens.meet(logged_in(["administrator"]))
    monkeypatch.setenv("DALA_ADMINISTRATORS", "17")
    assert role(tokens, made.secret) is Role.READER
    assert role(tokens, tokens.create(logged_in([])).secret) is Role.ADMINISTRATOR


def test_an_address_that_is_no_longer_somebodys_gives_no_role(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_ADMINISTRATORS", "eve@example.org")
    made = tokens.create(logged_in([]))
    tokens.meet(logged_in([], email="eve@elsewhere.example"))
    assert role(tokens, made.secret) is Role.READER


def test_only_of_whom_has_tokens_something_is_noted(tokens: Tokens) -> None:
    def noted() -> list[tuple[str, str]]:
        with tokens.database.read(SERVER) as session:
            return [(row.id, row.role) for row in session.scalars(select(PersonRow))]

    tokens.meet(logged_in(["teacher"]))
    tokens.create(ADA)  # of the command line: the role is the one that was given there
    tokens.meet(ADA)
    assert noted() == [] and tokens.listed(ADA)[0].role is Role.TEACHER
    tokens.create(Person("https://idp|17", "Eve", Role.ADMINISTRATOR))
    assert tokens.listed(SERVER)[0].role is Role.ADMINISTRATOR
    tokens.meet(logged_in(["teacher"]))
    assert noted() == [("https://idp|17", "teacher")] and tokens.listed(SERVER)[0].role is Role.TEACHER
    with tokens.database.read(BEN) as session:
        assert session.scalars(select(PersonRow)).all() == []


def test_what_cannot_be_is_a_sentence(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    for label, days in (("x" * 101, 1), ("two\nlines", 1), ("", 0), ("", 4000)):
        with pytest.raises(CaseError):
            tokens.create(ADA, label, days)
    assert MOST_TOKENS == 50
    monkeypatch.setattr("dala.cases.tokens.MOST_TOKENS", 2)
    for _ in range(2):
        tokens.create(BEN)
    with pytest.raises(CaseError, match="more than 2"):
        tokens.create(BEN)
