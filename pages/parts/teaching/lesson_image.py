"""The image that the lessons are about, the same in all of them."""

from __future__ import annotations

import streamlit as st

from dala.errors import IntakeError
from dala.opinion import Opinion
from dala.phantoms.tissue import PHANTOMS
from dala.runtime.predict import Model
from pages.parts.second_opinion.examples import (
    DRAWN,
    FILE,
    UPLOAD_TYPES,
    example_bytes,
    opinion_of,
    samples,
    title,
)
from pages.parts.session import session
from pages.parts.shared import OUTSIDE, known_group, percent, plain

LARGEST_MB = 64
START = "solid_sheets"


def lesson_opinion(model: Model) -> Opinion | None:
    """The chosen image's opinion, with a line on what the model says of it; None where it cannot be read."""
    files = samples()
    keys = [*(DRAWN + name for name in PHANTOMS), *(FILE + name for name in files)]
    choice, own = st.columns([3, 1], vertical_alignment="bottom")
    # What has been chosen stays chosen on the other parts of the page and after a visit of another page.
    kept = session().lesson_image
    chosen = choice.selectbox(
        "Image",
        keys,
        keys.index(kept if kept in keys else next(iter(keys[len(PHANTOMS) :]), DRAWN + START)),
        format_func=title,
        key="lesson-image-box",
    )
    session().lesson_image = chosen
    with own.popover("Use an image of your own", width="stretch"):
        upload = st.file_uploader("An H&E patch", type=UPLOAD_TYPES, max_upload_size=LARGEST_MB, key="lesson-upload")
    try:
        data, name = example_bytes(chosen, files) if upload is None else (upload.getvalue(), upload.name)
        opinion = opinion_of(data, name, model)
    except IntakeError as error:
        st.error(plain(str(error)))
        return None
    except OSError:
        st.error("This file of the samples folder cannot be read.")
        return None
    st.markdown(said_of(opinion))
    return opinion


def said_of(opinion: Opinion) -> str:
    """What the model says of an image, and what that is worth, in two sentences at most."""
    prediction = opinion.prediction
    said = f"The model computes **{prediction.label}** at {percent(float(prediction.probabilities.max()))}."
    if not opinion.gate.inside:
        return f"{said} {OUTSIDE}: this is not a verdict, but it can be taken apart all the same."
    group = known_group(opinion.patch.name, opinion.model)
    if group is not None:
        return f"{said} It was trained on images of this patient ({group}): being right here proves nothing."
    return said
