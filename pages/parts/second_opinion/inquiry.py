"""The part of the first page below the maps: is the map steady, and does the model need what is marked?"""

from __future__ import annotations

import cv2
import numpy as np
import plotly.graph_objects as go
import streamlit as st

from dala import inquiry
from dala.explanation.effect import BASELINES, Baseline, EffectCurve
from dala.explanation.render import spread_overlay
from dala.gate.checks import MAMMOGRAM
from dala.inquiry import AugmentedMap
from dala.opinion import Explanation, Opinion
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.second_opinion.viewer import identity
from pages.parts.session import session
from pages.parts.shared import percent, show_image

BASELINE_NAMES: dict[Baseline, str] = {"blurred": "the image, blurred", "glass": "white glass"}
SHOWN, REMOVED = "#0072B2", "#D55E00"  # Okabe and Ito's blue and vermilion
CHART_HEIGHT = 300


# The image with its scale, the weights and what is asked are the key.
@st.cache_resource(show_spinner=False, max_entries=8)
def augmented_maps(image: str, weights: str, _opinion: Opinion) -> dict[str, AugmentedMap]:
    with st.spinner("The model looks at the image in eight symmetries and four shifts …"):
        return inquiry.augmented_maps(_opinion)


@st.cache_resource(show_spinner=False, max_entries=32)
def effect_curve(
    image: str, weights: str, target: str, baseline: Baseline, steadied: bool, _opinion: Opinion
) -> EffectCurve:
    bar = st.progress(0.0, "The model looks at parts of the image …")

    def moved(done: int, total: int) -> None:
        bar.progress(done / total, f"The model looks at parts of the image: {done} of {total}")

    try:
        return inquiry.effect(_opinion, target, baseline, moved)
    finally:
        bar.empty()


def weights_of(opinion: Opinion) -> str:
    return str(opinion.model.card.fields["sha256"])


def steadied_if_wanted(opinion: Opinion) -> Opinion:
    """A toggle, and the opinion with the steadier maps where it is on."""
    if opinion.model.card.input.preprocess == "mammogram":
        return opinion
    # A head that sees several stages has the finer cells already.
    finer = "" if len(opinion.model.card.stages) > 1 else " and four half-cell shifts: four times as many cells"
    wanted = st.toggle(
        "Steadier map",
        key="steady",
        help=f"The mean map over the image's eight flips and quarter turns{finer}, and how far they disagree. Takes a "
        "few seconds per image.",
    )
    if not wanted:
        return opinion
    return inquiry.with_augmented_maps(opinion, augmented_maps(identity(opinion), weights_of(opinion), opinion))


def show_steadiness(opinion: Opinion, explanation: Explanation, colour_map: str) -> None:
    """Where the eight symmetries disagree, if the steadier map is on."""
    if not opinion.augmented or not explanation.panels.limit:
        return
    found = augmented_maps(identity(opinion), weights_of(opinion), opinion)[explanation.target]
    height, width = opinion.image.shape[:2]
    size = (width, height)
    spread = np.asarray(cv2.resize(found.spread, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    doubtful = found.unstable & (found.mean.values > 0)
    hatched = cv2.resize(doubtful.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    kept = explanation.regions.mask
    image, words = st.columns([1, 2], gap="medium")
    drawn = spread_overlay(opinion.image, spread, hatched, explanation.panels.limit, colour_map)
    show_image(image, drawn, "Spread of the map; hatched: unstable")
    shaky = 100 * (hatched & kept).sum() / max(1, kept.sum())
    words.markdown(
        f"**How steady is the map?** Of the cells that speak for {explanation.target}, {percent(found.agreement)} do "
        f"so in at least seven of the image's eight flips and quarter turns. Of the marked area, {shaky:.0f} % is "
        "unstable: it is hatched, because there the sign depends on how the image is turned, and tissue has no right "
        "way up."
    )


def show_effect(opinion: Opinion, explanation: Explanation) -> EffectCurve | None:
    """The effect curve, measured when the person asks for it; returns the one that is shown."""
    st.markdown("**Does the model need what is marked?**")
    target = explanation.target
    if not opinion.maps[target].has_evidence:
        st.markdown(f"Nothing speaks for {target}, so there is no part to show or to remove.")
        return None
    choice, ask = st.columns([3, 2], vertical_alignment="bottom")
    baseline = choice.segmented_control(
        "Replace tissue with",
        BASELINES[:1] if opinion.model.card.modality == MAMMOGRAM else BASELINES,
        default=BASELINES[0],
        format_func=BASELINE_NAMES.__getitem__,
        key="baseline",
        help="Neither is an image that a microscope would take. What holds for one and not for the other "
        "says something about the replacement, not about the tissue.",
        required=True,
    )
    asked = (identity(opinion), target, opinion.augmented)
    told = "Shows the model some two dozen altered images; takes a few seconds."
    if pressed(ask, "Measure", f"measure-{identity(opinion)}", help=told, width="stretch"):
        with uninterrupted():
            session().effect = asked
    if session().effect != asked:
        st.caption(
            "Measured on request: the probability when only the marked part is shown, and when only that part is "
            "removed, over the whole range of thresholds."
        )
        return None
    curve = effect_curve(identity(opinion), weights_of(opinion), target, baseline, opinion.augmented, opinion)
    enough = enough_for(opinion, target)
    st.plotly_chart(chart(curve, explanation.regions.kept_area, enough), config={"displayModeBar": False})
    st.markdown(sentence(curve, float(opinion.maps[target].maximum)))
    return curve


def enough_for(opinion: Opinion, target: str) -> float | None:
    """The probability from which `target` is the answer; None where none is, as outside its competence."""
    calibration, gate = opinion.prediction.calibration, opinion.gate
    if calibration is None or gate.reason is not None:
        return None
    return calibration.answered_from(target, gate.laboratory)


def chart(curve: EffectCurve, current: float, enough: float | None) -> go.Figure:
    """Both curves over the area, with the whole image, the baseline alone, the probability that is `enough` for an
    answer, and the threshold that is set now."""
    figure = go.Figure()
    for name, values, colour, dash, symbol in (
        ("only the marked part shown", curve.shown, SHOWN, "solid", "circle"),
        ("only the marked part removed", curve.removed, REMOVED, "dash", "square"),
    ):
        figure.add_scatter(
            x=100 * curve.kept_area,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 7},
            customdata=curve.thresholds,
            hovertemplate="%{x:.1f} % of the image (threshold %{customdata:.3g}): %{y:.2f}"
            "<extra>%{fullData.name}</extra>",
        )
    ends = [0, 100 * float(curve.kept_area[-1])]
    levels = [("whole image", curve.whole, "solid"), ("replacement alone", curve.nothing, "dot")]
    if enough is not None:
        levels.append((f"{curve.target} is the answer from {percent(enough)}", enough, "dashdot"))
    for name, level, dash in levels:
        line = {"color": "grey", "width": 1.5, "dash": dash}
        figure.add_scatter(x=ends, y=[level, level], name=name, mode="lines", line=line, hoverinfo="name+y")
    if current > 0:
        figure.add_vline(
            100 * current,
            line={"color": "grey", "width": 1.5},
            annotation={"text": "your threshold", "yref": "paper", "y": 1.08, "yanchor": "top", "showarrow": False},
        )
    if curve.suggested is not None:
        figure.add_scatter(
            x=[100 * curve.kept_area[curve.suggested]],
            y=[curve.shown[curve.suggested]],
            name="smallest part that keeps the verdict",
            mode="markers",
            marker={"symbol": "circle-open", "size": 16, "color": SHOWN, "line": {"width": 2.5}},
            hoverinfo="skip",
        )
    figure.update_layout(
        height=CHART_HEIGHT,
        margin={"l": 0, "r": 0, "t": 24, "b": 0},
        legend={"orientation": "h", "y": -0.25, "yanchor": "top"},
        xaxis={"title": "marked area (% of the image)", "rangemode": "tozero", "fixedrange": True},
        yaxis={"title": f"probability of {curve.target}", "range": [-0.02, 1.05], "fixedrange": True},
    )
    return figure


def sentence(curve: EffectCurve, maximum: float) -> str:
    """What the curve says, in words."""
    ends = (
        f"With the whole image the probability of {curve.target} is {percent(curve.whole)}, with the replacement "
        f"alone {percent(curve.nothing)}."
    )
    if curve.suggested is None:
        return f"{ends} **No threshold is suggested.** {curve.reason}"
    threshold, area = curve.thresholds[curve.suggested], curve.kept_area[curve.suggested]
    taken = curve.removed[curve.suggested]
    return (
        f"{ends} **The smallest marked part that alone keeps the verdict is {100 * area:.0f} % of the image**: "
        f"threshold {threshold:.3g}, {threshold / maximum:.2f} of the map's maximum. Without it the probability is "
        f"{percent(taken)}."
    )
