"""What a section of the evidence page is made of: text, tables and charts as plain data, drawn by the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from dala.stats.bootstrap import Interval
from dala.words import figure

Row = dict[str, str]


@dataclass(frozen=True)
class Text:
    """A paragraph in Markdown."""

    markdown: str


@dataclass(frozen=True)
class Caption:
    """A paragraph in small print, in Markdown."""

    markdown: str


@dataclass(frozen=True)
class Table:
    """Rows of ready text under their columns; `name` is what a reader who cannot see it is told."""

    rows: Sequence[Row]
    name: str


@dataclass(frozen=True)
class Line:
    """A curve, with its 95 % band where it has one.

    `faint`: in grey and without a name. `marked`: a mark at each place; `joined`: a line through them.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    faint: bool = False
    marked: bool = False
    joined: bool = True

    @classmethod
    def through(cls, name: str, places: Iterable[Sequence[float]]) -> Line:
        """A curve through places (x, y) or (x, y, low, high)."""
        x, y, *band = (tuple(axis) for axis in zip(*places, strict=True))
        return cls(name, x, y, band[0], band[1]) if band else cls(name, x, y)


@dataclass(frozen=True)
class Point:
    """A measured value with its interval; `place` is a name, or a number on the other axis."""

    place: str | float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Guide:
    """A straight line across a chart at a place of one axis ("x" or "y"); `strong` in colour, and named by `text`."""

    axis: str
    at: float
    text: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves, or series of points by name, over axes with titles.

    `key` is its own on the page, `alt` what a reader who cannot see it is told. `rows`: the points' values run along x
    and their places down y, a row each, in the order of `rows_in_order` if that is given. `square`: both axes from 0 to
    1 with a dotted diagonal; `unit`: the axis of the values from 0 to 1. `percent`: the axes in per cent, "x" or "xy".
    `from_zero`: y begins at 0. `height`: pixels, by default what fits.
    """

    key: str
    alt: str
    x: str
    y: str = ""
    lines: Sequence[Line] = ()
    series: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    guides: Sequence[Guide] = ()
    rows: bool = False
    rows_in_order: Sequence[str] = ()
    square: bool = False
    unit: bool = False
    percent: str = ""
    from_zero: bool = False
    height: int | None = None


@dataclass(frozen=True)
class Folded:
    """Blocks behind a title that opens them: the numbers of a chart, for whoever reads no charts."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Box:
    """Blocks in a frame of their own."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class Choice:
    """One of several options, the first at the start, and the blocks that it shows; as `buttons` or as a list."""

    label: str
    options: Sequence[str]
    key: str
    body: Callable[[str], Sequence[Block]]
    help: str | None = None
    buttons: bool = False


Block = Text | Caption | Table | Chart | Folded | Box | Choice


def numbers(title: str, rows: Sequence[Row]) -> Folded:
    """A table behind its title."""
    return Folded(title, (Table(rows, title),))


def interval_chart(points: Sequence[Point], x: str, key: str, *, zero: bool = False, percent: bool = False) -> Chart:
    """One value with its interval a row, beside a line at zero where they are differences."""
    return Chart(
        key,
        f"{x} with 95 % intervals, one row each; the numbers are in the table below",
        x,
        series={x: points},
        guides=(Guide("x", 0),) if zero else (),
        rows=True,
        percent="x" if percent else "",
    )


def point(place: str | float, interval: Interval) -> Point:
    """An interval on a chart; its value must be defined."""
    value = interval["value"]
    if value is None:
        raise ValueError(f"{place} has no value.")
    return Point(place, value, interval["low"], interval["high"])


def bullets(lines: Iterable[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def sentence(text: str) -> str:
    """A protocol's words with a capital and a full stop."""
    text = text.strip(" ;,.")
    return text[:1].upper() + text[1:] + "." if text else ""


def plain_cell(text: str) -> str:
    """Text for a table cell whose Markdown signs are only signs."""
    return re.sub(r"([\\`*_\[\]<>~|$])", r"\\\1", text)


def choices(recipe: Mapping[str, Any]) -> list[Row]:
    """A recipe's choices, a line each."""
    rows = []
    for name, value in recipe.items():
        text = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else str(value)
        rows.append({"Choice": name, "Value": text})
    return rows


def points_table(points: Iterable[Point], name: str, value: str, *, percent: bool = False) -> list[Row]:
    """The numbers of a chart of points."""
    return [
        {
            name: plain_cell(str(one.place)),
            value: figure({"value": one.value, "low": one.low, "high": one.high}, percent=percent),
        }
        for one in points
    ]


def lines_table(lines: Sequence[Line], x: str, steps: int = 10) -> list[Row]:
    """The numbers of a chart of curves at some of their places; every place if there are no more than `steps`."""
    places = sorted(set(chain.from_iterable(line.x for line in lines)))
    if len(places) > steps:
        places = np.linspace(places[0], places[-1], steps + 1).tolist()

    def at(place: float, line: Line, values: tuple[float, ...] | None) -> float | None:
        return None if values is None else float(np.interp(place, line.x, values))

    return [
        {x: f"{place:g}"}
        | {
            line.name: figure({name: at(place, line, getattr(line, axis)) for name, axis in CURVES.items()})
            for line in lines
        }
        for place in places
    ]


CURVES = {"value": "y", "low": "low", "high": "high"}
