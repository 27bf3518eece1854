"""Numbers in words: counts with their noun, figures with their interval, p values, shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_BREAK, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"
SMALL_P = 0.001


def printable(text: str) -> str:
    """Without characters that would garble a line of text, reorder it, or cannot be written as one."""
    return "".join(character for character in text if character.isprintable())


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 image", "1,204 images"; `plural` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def figure(interval: Mapping[str, Any], *, percent: bool = False, signed: bool = False) -> str:
    """A score with its interval: "0.929 (0.850 to 0.996)", "92.9 % (85.0 to 99.6)"; "undefined" without a value.

    `interval` holds `value`, `low` and `high`. A line may break between the value and the interval and nowhere else.
    """
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    shown = number(value, percent=percent, signed=signed) + (f"{NO_BREAK}%" if percent else "")
    if low is None or high is None:
        return shown
    ends = (number(end, percent=percent, signed=signed) for end in (low, high))
    return f"{shown} ({f'{NO_BREAK}to{NO_BREAK}'.join(ends)})"


def number(value: float, *, percent: bool = False, signed: bool = False) -> str:
    """A number of three decimals, or of one in per cent, with a typographic minus; never "-0.000"."""
    shown = f"{100 * value:.1f}" if percent else f"{value:.3f}"
    if float(shown) == 0:
        return shown.removeprefix("-")
    return f"+{shown}" if signed and value > 0 else shown.replace("-", MINUS)


def chance(p: float | None) -> str:
    """A p value."""
    if p is None:
        return "undefined"
    return f"under {SMALL_P}" if p < SMALL_P else f"{p:.3f}"


def share(value: float) -> str:
    """A share of one, in per cent."""
    return f"{100 * value:.1f}{NO_BREAK}%"
