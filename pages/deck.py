"""A teaching deck at its address: students read it, each for themselves; its teacher follows, reveals and explains."""

from __future__ import annotations

import streamlit as st

from dala.cases.decks import Decks
from dala.errors import DalaError
from pages.parts.decks.leading import show_leading
from pages.parts.decks.places import ID, KEY, who
from pages.parts.decks.reading import show_deck
from pages.parts.documents import link_to_page
from pages.parts.people import store_or_stop
from pages.parts.shared import plain

decks = Decks(store_or_stop())
deck, key = st.query_params.get(ID, ""), st.query_params.get(KEY, "")
try:
    if decks.leads(who(), deck, key):
        show_leading(decks, deck, key)
    else:
        show_deck(decks, deck)
except DalaError as error:
    st.error(plain(str(error)))
    link_to_page("teaching.py", "Teaching")
