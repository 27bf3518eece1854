"""The empty first page: what this is, what one gets, a result to look at, and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import streamlit as st

from dala.explanation.render import encode_png
from dala.intake.image import read_image
from dala.intake.pixel_size import NAME, PixelSize
from dala.opinion import explain, opinion_of
from dala.phantoms.film import FILMS
from dala.phantoms.sheet import UM_PER_PIXEL
from dala.phantoms.tissue import PHANTOMS
from dala.runtime.predict import Model
from pages.parts.documents import link_to, link_to_page
from pages.parts.second_opinion.examples import DRAWN, drawn_title, phantom_png, thumbnail_png
from pages.parts.shared import NOT_SURE, called, percent, show_png

SHOWN = "single_files"
THUMBNAIL_WIDTH = 146
AS_DRAWN = "as drawn"
OUTSIDE_SIGN = "◇ Outside"
# What the served model says of each drawing; tests/pages/test_examples.py holds it to that.
ANSWERS = {
    "regular_ducts": NOT_SURE,
    "loose_stroma": NOT_SURE,
    "solid_sheets": "▲ Malignant",
    "single_files": "▲ Malignant",
    "nest_beside_ducts": NOT_SURE,
    "mucin_pools": OUTSIDE_SIGN,
    "mammogram": OUTSIDE_SIGN,
}


def introduce() -> None:
    """Name and what one gets, in a sentence."""
    st.title("A second opinion on breast tissue", anchor=False)
    st.markdown(
        "Drop one H&E field and see in a second whether the model calls it **benign**, **malignant** or is **not "
        "sure**, how probable that is, how often such answers were wrong, and **which part of the tissue moved it**."
    )


@st.cache_resource(show_spinner=False, max_entries=2)
def drawn_result(weights: str, _model: Model) -> tuple[bytes, bytes, str]:
    """A drawn field and its map as the model makes it, both as PNG, and what the model says of it."""
    read = read_image(phantom_png(SHOWN), f"{SHOWN}.png")
    opinion = opinion_of(replace(read, pixel_size=PixelSize(UM_PER_PIXEL, UM_PER_PIXEL, NAME, AS_DRAWN)), _model)
    explanation = explain(opinion, str(_model.card.fields["positive"]))
    prediction, positive = opinion.prediction, str(_model.card.fields["positive"])
    if not opinion.gate.inside:
        said = OUTSIDE_SIGN
    else:
        said = NOT_SURE if opinion.verdict.not_sure else called(prediction.label, positive)
        if opinion.verdict.has_probability:
            share = float(prediction.probabilities[prediction.classes.index(positive)])
            said += f", probability of {positive} {percent(share)}"
    return encode_png(explanation.panels.patch), encode_png(explanation.panels.dt), said


def show_result(model: Model) -> None:
    """What an answer looks like, on a drawing, so that nobody's tissue is needed for it."""
    patch, marked, said = drawn_result(str(model.card.fields["sha256"]), model)
    with st.container(key="hero", border=True):
        st.markdown(f"**{said}**")
        left, right = st.columns(2, gap="small")
        show_png(left, patch, "The field")
        show_png(right, marked, "What moved the model")
        st.caption(
            "Regions that speak for malignant, the strongest in yellow; a slider sets how much is marked. A drawing "
            "made by code, answered by the model itself: not tissue, no diagnosis."
        )


def show_links() -> None:
    with st.container(key="links", horizontal=True, gap="medium"):
        link_to("Guide", "How to use it")
        link_to("Lesson", "A lesson of 45 minutes")
        link_to_page("evidence.py", "How often it is wrong")


def gallery() -> Iterator[tuple[str, bytes]]:
    """The drawn examples by name, each with its thumbnail as PNG."""
    return ((name, thumbnail_png(name)) for name in (*PHANTOMS, *FILMS))


def show_gallery(choose: Callable[[str], None]) -> None:
    """The drawn examples, each a thumbnail with its button and what the model says of it; `choose` takes its key."""
    row = st.container(key="gallery", horizontal=True)
    for name, thumbnail in gallery():
        key = DRAWN + name
        place = row.container(width=THUMBNAIL_WIDTH, gap="xsmall")
        place.image(thumbnail, width="stretch", output_format="PNG", alt=f"Drawing: {drawn_title(key)}")
        place.button(drawn_title(key).capitalize(), key=f"choose-{name}", on_click=choose, args=(key,), width="stretch")
        place.caption(ANSWERS[name])
    st.caption(
        "Schematic H&E and a schematic mammogram made by code: they are not tissue and have no diagnosis. Like images "
        "of any laboratory that the model does not know, none of them is answered benign."
    )
