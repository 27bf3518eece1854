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
                verb = self._verbs.add_parser(name, help=f"{help_} (choose a data set)")
                self._datasets[name] = verb.add_subparsers(required=True, metavar="DATASET")
            parsers, name = self._datasets[name], dataset
        sub: argparse.ArgumentParser = parsers.add_parser(name, help=help_, description=help_)
        sub.set_defaults(run=run)
        return sub


def progress(what: str) -> Callable[[int, int], None]:
    """A progress bar on standard error, as the `progress(done, total)` that the core calls."""
    from tqdm import tqdm

    bar: Any = tqdm(desc=what, unit="image", file=sys.stderr)

    def update(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

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
