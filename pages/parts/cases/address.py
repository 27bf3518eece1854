"""What a list of cases is asked for, as it stands in the address: it outlasts a reload, goes back, and can be sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, cast

import streamlit as st
from streamlit.errors import StreamlitAPIException

from dala.cases.kept import ANSWERS, LONGEST_NAME, Query

LONGEST_TEXT = 200
LAST_PAGE = 10**7
# Column and whether it descends, by the word in the address.
ORDERS = {
    "newest": ("created", True),
    "oldest": ("created", False),
    "changed": ("changed", True),
    "title": ("title", False),
    "malignant": ("probability", True),
    "answer": ("answer", False),
    "laboratory": ("laboratory", False),
    "reader": ("reader", False),
    "agreement": ("agrees", False),
}
SAID = {"agrees": {"agrees": True}, "disagrees": {"agrees": False}, "differs": {"differs": True}}


@dataclass(frozen=True)
class Asked:
    """What a list of cases shows: filters, order and page, counted from 1. None and "": no such filter."""

    text: str = ""
    answer: str | None = None
    agreement: str | None = None
    laboratory: str | None = None
    reader: str | None = None
    since: date | None = None
    until: date | None = None
    order: str = next(iter(ORDERS))
    page: int = 1

    @property
    def filters(self) -> bool:
        """Whether anything is filtered out."""
        return replace(self, order=USUAL.order, page=1) != USUAL

    def query(self) -> Query:
        """The same for the store; the page is counted by whoever asks."""
        column, descending = ORDERS[self.order]
        query = Query(
            self.text,
            self.answer,
            laboratory=self.laboratory,
            reader=self.reader,
            since=self.since,
            until=self.until,
            order=column,
            descending=descending,
        )
        return query if self.agreement is None else replace(query, **cast(Any, SAID[self.agreement]))

    def parameters(self) -> dict[str, str]:
        """As it stands in the address, without what is usual."""
        return {
            name: str(getattr(self, name)) for name in NAMES if getattr(self, name) not in ("", getattr(USUAL, name))
        }


USUAL = Asked()
NAMES = tuple(Asked.__dataclass_fields__)
CHOSEN = tuple(name for name in NAMES if name != "page")  # by widgets


def asked_by(told: Mapping[str, str]) -> Asked:
    """What an address asks for; what cannot be meant is left out."""
    found: dict[str, Any] = {"text": told.get("text", "").strip()[:LONGEST_TEXT]}
    for name, choices in (("answer", ANSWERS), ("agreement", SAID), ("order", ORDERS)):
        if told.get(name) in choices:
            found[name] = told[name]
    for name in ("laboratory", "reader"):
        found[name] = told.get(name, "")[:LONGEST_NAME] or None
    for name in ("since", "until"):
        found[name] = _day(told.get(name, ""))
    return Asked(**found, page=whole(told.get("page", ""), LAST_PAGE))


def whole(told: str, most: int) -> int:
    """The number of a page in the address, 1 for anything else."""
    number = int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 1
    return min(max(number, 1), most)


def _day(told: str) -> date | None:
    try:
        return date.fromisoformat(told)
    except ValueError:
        return None


def word(name: str, words: Iterable[str]) -> str:
    """The parameter of the address that is one of these words, the first of them for anything else."""
    known = list(words)
    told = st.query_params.get(name)
    return told if told in known else known[0]


def write(parameters: Mapping[str, str], names: tuple[str, ...]) -> None:
    """Put parameters into the address in place of those of these `names`; others stay. It is one step of the browser's
    history, unless a widget is bound to one of the others: Streamlit sets those no more with all at once."""
    others = {name: st.query_params.get_all(name) for name in st.query_params if name not in names}
    try:
        st.query_params.from_dict({**others, **{name: [value] for name, value in parameters.items()}})
    except StreamlitAPIException:
        st.query_params.update(parameters)
        for name in set(names) & set(st.query_params) - set(parameters):
            del st.query_params[name]
