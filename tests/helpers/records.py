"""Records of studies of which a test needs a part."""

from __future__ import annotations

from typing import Any, TypeVar

from dala.stats.bootstrap import Interval
from dala.words import MINUS, NO_BREAK

R = TypeVar("R")


def partly(kind: type[R], **told: Any) -> R:
    """A record of which these fields are there; asking for another is an AttributeError."""
    record = object.__new__(kind)
    for name, value in told.items():
        object.__setattr__(record, name, value)
    return record


def interval(value: float | None, low: float | None = None, high: float | None = None) -> Interval:
    return Interval(value=value, low=low, high=high)


def around(value: float, half: float = 0.02) -> Interval:
    """With ends as far on both sides."""
    return interval(value, value - half, value + half)


def plain(text: str) -> str:
    """With the signs and spaces of a keyboard."""
    return text.replace(NO_BREAK, " ").replace(MINUS, "-")


def cells(rows: list[dict[str, str]]) -> list[list[str]]:
    """A table's cells, with the signs and spaces of a keyboard."""
    return [[plain(text) for text in row.values()] for row in rows]
