"""Draws the blocks that a study's section is made of."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dala.studies.blocks import Block, Box, Caption, Chart, Choice, Folded, Row, Table, Text
from pages.parts.evidence.charts import drawn

UNNAMED = "Of"
CONFIG = {"displayModeBar": False, "scrollZoom": False}


def draw(blocks: Sequence[Block]) -> None:
    """Every block, one below the other."""
    for block in blocks:
        match block:
            case Text():
                st.markdown(block.markdown)
            case Caption():
                st.caption(block.markdown)
            case Table():
                table(block.rows, block.name)
            case Chart():
                st.plotly_chart(drawn(block), key=f"chart-{block.key}", config=CONFIG, alt=block.alt)
            case Folded():
                with st.expander(block.title):
                    draw(block.blocks)
            case Box():
                with st.container(border=True):
                    draw(block.blocks)
            case Choice():
                draw(block.body(_chosen(block)))


def table(rows: Sequence[Row], alt: str, *, header: bool = True) -> None:
    """Rows of ready text under their columns, each of which has a name for whoever hears the table."""
    named = [{key or UNNAMED: value for key, value in row.items()} for row in rows]
    st.table(named, border="horizontal", hide_index=True, hide_header=not header, alt=alt)


def _chosen(choice: Choice) -> str:
    if not choice.buttons:
        return str(st.selectbox(choice.label, choice.options, help=choice.help, key=choice.key))
    return str(
        st.segmented_control(
            choice.label,
            choice.options,
            default=choice.options[0],
            required=True,
            help=choice.help,
            key=choice.key,
            wrap=True,
        )
    )
