"""The frame around every page: page config, navigation, log-in and the research-use notice. Nothing else."""

from __future__ import annotations

import streamlit as st

from pages.parts.login import require_login

NOTICE = "**For research and teaching only, not for diagnosis.** Nothing leaves this machine."

# No emoji or Material icon as page icon: the browser would fetch its image from a font server.
st.set_page_config(page_title="DALA second opinion", layout="wide", menu_items={"About": NOTICE})
page = st.navigation(
    [
        st.Page("second_opinion.py", title="Second opinion", default=True),
        st.Page("batch.py", title="Batch"),
        st.Page("teaching.py", title="Teaching"),
        st.Page("evidence.py", title="Evidence"),
    ],
    position="top",
)
# Before the page runs, so that it stands there however the page ends.
st.markdown(NOTICE)
require_login()
page.run()
