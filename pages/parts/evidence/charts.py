"""Tables and charts of the evidence page: labels that fit a narrow screen, light and dark, and numbers beside them."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
from streamlit.elements.lib.streamlit_plotly_theme import GRAY_90

from dala.evidence import Line, Point, Row

# Okabe and Ito's colours, darkened where a white ground needs it; each has its own dash and marker too.
COLOURS = ("#1f7fbf", "#c87a00", "#009e73", "#b9689a", "#8c6d1f")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "triangle-up", "square", "diamond", "cross")
GREY = "#868e96"
INK = GRAY_90  # a mark that the browser replaces by the theme's dark or light ink; the theme's own labels are too pale
CHART_HEIGHT, ROW_HEIGHT = 420, 34
CONFIG = {"displayModeBar": False, "scrollZoom": False}
UNIT = [-0.02, 1.02]


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


def unit_square(figure: go.Figure) -> None:
    figure.update_xaxes(range=UNIT)
    figure.update_yaxes(range=UNIT)
