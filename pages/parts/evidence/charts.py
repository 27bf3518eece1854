"""Charts of the evidence page: labels that fit a narrow screen, light and dark, nothing that a finger zooms."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dala.studies.blocks import Chart, Guide, Line, Point

# Okabe and Ito's colours, darkened where a white ground needs it; each has its own dash and marker too.
COLOURS = ("#1f7fbf", "#c87a00", "#009e73", "#b9689a", "#8c6d1f")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "triangle-up", "square", "diamond", "cross")
GREY = "#868e96"
HEIGHT, ROW_HEIGHT = 420, 34
CROWDED, CROWDED_ROW = 20, 17  # from so many rows on they are so high, in pixels
UNIT = [-0.02, 1.02]


def drawn(chart: Chart) -> go.Figure:
    """The chart, ready for the page."""
    figure = _canvas(chart)
    if chart.square:
        figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": GREY, "width": 1, "dash": "dot"})
    coloured = 0
    for line in chart.lines:
        _add_line(figure, line, coloured)
        coloured += not line.faint
    for number, (name, points) in enumerate(chart.series.items()):
        _add_points(figure, points, name, number, sideways=chart.rows)
    for guide in chart.guides:
        _add_guide(figure, guide)
    if chart.rows:
        _arrange_rows(figure, chart)
    if chart.square or chart.unit:
        figure.update_xaxes(range=UNIT)
    if chart.square:
        figure.update_yaxes(range=UNIT)
    if chart.from_zero:
        figure.update_yaxes(rangemode="tozero")
    if "x" in chart.percent:
        figure.update_xaxes(tickformat=".0%")
    if "y" in chart.percent:
        figure.update_yaxes(tickformat=".0%")
    # A single curve or series is named by the axes and by the text above it.
    figure.update_layout(showlegend=sum(not line.faint for line in chart.lines) + len(chart.series) > 1)
    return figure


def _canvas(chart: Chart) -> go.Figure:
    figure = go.Figure()
    rows = sum(len(points) for points in chart.series.values()) if chart.rows else 0
    crowded = rows >= CROWDED
    figure.update_layout(
        height=chart.height or ((120 + CROWDED_ROW * rows if crowded else 90 + ROW_HEIGHT * rows) if rows else HEIGHT),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "title": None},
        hovermode="closest",
        dragmode=False,
    )
    for update, words in ((figure.update_xaxes, chart.x), (figure.update_yaxes, chart.y)):
        update(
            title={"text": words, "standoff": 8} if words else None,
            fixedrange=True,
            automargin=True,
            zeroline=False,
            exponentformat="none",
        )
    if chart.rows:  # names take much of a narrow screen: few numbers, upright
        figure.update_xaxes(nticks=5, tickangle=0)
    return figure


def _add_line(figure: go.Figure, line: Line, number: int) -> None:
    colour = GREY if line.faint else COLOURS[number % len(COLOURS)]
    if line.low is not None and line.high is not None:
        figure.add_scatter(
            x=[*line.x, *reversed(line.x)],
            y=[*line.high, *reversed(line.low)],
            mode="lines",
            fill="toself",
            fillcolor=_faint(colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
    figure.add_scatter(
        x=line.x,
        y=line.y,
        name=line.name,
        mode="+".join(["lines"] * line.joined + ["markers"] * line.marked),
        line={"color": colour, "width": 1 if line.faint else 2.5, "dash": DASHES[number % len(DASHES)]}
        if not line.faint
        else {"color": colour, "width": 1},
        marker={"color": colour, "size": 6},
        opacity=0.5 if line.faint else 1,
        showlegend=not line.faint,
    )


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _add_points(figure: go.Figure, points: Sequence[Point], name: str, number: int, *, sideways: bool) -> None:
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
    if all(point.low is None for point in points):
        whiskers = {"visible": False}
    figure.add_scatter(
        x=values if sideways else places,
        y=places if sideways else values,
        name=name,
        mode="markers",
        marker={"color": COLOURS[number], "symbol": MARKERS[number], "size": 9},
        **{"error_x" if sideways else "error_y": whiskers},
    )


def _add_guide(figure: go.Figure, guide: Guide) -> None:
    add = figure.add_vline if guide.axis == "x" else figure.add_hline
    colour = COLOURS[1] if guide.strong else GREY
    line = (
        {"color": colour, "width": 1.5, "dash": "dash"}
        if guide.strong
        else {"color": colour, "width": 1, "dash": "dot"}
    )
    label = {"annotation": {"text": guide.text}} if guide.text else {}
    add(**{guide.axis: guide.at}, line=line, **label)


def _arrange_rows(figure: go.Figure, chart: Chart) -> None:
    if not chart.rows_in_order:
        figure.update_yaxes(autorange="reversed")
        return
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=list(chart.rows_in_order),
        range=[-0.7, len(chart.rows_in_order) - 0.3],
        dtick=1,
        type="category",
    )
