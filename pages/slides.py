"""Slides: open one where it lies, walk over it, click a field for its second opinion, scan all of it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dala.errors import SlideError
from dala.gate.checks import HISTOLOGY
from dala.slides.reader import Slide
from pages.parts.cases.keep import of_field, offer_keeping
from pages.parts.second_opinion.explanation import show_explanation
from pages.parts.second_opinion.modality import opinion_at_scale
from pages.parts.second_opinion.own_read import answer_may_be_shown, offer_first_read, show_first_read
from pages.parts.second_opinion.verdict import in_one_line, show_origin, show_refusal, show_verdict
from pages.parts.session import session
from pages.parts.shared import model_or_stop, plain
from pages.parts.sites import choose_site, model_in_use
from pages.parts.slides.choice import choose_slide
from pages.parts.slides.scan import EVERY, cells_of, of_file, scans, show_controls, show_findings
from pages.parts.slides.walk import walk


def show_slide(slide: Slide, path: Path, address: str) -> None:
    """Viewer and scan, drawn again every other second while a scan is under way."""

    def drawn() -> None:
        state, replaced = of_file(slide, scans().state(path))
        walk(slide, address, cells_of(state))
        show_controls(slide, path, state, replaced)
        show_findings(path, state, str(slide.path) in session().field_picked)
        if session().scan_ran and not state.running:
            session().scan_ran = False
            st.rerun()
        session().scan_ran = state.running

    st.fragment(drawn, run_every=EVERY if scans().state(path).running else None)()


def ask_about(slide: Slide) -> None:
    """The second opinion of the field that was picked, as of any image."""
    picked = session().field_picked.get(str(slide.path))
    if picked is None:
        return
    try:
        patch = slide.read_field(*picked)
    except (SlideError, IndexError) as error:
        st.error(plain(str(error)))
        return
    opinion = opinion_at_scale(patch, HISTOLOGY, model_in_use())
    if not answer_may_be_shown(opinion):
        return
    session().note_answer_seen(opinion.patch.sha256)
    if opinion.gate.inside or show_refusal(opinion, patch):
        show_first_read(opinion)
        with st.container(key="verdict"):
            show_verdict(opinion, patch, None)
        show_explanation(opinion, in_one_line(opinion))
        offer_keeping(opinion, opinion, of_field(opinion, slide.name, slide.grid.box(*picked)))
        show_origin(opinion)


model_or_stop()
choose_site()
offer_first_read(st.container())
chosen = choose_slide()
if chosen is not None:
    show_slide(*chosen)
    ask_about(chosen[0])
