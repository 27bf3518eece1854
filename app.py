"""The server's entry, for `streamlit run app.py`: the frame around the pages, and whatever else is served beside it."""

from __future__ import annotations

import streamlit as st

app = st.App("pages/frame.py")
