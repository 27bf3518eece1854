"""The tables of the database, in SQLAlchemy's declarative form; `migrations/` holds what makes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ID, SHA256 = 22, 64  # characters of secrets.token_urlsafe(16), of a sha256 in hexadecimal


class Utc(TypeDecorator[datetime]):
    """A time with its zone, kept in UTC; SQLite, which knows no zones, keeps it without."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """JSON as ASCII text, equal on every database to what was written."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Base(DeclarativeBase):
    """All tables; the names of constraints are the same on every database, so that a migration can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Utc, dict[str, Any]: JsonText, bytes: LargeBinary, str: Text}  # noqa: RUF012


class CaseRow(Base):
    """A kept case. `answer`, `probability`, `laboratory`, `call` and `words` repeat what reads and images say, in the
    form in which lists are filtered, sorted and searched."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(String(ID), primary_key=True)
    owner_id: Mapped[str] = mapped_column(index=True)
    owner_name: Mapped[str]
    reader_id: Mapped[str] = mapped_column(index=True)
    reader_name: Mapped[str]
    created: Mapped[datetime] = mapped_column(index=True)
    changed: Mapped[datetime]
    title: Mapped[str]
    comment: Mapped[str]
    read_before: Mapped[dict[str, Any] | None]
    read_after: Mapped[dict[str, Any] | None]
    agrees: Mapped[bool | None]
    diagnosis: Mapped[str | None]
    subtype: Mapped[str]
    patient: Mapped[str | None]
    shared: Mapped[bool]
    images: Mapped[int]
    answer: Mapped[str] = mapped_column(index=True)
    probability: Mapped[float | None]
    laboratory: Mapped[str | None]
    call: Mapped[str | None]
    words: Mapped[str]


class ImageRow(Base):
    """An image of a case with what was said of it. `sha256` is that of the kept bytes, None where they are not kept."""

    __tablename__ = "case_images"

    case_id: Mapped[str] = mapped_column(String(ID), ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str | None] = mapped_column(String(SHA256), ForeignKey("blobs.sha256"), index=True)
    settings: Mapped[dict[str, Any]]
    opinion: Mapped[dict[str, Any]]
    origin: Mapped[dict[str, Any] | None]
    thumbnail: Mapped[bytes]
    weights_sha256: Mapped[str]
    version: Mapped[str]


class BlobRow(Base):
    """The bytes of an image in the folder beside the database: what is locked while they are written or removed."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(SHA256), primary_key=True)


class AuditRow(Base):
    """An entry of the log. Times and details are text, so that their hash is the same on every database; nothing
    refers to the case, which may be deleted."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "case_id", "who", "what"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str]
    who: Mapped[str]
    what: Mapped[str]
    case_id: Mapped[str | None]
    details: Mapped[str]
    previous: Mapped[str] = mapped_column(String(SHA256))
    sha256: Mapped[str] = mapped_column(String(SHA256))


class HeadRow(Base):
    """The one row that says where the log ends; whoever appends locks it."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(SHA256))


class TokenRow(Base):
    """A person's key for the HTTP API; only its sha256 is kept. `role` is the most that it may ever do."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(ID), primary_key=True)
    person_id: Mapped[str] = mapped_column(index=True)
    person_name: Mapped[str]
    role: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(SHA256), unique=True)
    label: Mapped[str]
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    used: Mapped[datetime | None]
    revoked: Mapped[datetime | None]


class PersonRow(Base):
    """What the log-in of somebody who has tokens last said: `subject`, a verified `email` and a claimed `role`, from
    which the role follows with which the tokens act."""

    __tablename__ = "people"

    id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    email: Mapped[str]
    role: Mapped[str]


class DeckRow(Base):
    """A teacher's deck of cases; `shared` opens it to whoever has its address, `anonymous` without log-in, too. `key`
    is the sha256 of what its teacher is known by where nobody logs in."""

    __tablename__ = "decks"

    id: Mapped[str] = mapped_column(String(ID), primary_key=True)
    owner_id: Mapped[str] = mapped_column(index=True)
    owner_name: Mapped[str]
    title: Mapped[str]
    seed: Mapped[int]
    shared: Mapped[bool]
    anonymous: Mapped[bool]
    key: Mapped[str] = mapped_column(String(SHA256))
    created: Mapped[datetime]


class DeckItemRow(Base):
    """One case of a deck: its image, the kept case that it comes from, and what is revealed after reading."""

    __tablename__ = "deck_items"

    deck_id: Mapped[str] = mapped_column(String(ID), ForeignKey("decks.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str | None] = mapped_column(String(SHA256), ForeignKey("blobs.sha256"), index=True)
    case_id: Mapped[str | None] = mapped_column(String(ID), ForeignKey("cases.id", ondelete="SET NULL"), index=True)
    image: Mapped[int | None]
    name: Mapped[str]
    diagnosis: Mapped[str | None]
    subtype: Mapped[str]
    words: Mapped[str]
    opinion: Mapped[dict[str, Any] | None]
    revealed: Mapped[bool]


class DeckReaderRow(Base):
    """Somebody who reads a deck, by a name or number; `folded` is the name without capitals, `secret` the sha256 of
    what the browser knows."""

    __tablename__ = "deck_readers"
    __table_args__ = (UniqueConstraint("deck_id", "folded"), UniqueConstraint("deck_id", "secret"))

    deck_id: Mapped[str] = mapped_column(String(ID), ForeignKey("decks.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    folded: Mapped[str]
    secret: Mapped[str] = mapped_column(String(SHA256))
    joined: Mapped[datetime]


class DeckReadRow(Base):
    """What one reader answered to one case of a deck, once."""

    __tablename__ = "deck_reads"
    __table_args__ = (
        ForeignKeyConstraint(
            ["deck_id", "number"], ["deck_items.deck_id", "deck_items.number"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["deck_id", "reader"], ["deck_readers.deck_id", "deck_readers.number"], ondelete="CASCADE"
        ),
    )  # fmt: skip

    deck_id: Mapped[str] = mapped_column(String(ID), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    reader: Mapped[int] = mapped_column(primary_key=True)
    answer: Mapped[str]
    marks: Mapped[list[Any]] = mapped_column(JsonText)
    at: Mapped[datetime]
