"""Second opinion: drop a patch, read the verdict, see where it comes from, tune the dynamic threshold."""

from __future__ import annotations

import streamlit as st

from dala.errors import IntakeError, TooLarge
from pages.parts.cases.keep import Source, offer_keeping
from pages.parts.second_opinion.choice import answer_before_hidden, choose_example, choose_image
from pages.parts.second_opinion.explanation import show_explanation
from pages.parts.second_opinion.fields import number_looked_at, show_fields
from pages.parts.second_opinion.first import show_gallery
from pages.parts.second_opinion.modality import image_and_model, opinion_at_scale
from pages.parts.second_opinion.own_read import answer_may_be_shown, show_first_read
from pages.parts.second_opinion.scale import show_scale
from pages.parts.second_opinion.verdict import in_one_line, show_origin, show_refusal, show_verdict
from pages.parts.session import session
from pages.parts.shared import model_or_stop, plain
from pages.parts.sites import choose_site

usual_model = model_or_stop()  # loaded before it is needed
with answer_before_hidden():
    choose_site()

    try:
        chosen = choose_image(usual_model)
        if chosen is None:
            show_gallery(choose_example)
            st.stop()
        drawn, data, name = chosen.drawn, chosen.data, chosen.name
        patch, modality, model = image_and_model(chosen)
    except IntakeError as error:
        st.error(plain(str(error)))
        st.stop()
    except OSError:
        st.error("This file of the samples folder cannot be read.")
        st.stop()
    try:
        opinion = opinion_at_scale(patch, modality, model)
    except TooLarge as error:  # at this scale it shows too much for one image
        st.error(plain(str(error)))
        show_scale(patch, model.card, asked=True, folded=False)
        st.stop()
    if not answer_may_be_shown(opinion):
        st.stop()
    session().note_answer_seen(opinion.patch.sha256)
    # A drawn example is shown at once: it is chosen as a drawing and named as one.
    if drawn is not None or opinion.gate.inside or show_refusal(opinion, patch):
        show_first_read(opinion)
        with st.container(key="verdict"):
            show_verdict(opinion, patch, drawn)
        with st.container(key="fields"):
            looked_at = show_fields(opinion)
        show_explanation(looked_at, in_one_line(looked_at))
        offer_keeping(opinion, looked_at, Source(name, lambda: data, field=number_looked_at(opinion)))
        show_origin(opinion)
