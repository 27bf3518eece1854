"""What several pages have in common: the one model that serves all users, and names safe to show."""

from __future__ import annotations

import base64
import gc
import logging
import re
from typing import NoReturn

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator
from streamlit.logger import get_logger
from streamlit.runtime.scriptrunner import ScriptRunContext

from dala.data import breakhis, mini_ddsm
from dala.errors import DataError, WeightsError
from dala.explanation.render import encode_png
from dala.gate.checks import HISTOLOGY, MAMMOGRAM
from dala.intake import decoding
from dala.runtime import predict as runtime
from dala.runtime.card import SERVED
from dala.runtime.predict import Model

OUTSIDE = "Outside the model's competence"
SHAPES = {True: "▲", False: "●"}  # the positive class has a corner, so that colour is never the only sign
NOT_SURE = "◆ Not sure"
SCALE_UNKNOWN = f"{NOT_SURE}: the scale is unknown"
TAUGHT = "breakhis"  # the weights of the lessons: of one data set, seen in squares, as the paper has it
BAR_WIDTH = 110  # of a colour bar beside its images
SECOND_OPINION_PAGE, BATCH_PAGE = "second_opinion.py", "batch.py"
CASES_PAGE, COMPARE_PAGE, AGREEMENT_PAGE = "cases.py", "compare.py", "agreement.py"


def shared_model(name: str = SERVED[HISTOLOGY]) -> Model:
    """The model of that name, loaded when it is first asked for, once for all users."""
    return _loaded(name)


# Programs and what is made before the first visitor load it outside of any page's run, of which Streamlit warns.
get_logger(ScriptRunContext.__module__).setLevel(logging.ERROR)


# One cache for all pages, because the function is imported: each page's own would load a second copy.
@st.cache_resource(show_spinner="Loading the model …")
def _loaded(name: str) -> Model:
    decoding.warm()  # while the model loads, so that the first image waits for neither
    model = runtime.served(name)
    # Streamlit collects garbage after every run of a page and holds up all threads for it: a batch in the background
    # stood still. What is loaded by now stays, and is not gone through again.
    gc.collect()
    gc.freeze()
    return model


def model_or_stop(name: str = SERVED[HISTOLOGY]) -> Model:
    """The model, or the sentence why there is none, and no page."""
    try:
        return shared_model(name)
    except WeightsError as error:
        st.error(plain(str(error)))
        st.stop()


def turn_to(page: str, query: dict[str, str] | None = None) -> NoReturn:
    """Open another page, with this query in its address. Told of no parameters, Streamlit drops those of the address
    that a widget is bound to, too; told nothing, it refuses to."""
    st.switch_page(page, query_params=query or {})


def known_group(name: str, model: Model) -> str | None:
    """The accession group, patient or case that a file name tells, if the model has learnt from images of it."""
    known = model.card.training_groups
    try:
        group = _case(name) if model.card.modality == MAMMOGRAM else breakhis.parse_name(name).accession
    except DataError:
        # Groups of other data sets are the beginnings of their files' names. A bare number may be anybody's.
        named = (one for one in known if one[:1].isalpha())
        return next((one for one in named if re.match(rf"{re.escape(one)}(?![0-9a-z])", name, re.IGNORECASE)), None)
    return group if group in known else None


def _case(name: str) -> str | None:
    told = mini_ddsm.parse_name(name)
    return told.case if told.letter in mini_ddsm.TRAINED_LETTERS else None


WORD_JOINER = "\N{WORD JOINER}"
PARTED = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//)|(?=@)|(?<=[-<>~])(?=[-=>])|(?<=:)(?=[\w+-]+[/:])", re.IGNORECASE)


def plain(text: str) -> str:
    """Text with every Markdown sign escaped: a file's name may hold anything, even the address of an image.

    What becomes a link, a dash, an arrow or an icon although it is escaped is parted by a mark without width.
    """
    return re.sub(r"([\\`*_{}\[\]()<>#~|$:!])", r"\\\1", PARTED.sub(WORD_JOINER, text))


def called(name: str, positive: str) -> str:
    """A class with its shape, as it is chosen and listed."""
    return f"{SHAPES[name == positive]} {name.capitalize()}"


def show_image(place: DeltaGenerator, pixels: NDArray[np.uint8], caption: str | None = None, alt: str = "") -> None:
    """An image (H, W, 3) uint8, lossless, as wide as its place; `alt` says what it is where there is no caption."""
    show_png(place, encode_png(pixels), caption, alt)


def show_png(place: DeltaGenerator, data: bytes, caption: str | None = None, alt: str = "") -> None:
    """The same of an image that was encoded before."""
    place.image(data, caption=caption, width="stretch", output_format="PNG", alt=caption or alt)


def percent(probability: float) -> str:
    """Never 100 %: rounding must not make a model certain."""
    return "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def inline(pixels: NDArray[np.uint8]) -> str:
    """An image (H, W, 3) uint8 as an address that holds it, lossless.

    For images that change quickly: one that the server keeps can be gone, with the run that showed it, before the
    browser asks for it.
    """
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()
