"""Keys for the HTTP API: each is somebody's, acts with that person's present role, and is kept as its sha256 alone."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dala.cases import audit
from dala.cases.database import Database
from dala.cases.people import RANKS, SERVER, Claims, Person, Role, role_of
from dala.cases.store import new_id
from dala.cases.tables import PersonRow, TokenRow
from dala.cases.visibility import may_change
from dala.errors import CaseError, NotFound

BEGINNING = "dala_"  # by which a program that looks for keys in texts knows one
LONGEST_LABEL, MOST_DAYS, USUAL_DAYS, MOST_TOKENS = 100, 3650, 90, 50
USED_AGAIN = timedelta(hours=1)  # a use within so long is not noted again
ABSENT = "There is no such token, or it is somebody else's."


@dataclass(frozen=True)
class Token:
    """What is known of a token that was made; `owner` is (id, name), `role` that with which it acts now. Times are in
    UTC."""

    id: str
    owner: tuple[str, str]
    role: Role
    label: str
    created: datetime
    expires: datetime | None
    used: datetime | None
    revoked: datetime | None

    @property
    def holds(self) -> bool:
        """Whether it still opens anything."""
        return self.revoked is None and (self.expires is None or self.expires > datetime.now(UTC))


@dataclass(frozen=True)
class Made:
    """A new token: its id, and the secret, which is told once and kept nowhere."""

    id: str
    secret: str


class Tokens:
    """The tokens in a database. Every method raises StoreError where that cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, person: Person, label: str = "", days: int | None = USUAL_DAYS) -> Made:
        """A token with which a program acts as this person for so many days, None for ever: with the role that the
        person has when it is used, and never with a higher one than now. CaseError for a label or a number of days that
        cannot be, and for too many tokens."""
        if len(label) > LONGEST_LABEL or not label.isprintable():
            raise CaseError(f"The name of a token has at most {LONGEST_LABEL} characters that can be printed.")
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CaseError(f"A token holds 1 to {MOST_DAYS} days.")
        now = datetime.now(UTC)
        made = Made(new_id(), BEGINNING + secrets.token_urlsafe(32))
        with self.database.write(SERVER) as session:
            theirs = session.scalars(select(TokenRow).where(TokenRow.person_id == person.id))
            if sum(_token(row, None).holds for row in theirs) >= MOST_TOKENS:
                raise CaseError(f"Nobody has more than {MOST_TOKENS} tokens; revoke one that is not needed.")
            session.add(
                TokenRow(
                    id=made.id,
                    person_id=person.id,
                    person_name=person.name,
                    role=person.role.value,
                    sha256=digest(made.secret),
                    label=label,
                    created=now,
                    expires=None if days is None else now + timedelta(days=days),
                )
            )
            _note(session, person)
            session.flush()
            audit.append(session, person, "token made", [None], token=made.id)
        return made

    def meet(self, person: Person) -> None:
        """Note what the log-in of somebody now says, if that person has tokens: their role follows from it."""
        if person.claims is None:
            return
        with self.database.read(SERVER) as session:
            theirs = session.scalar(select(TokenRow.id).where(TokenRow.person_id == person.id).limit(1))
            if theirs is None or _claims(session.get(PersonRow, person.id)) == person.claims:
                return
        with self.database.write(SERVER) as session:
            _note(session, person)

    def listed(self, person: Person) -> list[Token]:
        """One's own tokens, an administrator's everybody's; latest first."""
        with self.database.read(person) as session:
            people = {row.id: row for row in session.scalars(select(PersonRow))}
            found = session.scalars(select(TokenRow).order_by(TokenRow.created.desc()))
            return [_token(row, people.get(row.person_id)) for row in found]

    def revoke(self, person: Person, id: str) -> None:
        """From now on it opens nothing. NotFound in the same words for none and for somebody else's."""
        with self.database.write(person) as session:
            row = session.scalar(select(TokenRow).where(TokenRow.id == id))
            if row is None or not may_change(person, row.person_id):
                raise NotFound(ABSENT)
            if row.revoked is None:
                row.revoked = datetime.now(UTC)
                session.flush()
                audit.append(session, person, "token revoked", [None], token=id)

    def person(self, secret: str) -> Person | None:
        """Whose token this is; None for one that is unknown, revoked or past its last day."""
        with self.database.read(SERVER) as session:
            row = session.scalar(select(TokenRow).where(TokenRow.sha256 == digest(secret)))
            if row is None:
                return None
            token, used, id = _token(row, session.get(PersonRow, row.person_id)), row.used, row.id
        if not token.holds:
            return None
        now = datetime.now(UTC)
        if used is None or now - used > USED_AGAIN:
            with self.database.write(SERVER) as session:
                session.execute(update(TokenRow).where(TokenRow.id == id).values(used=now))
        return Person(*token.owner, token.role)


def digest(secret: str) -> str:
    """A secret of 32 random bytes cannot be guessed from its sha256; nothing slower is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _note(session: Session, person: Person) -> None:
    """What a role follows from, for the tokens of somebody who logs in."""
    if (told := person.claims) is not None:
        session.merge(PersonRow(id=person.id, subject=told.subject, email=told.email, role=told.role.value))


def _claims(row: PersonRow | None) -> Claims | None:
    return None if row is None else Claims(row.subject, row.email, Role(row.role))


def _token(row: TokenRow, person: PersonRow | None) -> Token:
    """The lower one of the role with which it was made and that of the person now, where that person logs in."""
    claims, most = _claims(person), Role(row.role)
    return Token(
        row.id,
        (row.person_id, row.person_name),
        most if claims is None else min(most, role_of(claims), key=RANKS.index),
        row.label,
        row.created,
        row.expires,
        row.used,
        row.revoked,
    )
