"""The answer of the first page: verdict, probability and what they are worth; or why the model gives none."""

from __future__ import annotations

import streamlit as st

from dala.explanation.render import encode_png
from dala.export.worth import (
    at_a_glance,
    basis,
    leaning_in_words,
    probability_in_words,
    site_in_words,
)
from dala.gate.checks import MAMMOGRAM
from dala.intake.patch import Patch
from dala.opinion import Opinion
from dala.preprocess.scale import FACTORS
from dala.runtime.predict import Model, Prediction
from dala.runtime.verdict import SCALE
from dala.words import counted, figure
from pages.parts.look import explained
from pages.parts.second_opinion.modality import show_worth
from pages.parts.second_opinion.scale import show_scale
from pages.parts.shared import NOT_SURE, OUTSIDE, SCALE_UNKNOWN, SHAPES, known_group, percent, plain

CLOSE_TO_EVEN = 0.65
REFUSED_WIDTH = 420
TERMS = ("balanced accuracy", "AUC", "calibrated")
ERROR = "expected_calibration_error"
HISTOLOGY_CHECKED = "Focus, tissue, brightness and stain are checked."
FILM_CHECKED = "Colour, brightness, contrast and smoothness are checked."


def show_refusal(opinion: Opinion, patch: Patch) -> bool:
    """Why the model gives no verdict on this image, and the image; True if it is to be shown all the same.

    `patch` is the image as it was read: at another scale it may be inside.
    """
    reason = opinion.gate.reason
    assert reason is not None
    st.header(OUTSIDE, anchor=False)
    st.warning(f"{reason.sentence} The model gives no verdict on it.", icon=":material/block:")
    anyway = st.toggle(
        "Show me anyway",
        key=f"anyway-{opinion.patch.sha256[:12]}",
        help="What the model computes for this image, marked as outside its competence: it was never measured on "
        "images like this one.",
    )
    if not anyway:
        show_scale(patch, opinion.model.card, asked=True, folded=False)
        st.image(encode_png(opinion.image), width=REFUSED_WIDTH, output_format="PNG", alt="The image")
        st.caption(" ".join([*opinion.patch.notes, familiar(opinion)]))
    return anyway


def familiar(opinion: Opinion) -> str:
    """How far from the training images this one is, in a sentence."""
    gate, limit = opinion.gate, opinion.model.familiarity
    if gate.score is None or gate.p_value is None or limit is None:
        film = opinion.model.card.modality == MAMMOGRAM
        return (
            "These weights hold no statistics that would tell how much the image resembles those that the model was "
            f"trained on. {FILM_CHECKED if film else HISTOLOGY_CHECKED}"
        )
    true = "films" if opinion.model.card.modality == MAMMOGRAM else "patches"
    common = "less than 1" if gate.p_value < 0.01 else f"{100 * gate.p_value:.0f}"
    return (
        f"Distance from the training images {gate.score:.2f}, limit {limit.limit:.2f}; {common} % of the genuine "
        f"{true} of new patients lie at least as far away."
    )


def show_verdict(opinion: Opinion, patch: Patch, drawn: str | None) -> None:
    """Answer and one probability; beside them, in the same size, what is known against them; the scale; the rest small.

    `patch` is the image as it was read, before a pixel size was chosen for it.
    """
    model = opinion.model
    answer, known = st.columns(2, gap="medium")
    with answer:
        if not opinion.gate.inside:
            if drawn is not None:
                st.header(OUTSIDE, anchor=False)
            label = opinion.prediction.label
            st.markdown(
                f"Asked anyway, the model computes {shape_of(opinion)} **{label}** at "
                f"**{percent(float(opinion.prediction.probabilities.max()))}**. This is **not a verdict**: none of its "
                "figures hold for images like this one."
            )
        else:
            show_answer(opinion)
        show_scale(patch, model.card, asked=opinion.verdict.reason == SCALE)
    with known:
        if opinion.gate.inside:
            laboratory = opinion.gate.laboratory
            told, more = at_a_glance(opinion)
            st.markdown(
                explained(plain(told), *TERMS),
                help=plain(f"{more} {basis(model.card, laboratory)}".strip()),
                unsafe_allow_html=True,
            )
        elif said := site_in_words(opinion):
            st.markdown(plain(said))
        if drawn is not None:
            st.warning(drawn)
        group = known_group(opinion.patch.name, model)
        if group is not None:
            st.warning(
                f"By its file name this image is from {model.card.group_word} {group}, on which the model was trained: "
                "a correct answer here would prove nothing."
            )
        show_worth(model)


def show_origin(opinion: Opinion) -> None:
    """How the image was seen and by which weights, small, below everything else."""
    card = opinion.model.card
    training = card.fields["training_data"]
    st.caption(
        f"{opinion.seen} Weights **{plain(opinion.model.name)}**, trained on {counted(training['pictures'], 'image')} "
        f"({plain(card.magnification)}) of {counted(len(card.training_groups), card.group_word)} "
        f"({plain(training['name'])}). {' '.join([*opinion.patch.notes, familiar(opinion)])}"
    )


def in_one_line(opinion: Opinion) -> str:
    """The answer and its probability, for where there is room for one line."""
    prediction = opinion.prediction
    probability = f", {percent(float(prediction.probabilities.max()))}" if opinion.verdict.has_probability else ""
    if not opinion.gate.inside:
        return f"{OUTSIDE}: no verdict"
    if opinion.verdict.reason == SCALE:
        return SCALE_UNKNOWN
    if opinion.verdict.not_sure:
        return f"{NOT_SURE}, leaning towards {prediction.label}{probability}"
    return f"{shape_of(opinion)} {prediction.label.capitalize()}{probability}"


def show_answer(opinion: Opinion) -> None:
    """The headline and its probability."""
    prediction, verdict = opinion.prediction, opinion.verdict
    label, probability = prediction.label, float(prediction.probabilities.max())
    known, shown = prediction.calibration is not None, f"**{percent(probability)}**"
    told = worth_of_sets(opinion.model) if known else None
    if verdict.reason == SCALE:
        st.header(SCALE_UNKNOWN, anchor=False)
        st.markdown(at_each_scale(prediction, str(opinion.model.card.fields["positive"])), help=told)
    elif verdict.not_sure:
        st.header(NOT_SURE, anchor=False)
        leans = leaning_in_words(f"{shape_of(opinion)} **{label}**", shown, verdict.calibrated)
        st.markdown(leans, help=told)
    else:
        st.header(f"{shape_of(opinion)} {label.capitalize()}", anchor=False)
        st.markdown(probability_in_words(shown, verdict.calibrated, elsewhere=known), help=told)
        if not known and probability < CLOSE_TO_EVEN:
            st.markdown(f"**Close to even:** the model leans towards {label} but can hardly tell them apart here.")


def shape_of(opinion: Opinion) -> str:
    return SHAPES[opinion.prediction.label == opinion.model.card.fields["positive"]]


def at_each_scale(prediction: Prediction, positive: str) -> str:
    """What the answer would rest on at each of the scales that were tried, from the finest to the coarsest."""
    index, scale = prediction.classes.index(positive), prediction.scale
    assert scale is not None
    tried = zip((1.0, *FACTORS), (prediction.probabilities, *prediction.rescaled), strict=True)
    told = [
        f"{percent(float(shares[index]))} at {factor * scale.um_per_pixel[1]:.2g} um/px"
        for factor, shares in sorted(tried, key=lambda one: one[0])
    ]
    return f"The answer hangs on how large a pixel is. Probability of {positive}: {', '.join(told)}."


def worth_of_sets(model: Model) -> str:
    """When the answer is "not sure", what that promises and what was measured of it, from the card."""
    calibration = model.card.fields["calibration"]
    lines = ["Where the probability leaves more than one class possible, the answer is “not sure”."]
    if (error := calibration["measured"].get(ERROR)) is not None:
        lines.append(f"On held-out patients the probability was off by {figure(error, percent=True)} on average.")
    return "\n\n".join([*lines, plain(calibration["guarantee"])])
