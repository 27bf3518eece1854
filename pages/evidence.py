"""Evidence: how often the model is wrong, on whose patients, against what, and does it know when it does not know?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from dala import evidence, evidence_maps
from dala.errors import EvidenceError
from dala.evidence import Source
from pages.parts.evidence.sections import (
    TEXT_AND_SOURCE,
    ablation,
    bach,
    benchmark,
    calibration,
    engines,
    faithfulness,
    gate,
    headline,
    load,
    localisation,
    mini_ddsm,
    model_cards,
    predictions,
    protocols,
    robustness,
    speed,
)


@dataclass(frozen=True)
class Section:
    """A place of the page: the file's key and the anchor, a title, the question that it answers, and how to show it."""

    key: str
    title: str
    question: str
    body: Callable[[Source], None]


def anchor(key: str) -> str:
    return key.replace("_", "-")


def section(one: Section) -> None:
    """Heading and question, what the section shows of its source, and beside it how that was measured."""
    st.subheader(one.title, anchor=anchor(one.key))
    try:
        source = evidence.read(one.key)
    except EvidenceError as error:
        st.markdown(f"*{one.question}*")
        st.error(str(error))
        return
    if source is None:
        st.markdown(f"*{one.question}*")
        st.caption(f"Not measured yet: `{evidence.FILES[one.key].command}`")
        return
    shown, beside = st.columns(TEXT_AND_SOURCE, gap="large")
    with beside:
        show_provenance(source)
    with shown:
        st.markdown(f"*{one.question}*")
        if source.earlier:
            st.warning(
                "**Measured with an earlier recipe** than that of the weights that are served. "
                f"`{source.file.command}` measures it again."
            )
        try:
            one.body(source)
        except EvidenceError as error:
            st.error(str(error))


def show_provenance(source: Source) -> None:
    told = evidence.provenance(source)
    lines = [f"**Protocol** {told.protocol}"]
    if told.patients is not None:
        lines.append(f"**Patients** {told.patients}.")
    if told.intervals is not None:
        lines.append(f"**Intervals** {told.intervals}")
    st.caption("\n\n".join([*lines, f"**Command** `{told.command}`", f"**File** `{told.file}`"]))


SECTIONS = (
    Section(
        "headline",
        "How often it is wrong",
        "How often is it wrong on patients it has not seen, beside much simpler models?",
        headline,
    ),
    Section(
        "predictions",
        "On whose patients",
        "What does it miss, at which price in false alarms, and whose images are they?",
        predictions,
    ),
    Section(
        "protocols",
        "What a leak is worth",
        "What would have been claimed had patients stood on both sides of the split?",
        protocols,
    ),
    Section(
        "calibration",
        "What its probability is worth",
        "When it gives a probability, is it right that often? Does it say so when it does not know?",
        calibration,
    ),
    Section(
        "gate",
        "What it refuses",
        "Does it turn away what it cannot judge, and how many true patches does that cost?",
        gate,
    ),
    Section(
        "robustness",
        "When images change",
        "What is left under another stain, focus, compression, brightness or scale?",
        robustness,
    ),
    Section("ablation", "What its parts are worth", "Do the attention and the dual-activated head help?", ablation),
    Section(
        "ablation_by_labels",
        "Its parts, trained on labels",
        "The shipped recipe leaves the parts little to do. Do they help where labels alone train them?",
        ablation,
    ),
    Section("benchmark", "Other networks", "Would another network do better on the same folds?", benchmark),
    Section(
        "localisation",
        "Where the maps lie",
        "Does the heat map lie on what a pathologist has marked? Which map and which rule do so best?",
        localisation,
    ),
    Section(
        "faithfulness",
        "Does the model need what the maps mark?",
        "When the strongest cells are taken away, does the probability follow, more than for cells chosen at random?",
        faithfulness,
    ),
    Section(
        "engines",
        "Engines",
        "Does the faster arithmetic of this machine give the same verdicts as the exact one?",
        engines,
    ),
    Section("speed", "Speed", "How long does an answer take, beside the programs that are in use?", speed),
    Section(
        "load",
        "Many at once",
        "Does everybody get the answer to the own image, how long does it take, and does memory stay flat?",
        load,
    ),
    Section(
        "mini_ddsm",
        "Mammograms",
        "Does the same method work on Mini-DDSM, and how much of that is the scanner and not the breast?",
        mini_ddsm,
    ),
    Section(
        "mini_ddsm_calibration",
        "Mammograms: the probability",
        "What are the probability and the answer 'not sure' worth there?",
        calibration,
    ),
)
IN_SHORT, CARDS = "In short", "The weights"
# One question at a time: only the part that is chosen is drawn, and an address can point to it.
PARTS: dict[str, tuple[str, ...]] = {
    IN_SHORT: ("headline",),
    "Patients and leaks": ("predictions", "protocols"),
    "Not sure, or refused": ("calibration", "gate"),
    "Changed images": ("robustness",),
    "Networks and parts": ("ablation", "ablation_by_labels", "benchmark"),
    "Heat maps": ("localisation", "faithfulness"),
    "Speed and load": ("engines", "speed", "load"),
    "Mammograms": ("mini_ddsm", "mini_ddsm_calibration"),
    CARDS: (),
}
SUMMARIES = (
    ("headline", evidence.headline_sentence),
    ("calibration", evidence.sets_sentence),
    ("gate", evidence.gate_sentence),
    ("robustness", evidence.robustness_sentence),
    ("localisation", lambda record: f"Heat maps. {evidence_maps.localisation_sentence(record).splitlines()[0]}"),
    ("mini_ddsm", lambda record: f"Mammograms. {record['site_effect']}"),
)


def in_short() -> None:
    """What a reader with one minute should take away, from those sources that are there and up to date."""
    lines = []
    for key, words in SUMMARIES:
        try:
            source = evidence.read(key)
            if source is not None and not source.earlier:
                lines.append(f"- {source.take(words)}")
        except EvidenceError:
            continue  # its section says what is wrong
    if lines:
        st.markdown("\n".join(lines))


st.header("Evidence", anchor=False)
part = st.segmented_control(
    "Part",
    list(PARTS),
    default=IN_SHORT,
    required=True,
    key="evidence-part",
    bind="query-params",
    label_visibility="collapsed",
    wrap=True,
)
if part == IN_SHORT:
    in_short()
for one in SECTIONS:
    if one.key in PARTS[part]:
        section(one)
if part == CARDS:
    model_cards()
    bach()
