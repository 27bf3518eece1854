"""Tokens: whose they are, when they end, that only their sha256 is kept, and that nobody ends somebody else's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from dala.cases.people import LOCAL, SERVER, Person, Role
from dala.cases.store import Store
from dala.cases.tables import AuditRow, TokenRow
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


def test_what_cannot_be_is_a_sentence(tokens: Tokens) -> None:
    for label, days in (("x" * 101, 1), ("two\nlines", 1), ("", 0), ("", 4000)):
        with pytest.raises(CaseError):
            tokens.create(ADA, label, days)
    for _ in range(MOST_TOKENS):
        tokens.create(BEN)
    with pytest.raises(CaseError, match="more than 50"):
        tokens.create(BEN)
