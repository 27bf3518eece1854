"""The evidence in four sentences and one figure, from the card of the weights that are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dala.errors import WeightsError
from dala.gate.checks import HISTOLOGY
from dala.runtime.card import SERVED, read_card
from dala.studies.blocks import Block, Caption, Chart, Folded, Point, Table, Text
from dala.words import share
from pages.parts.evidence.blocks import draw

WORDS = 40  # of a study's own words that are seen at once; the rest is folded
FIGURE = Chart(
    "short-wrong",
    "Share of answers that were wrong, by laboratory",
    "answers that were wrong",
    rows=True,
    percent="x",
)


def show_short() -> None:
    """The sentences and the figure; nothing for weights whose card has no figures by laboratory."""
    try:
        fields = read_card(SERVED[HISTOLOGY])[0].fields
    except WeightsError as error:
        st.error(str(error))
        return
    known: Mapping[str, Any] = fields.get("laboratories", {})
    left_out = {name: found["answered"] for name, found in fields.get("left_out", {}).items()}
    answered = {name: found["answered"] for name, found in known.items() if found.get("answered")}
    if not answered:
        return
    st.markdown("\n".join(f"{number}. {said}" for number, said in enumerate(sentences(answered, left_out), start=1)))
    points = [point(name, one) for name, one in answered.items()]
    points += [point(f"{name}, left out: unknown", one) for name, one in left_out.items()]
    draw([Chart(**{**vars(FIGURE), "series": {"wrong": points}})])
    st.caption("Dots: of the answers that were given, the share that was wrong; lines: 95 % intervals over patients.")


def sentences(answered: Mapping[str, Mapping[str, Any]], left_out: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a reader with one minute should take away."""
    wrong = [one["wrong"]["value"] for one in answered.values()]
    given = [one["share"]["value"] for one in answered.values()]
    said = [
        f"**In laboratories it has learnt from**, {share(min(wrong))} to {share(max(wrong))} of its answers were "
        "wrong, on patients it had not seen.",
        f"**It does not always answer**: it said benign or malignant of {share(min(given))} to {share(max(given))} of "
        "those images, and “not sure” of the others.",
    ]
    if left_out:
        given = [one["share"]["value"] for one in left_out.values()]
        wrong = [one["wrong"]["value"] for one in left_out.values()]
        said.append(
            f"**In a laboratory it does not know** it answers less: {share(min(given))} to {share(max(given))} of the "
            f"images of {', '.join(left_out)}, each left out of its training, and {share(min(wrong))} to "
            f"{share(max(wrong))} of these answers were wrong; they are few, so that it may be more, as the lines show."
        )
    said.append(
        "**Its map shows what moved it, not where a lesion is**; images unlike those that it has learnt from are "
        "refused."
    )
    return said


def point(name: str, answered: Mapping[str, Any]) -> Point:
    wrong = answered["wrong"]
    return Point(name, wrong["value"], wrong.get("low"), wrong.get("high"))


def draw_shortened(blocks: Sequence[Block]) -> None:
    """Words first and few; the rest is folded."""
    seen, rest = shortened(blocks)
    draw(seen)
    if rest:
        draw([Folded("In detail", rest)])


def shortened(blocks: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """What is in sight, and the rest: words that exceed `WORDS`, and tables beside anything else."""
    others = any(not isinstance(block, Table) for block in blocks)
    seen: list[Block] = []
    rest: list[Block] = []
    words = 0
    for block in blocks:
        if isinstance(block, Text | Caption):
            words += len(block.markdown.split())
            (seen if words <= WORDS or not seen else rest).append(block)
        elif isinstance(block, Table) and others:
            rest.append(block)
        else:
            seen.append(block)
    return seen, rest
