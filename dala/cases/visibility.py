"""Who may see which rows, in one place: every query of a session is narrowed to what its person may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, event, false, or_, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from dala.cases.people import Person
from dala.cases.tables import (
    AuditRow,
    CaseRow,
    DeckItemRow,
    DeckReaderRow,
    DeckReadRow,
    DeckRow,
    ImageRow,
    PersonRow,
    TokenRow,
)

PERSON = "person"
OF_SOMEBODY: tuple[type[Any], ...] = (
    *(CaseRow, ImageRow, DeckRow, DeckItemRow, DeckReaderRow, DeckReadRow, TokenRow, PersonRow, AuditRow),
)


class PersonSession(Session):
    """A session of one person, `info["person"]`; without one it answers nothing."""


def visible_to(person: Person) -> Iterator[tuple[type[Any], ColumnElement[bool]]]:
    """For every table with rows of somebody, which of them this person may see: own and shared ones.

    An administrator sees all and needs no condition. Of a deck its owner sees everything; what readers see of it,
    `dala.cases.decks` decides. Of the log a person sees what concerns own cases, and own deeds.
    """
    me = person.id
    seen = or_(CaseRow.owner_id == me, CaseRow.shared)
    deck = DeckRow.owner_id == me
    cases = select(CaseRow.id).where(seen).scalar_subquery()
    own = select(CaseRow.id).where(CaseRow.owner_id == me).scalar_subquery()
    decks = select(DeckRow.id).where(deck).scalar_subquery()
    yield CaseRow, seen
    yield ImageRow, ImageRow.case_id.in_(cases)
    yield DeckRow, deck
    yield DeckItemRow, DeckItemRow.deck_id.in_(decks)
    yield DeckReaderRow, DeckReaderRow.deck_id.in_(decks)
    yield DeckReadRow, DeckReadRow.deck_id.in_(decks)
    yield TokenRow, TokenRow.person_id == me
    yield PersonRow, PersonRow.id == me
    yield AuditRow, or_(AuditRow.who == me, AuditRow.case_id.in_(own))


def may_change(person: Person, owner_id: str) -> bool:
    """Whether a person may change or delete what belongs to `owner_id`."""
    return person.administers or person.id == owner_id


@event.listens_for(PersonSession, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    person = state.session.info.get(PERSON)
    if person is not None and person.administers:
        return
    for table, condition in visible_to(person) if person is not None else _nothing():
        state.statement = state.statement.options(with_loader_criteria(table, condition, include_aliases=True))


def _nothing() -> Iterator[tuple[type[Any], ColumnElement[bool]]]:
    for table in OF_SOMEBODY:
        yield table, false()
