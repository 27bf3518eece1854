"""The frame around every page: page config, navigation, log-in and the research-use notice. Nothing else."""

from __future__ import annotations

import streamlit as st

from pages.parts.about import about, notice
from pages.parts.buttons import until_the_end
from pages.parts.decks.places import PAGE, URL_PATH, open_without_login
from pages.parts.login import require_login
from pages.parts.look import dress
from pages.parts.people import keeps_cases
from pages.parts.visits import keep_visit

# No emoji or Material icon as page icon: the browser would fetch its image from a font server.
st.set_page_config(page_title="DALA second opinion", layout="wide", menu_items={"About": about()})
CASES = [st.Page("cases.py", title="Cases")] if keeps_cases() else []
# Reached from the cases, and at an address of their own.
BESIDE = [st.Page(f"{name.lower()}.py", title=name, visibility="hidden") for name in ("Compare", "Agreement") if CASES]
PAGES = [
    st.Page("second_opinion.py", title="Second opinion", default=True),
    st.Page("slides.py", title="Slides"),
    st.Page("batch.py", title="Batch"),
    *CASES,
    st.Page("teaching.py", title="Teaching"),
    st.Page("evidence.py", title="Evidence"),
    st.Page("guide.py", title="Guide"),
]
# Reached by the address that a teacher gives.
DECK = st.Page(PAGE, title="Deck", url_path=URL_PATH, visibility="hidden")
page = st.navigation([*PAGES, *BESIDE, DECK], position="top")
dress()
# Streamlit folds its own navigation into an unlabelled arrow on a phone; the style sheet shows either one.
with st.container(key="phone-navigation", horizontal=True, gap="small"):
    for one in PAGES:
        st.page_link(one)
# Before the page runs, so that it stands there however the page ends.
with st.container(key="notice"):
    st.markdown(notice())
if not (page is DECK and open_without_login()):
    require_login()
keep_visit(page.url_path)
with until_the_end():
    page.run()
