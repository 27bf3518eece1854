"""The commands of `dala`, a module a topic; each adds its own and imports what it needs when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


class Command:
    """Adds commands to a parser: `command("predict", run, help_)`; the exit status is what `run(options)` returns.

    Several data sets, or deeds, share a verb (`train breakhis`, `cases backup`): each adds itself with `dataset`.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._verbs: Any = parser.add_subparsers(required=True, metavar="COMMAND")
        self._datasets: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._verbs.choices

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], int], help_: str, dataset: str | None = None
    ) -> argparse.ArgumentParser:
        parsers = self._verbs
        if dataset is not None:
            if name not in self._datasets:
                verb = self._verbs.add_parser(name, help=help_)
                self._datasets[name] = verb.add_subparsers(required=True, metavar="WHAT")
            parsers, name = self._datasets[name], dataset
        sub: argparse.ArgumentParser = parsers.add_parser(name, help=help_, description=help_)
        sub.set_defaults(run=run)
        return sub
