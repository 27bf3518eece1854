"""What the class has made of a case: the calls, the marks over one another, and what is revealed."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from dala.cases.deck_records import Item, Truth
from dala.cases.kept import CALLS, DIAGNOSES, answer_of
from dala.explanation.render import overlay
from dala.teaching.class_results import Distribution, density, marks_of
from dala.words import counted
from pages.parts.shared import NOT_SURE, OUTSIDE, SHAPES, called, inline, plain

POSITIVE = DIAGNOSES[1]
OPACITY = 0.55


def call_in_words(call: str) -> str:
    """A call with its shape."""
    return called(call, POSITIVE) if call in DIAGNOSES else NOT_SURE


def counts_in_words(found: Distribution) -> str:
    """Such as "● Benign 3, ▲ Malignant 5, ◆ Not sure 1"."""
    return ", ".join(f"{call_in_words(call)} **{found.counts[call]}**" for call in CALLS)


def show_marks(place: DeltaGenerator, png: bytes, item: Item) -> None:
    """The image with the marks of all readers as a heat map."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    marks = marks_of(item)
    if not marks:
        said = f"Case {item.number}: nobody has marked anything"
        place.image(inline(pixels), caption=said, width="stretch", alt=said)
        return
    field = density(marks, *pixels.shape[:2])
    most = float(field.max())
    drawn = overlay(pixels, field, most, opacity=OPACITY)
    said = f"Case {item.number}: {counted(len(marks), 'mark')}"
    if len(marks) > 1:
        said += f" over one another; where it is brightest, {most:.0f}"
    place.image(inline(drawn), caption=said, width="stretch", alt=said)


def show_truth(truth: Truth) -> None:
    """The answer with the teacher's words, and what the model said."""
    if truth.diagnosis is None:
        st.markdown("The answer to this case is not known.")
    else:
        st.subheader(f"It is {truth.diagnosis}", anchor=False)
    if truth.subtype:
        st.markdown(f"Diagnosis: **{plain(truth.subtype)}**.")
    if truth.words:
        st.markdown(plain(truth.words))
    if truth.opinion is not None:
        st.markdown(f"The model: {model_in_words(truth)}.")


def model_in_words(truth: Truth) -> str:
    """The model's answer in a few words."""
    answer = "" if truth.opinion is None else answer_of(truth.opinion)
    if answer == "outside":
        return f"{OUTSIDE.lower()}, so no verdict"
    return f"{SHAPES[answer == POSITIVE]} **{answer}**" if answer in DIAGNOSES else "◆ **not sure**"
