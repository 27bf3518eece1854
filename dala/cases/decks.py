"""Teaching decks: a teacher's cases under one address, what each student answered, and what has been revealed.

Whoever has the address reads; only the teacher sees everything. The teacher is who owns the deck or, where nobody logs
in and all are one local user, who has the deck's key. What a student must not know yet leaves this module for nobody
else: the diagnosis, the words and the answers of others, as long as a case has not been revealed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dala.cases import audit
from dala.cases.deck_records import (
    LONGEST_READER,
    LONGEST_WORDS,
    MOST_POINTS,
    Deck,
    DeckSummary,
    Item,
    MadeDeck,
    NewItem,
    Points,
    Read,
    Truth,
    check_deck,
)
from dala.cases.kept import CALLS
from dala.cases.people import LOCAL, SERVER, Person, Role
from dala.cases.store import IDENTITY, Store, new_id
from dala.cases.tables import DeckItemRow, DeckReaderRow, DeckReadRow, DeckRow
from dala.cases.visibility import may_change
from dala.errors import CaseError, Forbidden, NotFound

ABSENT = "There is no deck at this address, or it is not open."
NOT_THE_TEACHERS = "Only the teacher of this deck may do this."
NO_TEACHER = "Only a teacher or an administrator can make a deck."
MOST_READERS = 500


class Decks:
    """The decks of a store. Every method raises StoreError where it cannot be used, and NotFound in the same words for
    a deck that is not there and for one that this person may not see."""

    def __init__(self, store: Store) -> None:
        self.store, self.database = store, store.database

    # The teacher

    def make(
        self, person: Person, title: str, seed: int, items: Sequence[NewItem], *, anonymous: bool = False
    ) -> MadeDeck:
        """A deck with these cases in this order, open for reading. Forbidden for who is no teacher, CaseError for what
        cannot be kept."""
        if person.role not in (Role.TEACHER, Role.ADMINISTRATOR):
            raise Forbidden(NO_TEACHER)
        check_deck(title, items)
        if not self.store.keeps_images:
            raise CaseError("This server keeps no images (DALA_CASES_IMAGES=off), so that it can keep no deck.")
        made = MadeDeck(new_id(), secrets.token_urlsafe(16))
        pngs = {hashlib.sha256(item.png).hexdigest(): item.png for item in items}
        with self.database.write(person) as session:
            self.store.claim(session, pngs)
            session.add(
                DeckRow(
                    id=made.id,
                    owner_id=person.id,
                    owner_name=person.name,
                    title=title,
                    seed=seed,
                    shared=True,
                    anonymous=anonymous,
                    key=_digest(made.key),
                    created=datetime.now(UTC),
                )
            )
            session.flush()
            for number, item in enumerate(items, start=1):
                session.add(
                    DeckItemRow(
                        deck_id=made.id,
                        number=number,
                        sha256=hashlib.sha256(item.png).hexdigest(),
                        case_id=item.case_id,
                        image=item.image,
                        name=item.name,
                        diagnosis=item.diagnosis,
                        subtype=item.subtype,
                        words=item.words,
                        opinion=item.opinion,
                        revealed=False,
                    )
                )
            session.flush()
            self.store.quota.check(session, person.id, self.store.images)
            audit.append(session, person, "deck made", [None], deck=made.id, cases=len(items))
        return made

    def own(self, person: Person) -> list[DeckSummary]:
        """The decks of somebody who logged in, latest first. Of the local user, who may be anybody, none."""
        if person.id == LOCAL.id:
            return []
        with self.database.read(SERVER) as session:
            found = session.scalars(
                select(DeckRow).where(DeckRow.owner_id == person.id).order_by(DeckRow.created.desc())
            )
            return [
                DeckSummary(
                    row.id, row.title, row.created, row.shared,
                    _count(session, DeckItemRow, row.id), _count(session, DeckReaderRow, row.id),
                )
                for row in found
            ]  # fmt: skip

    def holding(self, person: Person, case_id: str) -> tuple[int, tuple[str, ...]]:
        """How many decks hold copies of a case's images, and the titles of those that this person leads by log-in."""
        with self.database.read(SERVER) as session:
            of_case = select(DeckItemRow.deck_id).where(DeckItemRow.case_id == case_id)
            found = session.scalars(select(DeckRow).where(DeckRow.id.in_(of_case)).order_by(DeckRow.created)).all()
            return len(found), tuple(row.title for row in found if _leads(person, row, ""))

    def led(self, person: Person | None, id: str, key: str = "") -> Deck:
        """The deck with everything, for its teacher."""
        with self.database.read(SERVER) as session:
            row = self._row(session, id)
            if not _leads(person, row, key):
                raise NotFound(ABSENT)
            return _deck(session, row, None, everything=True)

    def leads(self, person: Person | None, id: str, key: str = "") -> bool:
        """Whether this is the deck's teacher."""
        with self.database.read(SERVER) as session:
            row = session.get(DeckRow, id) if IDENTITY.fullmatch(id) else None
            return row is not None and _leads(person, row, key)

    def reveal(self, person: Person | None, id: str, key: str, numbers: Iterable[int]) -> None:
        """Show diagnosis, words and the class's answers of these cases to everybody. It cannot be taken back: nobody
        answers them any more."""
        wanted = set(numbers)
        with self.database.write(SERVER) as session:
            self._lead(session, person, id, key)
            for item in session.scalars(select(DeckItemRow).where(DeckItemRow.deck_id == id).with_for_update()):
                item.revealed = item.revealed or item.number in wanted

    def change(
        self,
        person: Person | None,
        id: str,
        key: str,
        *,
        shared: bool | None = None,
        anonymous: bool | None = None,
        words: dict[int, str] | None = None,
    ) -> None:
        """Open or close a deck, with or without log-in, or write the teacher's words on its cases."""
        if any(len(text) > LONGEST_WORDS for text in (words or {}).values()):
            raise CaseError(f"The words on a case may hold at most {LONGEST_WORDS} characters.")
        with self.database.write(SERVER) as session:
            row = self._lead(session, person, id, key)
            row.shared = row.shared if shared is None else shared
            row.anonymous = row.anonymous if anonymous is None else anonymous
            for number, text in (words or {}).items():
                item = session.get(DeckItemRow, (id, number))
                if item is not None:
                    item.words = text

    def delete(self, person: Person | None, id: str, key: str = "") -> None:
        """Delete a deck with its images and everything that was answered; the log keeps that it was there."""
        with self.database.write(SERVER) as session:
            self._lead(session, person, id, key)
            hashes = _remove(session, [id])
            audit.append(session, person or LOCAL, "deck deleted", [None], deck=id)
        self.store.let_go(hashes)

    def expire(self, now: datetime | None = None) -> int:
        """Delete the decks that are older than cases may be; how many these were."""
        if self.store.days is None:
            return 0
        oldest = (now or datetime.now(UTC)) - timedelta(days=self.store.days)
        with self.database.write(SERVER) as session:
            ids = list(session.scalars(select(DeckRow.id).where(DeckRow.created < oldest)))
            hashes = _remove(session, ids)
            for id in ids:
                audit.append(session, SERVER, "deck expired", [None], deck=id)
        self.store.let_go(hashes)
        return len(ids)

    # The students

    def needs_no_login(self, id: str) -> bool:
        """Whether somebody who is not logged in may read this deck; False for one that is not there."""
        with self.database.read(SERVER) as session:
            row = session.get(DeckRow, id) if IDENTITY.fullmatch(id) else None
            return row is not None and row.shared and row.anonymous

    def title(self, person: Person | None, id: str) -> str:
        """What a deck is called."""
        with self.database.read(SERVER) as session:
            return self._open(session, person, id).title

    def join(self, person: Person | None, id: str, name: str) -> str:
        """Begin to read under a name or number; the secret by which the reader is known from then on. CaseError for a
        name that is taken, too long or empty, and for a class that is full."""
        name = " ".join(name.split())
        if not 1 <= len(name) <= LONGEST_READER or not name.isprintable():
            raise CaseError(f"A name or number of 1 to {LONGEST_READER} characters is needed.")
        secret = secrets.token_urlsafe(16)
        with self.database.write(SERVER) as session:
            self._open(session, person, id, lock=True)  # one after another, so that no name is taken twice
            count, folded = _count(session, DeckReaderRow, id), name.casefold()
            if count >= MOST_READERS:
                raise CaseError(f"A deck has at most {MOST_READERS} readers.")
            same = select(DeckReaderRow.number).where(DeckReaderRow.deck_id == id, DeckReaderRow.folded == folded)
            if session.scalar(same) is not None:
                raise CaseError("Somebody reads under this name already; please add a letter or a number to it.")
            session.add(
                DeckReaderRow(
                    deck_id=id,
                    number=count + 1,
                    name=name,
                    folded=folded,
                    secret=_digest(secret),
                    joined=datetime.now(UTC),
                )
            )
        return secret

    def read_by(self, person: Person | None, id: str, secret: str) -> Deck:
        """The deck as its reader may see it."""
        with self.database.read(SERVER) as session:
            row = self._open(session, person, id)
            return _deck(session, row, _reader(session, id, secret).number, everything=False)

    def image(self, person: Person | None, id: str, number: int, *, secret: str = "", key: str = "") -> bytes:
        """The PNG of a case, for the teacher and for who has begun to read."""
        with self.database.read(SERVER) as session:
            row = self._row(session, id)
            if not _leads(person, row, key):
                self._open(session, person, id)
                _reader(session, id, secret)
            item = session.get(DeckItemRow, (id, number))
            if item is None or item.sha256 is None:
                raise NotFound(ABSENT)
            sha256 = item.sha256
        with self.database.answering():
            return self.store.images.get(sha256)

    def answer(self, person: Person | None, id: str, secret: str, number: int, call: str, mark: Points = ()) -> None:
        """Record a call on a case, once; a second one, and one after the case was revealed, is a CaseError."""
        if call not in CALLS:
            raise CaseError(f"A call is one of {', '.join(CALLS)}.")
        if len(mark) > MOST_POINTS or not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in mark):
            raise CaseError("A mark is a place in the image, or an outline.")
        with self.database.write(SERVER) as session:
            self._open(session, person, id)
            reader = _reader(session, id, secret)
            item = session.scalar(
                select(DeckItemRow).where(DeckItemRow.deck_id == id, DeckItemRow.number == number).with_for_update()
            )
            if item is None:
                raise NotFound(ABSENT)
            if item.revealed:
                raise CaseError("This case has been revealed, so that a call would no longer be your own.")
            if session.get(DeckReadRow, (id, number, reader.number)) is not None:
                raise CaseError("You have answered this case already; the first call stays.")
            session.add(
                DeckReadRow(
                    deck_id=id,
                    number=number,
                    reader=reader.number,
                    answer=call,
                    marks=[list(one) for one in mark],
                    at=datetime.now(UTC),
                )
            )

    # Rows

    def _row(self, session: Session, id: str, lock: bool = False) -> DeckRow:
        asked = select(DeckRow).where(DeckRow.id == id)
        row = session.scalar(asked.with_for_update() if lock else asked) if IDENTITY.fullmatch(id) else None
        if row is None:
            raise NotFound(ABSENT)
        return row

    def _open(self, session: Session, person: Person | None, id: str, lock: bool = False) -> DeckRow:
        """The deck, if this person may read it: None is somebody who is not logged in where others are."""
        row = self._row(session, id, lock)
        if not row.shared or (person is None and not row.anonymous):
            raise NotFound(ABSENT)
        return row

    def _lead(self, session: Session, person: Person | None, id: str, key: str) -> DeckRow:
        row = self._row(session, id, lock=True)
        if not _leads(person, row, key):
            raise NotFound(ABSENT)
        return row


def _leads(person: Person | None, row: DeckRow, key: str) -> bool:
    """The owner, an administrator, or who has the key. The local user is everybody, and so needs the key."""
    if key and hmac.compare_digest(_digest(key), row.key):
        return True
    return person is not None and person.id != LOCAL.id and may_change(person, row.owner_id)


def _reader(session: Session, id: str, secret: str) -> DeckReaderRow:
    asked = select(DeckReaderRow).where(DeckReaderRow.deck_id == id, DeckReaderRow.secret == _digest(secret))
    row = session.scalar(asked)
    if row is None:
        raise NotFound(ABSENT)
    return row


def _deck(session: Session, row: DeckRow, me: int | None, *, everything: bool) -> Deck:
    """What may be seen of a deck: everything, or what was revealed and what the reader `me` answered."""
    items = list(session.scalars(select(DeckItemRow).where(DeckItemRow.deck_id == row.id).order_by(DeckItemRow.number)))
    told = {item.number for item in items if everything or item.revealed}
    reads: dict[int, list[Read]] = {item.number: [] for item in items}
    asked = select(DeckReadRow).where(DeckReadRow.deck_id == row.id).order_by(DeckReadRow.reader)
    for read in session.scalars(asked):
        mark = tuple((float(x), float(y)) for x, y in read.marks)
        reads[read.number].append(Read(read.number, read.reader, read.answer, mark))
    readers = session.scalars(select(DeckReaderRow).where(DeckReaderRow.deck_id == row.id))
    return Deck(
        id=row.id,
        title=row.title,
        seed=row.seed,
        created=row.created,
        owner=(row.owner_id, row.owner_name),
        shared=row.shared,
        anonymous=row.anonymous,
        items=tuple(
            Item(
                item.number,
                item.revealed,
                _truth(item, everything) if item.number in told else None,
                tuple(reads[item.number]) if item.number in told else None,
                next((read for read in reads[item.number] if read.reader == me), None),
            )
            for item in items
        ),
        readers={one.number: one.name for one in readers if everything or one.number == me},
        me=me,
    )


def _truth(item: DeckItemRow, everything: bool) -> Truth:
    return Truth(item.diagnosis, item.subtype, item.words, item.opinion, item.name if everything else "")


def _remove(session: Session, ids: list[str]) -> list[str | None]:
    hashes = list(session.scalars(select(DeckItemRow.sha256).where(DeckItemRow.deck_id.in_(ids)).distinct()))
    session.execute(delete(DeckRow).where(DeckRow.id.in_(ids)).execution_options(synchronize_session=False))
    return hashes


def _count(session: Session, table: Any, id: str) -> int:
    return session.scalar(select(func.count()).select_from(table).where(table.deck_id == id)) or 0


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
