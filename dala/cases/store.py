"""The store of cases: keep, find, change, share, delete; each call by a person, who gets what that person may see."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, defer

from dala import __version__
from dala.cases import audit, exchange, search
from dala.cases.database import Database
from dala.cases.images import Images
from dala.cases.kept import (
    CHANGEABLE,
    MOST_IMAGES,
    AgreementRow,
    Choices,
    Found,
    Imported,
    Json,
    KeptCase,
    KeptImage,
    NewCase,
    NewImage,
    Query,
    answer_of,
    answer_of_all,
    call_of,
    check_case,
    check_fields,
    check_image,
    laboratory_of,
    probability_of,
)
from dala.cases.people import SERVER, Person
from dala.cases.quota import USUAL, Quota
from dala.cases.tables import BlobRow, CaseRow, DeckItemRow, ImageRow
from dala.cases.visibility import may_change
from dala.errors import CaseError, Forbidden, NotFound, StoreError

IMPORTED = "imported"  # in the log
IDENTITY = re.compile(r"[A-Za-z0-9_-]{22}")
ABSENT = "There is no such case, or it is not shared with you."
NOT_YOURS = "Only whoever keeps a case, or an administrator, can change or delete it."


class Store:
    """Cases in a database and the bytes of their images in a folder; one object serves all threads of a server.

    Every method raises StoreError where the database or the folder cannot be used. Then nothing has changed, and a
    later call finds them again once they are back.
    """

    def __init__(
        self,
        database: Database,
        images: Images,
        *,
        keeps_images: bool = True,
        days: int | None = None,
        quota: Quota = USUAL,
    ) -> None:
        """keeps_images: whether bytes are kept at all; days: how long cases live, None for ever; quota: how much one
        person may keep, beyond which `keep`, `add` and `import_` raise CaseError."""
        self.database, self.images = database, images
        self.keeps_images, self.days, self.quota = keeps_images, days, quota

    # Keeping

    def keep(self, person: Person, case: NewCase) -> str:
        """Keep a case, all of it or nothing; its id, which cannot be guessed. CaseError for what cannot be kept."""
        check_case(case)
        identity = new_id()
        self.insert(person, identity, case, "kept", reader=(person.id, person.name))
        return identity

    def insert(
        self,
        person: Person,
        identity: str,
        case: NewCase,
        what: str,
        *,
        reader: tuple[str, str],
        created: datetime | None = None,
        changed: datetime | None = None,
        versions: Sequence[str] | None = None,
    ) -> None:
        """Keep a checked case under an id that does not exist yet, and log it as `what`."""
        bytes_of: dict[str, bytes] = {}
        hashes: list[str | None] = []
        try:
            with self.database.answering("nothing was kept"):
                for image in case.images:
                    kept = image.data if self.keeps_images else None
                    hashes.append(None if kept is None else self.images.put(kept))
                    if kept is not None:
                        bytes_of[hashes[-1] or ""] = kept
            now = created or datetime.now(UTC)
            with self.database.write(person) as session:
                self.claim(session, bytes_of)
                row = CaseRow(
                    words="",
                    id=identity, owner_id=person.id, owner_name=person.name, reader_id=reader[0], reader_name=reader[1],
                    created=now, changed=changed or now, read_before=case.read_before, images=len(case.images),
                    **{name: getattr(case, name) for name in CHANGEABLE},
                    call=call_of(case.read_before) or call_of(case.read_after),
                    **_summary([image.opinion for image in case.images]),
                )  # fmt: skip
                session.add(row)
                session.flush()
                for number, (image, sha256) in enumerate(zip(case.images, hashes, strict=True), start=1):
                    version = __version__ if versions is None else versions[number - 1]
                    session.add(_image_row(identity, number, image, sha256, version))
                row.words = _words(row, [image.name for image in case.images])
                session.flush()
                if what != IMPORTED:  # an archive is checked as a whole
                    self.quota.check(session, person.id, self.images)
                audit.append(session, person, what, [identity], images=len(case.images), bytes=len(bytes_of))
        except BaseException:
            self.let_go(hashes)
            raise

    def add(self, person: Person, id: str, image: NewImage) -> KeptCase:
        """Keep another image in a case, whole or not at all; the case as it is then. NotFound and CaseError as of
        `change`, and CaseError for an image that cannot be kept or is one too many."""
        check_image(image)
        kept, sha256 = image.data if self.keeps_images else None, None
        try:
            with self.database.answering("nothing was kept"):
                sha256 = None if kept is None else self.images.put(kept)
            with self.database.write(person) as session:
                self.claim(session, {} if kept is None or sha256 is None else {sha256: kept})
                row = self._own(session, person, id)
                if row.images >= MOST_IMAGES:
                    raise CaseError(f"A case has at most {MOST_IMAGES} images.")
                row.images += 1
                session.add(_image_row(id, row.images, image, sha256, __version__))
                session.flush()
                asked = select(ImageRow.name, ImageRow.opinion).where(ImageRow.case_id == id).order_by(ImageRow.number)
                every = session.execute(asked).all()
                for name, value in _summary([one.opinion for one in every]).items():
                    setattr(row, name, value)
                row.words, row.changed = _words(row, [one.name for one in every]), datetime.now(UTC)
                session.flush()
                self.quota.check(session, row.owner_id, self.images)
                audit.append(session, person, "changed", [id], fields=["images"])
                return self._kept(session, person, id)
        except BaseException:
            self.let_go([sha256])
            raise

    def check_own(self, person: Person, id: str) -> None:
        """NotFound and Forbidden as of `change`, where this person may not change the case."""
        with self.database.read(person) as session:
            self._own(session, person, id)

    def claim(self, session: Session, bytes_of: dict[str, bytes]) -> None:
        """Lock these images until the transaction ends, so that nobody removes their bytes meanwhile."""
        for sha256 in sorted(bytes_of):  # everybody in the same order: nobody waits for each other
            self._lock(session, sha256)
            self.images.put(bytes_of[sha256], sha256)

    def _lock(self, session: Session, sha256: str) -> None:
        dialect = sqlite if self.database.is_sqlite else postgresql
        locked = None
        while locked is None:  # it may be removed between the two
            session.execute(dialect.insert(BlobRow).values(sha256=sha256).on_conflict_do_nothing())
            locked = session.scalar(select(BlobRow.sha256).where(BlobRow.sha256 == sha256).with_for_update())

    # Reading

    def case(self, person: Person, id: str) -> KeptCase:
        """A case; NotFound in the same words whether it does not exist or is not this person's. The log says that it
        was seen, once in ten minutes for each person."""
        with self.database.read(person) as session:
            found = self._kept(session, person, id)
            lately = audit.seen_lately(session, person, id)
        self._log_seen(person, id, lately)
        return found

    def image(self, person: Person, id: str, number: int) -> bytes | None:
        """The bytes of an image as they were kept; None where they were not. NotFound as of `case`, and for a number
        that there is not; StoreError where they are damaged."""
        with self.database.read(person) as session:
            asked = select(ImageRow.case_id, ImageRow.sha256).where(
                ImageRow.case_id == _id(id), ImageRow.number == number
            )
            found = session.execute(asked).first()
            if found is None:
                raise NotFound(ABSENT)
            lately = audit.seen_lately(session, person, id)
        self._log_seen(person, id, lately)
        if found.sha256 is None:
            return None
        with self.database.answering():
            return self.images.get(found.sha256)

    def _log_seen(self, person: Person, id: str, lately: bool) -> None:
        if not lately:
            with self.database.write(person) as session:
                audit.append(session, person, "seen", [id])

    def search(self, person: Person, query: Query | None = None, offset: int = 0, limit: int = 50) -> Found:
        """A page of the cases that a query finds; at most `dala.cases.search.MOST_ROWS`."""
        with self.database.read(person) as session:
            return search.page(session, person, query or Query(), offset, limit)

    def ids(self, person: Person, query: Query | None = None) -> list[str]:
        """The ids of all cases that a query finds, in its order."""
        with self.database.read(person) as session:
            return search.ids(session, query or Query())

    def choices(self, person: Person) -> Choices:
        """What there is to filter by."""
        with self.database.read(person) as session:
            return search.choices(session)

    def rows_for_agreement(self, person: Person, query: Query | None = None) -> list[AgreementRow]:
        """What agreement is counted from (`dala.cases.agreement`): a row for every case that a query finds."""
        with self.database.read(person) as session:
            return list(search.rows(session, query or Query()))

    # Changing

    def change(self, person: Person, id: str, **changes: Any) -> KeptCase:
        """Change fields of `dala.cases.kept.CHANGEABLE`; the case as it is then. The log names the fields, not their
        content. NotFound as of `case`; CaseError for somebody who may only see it, and for what cannot be kept."""
        check_fields(changes)
        with self.database.write(person) as session:
            row = self._own(session, person, id)
            different = {name: value for name, value in changes.items() if getattr(row, name) != value}
            for name, value in different.items():
                setattr(row, name, value)
            if different:
                row.changed = datetime.now(UTC)
                row.call = call_of(row.read_before) or call_of(row.read_after)
                names = session.scalars(select(ImageRow.name).where(ImageRow.case_id == id).order_by(ImageRow.number))
                row.words = _words(row, names)
                session.flush()
                audit.append(session, person, "changed", [id], fields=sorted(different))
            return self._kept(session, person, id)

    def delete(self, person: Person, id: str) -> None:
        """Delete a case with its images and every text of it; the log keeps that it was there. Bytes that another case
        or deck holds stay for that one. NotFound and CaseError as of `change`."""
        with self.database.write(person) as session:
            self._own(session, person, id)
            hashes = self._remove(session, [id])
            audit.append(session, person, "deleted", [id])
        self.let_go(hashes)
        self.database.truncate_log()

    def expire(self, now: datetime | None = None) -> int:
        """Delete the cases that are older than `days`; how many these were. Also lets bytes go that nothing holds any
        more, which a killed process may have left."""
        expired: list[str] = []
        hashes: list[str | None] = []
        if self.days is not None:
            oldest = (now or datetime.now(UTC)) - timedelta(days=self.days)
            with self.database.write(SERVER) as session:
                expired = list(session.scalars(select(CaseRow.id).where(CaseRow.created < oldest)))
                if expired:
                    hashes = self._remove(session, expired)
                    audit.append(session, SERVER, "expired", expired)
        self.let_go(hashes)
        self.collect()
        if expired:
            self.database.truncate_log()
        return len(expired)

    def _remove(self, session: Session, ids: list[str]) -> list[str | None]:
        hashes = list(session.scalars(select(ImageRow.sha256).where(ImageRow.case_id.in_(ids)).distinct()))
        session.execute(delete(CaseRow).where(CaseRow.id.in_(ids)).execution_options(synchronize_session=False))
        return hashes

    # Bytes that nothing holds

    def collect(self) -> int:
        """Remove all bytes that no case and no deck holds; how many images these were."""
        with self.database.read(SERVER) as session:
            held = or_(
                exists().where(ImageRow.sha256 == BlobRow.sha256), exists().where(DeckItemRow.sha256 == BlobRow.sha256)
            )
            loose = list(session.scalars(select(BlobRow.sha256).where(~held)))
            known = set(session.scalars(select(BlobRow.sha256)))
        with self.database.answering():
            self.images.sweep()
            loose += [name for name in self.images.names() if name not in known]
        return sum(self._let_one_go(sha256) for sha256 in loose)

    def let_go(self, hashes: Iterable[str | None]) -> None:
        """Remove these bytes where nothing holds them; where that cannot be done now, `collect` will."""
        try:
            for sha256 in {*hashes} - {None}:
                self._let_one_go(str(sha256))
        except StoreError:
            pass

    def _let_one_go(self, sha256: str) -> bool:
        with self.database.answering(), self.images.removing() as free:
            if not free:  # a backup copies them; the next time then
                return False
            with self.database.write(SERVER) as session:
                self._lock(session, sha256)
                held = select(ImageRow.case_id).where(ImageRow.sha256 == sha256).limit(1)
                in_deck = select(DeckItemRow.deck_id).where(DeckItemRow.sha256 == sha256).limit(1)
                if session.scalar(held) is not None or session.scalar(in_deck) is not None:
                    return False
                session.execute(delete(BlobRow).where(BlobRow.sha256 == sha256))
                self.images.remove(sha256)
                return True

    # Out and in

    def export(self, person: Person, ids: Sequence[str], to: Path | IO[bytes]) -> None:
        """Write cases as a ZIP of their JSON, their images, and what the log says of them to `person`; the log says
        that they were exported. NotFound as of `case` where one is not there, StoreError where bytes are damaged."""
        with self.database.read(person) as session:
            cases = [self._kept(session, person, id) for id in ids]

        def logged() -> tuple[list[audit.Entry], audit.Head]:
            with self.database.write(person) as session:
                audit.append(session, person, "exported", [case.id for case in cases])
                return list(audit.entries(session, [case.id for case in cases])), audit.head_of(session)

        with self.database.answering("nothing was exported"):
            exchange.write(to, cases, self.images, logged)

    def import_(self, person: Person, archive: Path | IO[bytes]) -> Imported:
        """Keep the cases of an export as private ones of `person`; who read them, and when, stays as it was.

        A case that `person` can see under its id already is left as it is. All cases are checked before the first is
        kept; CaseError for an archive that is none, or holds what cannot be kept or more than one person may keep.
        StoreError where the database or the folder fails meanwhile, which says how many were kept before.
        """
        from dala.cases.importing import import_cases  # which knows this module

        return import_cases(self, person, archive)

    # Rows

    def _own(self, session: Session, person: Person, id: str) -> CaseRow:
        row = session.scalar(select(CaseRow).where(CaseRow.id == _id(id)).with_for_update())
        if row is None:
            raise NotFound(ABSENT)
        if not may_change(person, row.owner_id):
            raise Forbidden(NOT_YOURS)
        return row

    def _kept(self, session: Session, person: Person, id: str) -> KeptCase:
        row = session.scalar(select(CaseRow).options(defer(CaseRow.words)).where(CaseRow.id == _id(id)))
        if row is None:
            raise NotFound(ABSENT)
        images = session.scalars(select(ImageRow).where(ImageRow.case_id == id).order_by(ImageRow.number))
        return KeptCase(
            id=row.id,
            owner=(row.owner_id, row.owner_name),
            reader=(row.reader_id, row.reader_name),
            created=row.created,
            changed=row.changed,
            read_before=row.read_before,
            images=tuple(
                KeptImage(**{name: getattr(image, name) for name in KeptImage.__dataclass_fields__}) for image in images
            ),
            may_change=may_change(person, row.owner_id),
            **{name: getattr(row, name) for name in CHANGEABLE},
        )


def new_id() -> str:
    """An id of 22 characters that cannot be guessed; it begins with no hyphen, so that a command line takes it."""
    while not (found := secrets.token_urlsafe(16))[0].isalnum():
        pass
    return found


def _id(id: str) -> str:
    """An id that could be one; NotFound for everything else that an address may hold."""
    if not isinstance(id, str) or IDENTITY.fullmatch(id) is None:
        raise NotFound(ABSENT)
    return id


def _image_row(case_id: str, number: int, image: NewImage, sha256: str | None, version: str) -> ImageRow:
    return ImageRow(
        case_id=case_id,
        number=number,
        name=image.name,
        sha256=sha256,
        settings=image.settings,
        opinion=image.opinion,
        origin=image.origin,
        thumbnail=image.thumbnail,
        weights_sha256=image.opinion["weights_sha256"],
        version=version,
    )


def _summary(opinions: Sequence[Json]) -> dict[str, Any]:
    """What lists show and filter by of all images of a case."""
    probabilities = [p for p in map(probability_of, opinions) if p is not None]
    return {
        "answer": answer_of_all([answer_of(opinion) for opinion in opinions]),
        "probability": max(probabilities, default=None),
        "laboratory": next(filter(None, map(laboratory_of, opinions)), None),
    }


def _words(row: CaseRow, names: Iterable[str]) -> str:
    return search.words_of(row.title, row.comment, row.subtype, row.patient, row.reader_name, *names)
