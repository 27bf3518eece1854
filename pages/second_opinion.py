"""Second opinion: drop a patch, read the verdict, see where it comes from, tune the dynamic threshold."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.errors import IntakeError
from dala.explanation.render import COLOUR_MAPS, encode_png
from dala.explanation.threshold import RULES, Regions
from dala.gate.checks import MAMMOGRAM
from dala.opinion import Explanation, Opinion, explain
from dala.runtime.predict import Model, Prediction
from dala.words import counted, figure
from pages.parts.second_opinion import viewer
from pages.parts.second_opinion.choice import choose_image, show_gallery
from pages.parts.second_opinion.inquiry import show_effect, show_steadiness, steadied_if_wanted
from pages.parts.second_opinion.modality import opinion_by_modality, show_worth
from pages.parts.second_opinion.own_read import answer_may_be_shown, show_first_read
from pages.parts.second_opinion.report import show_report
from pages.parts.second_opinion.viewer import (
    COLOUR_LIMITS,
    OPACITY,
    ViewerError,
    identity,
    remember,
    settings_for,
)
from pages.parts.session import PLAIN, Settings, session
from pages.parts.shared import (
    BAR_WIDTH,
    NOT_SURE,
    OUTSIDE,
    SHAPES,
    known_group,
    model_or_stop,
    percent,
    plain,
    show_image,
)

CLOSE_TO_EVEN = 0.65
REFUSED_WIDTH = 420
DT_CAPTION = "DT Grad-CAM: above the threshold"
AREA, EVIDENCE = "Area (% of the image)", "Evidence (% of the positive)"
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
                f"By its file name this image is of {card.group_word} {group}, on which the model was trained: a "
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


@st.fragment
def show_explanation(opinion: Opinion) -> None:
    """The viewer, or plain images and widgets, then the regions. A fragment: no slider ever runs the network."""
    place, below = st.container(), st.container()
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
                settings = viewer.show(opinion, settings)
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

    if regions.regions:
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
        show_report(opinion, explanation, show_effect(opinion, explanation))


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
                maximum = opinion.maps[target].maximum
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
    show_image(row.container(width=BAR_WIDTH), panels.bar)
    if explanation.regions.reason is not None:
        images.info(explanation.regions.reason)
    numbers = images.container(horizontal=True, horizontal_alignment="distribute")
    for label, value in readings(explanation.regions).items():
        numbers.metric(label, value, width="content")


model_or_stop()  # loaded before it is needed

try:
    chosen = choose_image()
    if chosen is None:
        show_gallery()
        st.stop()
    data, name, drawn = chosen
    opinion = opinion_by_modality(data, name, drawn is not None)
except IntakeError as error:
    st.error(plain(str(error)))
    st.stop()
except OSError:
    st.error("This file of the samples folder cannot be read.")
    st.stop()
if not answer_may_be_shown(opinion):
    st.stop()
session().note_answer_seen(opinion.patch.sha256)
# A drawn example is shown at once: it is chosen as a drawing and named as one.
if drawn is not None or opinion.gate.inside or show_refusal(opinion):
    show_first_read(opinion)
    show_verdict(opinion, drawn)
    show_explanation(opinion)
