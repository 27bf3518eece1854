"""Where it fails: sliders for stain, light, frame, focus and compression, with the model's answer following."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import plotly.graph_objects as go
import streamlit as st

from dala.errors import WeightsError
from dala.explanation.render import dt_overlay
from dala.explanation.threshold import RULES, threshold
from dala.opinion import Opinion, opinion_of
from dala.runtime.card import WEIGHTS_DIR
from dala.runtime.predict import Model
from dala.teaching.perturb import NEUTRAL, SLIDERS, Slider, as_patch, levels, perturbed
from dala.teaching.unfold import unfold
from dala.training.colour_only import ColourOnly, load_colour_only
from pages.parts.buttons import uninterrupted
from pages.parts.shared import OUTSIDE, SHAPES, inline, percent, plain
from pages.parts.teaching.lesson_image import lesson_opinion

NETWORK, COLOUR = "#0072B2", "#D55E00"
KEY = "disturb-"
RULE = next(iter(RULES.values()))


@st.cache_resource(show_spinner=False)
def colour_judge(weights: str) -> ColourOnly | None:
    return load_colour_only(WEIGHTS_DIR / f"{weights}.safetensors")


# The key is what the network sees, and which weights look.
@st.cache_resource(show_spinner=False, max_entries=32)
def opinion_on_view(digest: str, weights: str, _view: np.ndarray, _model: Model) -> Opinion:
    return opinion_of(as_patch(_view, _model.card.input.um_per_pixel), _model)


def judged(view: np.ndarray, model: Model) -> Opinion:
    return opinion_on_view(hashlib.sha256(view.tobytes()).hexdigest(), str(model.card.fields["sha256"]), view, model)


def show_failing(model: Model) -> None:
    whole = lesson_opinion(model)
    if whole is None:
        return
    steps = unfold(whole, whole.prediction.label)
    views = whole.prediction.views.for_network
    left, top, right, bottom = steps.view.box
    frame = (right - left, bottom - top)
    down, across = views.shape[1:3]
    tile = f", of the {steps.views} tiles the one with most evidence" if steps.views > 1 else ""
    st.markdown(
        f"Change the image as another laboratory, camera or file would, and see what the model makes of it. The "
        f"changes act on the {across} x {down} pixels that the network sees{tile}."
    )
    try:
        colours = colour_judge(model.name)
    except WeightsError as error:
        st.warning(plain(str(error)))
        colours = None
    experiment(views[steps.number], frame, model, colours)


@st.fragment
def experiment(view: np.ndarray, frame: tuple[int, int], model: Model, colours: ColourOnly | None) -> None:
    """Sliders, the two images and the answers; a fragment, so that a slider redraws nothing else."""
    controls, result = st.columns([2, 5], gap="medium")
    with controls:
        settings = {
            slider.name: st.slider(
                slider.label,
                slider.minimum,
                slider.maximum,
                slider.neutral,
                slider.step,
                format="%d" if slider.step >= 1 else None,
                key=KEY + slider.name,
                help=slider.help,
            )
            for slider in SLIDERS
        }
        st.button("Reset all", on_click=reset, disabled=settings == NEUTRAL, width="stretch")
    changed = perturbed(view, settings, frame)
    before, after = judged(view, model), judged(changed, model)
    with result:
        target = before.prediction.label
        first, second = st.columns(2, gap="small")
        for place, opinion, name in ((first, before, "As it came"), (second, after, "Changed")):
            place.image(
                inline(mapped(opinion, target, frame)),
                caption=f"{name}: what the network sees, DT Grad-CAM towards {target}",
                width="stretch",
                alt=name,
            )
        st.table(answers(before, after, view, changed, colours), hide_index=True)
        st.markdown(verdict_on(before, after))
        show_sweep(view, settings, frame, model, colours)


@uninterrupted()
def reset() -> None:
    for slider in SLIDERS:
        st.session_state[KEY + slider.name] = slider.neutral


def mapped(opinion: Opinion, target: str, frame: tuple[int, int]) -> np.ndarray:
    """What the network saw in its own proportions again, with DT Grad-CAM."""
    width = 480
    height = max(1, round(width * frame[1] / frame[0]))
    image = np.asarray(cv2.resize(opinion.image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    found = opinion.maps[target]
    if not found.has_evidence:
        return image
    field = found.upsampled(height, width)
    return dt_overlay(image, field, threshold(field, RULE.name, RULE.default), float(field.max()))


def positive_of(opinion: Opinion) -> float:
    prediction = opinion.prediction
    return float(prediction.probabilities[prediction.classes.index(opinion.model.card.fields["positive"])])


def answers(
    before: Opinion, after: Opinion, view: np.ndarray, changed: np.ndarray, colours: ColourOnly | None
) -> list[dict[str, str]]:
    """Network and colour-only judge on both images."""
    positive = before.model.card.fields["positive"]
    rows = [{"Answer of": "DALAResNet50, calibrated", "As it came": answer(before), "Changed": answer(after)}]
    if colours is not None:
        index = colours.classes.index(positive)
        told = [float(colours.probabilities(one[None])[0, index]) for one in (view, changed)]
        shown = [f"P({positive}) {100 * value:.0f} %" for value in told]
        rows.append({"Answer of": "Colour alone: six numbers", "As it came": shown[0], "Changed": shown[1]})
    gate = [one.gate.reason.name.replace("_", " ") if one.gate.reason else "passes" for one in (before, after)]
    distance = ["" if one.gate.score is None else f", distance {one.gate.score:.2f}" for one in (before, after)]
    rows.append({"Answer of": "Gate", "As it came": gate[0] + distance[0], "Changed": gate[1] + distance[1]})
    return rows


def answer(opinion: Opinion) -> str:
    positive = opinion.model.card.fields["positive"]
    label = opinion.prediction.label
    name = f"{SHAPES[label == positive]} {label}"
    if opinion.verdict.not_sure:
        name = f"◆ not sure, leans to {label}"
    return f"P({positive}) {percent(positive_of(opinion))}; {name}"


def verdict_on(before: Opinion, after: Opinion) -> str:
    """One sentence on what the change has done."""
    if before.gate.inside and not after.gate.inside:
        assert after.gate.reason is not None
        return f"**The gate stops it:** {after.gate.reason.sentence} No verdict would be given."
    if before.prediction.label != after.prediction.label:
        caught = "" if after.gate.inside else f" {OUTSIDE}, before and after."
        return f"**The answer flips**, though the tissue is the same.{caught}"
    moved = round(100 * (positive_of(after) - positive_of(before)), 1)
    return f"The answer stays; the probability moves by {moved:+.1f} points." if moved else "Nothing has moved."


def show_sweep(
    view: np.ndarray,
    settings: dict[str, float],
    frame: tuple[int, int],
    model: Model,
    colours: ColourOnly | None,
) -> None:
    """One change over its whole range, the others as they are set."""
    names = {slider.name: slider for slider in SLIDERS}
    name = st.selectbox(
        "Sweep one change over its range, the others as set",
        [None, *names],
        format_func=lambda one: "Choose a change …" if one is None else names[one].label,
        key=f"{KEY}sweep",
    )
    if name is None:
        return
    slider = names[name]
    values = levels(slider)
    bar = st.progress(0.0, "The model looks at changed images …")
    views, found = [], []
    for done, value in enumerate(values, start=1):
        views.append(perturbed(view, settings | {name: value}, frame))
        found.append(judged(views[-1], model))
        bar.progress(done / len(values), f"The model looks at changed images: {done} of {len(values)}")
    bar.empty()
    positive = model.card.fields["positive"]
    colour = None
    if colours is not None:
        colour = colours.probabilities(np.stack(views))[:, colours.classes.index(positive)]
    st.plotly_chart(
        sweep_chart(slider, values, found, colour, settings[name], positive), config={"displayModeBar": False}
    )
    refused = sum(not one.gate.inside for one in found)
    st.caption(
        f"The gate refuses {refused} of these {len(found)} images (open circles). One image is an anecdote: what "
        "each change costs on held-out patients is on the Evidence page."
    )


def sweep_chart(
    slider: Slider, values: list[float], found: list[Opinion], colour: np.ndarray | None, now: float, positive: str
) -> go.Figure:
    """Probability of the positive class over the levels of one change, the network's and colour's alone."""
    figure = go.Figure()
    figure.add_scatter(
        x=values,
        y=[positive_of(one) for one in found],
        name="DALAResNet50",
        mode="lines+markers",
        line={"color": NETWORK, "width": 2},
        marker={
            "size": 9,
            "symbol": ["circle" if one.gate.inside else "circle-open" for one in found],
            "line": {"width": 2},
        },
        hovertemplate="%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
    )
    if colour is not None:
        figure.add_scatter(
            x=values,
            y=colour,
            name="colour alone",
            mode="lines+markers",
            line={"color": COLOUR, "width": 2, "dash": "dash"},
            marker={"symbol": "square", "size": 7},
            hovertemplate="%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    figure.add_vline(now, line={"color": "grey", "width": 1.5})
    figure.add_hline(0.5, line={"color": "grey", "width": 1, "dash": "dot"})
    figure.update_layout(
        height=280,
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
        legend={"orientation": "h", "y": -0.3, "yanchor": "top"},
        xaxis={"title": slider.label, "fixedrange": True},
        yaxis={"title": f"probability of {positive}", "range": [-0.03, 1.03], "fixedrange": True},
    )
    return figure
