"""What commands take and show: whole numbers, a progress bar, complaints, scores as aligned text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dala.errors import DalaError
from dala.words import figure, printable

Progress = Callable[[int, int], None]


class WrongCall(DalaError):
    """An option that the parser alone could not refuse: exit status 2."""


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number of `least` or more."""

    def whole(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least} is needed, not {text!r}")
        return int(text)

    return whole


def complain(sentence: str) -> None:
    """One sentence on standard error; a progress bar that was interrupted ends its own line first."""
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()
    print(f"dala: {printable(sentence)}", file=sys.stderr)


def progress(what: str, unit: str = "image") -> Progress:
    """A progress bar on standard error, as the `progress(done, total)` that the core calls; drawn at its first call.

    `unit`: what is counted; "B" for bytes, whose total may be 0 where nobody knows it.
    """
    bars: list[Any] = []

    def update(done: int, total: int) -> None:
        if not bars:
            from tqdm import tqdm

            bars.append(tqdm(desc=what, unit=unit, unit_scale=unit == "B", total=total or None, file=sys.stderr))
        bars[0].total = total or None
        bars[0].update(done - bars[0].n)
        if total and done >= total:
            bars[0].close()

    return update


def table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Scores as aligned text: a column a model, a row a metric, each with its interval."""
    names = list(scores)
    rows = [["", *names]]
    rows += [[metric, *(figure(scores[name][metric]) for name in names)] for metric in scores[names[0]]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
