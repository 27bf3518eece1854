"""The table of a batch: a row for every image, its answer first; what is known against the answers; and the truth,
where folders or names tell it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any, cast

import streamlit as st

from dala.batch import Result, Run
from dala.export.records import Record
from dala.export.worth import has_probability, worth
from dala.gate.modality import WORDS
from dala.preprocess.scale import ASSUMED
from dala.runtime.card import SERVED
from dala.runtime.predict import Model
from dala.runtime.verdict import SCALE
from dala.teaching.cases import answer_of
from dala.words import counted
from pages.parts.second_opinion.scale import FROM
from pages.parts.session import session
from pages.parts.shared import NOT_SURE, SCALE_UNKNOWN, called, known_group, plain, shared_model

ALL, REFUSED = "All", "✕ Refused"
OUTSIDE_SHORT = "◇ Outside"
READ_AS = {weights: WORDS[modality] for modality, weights in SERVED.items()}
ROW_HEIGHT, TABLE_HEIGHT = 72, 560
LABORATORIES_SHOWN = 3
Key = Callable[[Result], Any]


def answer(record: Record, positive: str) -> str:
    """The one sign and word under which an image is listed and filtered."""
    if record["status"] == "refused":
        return REFUSED
    if record["status"] == "outside":
        return OUTSIDE_SHORT
    if record["verdict_reason"] == SCALE:
        return SCALE_UNKNOWN
    return NOT_SURE if record["not_sure"] else called(record["prediction"], positive)


def size_in_words(record: Record) -> str:
    """The pixel size that an image was judged at, and where it comes from; nothing by weights without a scale."""
    size = record["pixel_size"]
    if size is None or record["um_per_pixel"] is None:
        return ""
    if size["source"] == ASSUMED:
        return "unknown"
    rows, columns = (f"{size[side]:.3g}" for side in ("rows", "columns"))
    said = columns if rows == columns else f"{columns} x {rows}"
    return f"{said} um, {': '.join([FROM[size['source']], *([size['told']] if size['told'] else [])])}"


def laboratory_of(record: Record) -> str:
    if record["gate"] is None or record["um_per_pixel"] is None:
        return ""
    return record["gate"]["laboratory"] or "not known"


def table_row(result: Result, positive: str, at_scale: bool) -> dict[str, Any]:
    """`at_scale`: the weights see at a physical scale, so that pixel size and laboratory have columns."""
    record = result.record
    shares, gate = (record["probabilities"] or {}) if has_probability(record) else {}, record["gate"] or {}
    scale = {"Pixel size": size_in_words(record), "Laboratory": laboratory_of(record)} if at_scale else {}
    # The answer first: a phone shows no more than the first three columns.
    return {
        "Answer": answer(record, positive),
        f"P({positive}), %": certain_of_nothing(100 * shares[positive]) if positive in shares else None,
        "Map": data_url(result.heat if record["status"] == "ok" else b""),
        "Patch": data_url(result.thumbnail),
        "File": record["file"],
        "Read as": "" if record["status"] == "refused" else READ_AS.get(record["weights"], ""),
        **scale,
        **({"Site": record["site"]["name"]} if record["site"] else {}),
        "Distance": gate.get("distance"),
        "Why no verdict": record["reason"] or "",
    }


def data_url(jpeg: bytes) -> str | None:
    """The image as an address: a served one can be gone, with the page that showed it, when it is asked for."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() if jpeg else None


def certain_of_nothing(percent: float) -> float:
    """Never 0 or 100: rounding must not make a model certain."""
    return min(max(percent, 0.1), 99.9)


def table(results: list[Result], model: Model, key: str | None, choosable: bool) -> list[int]:
    """The table; the numbers of the chosen rows. An image whose answer stands there can no longer be read first."""
    positive, at_scale = str(model.card.fields["positive"]), model.card.input.um_per_pixel is not None
    for result in results:
        if result.record["status"] != "refused":
            session().note_answer_seen(result.record["sha256"])
    event = st.dataframe(
        [table_row(result, positive, at_scale) for result in results],
        column_config={
            "Map": st.column_config.ImageColumn(width=105, help="What moved the model towards its answer."),
            "Patch": st.column_config.ImageColumn(width=105),
            "File": st.column_config.TextColumn(width="medium"),
            "Read as": st.column_config.TextColumn(width=110),
            "Answer": st.column_config.TextColumn(width=130),
            "Pixel size": st.column_config.TextColumn(width=150),
            "Laboratory": st.column_config.TextColumn(width=110, help="The one that the model takes the image for."),
            f"P({positive}), %": st.column_config.NumberColumn(
                format="%.1f",
                width=120,
                help="Shown from 0.1 to 99.9; none where the model is not sure in a laboratory that it does not know.",
            ),
            "Distance": st.column_config.NumberColumn(
                format="%.2f",
                width=90,
                help="Distance from the training images, whose own is about 1.",
            ),
            "Why no verdict": st.column_config.TextColumn(width="large"),
        },
        hide_index=True,
        row_height=ROW_HEIGHT,
        height=min(TABLE_HEIGHT, ROW_HEIGHT * len(results) + 40),
        key=key,
        placeholder="-",
        on_select="rerun" if choosable else "ignore",
        selection_mode="single-row",
    )
    return list(cast(Any, event).selection.rows) if choosable else []


def orders(positive: str) -> dict[str, Key | None]:
    """What the table can be sorted by; the order stays while one is on other pages."""

    def share(result: Result) -> float:
        return -float((result.record["probabilities"] or {}).get(positive, -1.0))

    return {
        "As dropped": None,
        f"Most {positive} first": share,
        "File name": lambda result: result.record["file"],
        "Farthest from the training images": lambda result: -((result.record["gate"] or {}).get("distance") or 0.0),
    }


def warn_of_known(run: Run, model: Model) -> None:
    known = 0
    for record in (result.record for result in run.results):
        one = model if record["weights"] == model.name else shared_model(record["weights"])
        known += known_group(PureWindowsPath(record["file"]).name, one) is not None
    if known:
        st.warning(
            f"Images of patients on whom the model was trained, by file name: {known} of {len(run.results)}. A correct "
            "answer there would prove nothing."
        )


def show_worth_of(run: Run, model: Model) -> None:
    """How often such answers were wrong, for the laboratories that the images are taken for, the commonest first."""
    answered = [result.record for result in run.results if result.record["status"] == "ok"]
    taken = Counter((record["gate"] or {}).get("laboratory") for record in answered if record["weights"] == model.name)
    for laboratory, count in taken.most_common(LABORATORIES_SHOWN):
        st.markdown(f"**{count} of {len(run.results)}**: {plain(worth(model.card, laboratory))}")


def truth_of(record: Record) -> str | None:
    """The class that an image's name in BreakHis's manner, or the folder it lies in, tells."""
    return answer_of(Path(record["file"].replace("\\", "/")))


def show_truth(run: Run, positive: str) -> None:
    """Answers against the truth, where folders or names tell it."""
    told = [(truth_of(result.record), answer(result.record, positive)) for result in run.results]
    known = Counter((truth, said) for truth, said in told if truth is not None)
    if not known:
        return
    columns = list(dict.fromkeys(said for _, said in sorted(known, key=lambda one: str(one[1]))))
    with st.expander(f"Against the truth, which names or folders of {counted(sum(known.values()), 'image')} tell"):
        st.table(
            [
                {"Truth": called(truth, positive), **{said: known[truth, said] for said in columns}}
                for truth in sorted({truth for truth, _ in known})
            ],
            hide_index=True,
            alt="Answers against the truth",
        )
        st.caption("Counts of images. Not sure, outside and refused are no answers, right or wrong.")
