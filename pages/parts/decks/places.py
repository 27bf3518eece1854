"""Who is at a deck, where decks are, and what a browser has to remember of them."""

from __future__ import annotations

from urllib.parse import urlencode, urljoin

import streamlit as st

from dala.cases.opening import store_from_environment
from dala.cases.people import Person
from dala.errors import DalaError
from pages.parts.people import logs_in, person

PAGE, URL_PATH = "deck.py", "deck"
ID, KEY, READER = "id", "key", "reader"


def who() -> Person | None:
    """Who is at this page; None for somebody who has not logged in where others do."""
    return None if logs_in() and not st.user.is_logged_in else person()


def open_without_login() -> bool:
    """Whether the deck of this address is open to who has not logged in."""
    from dala.cases.decks import Decks

    try:
        store = store_from_environment()
        return store is not None and Decks(store).needs_no_login(st.query_params.get(ID, ""))
    except DalaError:
        return False


def address_of(**query: str) -> str:
    """A deck's address, as it is sent to others."""
    here = (st.context.url or "").partition("?")[0]
    return f"{urljoin(here, URL_PATH)}?{urlencode(query)}"
