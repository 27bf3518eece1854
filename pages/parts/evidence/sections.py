"""What the evidence page shows of each source; every number comes from its file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dala import evidence, evidence_maps, evidence_speed
from dala.errors import EvidenceError
from dala.evidence import Line, Patient, Source
from dala.runtime.card import available
from pages.parts.evidence.charts import (
    COLOURS,
    GREY,
    MARKERS,
    UNIT,
    add_diagonal,
    add_line,
    add_points,
    canvas,
    chart,
    interval_chart,
    numbers,
    table,
    unit_square,
)

TEXT_AND_SOURCE = (7, 3)
ROC_X, ROC_Y = "Benign images called malignant", "Malignant images found"
WEIGHTS, BACH = "The weights", "BACH, four classes"


def model_cards() -> None:
    st.subheader(WEIGHTS, anchor="weights")
    st.markdown("*What is this model, what has it seen, and what does it take for granted?*")
    for name in available():
        try:
            card = evidence.card_of(name)
        except EvidenceError as error:
            st.error(str(error))
            continue
        if card is None:
            continue
        st.markdown(f"#### {evidence.plain_cell(card.fields['title'])}")
        facts, caveats = st.columns(TEXT_AND_SOURCE, gap="large")
        with facts:
            table(evidence.card_table(card), f"Model card {name}", header=False)
            with st.expander(f"The recipe of {name}"):
                table(evidence.choices(card.fields["recipe"]), f"Recipe of {name}")
        with caveats:
            for title, key in (("Assumptions", "assumptions"), ("Limits", "limits")):
                lines = "\n".join(f"- {evidence.plain_cell(line)}" for line in card.fields[key])
                st.caption(f"**{title}**\n\n{lines}")
            st.caption(f"**File** `weights/{name}.json`\n\n**Fingerprint of the weights** `{card.fields['sha256']}`")


def headline(source: Source) -> None:
    table(source.take(evidence.headline_table), "Scores of the network and of three comparisons")
    st.markdown(
        "In brackets: where the score may lie for other patients like these. Colour alone knows no shape at all: what "
        "a network has above it, and keeps when the stain changes, is morphology."
    )
    st.caption("\n".join(f"- {line}" for line in source.take(evidence.models_explained)))


@st.cache_data(show_spinner="Drawing the curves …", max_entries=4)
def roc_of(stamp: str, _record: dict[str, Any]) -> tuple[list[Line], str]:
    return evidence.roc_lines(_record), evidence.against_probe(_record)


def predictions(source: Source) -> None:
    lines, against = source.take(lambda record: roc_of(source.stamp, record))
    names = [line.name for line in lines]
    banded = st.segmented_control("Band of", names, default=names[0], required=True, key="band", wrap=True)
    figure = canvas(ROC_X, ROC_Y)
    add_diagonal(figure)
    for number, line in enumerate(lines):
        add_line(figure, line, number, band=line.name == banded)
    unit_square(figure)
    chart(figure, "roc", "ROC curves of the network and three comparisons")
    st.markdown(
        "The higher the curve the better; the dotted diagonal is guessing; the band is where the curve may lie for "
        "other patients like these. " + against
    )
    numbers("The numbers of the curves", evidence.lines_table(lines, ROC_X))

    st.markdown("#### What is called what")
    table(source.take(evidence.confusion_table), "Confusion matrices")
    st.markdown("Counts are means over the repeats; a good row is full on the side of its own class.")

    st.markdown("#### Patient by patient")
    rows = source.take(evidence.patients)
    chart(patient_figure(rows), "patients", "Mean probability of malignant for every accession group")
    st.markdown(
        "Malignant groups (▲) belong to the right of the line, benign ones (●) to the left. "
        + evidence.worst_patients(rows)
    )
    numbers("The numbers of every patient", evidence.patient_table(rows))


def patient_figure(rows: list[Patient]) -> go.Figure:
    figure = canvas("Mean probability of malignant", "", height=120 + 17 * len(rows))
    for number, malignant in enumerate((False, True)):
        own = [row for row in rows if row.malignant is malignant]
        figure.add_scatter(
            x=[row.probability for row in own],
            y=[row.name for row in own],
            name="malignant" if malignant else "benign",
            mode="markers",
            marker={"color": COLOURS[1 - number], "symbol": MARKERS[number], "size": 9},
        )
    ordered = sorted(rows, key=lambda row: (row.malignant, row.probability))
    figure.update_yaxes(
        categoryorder="array", categoryarray=[row.name for row in ordered], title=None, dtick=1, type="category"
    )
    figure.update_yaxes(range=[-0.7, len(rows) - 0.3])
    figure.update_xaxes(range=UNIT)
    figure.add_vline(x=evidence.CUT, line={"color": GREY, "width": 1, "dash": "dot"})
    return figure


def protocols(source: Source) -> None:
    table(source.take(evidence.protocols_table), "Scores by way of splitting")
    st.markdown(
        "*Patient known* is the share of test images whose patient was also trained on: where it is not zero, the "
        "score is partly memory. " + source.take(evidence.leak_sentence)
    )
    st.caption("\n".join(f"- {line}" for line in source.take(evidence.protocols_explained)))
    with st.expander("How the memorising network was trained"):
        rows = source.take(lambda record: evidence.choices(record["memorising_recipe"]))
        table(rows, "Recipe of the memorising network")


def calibration(source: Source) -> None:
    figure = canvas("Probability of malignant", "Share that is malignant")
    add_diagonal(figure)
    whens = {"after": "as served"}
    if source.take(lambda record: record["chosen"] != "none"):
        whens = {"before": "before calibration", "after": "after calibration"}
    for number, (when, name) in enumerate(whens.items()):
        points = source.take(partial(evidence.reliability_points, when=when))
        add_points(figure, points, name, number)
    unit_square(figure)
    chart(figure, source.file.name, "Reliability diagram: share malignant over probability, with 95 % intervals")
    st.markdown(
        "Points on the diagonal keep their word; above it more is malignant than was said, below it less. "
        + source.take(evidence.scaling_kept)
    )
    for when, name in whens.items():
        rows = source.take(partial(evidence.reliability_table, when=when))
        numbers(f"The numbers of the diagram, {name}", rows)
    table(source.take(evidence.candidates_table), "Calibration error of every scaling")
    st.markdown("The calibration error is the mean distance from the diagonal, on patients left out of the fit.")

    st.markdown("#### Not sure")
    table(source.take(lambda record: evidence.sets_table(record["sets"])), "Coverage and share of not sure")
    st.markdown(
        "A set with both classes is shown as *not sure*. A higher promise is paid for with more of them. "
        + source.take(lambda record: record["guarantee"]["in_short"])
    )
    if source.record.get("under_stain_change"):
        with st.expander("The same under a strong change of stain"):
            changed_stain = source.take(lambda record: evidence.sets_table(record["under_stain_change"]["sets"]))
            table(changed_stain, "Coverage and share of not sure under a stain change")
            st.caption(source.take(lambda record: evidence.sentence(record["under_stain_change"]["what"])))


def gate(source: Source) -> None:
    interval_chart(source.take(evidence.gate_families), "Share refused", "gate-families", percent=True)
    st.markdown(source.take(evidence.gate_sentence))
    families = evidence.points_table(source.take(evidence.gate_families), "Images", "Share refused", percent=True)
    numbers("The numbers of the families", families)
    lines = source.take(evidence.gate_lines)
    names = [line.name for line in lines]
    chosen = st.selectbox("Images to keep out", names, help="The hardest to keep out comes first.", key="kind")
    figure = canvas("True patches refused", "These images refused")
    add_diagonal(figure)
    for line in lines:
        if line.name != chosen:
            figure.add_scatter(
                x=line.x, y=line.y, name=line.name, mode="lines", line={"color": GREY, "width": 1}, opacity=0.5,
                showlegend=False,
            )  # fmt: skip
    add_line(figure, lines[names.index(chosen)], 0, band=False)
    figure.add_vline(
        x=source.take(lambda record: record["true_patches"]["share"]["value"]),
        line={"color": COLOURS[1], "width": 1.5, "dash": "dash"},
    )
    unit_square(figure)
    chart(figure, "gate", f"ROC curve of the gate for {chosen}, all others in grey")
    st.markdown(
        "Each curve is one kind of image that should be refused; the dashed line is the limit in use. A curve in the "
        "upper left corner is kept out without losing true patches."
    )
    numbers(
        "The numbers of the chosen curve", evidence.lines_table([lines[names.index(chosen)]], "True patches refused")
    )
    for expected, words in evidence.VERDICTS.items():
        rows = source.take(partial(evidence.gate_table, expected=expected))
        if rows:
            numbers(f"Every kind of image that {words}", rows)


def robustness(source: Source) -> None:
    lines = {line.name: line for line in source.take(evidence.robustness_lines)}
    chosen = st.selectbox("Change", list(lines), help="The one that costs most comes first.", key="change")
    unit, about = source.take(partial(evidence.robustness_words, name=chosen))
    st.markdown(f"{chosen[0].upper()}{chosen[1:]}: {about}.")
    figure = canvas(f"{chosen} ({unit})", "AUC")
    drawn = [replace(lines[chosen], name=evidence.MODELS[evidence.NETWORK])]
    drawn += source.take(partial(evidence.robustness_beside, name=chosen))
    for number, line in enumerate(drawn):
        add_line(figure, line, number, band=number == 0)
        figure.update_traces(mode="lines+markers", selector={"name": line.name})
    chart(figure, "robustness", f"AUC over the strength of the change {chosen}, with a 95 % band")
    st.markdown(
        f"{source.take(evidence.robustness_sentence)} A level line does not care; where it falls, the model leans on "
        "what was changed."
    )
    numbers("Every change and strength", source.take(evidence.robustness_table))
    originals = source.take(evidence.originals_table)
    if originals:
        st.markdown("A small look at the published images, at its own magnification and at others:")
        table(originals, "Published images at every magnification")


def ablation(source: Source) -> None:
    points = source.take(evidence.comparison_points)
    if points:
        interval_chart(points, "Difference in AUC", source.file.name, zero=True)
    st.markdown(
        "Right of the dotted line the first network is better; an interval that crosses it shows no difference. "
        + source.take(evidence.parts_verdict)
    )
    table(source.take(evidence.comparisons_table), "Paired comparisons of the variants")
    numbers("The scores of every variant", source.take(evidence.variants_table))


def localisation(source: Source) -> None:
    points = source.take(partial(evidence_maps.localisation_points, name=evidence_maps.BREAST))
    interval_chart(points, "Average precision on breast tissue", source.file.name)
    st.markdown(source.take(evidence_maps.localisation_sentence))
    st.markdown(
        "A map shows what moved the model. Only some structures are marked on these images, so what lies beside a "
        "mark is not always wrong; and where stain alone does as well, the map has found nuclei and not disease."
    )
    numbers("Every map on every set", source.take(evidence_maps.localisation_table))
    if slow := source.take(evidence_maps.slow_sentence):
        st.markdown(slow)
    st.markdown("How pure is what a rule keeps, and how much of the lesion does it cover? On breast tissue:")
    figure = canvas("Share of the image that is kept", "Share of the kept on the lesion")
    for number, line in enumerate(source.take(partial(evidence_maps.purity_lines, name=evidence_maps.BREAST))):
        add_line(figure, line, number, band=False)
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickformat=".0%")
    chart(figure, "purity", "Purity of what each rule keeps, over its area; the numbers are in the file")
    st.markdown(
        "At the same area the rules are equally pure, so none is better at finding lesions. Overlap alone would always "
        "keep everything positive; the default stands where keeping less makes the rest hardly purer."
    )
    table(source.take(partial(evidence_maps.rules_table, name=evidence_maps.BREAST)), "Rules against masks")


def faithfulness(source: Source) -> None:
    st.markdown(source.take(evidence_maps.faithfulness_sentence))
    for baseline, words in evidence_maps.BASELINES.items():
        st.markdown(
            f"Tissue replaced by {words}; how much more the probability follows the map than a random order of the "
            "same cells, and than Grad-CAM's own:"
        )
        table(source.take(partial(evidence_maps.faithfulness_table, baseline=baseline)), f"Replaced by {words}")
        areas = source.take(partial(evidence_maps.areas_table, baseline=baseline))
        numbers(f"The areas themselves, and finer maps ({words})", areas)
    st.markdown("A map that explains this network must change when the network's weights are drawn anew:")
    table(source.take(evidence_maps.randomised_table), "Weights drawn anew")


def engines(source: Source) -> None:
    table(source.take(evidence_maps.engines_table), "Engines beside torch in full precision")


def benchmark(source: Source) -> None:
    full, checked = source.take(evidence.full_networks), source.take(evidence.checked_networks)
    if full:
        interval_chart(source.take(lambda record: evidence.network_points(full)), "AUC", "benchmark")
        st.markdown("Where two intervals overlap, nothing is said of which network is better.")
        table(source.take(lambda record: evidence.networks_table(full)), "Networks measured in full")
        numbers("Every score of these networks", source.take(lambda record: evidence.network_scores(full)))
    if checked:
        with st.container(border=True):
            st.markdown(
                "**Pipeline check, no comparison.** These networks started at random and saw small images and one "
                "fold: the rows prove that the code runs, and say nothing of how good the networks are."
            )
            table(source.take(lambda record: evidence.networks_table(checked)), "Pipeline checks")
            scores = source.take(lambda record: evidence.network_scores(checked))
            numbers("What the check scored, which compares nothing", scores)
            for told in sorted({row["protocol"] for row in checked.values()}):
                st.caption(evidence.sentence(told))
            st.caption(f"In full, where pretrained weights can be had: `{source.file.command} --networks all`")


def mini_ddsm(source: Source) -> None:
    interval_chart(source.take(evidence.film_points), "AUC", "mini-ddsm")
    st.markdown("A row without a breast in it measures scanners and batches, not medicine. " + source.take(site_effect))
    table(source.take(evidence.letters_table), "AUC by scanner")
    st.caption("\n".join(f"- {line}" for line in source.take(evidence.films_explained)))
    numbers("Every metric of the network and its baselines", source.take(evidence.films_table))

    st.markdown("#### What a naive split would have claimed")
    table(source.take(evidence.naive_table), "Three classes by naive splits")
    st.markdown(source.take(lambda record: str(record["naive_three_classes"]["verdict"])))


def site_effect(record: dict[str, Any]) -> str:
    return str(record["site_effect"])


def bach() -> None:
    st.subheader(BACH, anchor="bach")
    st.markdown("*Is there a model for normal, benign, in situ and invasive?*")
    st.markdown(
        "Not here: no weights are shipped, because the images with labels (part A) are not in this project's data. "
        "Whoever has them:"
    )
    for command in evidence.BACH_COMMANDS:
        st.caption(f"`{command}`")


def speed(source: Source) -> None:
    st.markdown(source.take(evidence_speed.speed_sentence))
    table(source.take(evidence_speed.speed_table), "Time and throughput of every program")


def load(source: Source) -> None:
    st.markdown(source.take(evidence_speed.load_sentence))
    line = source.take(evidence_speed.waits)
    figure = canvas("Time (s)", "Wait for a verdict (s)", height=300)
    figure.add_scatter(x=line.x, y=line.y, name=line.name, mode="markers", marker={"color": COLOURS[0], "size": 6})
    figure.add_hline(
        y=source.take(lambda record: record["seconds"]["percentile_95"]),
        line={"color": COLOURS[1], "width": 1.5, "dash": "dash"},
        annotation={"text": "95 %", "font": {"color": COLOURS[1]}},
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=False)
    chart(figure, "load-waits", "Waiting time of every verdict over the time of the test")
    figure = canvas("Time (s)", "Memory of the server (MB)", height=300)
    add_line(figure, source.take(evidence_speed.memory), 0, band=False)
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=False)
    chart(figure, "load-memory", "Memory of the server over the time of the test")
