"""Compare: two kept images side by side, linked in zoom, threshold and colour scale; the address holds which."""

from __future__ import annotations

import streamlit as st

from dala.errors import CaseError, StoreError
from pages.parts.cases.compare import show_comparison
from pages.parts.people import person, store_or_stop
from pages.parts.shared import plain

store, who = store_or_stop(), person()
st.header("Compare", anchor=False)
try:
    show_comparison(store, who)
except (CaseError, StoreError) as error:
    st.error(plain(str(error)))
