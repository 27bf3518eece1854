"""Cases: what was kept, found again by search and filters; one of them at an address of its own."""

from __future__ import annotations

import streamlit as st

from dala.errors import CaseError, StoreError
from pages.parts.cases.listing import show_list
from pages.parts.cases.one import back_to_list, not_deleted, show_case
from pages.parts.people import person, store_or_stop
from pages.parts.session import session
from pages.parts.shared import plain
from pages.parts.tokens import show_tokens

store, who = store_or_stop(), person()
identity = st.query_params.get("id")
if session().case_to_delete != identity:  # left by the browser's Back while it was asked
    not_deleted()
try:
    if identity is None:
        show_list(store, who)
        show_tokens(store, who)
    else:
        show_case(store, who, store.case(who, identity))
except (CaseError, StoreError) as error:
    st.error(plain(str(error)))
    if identity is not None:
        st.button("← All cases", type="tertiary", on_click=back_to_list)
