"""Which slide is looked at, from the folder of `DALA_SLIDES`, and what it says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from dala.errors import SlideError
from dala.intake.pixel_size import USER
from dala.slides.reader import RANGE_UM, Slide
from dala.slides.sources import CONVERTER
from dala.words import counted
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.session import session
from pages.parts.shared import plain
from pages.parts.slides.catalogue import catalogue
from pages.parts.slides.shelf import address_of, shelf

VARIABLE = "DALA_SLIDES"
KINDS = "SVS, NDPI, MRXS, SCN, BIF, CZI, DICOM, TIFF and OME-TIFF pyramids"
HOW = (
    f"Slides are opened where they lie, never by upload. Set `{VARIABLE}` to a folder of slides ({KINDS}), start the "
    "server again, and they are listed here."
)
CHOOSE = (
    "Choose a slide to walk over it. A click on a field gives the second opinion of that field; a scan looks at every "
    "field with tissue and draws a map. There is no verdict for a slide."
)
EMPTY = f"There are no slides in the folder of this server yet. Put some there ({KINDS}), and they are listed here."


def choose_slide() -> tuple[Slide, Path, str] | None:
    """The slide that was chosen, open, its path, and the address of its tiles; None while there is none."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        st.info(HOW)
        return None
    found = catalogue(folder).look()
    if not found.there:
        st.error(f"The folder that `{VARIABLE}` names does not exist.")
        return None
    if not found.whole:
        _wait_for_the_rest(folder)
    slides, last = found.slides, session().slide
    if not slides:
        if found.whole:
            st.info(EMPTY)
        return None
    names = list(slides)
    row = st.container(key="slide-choice", horizontal=True, vertical_alignment="bottom")
    name = row.selectbox(
        f"Slide, one of {len(names):,}" if len(names) > 1 else "Slide",
        names,
        names.index(last) if last is not None and last in slides else None,
        placeholder="Type to search",
        key="slide-box",
    )
    if name is None or name not in slides:
        st.caption(CHOOSE)
        session().slide = last if last is not None and not found.whole else None
        return None
    session().slide = name
    try:
        token, slide = shelf().open(slides[name], session().slide_um.get(name), _session_id(), st.context.cookies)
    except SlideError as error:
        st.error(with_command(str(error)))
        if session().slide_um.pop(name, None) is not None:  # by another size it may be one
            _ask_size(name, slides[name])
        return None
    if slide.um is None:
        st.warning(
            "This slide does not say how large its pixels are, so no field can be read yet. What you enter is printed "
            "in every output. (20x is about 0.5 um, 40x about 0.25 um; scanners differ.)"
        )
        _ask_size(name, slides[name])
    row.caption(told(slide), width="content")
    if slide.um is not None and slide.um.source == USER:
        with row.popover("Change", type="tertiary", width="content", help="Another pixel size"):
            _ask_size(name, slides[name])
    return slide, slides[name], address_of(token, str(st.get_option("server.baseUrlPath") or ""))


def with_command(sentence: str) -> str:
    """A sentence about a slide as Markdown: a command in it is shown to be copied, sign by sign."""
    before, command, after = sentence.partition(CONVERTER)
    return plain(before) + command + plain(after)


def _wait_for_the_rest(folder: str) -> None:
    """Says how many there are so far, and draws the page again when there are all."""

    def look() -> None:
        found = catalogue(folder).look(0)
        if found.whole:
            st.rerun()
        st.caption(f"The folder is still being searched: {counted(len(found.slides), 'slide')} so far.")

    st.fragment(look, run_every=1.0)()


def told(slide: Slide) -> str:
    """Format, size and pixel size in a line, and what to know of the colours."""
    parts = [slide.format, f"{slide.size[0]:,} x {slide.size[1]:,} px"]
    if slide.um is not None:
        wide, high = slide.size[0] * slide.um.columns / 1000, slide.size[1] * slide.um.rows / 1000
        whose = "given by you" if slide.um.source == USER else "from the file"
        parts += [f"{wide:.1f} x {high:.1f} mm", f"{slide.um.columns:.3g} um per pixel ({whose})"]
    return plain(", ".join(parts))


def _ask_size(name: str, path: Path) -> None:
    """The pixel size is asked for where the file does not state one, and never guessed."""
    with st.form(f"size-{name}", border=False):
        low, high = RANGE_UM
        row = st.container(horizontal=True, vertical_alignment="bottom")
        um = row.number_input("Micrometres per pixel", low, high, None, 0.01, format="%.3f", width=220)
        if pressed(row, "Use it", f"use-size-{name}", form=True) and um is not None:
            with uninterrupted():
                session().slide_um[name] = um
                session().field_picked.pop(str(path), None)  # of another grid
            st.rerun()


def _session_id() -> str:
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return "" if context is None else context.session_id
