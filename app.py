"""The server's entry, for `streamlit run app.py`: the frame around the pages, and the tiles of slides beside them."""

from __future__ import annotations

import streamlit as st

from pages.parts.slides.shelf import tile_route

app = st.App("pages/frame.py", routes=[tile_route(st.get_option("server.baseUrlPath") or "")])
