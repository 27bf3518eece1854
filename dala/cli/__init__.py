"""The commands of `dala`, a module a topic; each adds its own and imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from dala.errors import DalaError
from dala.words import figure

DEFAULT_WEIGHTS = "breakhis"


class WrongCall(DalaError):
    """An option that the parser alone could not refuse: exit status 2."""


class Command:
    """Adds commands to a parser: `command("predict", run, help_)`; the exit status is what `run(options)` returns.

    Several data sets share a verb (`train breakhis`, `train bach`): each adds itself with `dataset`.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._verbs: Any = parser.add_subparsers(required=True, metavar="COMMAND")
        self._datasets: dict[str, Any] = {}

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], int], help_: str, dataset: str | None = None
    ) -> argparse.ArgumentParser:
        parsers = self._verbs
        if dataset is not None:
            if name not in self._datasets:
                verb = self._verbs.add_parser(name, help=help_)
                self._datasets[name] = verb.add_subparsers(required=True, metavar="DATASET")
            parsers, name = self._datasets[name], dataset
        sub: argparse.ArgumentParser = parsers.add_parser(name, help=help_, description=help_)
        sub.set_defaults(run=run)
        return sub


def complain(sentence: str) -> None:
    """One sentence on standard error; a progress bar that was interrupted ends its own line first."""
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()
    print(f"dala: {sentence}", file=sys.stderr)


def progress(what: str) -> Callable[[int, int], None]:
    """A progress bar on standard error, as the `progress(done, total)` that the core calls; drawn at its first call."""
    bars: list[Any] = []

    def update(done: int, total: int) -> None:
        if not bars:
            from tqdm import tqdm

            bars.append(tqdm(desc=what, unit="image", total=total, file=sys.stderr))
        bars[0].total = total
        bars[0].update(done - bars[0].n)
        if done >= total:
            bars[0].close()

    return update


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Scores as aligned text: a column a model, a row a metric, each with its interval."""
    names = list(scores)
    rows = [["", *names]]
    rows += [[metric, *(figure(scores[name][metric]) for name in names)] for metric in scores[names[0]]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
