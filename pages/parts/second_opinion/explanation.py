"""The viewer with the slider, or plain images, then regions, effect, steadiness and report: of any opinion."""

from __future__ import annotations

import streamlit as st

from dala.export.report import Remarks
from dala.opinion import Opinion, explain
from pages.parts.second_opinion import viewer
from pages.parts.second_opinion.inquiry import show_effect, show_steadiness, steadied_if_wanted
from pages.parts.second_opinion.plain_view import in_words, plain_controls, plain_panes
from pages.parts.second_opinion.report import show_report
from pages.parts.second_opinion.viewer import ViewerError, remember, settings_for
from pages.parts.session import PLAIN, session
from pages.parts.shared import plain

AREA, EVIDENCE = "Area (% of the image)", "Evidence (% of the positive)"


@st.fragment
def show_explanation(opinion: Opinion, verdict: str, remarks: Remarks | None = None) -> None:
    """The viewer, or plain images and widgets, then the regions. A fragment: no slider ever runs the network.

    `remarks`: what the report says of the reader, where it is not asked for.
    """
    place, below = st.container(key="maps"), st.container(key="below-maps")
    switches = below.container(horizontal=True, gap="large")
    with switches:
        opinion = steadied_if_wanted(opinion)
    settings = settings_for(opinion)
    plain_view = switches.toggle(
        "Plain view",
        key=PLAIN,
        bind="query-params",
        help="Images drawn by the server, with plain sliders, for browsers that cannot run the viewer. The page's "
        "address remembers the choice.",
    )
    if not plain_view:
        try:
            with place:
                settings = viewer.show(opinion, settings, verdict)
        except ViewerError as error:
            place.info(f"The viewer is not available here, so this is the plain view. {plain(str(error))}")
            plain_view = True
    elif failure := session().viewing.failure:
        place.info(f"The viewer could not run in this browser, so this is the plain view. It said: {plain(failure)}")
    if plain_view:
        viewer.leave()
        settings = plain_controls(place, opinion, settings)
    remember(opinion, settings)

    target = settings.target
    explanation = explain(
        opinion,
        target,
        settings.rule,
        settings.parameter,
        colour_map=settings.colour_map,
        opacity=settings.opacity,
        limit=settings.limit if settings.fixed else None,
    )
    regions = explanation.regions
    if plain_view:
        plain_panes(place, explanation)

    if plain_view and regions.regions:
        below.dataframe(
            [
                {
                    "Region": number,
                    AREA: 100 * region.area,
                    EVIDENCE: 100 * region.evidence,
                    "Box: left, top, right, bottom (px)": ", ".join(str(value) for value in region.box),
                }
                for number, region in enumerate(regions.regions, start=1)
            ],
            column_config={column: st.column_config.NumberColumn(format="%.1f") for column in (AREA, EVIDENCE)},
            hide_index=True,
        )
    with below:
        show_steadiness(opinion, explanation, settings.colour_map)
    rows, columns = opinion.maps[target].values.shape
    below.caption(
        f"Coloured where the evidence for {target} is positive. The map has {rows} x {columns} cells, enlarged "
        "bilinearly. It shows what moved this model, not where a lesion is."
    )
    below.caption(f"Table and downloads: {in_words(settings, regions)}")
    with below:
        show_report(opinion, explanation, show_effect(opinion, explanation), remarks)
