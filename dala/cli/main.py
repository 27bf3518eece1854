"""python -m dala COMMAND: the same core as the page, for the shell. Never a traceback for a user's mistake."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dala.cli import (
    benchmark,
    calibrate,
    engines,
    gate,
    modality,
    protocols,
    robustness,
    serve,
    train,
)
from dala.errors import DalaError

TOPICS = (
    serve,
    train,
    calibrate,
    benchmark,
    gate,
    modality,
    protocols,
    robustness,
    engines,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 (a file was refused, a check failed) or 2 (wrong call)."""
    options = _parser().parse_args(arguments)
    # Imports wait for their command: `doctor` must run where torch does not.
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("Interrupted; what was finished is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if isinstance(error, DalaError | OSError):
            print(f"dala: {error}", file=sys.stderr)
            return 1
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dala", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    verbs: dict[str, Any] = {}

    def command(name: str, run: Any, help_: str, dataset: str | None = None) -> argparse.ArgumentParser:
        if dataset is None:
            sub = commands.add_parser(name, help=help_, description=help_)
        else:
            if name not in verbs:
                verb = commands.add_parser(name, help=f"{help_} (choose a data set)")
                verbs[name] = verb.add_subparsers(required=True, metavar="DATASET")
            sub = verbs[name].add_parser(dataset, help=help_, description=help_)
        sub.set_defaults(run=run)
        return sub

    for topic in TOPICS:
        topic.add(command)
    return parser
