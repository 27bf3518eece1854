"""The answer of the first page: verdict, probability and what they are worth; or why the model gives none."""

from __future__ import annotations

import streamlit as st

from dala.explanation.render import encode_png
from dala.gate.checks import MAMMOGRAM
from dala.opinion import Opinion
from dala.runtime.predict import Model, Prediction
from dala.words import counted, figure
from pages.parts.second_opinion.modality import show_worth
from pages.parts.shared import NOT_SURE, OUTSIDE, SHAPES, known_group, percent, plain

CLOSE_TO_EVEN = 0.65
REFUSED_WIDTH = 420
ERROR = "expected_calibration_error"
HISTOLOGY_CHECKED = "Focus, tissue, brightness and stain are checked."
FILM_CHECKED = "Colour, brightness, contrast and smoothness are checked."


def show_refusal(opinion: Opinion) -> bool:
    """Why the model gives no verdict on this image, and the image; True if it is to be shown all the same."""
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
        st.image(encode_png(opinion.image), width=REFUSED_WIDTH, output_format="PNG")
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
    common = "less than 1" if gate.p_value < 0.01 else f"{100 * gate.p_value:.0f}"
    return (
        f"Distance from the training images {gate.score:.2f}, limit {limit.limit:.2f}; {common} % of the genuine "
        "patches of new patients lie at least as far away."
    )


def show_verdict(opinion: Opinion, drawn: str | None) -> None:
    prediction, card = opinion.prediction, opinion.model.card
    probability = float(prediction.probabilities.max())
    verdict, facts = st.columns(2, gap="medium")
    with verdict:
        decisive, shape = prediction.default_set, SHAPES[prediction.label == card.fields["positive"]]
        if drawn is None and not opinion.gate.inside:
            decisive = None
            st.markdown(
                f"Asked anyway, the model computes {shape} **{prediction.label}** at **{percent(probability)}**. This "
                "is **not a verdict**: none of its figures hold for images like this one."
            )
        elif decisive is not None and decisive.not_sure:
            st.header(NOT_SURE, anchor=False)
            st.markdown(
                f"The model leans towards {shape} **{prediction.label}**, calibrated probability "
                f"**{percent(probability)}**."
            )
        else:
            st.header(f"{shape} {prediction.label.capitalize()}", anchor=False)
            if decisive is not None:
                st.markdown(f"Calibrated probability **{percent(probability)}**.")
            else:
                st.markdown(f"Model probability **{percent(probability)}**, not calibrated.")
                if probability < CLOSE_TO_EVEN:
                    st.markdown(
                        f"**Close to even:** the model leans towards {prediction.label} but can hardly tell them apart "
                        "here."
                    )
        if decisive is not None:
            st.caption(sets_in_words(prediction), help=worth_of_sets(opinion.model))
        if drawn is not None:
            st.warning(drawn if opinion.gate.inside else f"{drawn} {OUTSIDE}, as every drawing should be.")
        group = known_group(opinion.patch.name, opinion.model)
        if group is not None:
            st.warning(
                f"By its file name this image is from {card.group_word} {group}, on which the model was trained: a "
                "correct answer here would prove nothing."
            )
        show_worth(opinion.model)
    with facts:
        training = card.fields["training_data"]
        st.markdown(
            f"{opinion.seen} Weights **{plain(opinion.model.name)}**, trained on "
            f"{counted(training['pictures'], 'image')} ({card.magnification}) of "
            f"{counted(len(card.training_groups), card.group_word)} ({plain(training['name'])})."
        )
        figures, protocol = headline(opinion.model)
        st.markdown(figures, help=protocol)
        st.caption(" ".join([*opinion.patch.notes, familiar(opinion)]))


def sets_in_words(prediction: Prediction) -> str:
    """What is left at each level of confidence, the one that decides the verdict first."""
    levels: dict[tuple[str, ...], list[str]] = {}
    for one in prediction.sets:
        levels.setdefault(one.classes, []).append(f"{100 * (1 - one.alpha):.0f}")
    return " ".join(
        f"With {' and '.join(levels[left])} % confidence: {' or '.join(left)}{', not sure' if len(left) > 1 else ''}."
        for left in levels
    )


def worth_of_sets(model: Model) -> str:
    """What such a confidence promises and what was measured of it, from the card."""
    calibration = model.card.fields["calibration"]
    measured = calibration["measured"]
    lines = [
        "Where the first set holds more than one class, the verdict is “not sure”.",
        f"On held-out patients the probability was off by {figure(measured[ERROR], percent=True)} on average.",
    ]
    for alpha in sorted(calibration["thresholds"], reverse=True):

        def of(name: str, alpha: str = alpha) -> str:
            return figure(measured[f"{name}_{alpha}"], percent=True)

        lines.append(
            f"At {100 * (1 - float(alpha)):.0f} % the set held the true class for {of('coverage')} of the images; not "
            f"sure: {of('not_sure')}; correct among the others: {of('right_when_sure')}."
        )
    return "\n\n".join([*lines, calibration["guarantee"]])


def headline(model: Model) -> tuple[str, str]:
    """How often the model is right, from its card, and by which protocol that was measured."""
    metrics = model.card.fields["metrics"]
    names = {"balanced_accuracy": "balanced accuracy", "auc": "AUC"}
    known = {key: found for key in names if (found := metrics["values"].get(key) or {}).get("value") is not None}
    figures = [(names[key], *figure(found).partition(" ")) for key, found in known.items()]
    parts = [f"{name} **{value}**{space}{interval}" for name, value, space, interval in figures]
    if not parts:
        return "How often the model is right has not been measured for these weights.", metrics["protocol"]
    return f"In cross-validation by {model.card.group_word}: {', '.join(parts)}; 95 % intervals.", metrics["protocol"]
