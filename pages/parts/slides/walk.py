"""The viewer of a slide, and the field of it that somebody asks about."""

from __future__ import annotations

import streamlit as st

from dala.errors import SlideError
from dala.slides.grid import Grid
from dala.slides.reader import Slide
from pages.parts.component import component, component_key
from pages.parts.session import session
from pages.parts.shared import plain
from pages.parts.slides.scan import colours


def walk(slide: Slide, address: str, cells: list[tuple[int, int, str]]) -> None:
    """The viewer; a field that was clicked is kept as the one that is asked about."""
    try:
        grid = slide.grid
    except SlideError as error:
        grid = None
        if error.name != "no_pixel_size":
            st.error(plain(str(error)))
    picked, flight = session().field_picked.get(str(slide.path)), session().flight
    answer = component("slide")(
        data={
            "id": address,
            "address": address,
            "width": slide.size[0],
            "height": slide.size[1],
            "halvings": slide.halvings,
            "um": None if slide.um is None else slide.um.columns,
            "grid": None
            if grid is None
            else {
                "columns": grid.columns,
                "rows": grid.rows,
                "width": min(grid.field[0], grid.size[0]),
                "height": min(grid.field[1], grid.size[1]),
            },
            "picked": picked,
            "cells": cells,
            "colours": colours(),
            "flight": None if flight is None else {"number": flight[0], "box": flight[1]},
        },
        key=component_key(f"slide-{address}"),
        on_picked_change=lambda: None,
    )
    found = None if grid is None else field_of(answer.get("picked"), grid)
    if found is not None and found != picked:
        session().field_picked[str(slide.path)] = found
        st.rerun()


def field_of(sent: object, grid: Grid) -> tuple[int, int] | None:
    """What a browser sent as a field of the grid; None for anything else."""
    if not isinstance(sent, list) or len(sent) != 2 or not all(type(value) is int for value in sent):
        return None
    column, row = sent
    return (column, row) if 0 <= column < grid.columns and 0 <= row < grid.rows else None
