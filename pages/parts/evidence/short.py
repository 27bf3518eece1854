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
    unknown: Mapping[str, Any] | None = fields.get("unknown_laboratory")
    answered = {name: found["answered"] for name, found in known.items() if found.get("answered")}
    if not answered:
        return
    st.markdown("\n".join(f"{number}. {said}" for number, said in enumerate(sentences(answered, unknown), start=1)))
    points = [point(name, one) for name, one in answered.items()]
    if unknown and unknown.get("answered"):
        points.append(point(f"unknown ({unknown['name']}, left out)", unknown["answered"]))
    draw([Chart(**{**vars(FIGURE), "series": {"wrong": points}})])
    st.caption("Dots: of the answers that were given, the share that was wrong; lines: 95 % intervals over patients.")


def sentences(answered: Mapping[str, Mapping[str, Any]], unknown: Mapping[str, Any] | None) -> list[str]:
    """What a reader with one minute should take away."""
    wrong = [one["wrong"]["value"] for one in answered.values()]
    given = [one["share"]["value"] for one in answered.values()]
    said = [
        f"**In laboratories it has learnt from**, {share(min(wrong))} to {share(max(wrong))} of its answers were "
        "wrong, on patients it had not seen.",
        f"**It does not always answer**: it said benign or malignant of {share(min(given))} to {share(max(given))} of "
        "those images, and “not sure” of the others.",
    ]
    if unknown and unknown.get("answered"):
        one = unknown["answered"]
        said.append(
            f"**In a laboratory it does not know** ({unknown['name']}, left out of its training) it answered "
            f"{share(one['share']['value'])}, and {share(one['wrong']['value'])} of these answers were wrong."
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
