"""Guide, lesson and glossary, read inside the app."""

from __future__ import annotations

import streamlit as st

from pages.parts.documents import DOCUMENTS, READ, show_document

chosen = st.segmented_control(
    "Document",
    list(DOCUMENTS),
    default=next(iter(DOCUMENTS)),
    required=True,
    key=READ,
    bind="query-params",
    label_visibility="collapsed",
)
with st.container(key="document"):
    show_document(chosen or next(iter(DOCUMENTS)))
