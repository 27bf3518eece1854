"""Record my own read first: the model's answer waits until the person has given theirs, which it would lead."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.export.report import OWN_READS, FirstRead, OwnRead
from dala.opinion import Opinion
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.second_opinion.viewer import show_patch
from pages.parts.session import READ_FIRST, own_read_key, session
from pages.parts.shared import NOT_SURE, SHAPES, called, show_image

RECORD = "Record it and show the model's answer"


def offer_first_read(place: DeltaGenerator) -> None:
    """The switch; it stands where an image is chosen, for it has to be set before the answer is seen."""
    place.toggle(
        "Record my own read first",
        key=READ_FIRST,
        bind="query-params",
        help="The model's answer appears only after you have given yours, because readers who see the machine's "
        "answer first are led by it. What you record goes into the report; the page's address remembers the switch.",
    )


def answer_may_be_shown(opinion: Opinion) -> bool:
    """Whether a read is recorded or none is wanted; otherwise the image is shown alone, with the question."""
    sha256 = opinion.patch.sha256
    if not st.session_state.get(READ_FIRST) or session().first_read(sha256) is not None:
        return True
    if session().answer_seen(sha256):
        st.caption(
            "The model's answer for this image has been shown already, so a read of yours would no longer be the first."
        )
        return True
    ask(opinion)
    return False


def ask(opinion: Opinion) -> None:
    image, form = st.columns([3, 2], gap="medium")
    with image:
        if not show_patch(opinion):
            show_image(image, opinion.image, alt="The image")
    with form:
        positive = opinion.model.card.fields["positive"]

        def shown(name: str) -> str:
            return NOT_SURE if name == OWN_READS[-1] else called(name, positive)

        identity = opinion.patch.sha256[:12]
        call: OwnRead | None = st.segmented_control(
            "Your own read", OWN_READS, format_func=shown, key=f"first-{identity}", width="stretch"
        )
        sure = st.slider(
            "How sure are you? (50: a guess, 100: certain)",
            50,
            100,
            75,
            5,
            key=f"first-sure-{identity}",
            disabled=call == OWN_READS[-1],
        )
        key, unsaid = f"record-{identity}", call is None
        if pressed(st, RECORD, key, type="primary", disabled=unsaid, width="stretch") and call is not None:
            read = FirstRead(call, None if call == OWN_READS[-1] else sure / 100)
            with uninterrupted():
                session().record_first_read(opinion.patch.sha256, read)
                # The report begins with it; a second thought may change that one, never what was recorded first.
                st.session_state[own_read_key(opinion)] = call
            st.rerun()


def show_first_read(opinion: Opinion) -> None:
    """The person's read beside the model's answer."""
    read = session().first_read(opinion.patch.sha256)
    if read is None:
        return
    positive = opinion.model.card.fields["positive"]
    if read.confidence is None:
        said = "not sure"
    else:
        said = f"{SHAPES[read.call == positive]} {read.call}, {100 * read.confidence:.0f} % sure"
    st.markdown(f"Your own read, recorded beforehand: **{said}**.")
