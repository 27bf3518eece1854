"""The part of the first page that is taken away: what the person adds to an opinion, and everything as files."""

from __future__ import annotations

from datetime import date
from functools import partial

import streamlit as st

from dala.explain.effect import EffectCurve
from dala.explain.render import encode_png
from dala.opinion import Explanation, Opinion
from dala.report import LONGEST_COMMENT, OWN_READS, Words, geojson, pdf, report, stem

AGREE = {"agree": True, "disagree": False}


def words_of_person(opinion: Opinion) -> Words:
    """What is added to a report, kept for each picture: nothing of it is needed, and no patient data is asked for."""
    picture = opinion.patch.sha256[:12]
    with st.expander("Add your own read and a comment to the report"):
        read, agreement, name = st.columns([4, 3, 4], vertical_alignment="bottom")
        own_read = read.segmented_control("My own read", OWN_READS, key=f"own-read-{picture}")
        agree = agreement.segmented_control("The model's answer: I", list(AGREE), key=f"agree-{picture}")
        with_name = name.toggle(
            "Write the file's name",
            key="with-name",
            help="Off, files and their content tell the picture by its fingerprint only: a file's name may name a "
            "patient.",
        )
        comment = st.text_area(
            "Comment",
            max_chars=LONGEST_COMMENT,
            key=f"comment-{picture}",
            placeholder="What you see. No names, no numbers of patients.",
        )
    return Words(comment, own_read, None if agree is None else AGREE[agree], with_name)


def show_report(opinion: Opinion, explanation: Explanation, effect: EffectCurve | None = None) -> None:
    """The words, and a button for every file; all of them are made of what is on the screen: the explanation, and the
    `effect` curve where one is shown."""
    words = words_of_person(opinion)
    day = date.today()
    name = stem(opinion, explanation, words)
    panels = explanation.panels
    buttons = (
        ("Report (PDF)", partial(pdf, opinion, explanation, words, day, effect), ".pdf", "application/pdf"),
        ("Numbers (JSON)", report(opinion, explanation, words, day, effect).json, ".json", "application/json"),
        ("Regions (GeoJSON)", partial(geojson, opinion, explanation), ".geojson", "application/geo+json"),
        ("DT Grad-CAM (PNG)", partial(encode_png, panels.dt), "-dt.png", "image/png"),
        ("Grad-CAM (PNG)", partial(encode_png, panels.gradcam), "-gradcam.png", "image/png"),
        ("Colour bar (PNG)", partial(encode_png, panels.bar), "-bar.png", "image/png"),
    )
    row = st.container(horizontal=True, gap="small")
    for label, make, ending, kind in buttons:
        row.download_button(label, make, name + ending, kind, on_click="ignore")
