"""Second opinion: drop a patch, read the verdict, see where it comes from, tune the dynamic threshold."""

from __future__ import annotations

import json
import os
from pathlib import Path

import streamlit as st

from dala.explain.render import COLOUR_MAPS, encode_png
from dala.explain.threshold import RULES
from dala.intake.image import IntakeError
from dala.nets.runtime import Model, load_model
from dala.nets.weights import WeightsError
from dala.opinion import Opinion, explain, explanation_record, second_opinion
from dala.phantoms import PHANTOMS, draw

UPLOAD_TYPES = ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp"]
SAMPLES_AT_MOST = 200
CLOSE_TO_EVEN = 0.65
NONE = "none"


@st.cache_resource(show_spinner="Loading the model …")
def shared_model() -> Model:
    return load_model()


@st.cache_data(show_spinner=False, max_entries=16)
def drawn_png(name: str) -> bytes:
    return encode_png(draw(name).pixels)


# Bytes and name are the key: a rerun of the page never runs the network again.
@st.cache_resource(show_spinner="The model looks at the picture …", max_entries=16)
def opinion_of(data: bytes, name: str, _model: Model) -> Opinion:
    return second_opinion(data, _model, name)


def samples() -> dict[str, Path]:
    """Picture files below the folder that DALA_SAMPLES names, by relative name."""
    folder = os.environ.get("DALA_SAMPLES")
    if not folder:
        return {}
    root = Path(folder)
    found = sorted(path for path in root.rglob("*") if path.suffix.lower().lstrip(".") in UPLOAD_TYPES)
    return {str(path.relative_to(root)): path for path in found[:SAMPLES_AT_MOST]}


def choose_picture() -> tuple[bytes, str, str | None] | None:
    """The bytes and name of the chosen picture, and what to say of it if it is an example."""
    upload_column, example_column = st.columns([3, 2], vertical_alignment="top")
    with upload_column:
        upload = st.file_uploader(
            "Drop an H&E breast patch here to get a second opinion, or choose an example.",
            type=UPLOAD_TYPES,
            key="upload",
        )
    titles = {f"drawn:{name}": f"Drawn example: {draw_title(name)}" for name in PHANTOMS}
    files = samples()
    titles |= {f"file:{name}": name for name in files}
    with example_column:
        example = st.selectbox(
            "Examples",
            [NONE, *titles],
            format_func=lambda key: "Choose an example …" if key == NONE else titles[key],
            key="example",
            help="Drawn examples are made by code: schematic H&E, not tissue. A folder of your own pictures appears "
            "here if the environment variable DALA_SAMPLES names it.",
            disabled=upload is not None,
        )
        if upload is not None:
            st.caption("The uploaded picture is shown; remove it to use an example.")
    if upload is not None:
        return upload.getvalue(), upload.name, None
    if example.startswith("drawn:"):
        name = example.removeprefix("drawn:")
        return drawn_png(name), f"{name}.png", draw_description(name)
    if example.startswith("file:") and example.removeprefix("file:") in files:
        path = files[example.removeprefix("file:")]
        try:
            return path.read_bytes(), path.name, None
        except OSError:
            st.error(f"The sample {path.name} cannot be read.")
    return None


@st.cache_data(show_spinner=False)
def draw_title(name: str) -> str:
    return draw(name).title


@st.cache_data(show_spinner=False)
def draw_description(name: str) -> str:
    return draw(name).description


def show_verdict(opinion: Opinion, example: str | None) -> None:
    prediction, card = opinion.prediction, opinion.model.card
    probability = float(prediction.probabilities.max())
    positive = prediction.label == card.fields["positive"]
    verdict, facts = st.columns([2, 3], gap="medium", vertical_alignment="top")
    with verdict, st.container(border=True):
        # A shape beside the word, so that colour is not the only sign.
        st.markdown(f"## {'▲' if positive else '●'} {prediction.label.capitalize()}")
        st.markdown(f"Model probability **{100 * probability:.0f} %** (not calibrated)")
        if probability < CLOSE_TO_EVEN:
            st.markdown("Close to even: the model cannot tell these classes apart here.")
    with facts:
        st.markdown(
            f"{opinion.seen} Model **{opinion.model.name}**, trained at {card.magnification} on "
            f"{card.fields['training_data']['name']}."
        )
        accuracy = card.fields["metrics"]["values"].get("balanced_accuracy", {})
        if accuracy.get("value") is not None:
            auc = card.fields["metrics"]["values"]["auc"]
            st.markdown(
                f"On patients it had not seen: balanced accuracy **{accuracy['value']:.2f}** "
                f"({accuracy['low']:.2f} to {accuracy['high']:.2f}), AUC **{auc['value']:.2f}** "
                f"({auc['low']:.2f} to {auc['high']:.2f}), by accession group, "
                f"{len(card.training_groups)} groups, 95 % intervals."
            )
        if example is not None:
            st.warning(example)
        for note in opinion.patch.notes:
            st.caption(note)
        st.caption(
            "The model answers whatever picture it gets: it does not yet check that this is an H&E breast patch at "
            f"{card.magnification}."
        )


@st.fragment
def show_explanation(opinion: Opinion) -> None:
    """Controls, the three panels and the regions. A fragment: moving a slider redraws this and runs no network."""
    picture = opinion.patch.sha256[:12]
    first, second, third, fourth = st.columns([3, 3, 4, 2], vertical_alignment="bottom")
    target = first.segmented_control(
        "Evidence towards",
        opinion.prediction.classes,
        default=opinion.prediction.label,
        key=f"target-{picture}",
        required=True,
    )
    rule_name = second.selectbox("Threshold rule", list(RULES), format_func=lambda name: RULES[name].label, key="rule")
    rule = RULES[rule_name]
    parameter = third.slider(
        f"Dynamic threshold: {rule.parameter}{f' ({rule.unit})' if rule.unit else ''}",
        rule.minimum,
        rule.maximum,
        rule.default,
        rule.step,
        key=f"parameter-{rule_name}",
        help=rule.help,
    )
    with fourth.popover("Display", width="stretch"):
        opacity = st.slider("Opacity", 0.1, 1.0, 0.5, 0.05, key="opacity")
        colour_map = st.selectbox("Colour map", list(COLOUR_MAPS), key="colour_map")
        fixed = st.toggle(
            "Fixed colour scale", key="fixed", help="The same scale for every picture, so that maps can be compared."
        )
        limit = st.number_input("Upper end", 0.01, 1000.0, 1.0, key="limit") if fixed else None
    target = target or opinion.prediction.label
    explanation = explain(opinion, target, rule_name, parameter, colour_map=colour_map, opacity=opacity, limit=limit)
    panels, regions = explanation.panels, explanation.regions
    overlay, dt_overlay = encode_png(panels.gradcam), encode_png(panels.dt)

    left, middle, right, bar = st.columns([3, 3, 3, 1], gap="small")
    left.image(encode_png(panels.patch), caption="Patch", width="stretch", output_format="PNG")
    middle.image(overlay, caption=f"Grad-CAM towards {target}", width="stretch", output_format="PNG")
    right.image(dt_overlay, caption="DT Grad-CAM: above the threshold", width="stretch", output_format="PNG")
    bar.image(encode_png(panels.bar), width="stretch", output_format="PNG")

    if regions.reason is not None:
        st.info(regions.reason)
    has_threshold = regions.threshold == regions.threshold
    numbers = st.columns(4)
    numbers[0].metric("Threshold", f"{regions.threshold:.3g}" if has_threshold else "none")
    numbers[1].metric("Kept area", f"{100 * regions.kept_area:.1f} %")
    numbers[2].metric("Share of evidence kept", f"{100 * regions.kept_evidence:.0f} %")
    numbers[3].metric("Regions", len(regions.regions), help=f"{regions.dropped} too small to count were dropped.")

    table, downloads = st.columns([3, 1], gap="medium")
    if regions.regions:
        table.dataframe(
            [
                {
                    "Region": number,
                    "Area (%)": round(100 * region.area, 1),
                    "Evidence (%)": round(100 * region.evidence, 1),
                    "Left, top, right, bottom (px)": ", ".join(str(value) for value in region.box),
                }
                for number, region in enumerate(regions.regions, start=1)
            ],
            hide_index=True,
        )
    stem = Path(opinion.patch.name).stem or picture
    with downloads:
        st.download_button(
            "DT Grad-CAM (PNG)", dt_overlay, f"{stem}-dt.png", "image/png", on_click="ignore", width="stretch"
        )
        st.download_button(
            "Grad-CAM (PNG)", overlay, f"{stem}-gradcam.png", "image/png", on_click="ignore", width="stretch"
        )
        record = json.dumps(explanation_record(opinion, explanation), indent=2, ensure_ascii=False, allow_nan=False)
        st.download_button(
            "Numbers (JSON)", record, f"{stem}.json", "application/json", on_click="ignore", width="stretch"
        )
    st.caption(
        "Coloured where the evidence for this class is positive; the map has "
        f"{' x '.join(str(n) for n in opinion.maps[target].values.shape)} cells, enlarged bilinearly. A heat map shows "
        "what moved this model, not where the lesion is."
    )


try:
    model = shared_model()
except WeightsError as error:
    st.error(str(error))
    st.stop()

chosen = choose_picture()
if chosen is None:
    st.markdown("No picture yet. The verdict and the heat maps appear here.")
    st.stop()
data, name, example = chosen
try:
    opinion = opinion_of(data, name, model)
except IntakeError as error:
    st.error(str(error))
    st.stop()
show_verdict(opinion, example)
show_explanation(opinion)
