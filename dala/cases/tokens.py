"""Keys for the HTTP API: each is somebody's, can be revoked, and is kept as its sha256 alone."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from dala.cases import audit
from dala.cases.database import Database
from dala.cases.people import SERVER, Person, Role
from dala.cases.store import new_id
from dala.cases.tables import TokenRow
from dala.cases.visibility import may_change
from dala.errors import CaseError, NotFound

BEGINNING = "dala_"  # by which a program that looks for keys in texts knows one
LONGEST_LABEL, MOST_DAYS, USUAL_DAYS, MOST_TOKENS = 100, 3650, 90, 50
USED_AGAIN = timedelta(hours=1)  # a use within so long is not noted again
ABSENT = "There is no such token, or it is somebody else's."


@dataclass(frozen=True)
class Token:
    """What is known of a token that was made; `owner` is (id, name). Times are in UTC."""

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
        """A token with which a program acts as this person for so many days, None for ever. CaseError for a label or a
        number of days that cannot be, and for too many tokens."""
        if len(label) > LONGEST_LABEL or not label.isprintable():
            raise CaseError(f"The name of a token has at most {LONGEST_LABEL} characters that can be printed.")
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CaseError(f"A token holds 1 to {MOST_DAYS} days.")
        now = datetime.now(UTC)
        made = Made(new_id(), BEGINNING + secrets.token_urlsafe(32))
        with self.database.write(SERVER) as session:
            theirs = session.scalars(select(TokenRow).where(TokenRow.person_id == person.id))
            if sum(_token(row).holds for row in theirs) >= MOST_TOKENS:
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
            session.flush()
            audit.append(session, person, "token made", [None], token=made.id)
        return made

    def listed(self, person: Person) -> list[Token]:
        """One's own tokens, an administrator's everybody's; latest first."""
        with self.database.read(person) as session:
            return [_token(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.created.desc()))]

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
            if row is None or not _token(row).holds:
                return None
            found, used, id = Person(row.person_id, row.person_name, Role(row.role)), row.used, row.id
        now = datetime.now(UTC)
        if used is None or now - used > USED_AGAIN:
            with self.database.write(SERVER) as session:
                session.execute(update(TokenRow).where(TokenRow.id == id).values(used=now))
        return found


def digest(secret: str) -> str:
    """A secret of 32 random bytes cannot be guessed from its sha256; nothing slower is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _token(row: TokenRow) -> Token:
    return Token(
        row.id,
        (row.person_id, row.person_name),
        Role(row.role),
        row.label,
        row.created,
        row.expires,
        row.used,
        row.revoked,
    )
