"""Evidence: how often the model is wrong, on whose patients, against what, and does it know when it does not know?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit.elements.lib.streamlit_plotly_theme import GRAY_90

from dala import evidence, evidence_maps
from dala.evidence import EvidenceError, Line, Patient, Point, Row, Source
from dala.nets.weights import available
from pages._shared import require_frame

# Okabe and Ito's colours, darkened where a white ground needs it; each has its own dash and marker too.
COLOURS = ("#1f7fbf", "#c87a00", "#009e73", "#b9689a", "#8c6d1f")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "triangle-up", "square", "diamond", "cross")
GREY = "#868e96"
INK = GRAY_90  # a mark that the browser replaces by the theme's dark or light ink; the theme's own labels are too pale
TEXT_AND_SOURCE = (7, 3)
CHART_HEIGHT, ROW_HEIGHT = 420, 34
CONFIG = {"displayModeBar": False, "scrollZoom": False}
UNIT = [-0.02, 1.02]
ROC_X, ROC_Y = "Benign pictures called malignant", "Malignant pictures found"


@dataclass(frozen=True)
class Section:
    """A place of the page: the file's key and the anchor, a title, the question that it answers, and how to show it."""

    key: str
    title: str
    question: str
    body: Callable[[Source], None]


# What every section has


def anchor(key: str) -> str:
    return key.replace("_", "-")


def section(one: Section) -> None:
    """Heading and question, what the section shows of its source, and beside it how that was measured."""
    st.subheader(one.title, anchor=anchor(one.key))
    try:
        source = evidence.read(one.key)
    except EvidenceError as error:
        st.markdown(f"*{one.question}*")
        st.error(str(error))
        return
    if source is None:
        st.markdown(f"*{one.question}*")
        st.caption(f"Not measured yet: `{evidence.FILES[one.key].command}`")
        return
    shown, beside = st.columns(TEXT_AND_SOURCE, gap="large")
    with beside:
        show_provenance(source)
    with shown:
        st.markdown(f"*{one.question}*")
        if source.earlier:
            st.warning(
                "**Measured with an earlier recipe** than that of the weights that are served. "
                f"`{source.file.command}` measures it again."
            )
        try:
            one.body(source)
        except EvidenceError as error:
            st.error(str(error))


def show_provenance(source: Source) -> None:
    told = evidence.provenance(source)
    lines = [f"**Protocol** {told.protocol}"]
    if told.patients is not None:
        lines.append(f"**Patients** {told.patients}.")
    if told.intervals is not None:
        lines.append(f"**Intervals** {told.intervals}")
    st.caption("\n\n".join([*lines, f"**Command** `{told.command}`", f"**File** `{told.file}`"]))


def table(rows: list[Row], alt: str, *, header: bool = True) -> None:
    st.table(rows, border="horizontal", hide_index=True, hide_header=not header, alt=alt)


def numbers(label: str, rows: list[Row]) -> None:
    """The numbers of a chart, for whoever reads no charts."""
    with st.expander(label):
        table(rows, label)


def chart(figure: go.Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=f"chart-{key}", config=CONFIG, alt=alt)


def canvas(x: str, y: str, height: int = CHART_HEIGHT) -> go.Figure:
    """An empty figure: labels that fit 480 px, a legend below, nothing that a finger zooms by accident."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "title": None},
        hovermode="closest",
        dragmode=False,
    )
    letters = {"color": INK}
    for update, words in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
        update(
            title={"text": words, "standoff": 8, "font": letters},
            tickfont=letters,
            fixedrange=True,
            automargin=True,
            zeroline=False,
        )
    return figure


def faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def add_line(figure: go.Figure, line: Line, number: int, *, band: bool) -> None:
    colour = COLOURS[number % len(COLOURS)]
    if band and line.low is not None and line.high is not None:
        figure.add_scatter(
            x=[*line.x, *reversed(line.x)],
            y=[*line.high, *reversed(line.low)],
            mode="lines",
            fill="toself",
            fillcolor=faint(colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
    figure.add_scatter(
        x=line.x,
        y=line.y,
        name=line.name,
        mode="lines",
        line={"color": colour, "width": 2.5, "dash": DASHES[number % len(DASHES)]},
    )


def add_diagonal(figure: go.Figure) -> None:
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": GREY, "width": 1, "dash": "dot"})


def add_points(figure: go.Figure, points: list[Point], name: str, number: int, *, sideways: bool = False) -> None:
    """Values with whiskers; sideways: the values run along x and the names down y."""
    places, values = [point.place for point in points], [point.value for point in points]
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [0 if point.high is None else point.high - point.value for point in points],
        "arrayminus": [0 if point.low is None else point.value - point.low for point in points],
        "thickness": 1.5,
        "width": 4,
    }
    figure.add_scatter(
        x=values if sideways else places,
        y=places if sideways else values,
        name=name,
        mode="markers",
        marker={"color": COLOURS[number], "symbol": MARKERS[number], "size": 9},
        **{"error_x" if sideways else "error_y": whiskers},
    )


def interval_chart(points: list[Point], x: str, key: str, *, zero: bool = False, percent: bool = False) -> None:
    """One value with its interval a row."""
    figure = canvas(x, "", height=90 + ROW_HEIGHT * len(points))
    add_points(figure, points, x, 0, sideways=True)
    figure.update_layout(showlegend=False)
    figure.update_yaxes(autorange="reversed", title=None)
    if percent:
        figure.update_xaxes(tickformat=".0%")
    if zero:
        figure.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dot"})
    chart(figure, key, f"{x} with 95 % intervals, one row each; the numbers are in the table below")


# Sections


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


def unit_square(figure: go.Figure) -> None:
    figure.update_xaxes(range=UNIT)
    figure.update_yaxes(range=UNIT)


def protocols(source: Source) -> None:
    table(source.take(evidence.protocols_table), "Scores by way of splitting")
    st.markdown(
        "*Patient known* is the share of test pictures whose patient was also trained on: where it is not zero, the "
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
    families = evidence.points_table(source.take(evidence.gate_families), "Pictures", "Share refused", percent=True)
    numbers("The numbers of the families", families)
    lines = source.take(evidence.gate_lines)
    names = [line.name for line in lines]
    chosen = st.selectbox("Pictures to keep out", names, help="The hardest to keep out comes first.", key="kind")
    figure = canvas("True patches refused", "These pictures refused")
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
        "Each curve is one kind of picture that should be refused; the dashed line is the limit in use. A curve in the "
        "upper left corner is kept out without losing true patches."
    )
    numbers(
        "The numbers of the chosen curve", evidence.lines_table([lines[names.index(chosen)]], "True patches refused")
    )
    for expected, words in evidence.VERDICTS.items():
        rows = source.take(partial(evidence.gate_table, expected=expected))
        if rows:
            numbers(f"Every kind of picture that {words}", rows)


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
        st.markdown("A small look at the published pictures, at its own magnification and at others:")
        table(originals, "Published pictures at every magnification")


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
        "A map shows what moved the model. Only some structures are marked on these pictures, so what lies beside a "
        "mark is not always wrong; and where stain alone does as well, the map has found nuclei and not disease."
    )
    numbers("Every map on every set", source.take(evidence_maps.localisation_table))
    st.markdown("How pure is what a rule keeps, and how much of the lesion does it cover? On breast tissue:")
    figure = canvas("Share of the picture that is kept", "Share of the kept on the lesion")
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
        st.markdown(f"Tissue replaced by {words}:")
        table(source.take(partial(evidence_maps.faithfulness_table, baseline=baseline)), f"Replaced by {words}")
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
                "**Pipeline check, no comparison.** These networks started at random and saw small pictures and one "
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
        "Not here: no weights are shipped, because the pictures with labels (part A) are not in this project's data. "
        "Whoever has them:"
    )
    for command in evidence.BACH_COMMANDS:
        st.caption(f"`{command}`")


SECTIONS = (
    Section(
        "headline",
        "How often it is wrong",
        "How often is it wrong on patients it has not seen, beside much simpler models?",
        headline,
    ),
    Section(
        "predictions",
        "On whose patients",
        "What does it miss, at which price in false alarms, and whose pictures are they?",
        predictions,
    ),
    Section(
        "protocols",
        "What a leak is worth",
        "What would have been claimed had patients stood on both sides of the split?",
        protocols,
    ),
    Section(
        "calibration",
        "What its probability is worth",
        "When it gives a probability, is it right that often? Does it say so when it does not know?",
        calibration,
    ),
    Section(
        "gate",
        "What it refuses",
        "Does it turn away what it cannot judge, and how many true patches does that cost?",
        gate,
    ),
    Section(
        "robustness",
        "When pictures change",
        "What is left under another stain, focus, compression, brightness or scale?",
        robustness,
    ),
    Section("ablation", "What its parts are worth", "Do the attention and the dual-activated head help?", ablation),
    Section(
        "ablation_by_labels",
        "Its parts, trained on labels",
        "The shipped recipe leaves the parts little to do. Do they help where labels alone train them?",
        ablation,
    ),
    Section("benchmark", "Other networks", "Would another network do better on the same folds?", benchmark),
    Section(
        "localisation",
        "Where the maps lie",
        "Does the heat map lie on what a pathologist has marked? Which map and which rule do so best?",
        localisation,
    ),
    Section(
        "faithfulness",
        "Does the model need what the maps mark?",
        "When the strongest cells are taken away, does the probability follow, more than for cells chosen at random?",
        faithfulness,
    ),
    Section(
        "engines",
        "Engines",
        "Does the faster arithmetic of this machine give the same verdicts as the exact one?",
        engines,
    ),
    Section(
        "mini_ddsm",
        "Mammograms",
        "Does the same method work on Mini-DDSM, and how much of that is the scanner and not the breast?",
        mini_ddsm,
    ),
    Section(
        "mini_ddsm_calibration",
        "Mammograms: the probability",
        "What are the probability and the answer 'not sure' worth there?",
        calibration,
    ),
)
WEIGHTS, BACH = "The weights", "BACH, four classes"
IN_SHORT = (
    ("headline", evidence.headline_sentence),
    ("calibration", evidence.sets_sentence),
    ("gate", evidence.gate_sentence),
    ("robustness", evidence.robustness_sentence),
)


def contents() -> None:
    links = [(anchor(one.key), one.title) for one in SECTIONS] + [("weights", WEIGHTS), ("bach", BACH)]
    st.markdown(" · ".join(f"[{title}](#{place})" for place, title in links))


def in_short() -> None:
    """What a reader with one minute should take away, from those sources that are there and up to date."""
    lines = []
    for key, words in IN_SHORT:
        try:
            source = evidence.read(key)
            if source is not None and not source.earlier:
                lines.append(f"- {source.take(words)}")
        except EvidenceError:
            continue  # its section says what is wrong
    if lines:
        st.markdown("\n".join(lines))


require_frame()

st.header("Evidence", anchor=False)
in_short()
contents()
for one in SECTIONS:
    section(one)
model_cards()
bach()
