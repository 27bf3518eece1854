"""The part of the first page that is taken away: what the person adds to an opinion, and everything as files."""

from __future__ import annotations

from datetime import date
from hashlib import sha256

import streamlit as st

from dala.explanation.effect import EffectCurve
from dala.explanation.render import encode_png
from dala.export.bundle import stem
from dala.export.geojson import geojson
from dala.export.pdf import pdf
from dala.export.report import LONGEST_COMMENT, OWN_READS, Remarks, report
from dala.opinion import Explanation, Opinion
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.session import lasting, own_read_key, session

AGREE = {"agree": True, "disagree": False}


def words_of_person(opinion: Opinion) -> Remarks:
    """What is added to a report, kept for each image: nothing of it is needed, and no patient data is asked for."""
    image = opinion.patch.sha256[:12]
    with st.expander("Add your own read and a comment"):
        read, agreement, name = st.columns([4, 3, 4], vertical_alignment="bottom")
        own_read = read.segmented_control("My own read", OWN_READS, key=lasting(own_read_key(opinion)))
        agree = agreement.segmented_control("The model's answer: I", list(AGREE), key=lasting(f"agree-{image}"))
        with_name = name.toggle(
            "Include the file name",
            key="with-name",  # off again on another page: names are included on purpose
            help="When off, the files and their contents identify the image by its fingerprint only: a file name may "
            "identify a patient.",
        )
        comment = st.text_area(
            "Comment",
            max_chars=LONGEST_COMMENT,
            key=lasting(f"comment-{image}"),
            placeholder="What you see. No names or numbers of patients.",
        )
    agreed = None if agree is None else AGREE[agree]
    return Remarks(comment, own_read, agreed, with_name, session().first_read(opinion.patch.sha256))


def show_report(
    opinion: Opinion, explanation: Explanation, effect: EffectCurve | None = None, remarks: Remarks | None = None
) -> None:
    """The words, and a button for every file; all of them are made of what is on the screen: the explanation, and the
    `effect` curve where one is shown. `remarks`: the words where they have been said already."""
    words = words_of_person(opinion) if remarks is None else remarks
    day = date.today()
    name = stem(opinion, explanation, words)
    # The bytes are made now and not when the button is pressed: Streamlit forgets a file that is to be made later as
    # soon as the page runs again, and whoever presses a button just after the slider would get nothing.
    numbers = report(opinion, explanation, words, day, effect).json()
    images, regions = made_files(fingerprint(opinion, explanation, day), opinion, explanation)
    row = st.container(horizontal=True, gap="small")
    # The PDF takes longest, so it is made for one setting when somebody wants it. Colours and opacity are not among the
    # numbers: the setting is these and the images.
    setting = sha256(b"".join([numbers.encode(), *(content for _, content, _ in images)])).hexdigest()
    if pressed(row, "Make the report (PDF)", f"report-{opinion.patch.sha256}"):
        with uninterrupted():
            session().report = setting
    if session().report == setting:
        made = made_pdf(setting, opinion, explanation, words, day, effect)
        row.download_button("Report (PDF)", made, f"{name}.pdf", "application/pdf", on_click="ignore", type="primary")
    row.download_button("Numbers (JSON)", numbers, f"{name}.json", "application/json", on_click="ignore")
    row.download_button("Regions (GeoJSON)", regions, f"{name}.geojson", "application/geo+json", on_click="ignore")
    for label, content, ending in images:
        row.download_button(label, content, name + ending, "image/png", on_click="ignore")


def fingerprint(opinion: Opinion, explanation: Explanation, day: date) -> str:
    """A digest of everything that the page says and shows of a map, whatever the person adds to it."""
    panels, said = explanation.panels, report(opinion, explanation, Remarks(), day).json()
    return sha256(
        b"".join([said.encode(), *(each.tobytes() for each in (panels.dt, panels.gradcam, panels.bar))])
    ).hexdigest()


@st.cache_data(show_spinner=False, max_entries=8)
def made_files(setting: str, _opinion: Opinion, _explanation: Explanation) -> tuple[list[tuple[str, bytes, str]], str]:
    """Label, PNG and end of the name of each image, and the regions as GeoJSON. They are the same until the map is
    another one, and the page runs for every word and switch as well."""
    panels = _explanation.panels
    images = [
        ("DT Grad-CAM (PNG)", encode_png(panels.dt), "-dt.png"),
        ("Grad-CAM (PNG)", encode_png(panels.gradcam), "-gradcam.png"),
        ("Colour bar (PNG)", encode_png(panels.bar), "-bar.png"),
    ]
    return images, geojson(_opinion, _explanation)


@st.cache_data(show_spinner="Writing the report …", max_entries=8)
def made_pdf(
    setting: str, _opinion: Opinion, _explanation: Explanation, _words: Remarks, _day: date, _effect: EffectCurve | None
) -> bytes:
    """The setting is the key: a digest of everything that the page says and shows."""
    return pdf(_opinion, _explanation, _words, _day, _effect)
