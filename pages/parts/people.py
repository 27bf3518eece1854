"""Who is at this page, and the store of cases of this server: what every page about cases asks first."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from dala.cases.opening import settings, store_from_environment
from dala.cases.people import LOCAL, Person, person_of
from dala.errors import StoreError
from pages.parts.login import auth_settings
from pages.parts.session import session
from pages.parts.shared import plain

if TYPE_CHECKING:
    from dala.cases.store import Store  # it brings the database's library along, which the first page does without

SWITCHED_OFF = "Nothing is kept on this server: its administrator has switched cases off."


def keeps_cases() -> bool:
    """Whether cases are kept on this server at all; a database that does not answer is one that is to be mended."""
    try:
        return settings() is not None
    except StoreError:
        return True


def keeps_images() -> bool:
    """Whether the bytes of images may be kept, too."""
    try:
        found = settings()
    except StoreError:
        return True
    return found is not None and found.keeps_images


def logs_in() -> bool:
    """Whether people log in here, so that a case may be somebody's own."""
    return auth_settings() is not None


def person() -> Person:
    """Who is at this page: the local user where nobody logs in. Ends the page for a log-in that names nobody."""
    if not logs_in():
        return LOCAL
    found = person_of(st.user.to_dict()) if st.user.is_logged_in else None
    if found is None:
        st.error("The institution's log-in does not say who you are, so nothing is kept or shown for you.")
        st.stop()
    meet(found)
    return found


def meet(somebody: Person) -> None:
    """Let this person's tokens know, once a visit, which role the log-in now gives."""
    if session().met == somebody.claims:
        return
    with suppress(StoreError):  # the page that needs the store says so; the next run tries again
        if (store := store_from_environment()) is not None:
            from dala.cases.tokens import Tokens

            Tokens(store.database).meet(somebody)
        session().met = somebody.claims


def store_or_stop() -> Store:
    """The store of cases; where there is none, the sentence why, and no page."""
    try:
        store = store_from_environment()
    except StoreError as error:
        st.error(plain(str(error)))
        st.stop()
    if store is None:
        st.info(SWITCHED_OFF)
        st.stop()
    return store
