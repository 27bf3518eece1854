"""The commands of `python -m dala`, a module a topic; each adds its own and imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Protocol

DEFAULT_WEIGHTS = "breakhis"


class Command(Protocol):
    """Adds a command: its name, the function that takes the parsed options and returns the exit status, its help.

    Several data sets share a verb (`train breakhis`, `train bach`): each adds itself with `dataset`.
    """

    def __call__(self, name: str, run: Any, help_: str, dataset: str | None = None) -> argparse.ArgumentParser: ...


def progress(what: str) -> Any:
    """A progress bar on standard error, as the `progress(done, total)` that the core calls."""
    from tqdm import tqdm

    bar: Any = tqdm(desc=what, unit="picture", file=sys.stderr)

    def update(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return update


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Scores as aligned text: a column a model, a row a metric, with the interval in brackets."""

    def cell(interval: dict[str, float | None]) -> str:
        value, low, high = (interval[key] for key in ("value", "low", "high"))
        if value is None:
            return "undefined"
        return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")

    names = list(scores)
    rows = [["", *names]]
    rows += [[metric, *(cell(scores[name][metric]) for name in names)] for metric in scores[names[0]]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
