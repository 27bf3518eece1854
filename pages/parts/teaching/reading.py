"""Read first: the student calls a case and marks where, then label, opinion and map are revealed."""

from __future__ import annotations

import secrets

import cv2
import numpy as np
import streamlit as st

from dala.data.breakhis import CLASSES
from dala.errors import IntakeError
from dala.explanation.render import encode_png
from dala.opinion import Explanation, Opinion, explain
from dala.phantoms.tissue import Phantom, draw
from dala.runtime.predict import Model
from dala.stats.agreement import Share
from dala.teaching.cases import Case, answered, diagnosis_of, drawn_deck, file_deck
from dala.teaching.reading import (
    Agreement,
    Mark,
    Read,
    Score,
    agreement,
    evidence_at,
    hit,
    hits,
    score_of_model,
    score_of_reader,
    to_csv,
)
from dala.words import counted
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.second_opinion.examples import opinion_of, samples
from pages.parts.session import Round, session
from pages.parts.shared import BAR_WIDTH, OUTSIDE, SHAPES, called, inline, known_group, percent, plain
from pages.parts.teaching.marker import Shown, mark, outlines_of

COUNTS = (5, 10, 20)
DRAWINGS, FILES = "Drawn cases", "Images of the samples folder"
POSITIVE = CLASSES[1]
LESION = "#E69F00"  # Okabe and Ito's orange
COLUMNS = [3, 2]
LAST_DECK = 99_999


@st.cache_resource(show_spinner="The next case is drawn …", max_entries=64)
def drawing(name: str, number: int) -> Phantom:
    return draw(name, number)


@st.cache_data(show_spinner=False, max_entries=64)
def drawing_png(name: str, number: int) -> bytes:
    return encode_png(drawing(name, number).pixels)


def show_reading(model: Model) -> None:
    """The whole part: a round is begun, goes case by case, and ends with the score."""
    going = session().round
    if going is None:
        show_start()
        return
    case = going.case
    if case is None:
        show_end(going)
        return
    try:
        phantom = None if case.drawing is None else drawing(case.drawing, case.field)
        data = case.data() if case.drawing is None else drawing_png(case.drawing, case.field)
        opinion = opinion_of(data, case.name, model)
    except (IntakeError, OSError):
        st.error(f"Case {case.number}, {plain(case.name)}, cannot be read and is left out.")
        going.deck.remove(case)
        st.button("Continue", type="primary")
        return
    if going.revealed:
        show_answer(going, case, opinion, phantom)
    else:
        ask(going, case, opinion, phantom)


def show_start() -> None:
    st.markdown(
        "You read first. For each case you say benign or malignant, how sure you are, and where you see it; only then "
        "are the answer, the model's opinion and its map shown. **Readers who see the machine's answer first are led "
        "by it.**"
    )
    known = answered(samples().values())
    source = DRAWINGS
    if known:
        source = st.segmented_control("Cases", [DRAWINGS, FILES], default=FILES, required=True, key="reading-source")
    count = st.segmented_control("How many", COUNTS, default=COUNTS[1], required=True, key="reading-count")
    seed = st.number_input(
        "Deck",
        1,
        LAST_DECK,
        None,
        key="deck",
        placeholder="a new one",
        width=220,
        help="The same number deals the same cases in the same order, so that a class reads the same ones.",
    )
    if source == DRAWINGS:
        st.caption(
            "Schematic H&E made by code, a new field every time. The answer is how it was drawn: it is not tissue and "
            "has no diagnosis, and drawings are of no laboratory that the model knows. For real cases, let "
            "the environment variable DALA_SAMPLES name a folder of images with BreakHis names, or with subfolders "
            "called benign and malignant."
        )
    else:
        st.caption(
            f"The samples folder holds {counted(len(known), 'image')} with a known answer, by the BreakHis name or a "
            "folder called benign or malignant. Both classes are dealt in equal numbers."
        )
    if pressed(st, "Start reading", "reading-start", type="primary"):
        with uninterrupted():
            seed = seed or 1 + secrets.randbelow(LAST_DECK)
            deck = drawn_deck(count, seed) if source == DRAWINGS else file_deck(known, count, seed)
            session().round = Round(secrets.token_hex(4), deck, seed)
        st.rerun()


def identity(going: Round, case: Case) -> str:
    return f"{going.number}-{case.number}"


def show_progress(going: Round, case: Case) -> None:
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown(f"**Case {case.number} of {len(going.deck)}**", width="content")
    if going.reads:
        right = sum(read.right for read in going.reads)
        row.markdown(f"{right} of {len(going.reads)} right so far", width="content")
    row.space("stretch")
    if pressed(row, "End the round", f"reading-end-{going.number}", type="tertiary"):
        going.deck = going.deck[: len(going.reads)]
        going.revealed = False
        st.rerun()


def marked(
    going: Round,
    case: Case,
    opinion: Opinion,
    shown: list[Shown] | None = None,
    legend: str | None = None,
) -> Mark:
    """The image, to be marked as long as there is no legend."""
    height, width = opinion.image.shape[:2]
    return mark(
        "reading-mark",
        identity(going, case),
        encode_png(opinion.image),
        (width, height),
        f"Case {case.number}",
        shown or (),
        legend,
    )


def ask(going: Round, case: Case, opinion: Opinion, phantom: Phantom | None) -> None:
    """The case without any answer."""
    show_progress(going, case)
    image, form = st.columns(COLUMNS, gap="medium")
    with image:
        where = marked(going, case, opinion)
    with form:
        call = st.segmented_control(
            "Your call",
            CLASSES,
            format_func=lambda name: called(name, POSITIVE),
            key=f"call-{identity(going, case)}",
            width="stretch",
        )
        sure = st.slider(
            "How sure are you? (50: a guess, 100: certain)", 50, 100, 75, 5, key=f"sure-{identity(going, case)}"
        )
        st.caption(
            "Where do you see it? Click a place in the image, or draw around it; a case that you call benign needs "
            "no mark."
        )
        key, unsaid = f"commit-{len(going.reads)}", call is None
        if pressed(st, "Commit and reveal", key, type="primary", disabled=unsaid, width="stretch") and call is not None:
            prediction = opinion.prediction
            positive = float(prediction.probabilities[prediction.classes.index(POSITIVE)])
            found = None if phantom is None else hit(where, lesion_on(opinion, phantom))
            going.reads.append(
                Read(
                    case.number, case.name, case.answer, call, sure / 100, where, found,
                    prediction.label, positive, opinion.gate.inside, opinion.verdict.not_sure, phantom is not None,
                )
            )  # fmt: skip
            going.revealed = True
            st.rerun()


def lesion_on(opinion: Opinion, phantom: Phantom) -> np.ndarray:
    """The drawn lesion; drawings are shown at their own size."""
    assert phantom.lesion_mask.shape == opinion.image.shape[:2]
    return phantom.lesion_mask


def show_answer(going: Round, case: Case, opinion: Opinion, phantom: Phantom | None) -> None:
    """The label, the model's opinion and its map beside the student's call and mark."""
    show_progress(going, case)
    read = going.reads[-1]
    target = read.model
    explanation = explain(opinion, target)
    has_lesion = phantom is not None and phantom.lesion_mask.any()
    image, words = st.columns(COLUMNS, gap="medium")
    with image:
        shown = []
        legend = "Your mark is white." if read.mark else "You made no mark."
        if phantom is not None and has_lesion:
            shown = [Shown(outlines_of(lesion_on(opinion, phantom)), LESION, (6, 5))]
            legend += " The drawn lesion is outlined in orange, dashed."
        marked(going, case, opinion, shown, legend)
    with words:
        st.subheader(f"{'✓ Right' if read.right else '✗ Wrong'}: it is {case.answer}", anchor=False)
        if case.path is not None and (diagnosis := diagnosis_of(case.path)):
            st.markdown(f"Diagnosis: **{plain(diagnosis)}**.")
        verdict, p = opinion.verdict, float(opinion.prediction.probabilities.max())
        st.markdown(
            f"You: {SHAPES[read.call == POSITIVE]} **{read.call}**, {100 * read.confidence:.0f} % sure.  \n"
            f"The model: {SHAPES[target == POSITIVE]} **{target}**"
            f"{f', {percent(p)}' if verdict.has_probability else ''}{model_doubt(opinion)}."
        )
        for sentence in remarks(read, opinion, explanation, phantom):
            st.markdown(sentence)
        last = len(going.reads) == len(going.deck)
        label, key = "See the score" if last else "Next case", f"reading-next-{identity(going, case)}"
        if pressed(st, label, key, type="primary", width="stretch"):
            going.revealed = False
            st.rerun()
    row = st.container(horizontal=True, gap="small")
    gradcam, dt = row.container(width="stretch").columns(2, gap="small")
    gradcam.image(
        inline(with_mark(explanation.panels.gradcam, read.mark)),
        caption=f"Grad-CAM towards {target}",
        width="stretch",
        alt=f"Grad-CAM towards {target}",
    )
    dt.image(
        inline(with_mark(explanation.panels.dt, read.mark)),
        caption="DT Grad-CAM: above the threshold",
        width="stretch",
        alt="DT Grad-CAM: above the threshold",
    )
    # A width for the image itself would make Streamlit scale it down on the server.
    bar = row.container(width=BAR_WIDTH)
    bar.image(inline(explanation.panels.bar), width="stretch", alt="Colour bar")


def with_mark(panel: np.ndarray, where: Mark) -> np.ndarray:
    """The panel with the student's mark as on the image."""
    height, width = panel.shape[:2]
    drawn = panel.copy()
    corners = np.array([[round(x * (width - 1)), round(y * (height - 1))] for x, y in where], np.int32)
    for colour, thickness in (((24, 24, 27), 4), ((255, 255, 255), 2)):
        if len(corners) == 1:
            cv2.drawMarker(drawn, corners[0].tolist(), colour, cv2.MARKER_CROSS, 26, thickness)
        elif len(corners):
            cv2.polylines(drawn, [corners], True, colour, thickness, cv2.LINE_AA)
    return drawn


def model_doubt(opinion: Opinion) -> str:
    if not opinion.gate.inside:
        return f"; {OUTSIDE.lower()}, so this is no verdict"
    return " (its answer: not sure)" if opinion.verdict.not_sure else ""


def remarks(read: Read, opinion: Opinion, explanation: Explanation, phantom: Phantom | None) -> list[str]:
    """What else there is to say of a case that was read."""
    said = []
    if read.hit is not None:
        said.append(f"Your mark is {'inside' if read.hit else 'outside'} the drawn lesion.")
    share = evidence_at(read.mark, explanation.field)
    if share is not None:
        if len(read.mark) == 1:
            said.append(f"At your mark the model's map has {100 * share:.0f} % of its maximum.")
        else:
            said.append(f"Within your outline lies {100 * share:.0f} % of the model's evidence.")
    if phantom is not None:
        if phantom.lesion_mask.any():
            height, width = explanation.field.shape
            top, left = np.unravel_index(int(explanation.field.argmax()), (height, width))
            inside = phantom.lesion_mask[top, left]
            said.append(f"The model's map peaks {'inside' if inside else 'outside'} the drawn lesion.")
        said.append(f"*{phantom.title}.* {phantom.description}")
    group = known_group(opinion.patch.name, opinion.model)
    if group is not None:
        said.append(f"The model was trained on images of this patient ({group}): being right here proves nothing.")
    return said


def show_end(going: Round) -> None:
    """The score of the round, all cases, and the way to the next round."""
    if not going.reads:
        st.info("No case was read.")
    else:
        st.subheader(f"{counted(len(going.reads), 'case')} read", anchor=False)
        show_score(going.reads)
        st.caption(f"Deck {going.seed}: the same number deals the same cases.")
    row = st.container(horizontal=True)
    if going.reads:
        row.download_button(
            "All reads (CSV)", to_csv(going.reads), "reads.csv", "text/csv", on_click="ignore", width="content"
        )
    if pressed(row, "Another round", f"reading-another-{going.number}", type="primary"):
        with uninterrupted():
            session().round = None
        st.rerun()


def show_score(reads: list[Read]) -> None:
    scores = {"You": score_of_reader(reads)}
    asked = [read for read in reads if not read.drawn]
    answered_by_it = [read for read in asked if read.answered]
    if answered_by_it:
        scores |= {
            "You, on what the model answered": score_of_reader(answered_by_it),
            "The model": score_of_model(asked),
        }
    st.table([{"Reader": name, **score_row(score)} for name, score in scores.items()], hide_index=True)
    lines = []
    if answered_by_it:
        together: Agreement = agreement(asked)
        only = "undefined, because only one class was ever called"
        kappa = only if together.kappa is None else f"{together.kappa:.2f}"
        lines.append(
            f"**You and the model agree** on {together.same.count} of {counted(together.same.of, 'case')} that it "
            f"answered; Cohen's kappa: {kappa}."
        )
    outside = sum(not read.inside for read in asked)
    unsure = sum(read.inside and read.not_sure for read in asked)
    if asked:
        lines.append(
            f"**No answer of the model**, neither right nor wrong: not sure {unsure}, {OUTSIDE.lower()} {outside} of "
            f"{counted(len(asked), 'image')}."
        )
    if len(asked) < len(reads):
        lines.append(
            f"**Drawings:** {len(reads) - len(asked)} of {counted(len(reads), 'case')}. A model of tissue has no score "
            "on them; yours tells whether you see what was drawn."
        )
    pointed = hits(reads)
    if pointed.of:
        lines.append(f"**Marks inside the drawn lesion:** {pointed.count} of {pointed.of}.")
    st.markdown("  \n".join(lines))
    st.caption(
        "In brackets: 95 % Wilson intervals. With so few cases they are wide: that is the point. Brier score: the mean "
        "squared distance of the stated probability from the truth, lower is better; always saying 50 % gives 0.25."
    )
    st.dataframe(
        [
            {
                "Case": read.number,
                "Image": read.name,
                "Answer": read.answer,
                "You": read.call,
                "Sure, %": round(100 * read.confidence),
                "Right": "✓" if read.right else "✗",
                "In the lesion": {None: "", True: "✓", False: "✗"}[read.hit],
                "The model computes": read.model,
                f"Its P({POSITIVE}), %": round(100 * read.probability, 1),
                "Its answer": "outside" if not read.inside else "not sure" if read.not_sure else read.model,
            }
            for read in reads
        ],
        hide_index=True,
    )


def score_row(score: Score) -> dict[str, str]:
    return {
        "Right": in_words(score.right),
        "Sensitivity (malignant found)": in_words(score.sensitivity),
        "Specificity (benign left alone)": in_words(score.specificity),
        "Brier score": "undefined" if score.brier is None else f"{score.brier:.3f}",
    }


def in_words(share: Share) -> str:
    interval = share.interval
    if interval is None:
        return "undefined: no such case"
    return f"{share.count} of {share.of} ({100 * interval[0]:.0f} to {100 * interval[1]:.0f} %)"
