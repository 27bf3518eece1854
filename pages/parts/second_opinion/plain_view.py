"""The maps of the first page without the viewer: images drawn by the server, and Streamlit's own widgets."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.explanation.render import COLOUR_MAPS
from dala.explanation.threshold import RULES, Regions
from dala.opinion import Explanation, Opinion
from pages.parts.second_opinion.viewer import COLOUR_LIMITS, OPACITY, identity
from pages.parts.session import Settings
from pages.parts.shared import BAR_WIDTH, show_image

DT_CAPTION = "DT Grad-CAM: above the threshold"


def readings(regions: Regions) -> dict[str, str]:
    """The numbers of an explanation as they are written beside the images."""
    dropped = f" ({regions.dropped} tiny dropped)" if regions.dropped else ""
    return {
        "Threshold": "none" if math.isnan(regions.threshold) else f"{regions.threshold:.3g}",
        "Kept area": f"{100 * regions.kept_area:.1f} %",
        "Share of evidence": f"{100 * regions.kept_evidence:.0f} %",
        f"Regions{dropped}": f"{len(regions.regions)}",
    }


def in_words(settings: Settings, regions: Regions) -> str:
    """One line: the setting and what came of it."""
    rule = RULES[settings.rule]
    numbers = ", ".join(f"{name.lower()}: {value}" for name, value in readings(regions).items())
    return f"towards {settings.target}, {rule.label}, {rule.parameter} = {settings.parameter:g}; {numbers}."


def plain_controls(place: DeltaGenerator, opinion: Opinion, settings: Settings) -> Settings:
    """The same settings by Streamlit's own widgets."""
    image = identity(opinion)
    first, second, third, fourth = place.columns([3, 3, 4, 2], vertical_alignment="bottom")
    target = first.segmented_control(
        "Evidence towards",
        opinion.prediction.classes,
        default=settings.target,
        key=f"target-{image}",
        required=True,
        width="stretch",
    )
    names = list(RULES)
    name = second.selectbox(
        "Threshold rule", names, names.index(settings.rule), format_func=lambda name: RULES[name].label, key="rule"
    )
    rule = RULES[name]
    parameter = third.slider(
        f"Dynamic threshold: {rule.parameter} ({rule.unit})",
        rule.minimum,
        rule.maximum,
        settings.parameter if name == settings.rule else rule.default,
        rule.step,
        key=f"parameter-{name}-{image}",
        help=rule.help,
    )
    limit = settings.limit
    with fourth.popover("Display", width="stretch"):
        opacity = st.slider("Opacity", *OPACITY, settings.opacity, 0.05, key="opacity")
        maps = list(COLOUR_MAPS)
        colour_map = st.selectbox("Colour map", maps, maps.index(settings.colour_map), key="colour_map")
        fixed = st.toggle(
            "Fixed colour scale",
            settings.fixed,
            key="fixed",
            help="The same scale for every image, so that their maps can be compared. Otherwise the last colour is "
            "this image's own maximum.",
        )
        if fixed:
            if limit is None:
                # Just above this image's maximum; it then stays for the next ones.
                maximum = max(one.maximum for one in opinion.maps.values())
                limit = next((one for one in COLOUR_LIMITS if one >= maximum), COLOUR_LIMITS[-1])
            limit = st.select_slider(
                "Last colour (raw map units)", COLOUR_LIMITS, limit, key="limit", format_func="{:g}".format
            )
    return Settings(target, name, parameter, opacity, colour_map, fixed, limit)


def plain_panes(place: DeltaGenerator, explanation: Explanation) -> None:
    """The three images, the colour bar and the numbers, as the server drew them."""
    panels = explanation.panels
    row = place.container(horizontal=True, gap="small")
    images = row.container(width="stretch")
    shown = (
        (panels.patch, "Patch"),
        (panels.gradcam, f"Grad-CAM towards {explanation.target}"),
        (panels.dt, DT_CAPTION),
    )
    for column, (image, caption) in zip(images.columns(3, gap="small"), shown, strict=True):
        show_image(column, image, caption)
    # A width for the image itself would make Streamlit scale it down on the server.
    show_image(row.container(width=BAR_WIDTH), panels.bar, alt="Colour bar")
    if explanation.regions.reason is not None:
        images.info(explanation.regions.reason)
    numbers = images.container(horizontal=True, horizontal_alignment="distribute")
    for label, value in readings(explanation.regions).items():
        numbers.metric(label, value, width="content")
