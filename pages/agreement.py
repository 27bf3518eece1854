"""Agreement: how often readers and the model agreed, against what, over time; and where they did not."""

from __future__ import annotations

import streamlit as st

from dala.errors import CaseError, StoreError
from pages.parts.cases.agreement import show_agreement
from pages.parts.people import person, store_or_stop
from pages.parts.shared import plain

store, who = store_or_stop(), person()
try:
    show_agreement(store, who)
except (CaseError, StoreError) as error:
    st.error(plain(str(error)))
