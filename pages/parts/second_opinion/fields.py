"""The fields of a large image, the most suspicious first; one that is chosen is looked at as an image of its own."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from dala.opinion import Opinion, of_field
from dala.runtime.predict import Field
from dala.runtime.verdict import Verdict, verdict_of
from pages.parts.buttons import uninterrupted
from pages.parts.second_opinion.viewer import identity
from pages.parts.session import session
from pages.parts.shared import NOT_SURE, SHAPES, called, inline, percent

SHOWN_FIRST = 9
FIELD_WIDTH, WHOLE_SIDE, WORDS_WIDTH = 92, 200, 230
OUTLINE = (0, 114, 178)

SEVERAL = (
    "The most suspicious field decides, and less firmly than it would alone: among {} fields one lies high by chance "
    "more often than a single one does, so something is taken off. A field may thus be called malignant and the image "
    "not sure."
)


def show_fields(opinion: Opinion) -> Opinion:
    """The strip; returns the opinion of the field that is looked at, or that of the whole image."""
    fields = opinion.prediction.fields
    if len(fields) < 2:
        return opinion
    image, positive = identity(opinion), str(opinion.model.card.fields["positive"])
    number = number_looked_at(opinion)
    every = len(fields) <= SHOWN_FIRST or st.session_state.get(f"all-fields-{image}", False)
    pooling = opinion.model.card.pooling
    row = st.container(horizontal=True, gap="small", vertical_alignment="center")
    row.markdown(
        f"**{len(fields)} fields of view**, the most suspicious first, each with its answer and, where one holds, its "
        f"probability of {positive}. Click on one to see its maps.",
        help=SEVERAL.format(len(fields)) if pooling.shift else None,
        width=WORDS_WIDTH,
    )
    for place, field in enumerate(fields if every else fields[:SHOWN_FIRST], start=1):
        cell = row.container(width=FIELD_WIDTH, gap="xsmall")
        cell.image(field_thumbnail(image, field.number, opinion), width="stretch", alt=f"Field {place}")
        cell.button(
            sign(opinion, field),
            key=f"field-{image}-{field.number}",
            type="primary" if field.number == number else "secondary",
            width="stretch",
            on_click=look_at,
            args=(image, None if field.number == number else field.number),
            help=f"Field {place}: {in_words(opinion, field)}",
        )
    if len(fields) > SHOWN_FIRST:
        st.toggle(f"Show all {len(fields)} fields", key=f"all-fields-{image}")
    found = next(((place, one) for place, one in enumerate(fields, start=1) if one.number == number), None)
    if found is None:
        return opinion
    place, field = found
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.image(
            inline(shrunk(outlined(opinion, field), WHOLE_SIDE)),
            width="content",
            alt="The whole image, this field outlined",
        )
        with st.container():
            st.markdown(
                f"**Field {place} of {len(fields)}: {in_words(opinion, field)}.** The maps, the effect and the report "
                "below are of this field, outlined here; the verdict above is of the whole image."
            )
            st.button("Back to the whole image", key=f"whole-{image}", on_click=look_at, args=(image, None))
    return opinion_of_field(image, field.number, opinion, field)


def number_looked_at(opinion: Opinion) -> int | None:
    """The number of the field that is looked at, None for the whole image."""
    looked_at = session().looked_at
    return looked_at[1] if looked_at is not None and looked_at[0] == identity(opinion) else None


@uninterrupted()
def look_at(image: str, number: int | None) -> None:
    session().looked_at = None if number is None else (image, number)


@st.cache_resource(show_spinner=False, max_entries=8)
def opinion_of_field(image: str, number: int, _opinion: Opinion, _field: Field) -> Opinion:
    return of_field(_opinion, _field)


@st.cache_data(show_spinner=False, max_entries=256)
def field_thumbnail(image: str, number: int, _opinion: Opinion) -> str:
    left, top, right, bottom = _opinion.prediction.views.places[number].box
    return inline(shrunk(_opinion.patch.pixels[top:bottom, left:right], FIELD_WIDTH))


def shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image whose longer side is `side` pixels."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def outlined(opinion: Opinion, field: Field) -> NDArray[np.uint8]:
    """The image at display size with the field's outline, white on blue."""
    drawn: NDArray[np.uint8] = opinion.image.copy()
    height, width = drawn.shape[:2]
    across, down = width / opinion.patch.width, height / opinion.patch.height
    left, top, right, bottom = field.box
    corners = (round(left * across), round(top * down)), (round(right * across) - 1, round(bottom * down) - 1)
    for colour, thickness in (((255, 255, 255), 14), (OUTLINE, 8)):
        cv2.rectangle(drawn, *corners, colour, thickness)
    return drawn


def verdict_of_field(opinion: Opinion, field: Field) -> Verdict:
    """The verdict on a field alone; at a scale that is only assumed it is what it would be if that were right."""
    alone = replace(opinion.prediction, probabilities=field.probabilities, logits=field.logits, rescaled=())
    return verdict_of(alone, opinion.gate.laboratory)


def positive_of(opinion: Opinion, field: Field) -> float:
    return float(field.probabilities[opinion.prediction.classes.index(opinion.model.card.fields["positive"])])


def sign(opinion: Opinion, field: Field) -> str:
    """What is on the field's button: the shape of its answer, and with it the probability of the positive class."""
    if field.blank:
        return "glass"
    verdict = verdict_of_field(opinion, field)
    if not verdict.has_probability:
        return NOT_SURE
    shape = NOT_SURE[0] if verdict.not_sure else SHAPES[verdict.answer == opinion.model.card.fields["positive"]]
    return f"{shape} {percent(positive_of(opinion, field))}"


def in_words(opinion: Opinion, field: Field) -> str:
    positive = str(opinion.model.card.fields["positive"])
    if field.blank:
        return "glass, which does not count"
    verdict = verdict_of_field(opinion, field)
    said = NOT_SURE if verdict.answer is None else called(verdict.answer, positive)
    return (
        f"{said}, probability of {positive} {percent(positive_of(opinion, field))}" if verdict.has_probability else said
    )
