"""Which cases a query asks for, in the database's words; pages, counts and rows for figures."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session, defer, load_only

from dala.cases.kept import ORDERS, AgreementRow, Choices, Found, Query, Row, call_of
from dala.cases.people import Person
from dala.cases.tables import CaseRow, ImageRow
from dala.errors import CaseError

Selected = TypeVar("Selected", bound=Select[*tuple[Any, ...]])
MOST_ROWS = 200  # of one page
SIDES = {
    "created": CaseRow.created,
    "changed": CaseRow.changed,
    "title": CaseRow.title,
    "answer": CaseRow.answer,
    "probability": CaseRow.probability,
    "laboratory": CaseRow.laboratory,
    "reader": CaseRow.reader_name,
    "agrees": CaseRow.agrees,
}


def words_of(*texts: str | None) -> str:
    """What a search looks through: the texts without case, in one form of every letter."""
    return " ".join(_plain(text) for text in texts if text)


def _plain(text: str) -> str:
    sound = text.encode("utf-8", "ignore").decode("utf-8").replace("\0", "")
    return unicodedata.normalize("NFKC", sound).casefold()


def page(session: Session, person: Person, query: Query, offset: int, limit: int) -> Found:
    """The cases `offset` to `offset + limit` of a query, and how many there are."""
    conditions = list(_conditions(query))
    total = session.scalar(select(func.count()).select_from(CaseRow).where(*conditions)) or 0
    # First which, then all of them: rows that are passed over are not joined with their previews.
    which = _ordered(select(CaseRow.id).where(*conditions), query)
    ids = which.offset(max(0, offset)).limit(max(0, min(limit, MOST_ROWS))).subquery()
    asked = (
        select(CaseRow, ImageRow.thumbnail)
        .join(ids, ids.c.id == CaseRow.id)
        .join(ImageRow, and_(ImageRow.case_id == CaseRow.id, ImageRow.number == 1))
        .options(defer(CaseRow.words), defer(CaseRow.comment))
    )
    return Found(
        total, tuple(_row(case, thumbnail, person) for case, thumbnail in session.execute(_ordered(asked, query)))
    )


def rows(session: Session, query: Query) -> Iterator[AgreementRow]:
    """Everything that a query finds, for figures."""
    columns = (
        *(CaseRow.id, CaseRow.created, CaseRow.reader_id, CaseRow.reader_name, CaseRow.patient, CaseRow.laboratory),
        *(CaseRow.answer, CaseRow.probability, CaseRow.read_before, CaseRow.read_after, CaseRow.agrees),
        CaseRow.diagnosis,
    )
    asked = _ordered(select(CaseRow).options(load_only(*columns)).where(*_conditions(query)), query)
    for case in session.scalars(asked):
        yield AgreementRow(
            case.id,
            case.created,
            (case.reader_id, case.reader_name),
            case.patient,
            case.laboratory,
            case.answer,  # type: ignore[arg-type]
            case.probability,
            call_of(case.read_before),
            call_of(case.read_after),
            case.agrees,
            case.diagnosis,  # type: ignore[arg-type]
        )


def ids(session: Session, query: Query) -> list[str]:
    """The ids of everything that a query finds."""
    return list(session.scalars(_ordered(select(CaseRow.id).where(*_conditions(query)), query)))


def choices(session: Session) -> Choices:
    """What there is to filter by."""
    answers = session.scalars(select(CaseRow.answer).distinct().order_by(CaseRow.answer))
    laboratories = session.scalars(select(CaseRow.laboratory).distinct().order_by(CaseRow.laboratory))
    readers = session.execute(
        select(CaseRow.reader_id, func.max(CaseRow.reader_name)).group_by(CaseRow.reader_id).order_by(CaseRow.reader_id)
    )
    return Choices(tuple(answers), tuple(filter(None, laboratories)), tuple((id_, name) for id_, name in readers))


def _conditions(query: Query) -> Iterator[ColumnElement[bool]]:
    for word in _plain(query.text).split():
        yield CaseRow.words.contains(word, autoescape=True)
    for value, column in (
        (query.answer, CaseRow.answer),
        (query.diagnosis, CaseRow.diagnosis),
        (query.laboratory, CaseRow.laboratory),
        (query.reader, CaseRow.reader_id),
    ):
        if value is not None:
            yield column == value.replace("\0", "")
    if query.agrees is not None:
        yield CaseRow.agrees == query.agrees
    if query.differs is not None:
        both = CaseRow.answer.in_(("benign", "malignant")), CaseRow.call.in_(("benign", "malignant"))
        yield and_(*both, CaseRow.call != CaseRow.answer if query.differs else CaseRow.call == CaseRow.answer)
    if query.since is not None:
        yield CaseRow.created >= datetime.combine(query.since, time(), UTC)
    if query.until is not None:
        yield CaseRow.created < datetime.combine(query.until, time(), UTC) + timedelta(days=1)
    if query.ids is not None:
        yield CaseRow.id.in_([one.replace("\0", "") for one in query.ids])


def _ordered(asked: Selected, query: Query) -> Selected:
    if query.order not in ORDERS:
        raise CaseError(f"Cases are sorted by {', '.join(ORDERS)}, not by {query.order}.")
    side: Any = SIDES[query.order]
    side = side.desc() if query.descending else side.asc()
    return asked.order_by(side.nulls_last(), CaseRow.id)


def _row(case: CaseRow, thumbnail: bytes, person: Person) -> Row:
    return Row(
        case.id,
        case.title,
        case.created,
        case.changed,
        (case.reader_id, case.reader_name),
        case.owner_id == person.id,
        case.shared,
        case.images,
        case.answer,  # type: ignore[arg-type]
        case.probability,
        case.laboratory,
        case.call,  # type: ignore[arg-type]
        case.agrees,
        case.diagnosis,  # type: ignore[arg-type]
        thumbnail,
    )
