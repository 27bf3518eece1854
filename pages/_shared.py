"""What several pages have in common: the one model that serves all users, and names that are safe to show."""

from __future__ import annotations

import re

import streamlit as st

from dala.nets import runtime
from dala.nets.runtime import Model

OUTSIDE = "Outside the model's competence"
SHAPES = {True: "▲", False: "●"}  # the positive class has a corner, so that colour is never the only sign
NOT_SURE = "◆ Not sure"
HANDED = "handed"  # in the session: name and bytes of a picture that another page opens in the first one


# One cache for all pages, because the function is imported: each page's own would load a second copy.
@st.cache_resource(show_spinner="Loading the model …")
def shared_model() -> Model:
    return runtime.load_model()


def plain(text: str) -> str:
    """Text with every Markdown sign escaped: a file's name may hold anything, even the address of a picture."""
    return re.sub(r"([\\`*_{}\[\]()<>#~|$:!])", r"\\\1", text)
