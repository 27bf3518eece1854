"""Compare: two kept images side by side, linked in zoom, threshold and colour scale; the address holds which."""

from __future__ import annotations

import streamlit as st

from dala.errors import CaseError, StoreError
from pages.parts.cases.compare import show_comparison
from pages.parts.documents import link_to_page
from pages.parts.people import person, store_or_stop
from pages.parts.shared import CASES_PAGE, plain

store, who = store_or_stop(), person()
row = st.container(key="cases-top", horizontal=True, vertical_alignment="center", gap="medium")
row.header("Compare", anchor=False, width="content")
with row:
    link_to_page(CASES_PAGE, "All cases")
try:
    show_comparison(store, who)
except (CaseError, StoreError) as error:
    st.error(plain(str(error)))
