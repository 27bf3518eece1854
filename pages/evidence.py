"""Evidence: how often the model is wrong, on whose patients, against what, and does it know when it does not know?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dala.errors import EvidenceError
from dala.studies.blocks import Block
from dala.studies.registry import PARTS, STUDIES
from dala.studies.study import Source, Study, provenance
from pages.parts.evidence.cards import bach, model_cards
from pages.parts.evidence.short import draw_shortened, show_short
from pages.parts.shared import plain

CARDS = "The weights"


def show(study: Study[Any]) -> None:
    """Heading and question, what the study shows of its result, and, folded, how that was measured."""
    st.subheader(study.title, anchor=study.key.replace("_", "-"))
    try:
        source = study.read()
    except EvidenceError as error:
        st.markdown(f"*{study.question}*")
        st.error(str(error))
        return
    if source is None:
        st.markdown(f"*{study.question}*")
        st.caption(f"Not measured yet: `{study.command}`")
        return
    st.markdown(f"*{study.question}*")
    if source.earlier:
        st.warning(
            "**Measured with an earlier recipe** than that of the weights that are served. "
            f"`{study.command}` measures it again."
        )
    try:
        draw_shortened(section_of(study.key, source.stamp, source))
    except EvidenceError as error:
        st.error(str(error))
    with st.expander("How this was measured"):
        show_provenance(source)


@st.cache_resource(show_spinner="Drawing the curves …", max_entries=len(STUDIES))
def section_of(key: str, stamp: str, _source: Source[Any]) -> Sequence[Block]:
    """A study's section, made once for every content of its file: curves and their bands take a second or two."""
    return _source.section()


def show_provenance(source: Source[Any]) -> None:
    told = provenance(source)
    lines = [f"**Protocol** {plain(told.protocol)}"]
    if told.patients is not None:
        lines.append(f"**Patients** {told.patients}.")
    if told.intervals is not None:
        lines.append(f"**Intervals** {told.intervals}")
    st.caption("\n\n".join([*lines, f"**Command** `{told.command}`", f"**File** `{told.file}`"]))


def in_short() -> None:
    """What a reader with one minute should take away, from those results that are there and up to date."""
    lines = []
    for study in STUDIES:
        try:
            source = study.read() if study.summary is not None else None
            if source is not None and not source.earlier:
                lines.append(f"- {source.summary()}")
        except EvidenceError:
            continue  # its section says what is wrong
    if lines:
        show_short()
        with st.expander("Every result in a line"):
            st.markdown("\n".join(lines))


st.header("Evidence", anchor=False)
# One part at a time: only what is chosen is drawn, and an address can point to it.
part = st.segmented_control(
    "Part",
    [*PARTS, CARDS],
    default=PARTS[0],
    required=True,
    key="evidence-part",
    bind="query-params",
    label_visibility="collapsed",
    wrap=True,
)
if part == PARTS[0]:
    in_short()
for study in STUDIES:
    if study.part == part:
        show(study)
if part == CARDS:
    model_cards()
    bach()
