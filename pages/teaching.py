"""Teaching: read first and compare, see how the heat map is made, and see where the model fails."""

from __future__ import annotations

import streamlit as st

from pages.parts.decks.making import show_decks
from pages.parts.documents import link_to
from pages.parts.shared import TAUGHT, model_or_stop
from pages.parts.teaching.failing import show_failing
from pages.parts.teaching.reading import show_reading
from pages.parts.teaching.unfolding import show_unfolding

PARTS = {"Read first": show_reading, "How it works": show_unfolding, "Where it fails": show_failing}
CLASS = "With a class"

model = model_or_stop(TAUGHT)
st.header("Teaching", anchor=False)
part = st.segmented_control(
    "Part",
    [*PARTS, CLASS],
    default=next(iter(PARTS)),
    required=True,
    key="part",
    bind="query-params",
    label_visibility="collapsed",
)
link_to("Lesson", "A lesson of 45 minutes with these parts")
part = part or next(iter(PARTS))
if part == CLASS:
    show_decks()
    st.stop()
# The lessons take the model of one data set apart; what fails is shown of the one that is served.
PARTS[part](model_or_stop() if PARTS[part] is show_failing else model)
