"""Commands that measure: one for every study that brings its own, a list of what has been measured, and all of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dala.cli import Command
from dala.errors import DataError, EvidenceError
from dala.studies import registry
from dala.studies.options import add_runs
from dala.studies.study import Study, Verb
from dala.terminal import WrongCall


def add(command: Command) -> None:
    """Add `studies` and every study's command."""
    sub = command(
        "studies",
        _studies,
        "list what has been measured: file, command, and whether it is of the shipped weights; --all measures it anew",
    )
    sub.add_argument(
        "--all",
        action="store_true",
        help="run every study's command in turn; goes on where it stopped, and past what fails (a day or more)",
    )
    sub.add_argument("--data", type=Path, default=None, metavar="ROOT", help="the folder of `dala laboratories`")
    keys = [study.key for study in registry.STUDIES]
    sub.add_argument("--only", nargs="+", choices=keys, default=None, metavar="STUDY", help=f"of {', '.join(keys)}")
    sub.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    add_runs(sub, "what is finished, and what the studies keep")
    verbs: dict[tuple[str, str | None], Verb] = {}
    for study in registry.STUDIES:
        if study.verb is not None:
            verbs.setdefault((study.verb.name, study.verb.dataset), study.verb)
    for verb in verbs.values():
        verb.add_arguments(command(verb.name, verb.run, verb.help, verb.dataset))


def _studies(options: argparse.Namespace) -> int:
    if options.all:
        return _all(options)
    if options.data is not None or options.only is not None or options.dry_run:
        raise WrongCall("--data, --only and --dry-run belong to --all; without it studies are listed.")
    states = [(study, _state(study)) for study in registry.STUDIES]
    for study, state in states:
        print(f"{study.key:22s} {state:13s} {study.path}\n{'':36s} {study.command}")
    return 0 if all(state == "current" for _, state in states) else 1


def _state(study: Study[Any]) -> str:
    try:
        source = study.read()
    except EvidenceError:
        return "damaged"
    if source is None:
        return "not measured"
    return "earlier" if source.earlier else "current"


def _all(options: argparse.Namespace) -> int:
    from dala.cli.main import parser
    from dala.studies.every import KEPT, Finished, run_all, spent, steps_of, summary_of

    if options.data is None:
        raise WrongCall("--all needs --data ROOT, the folder of `dala laboratories`.")
    if not options.data.is_dir():
        raise DataError(f"The folder {options.data} does not exist.")
    whole = parser()
    studies = [one for one in registry.STUDIES if options.only is None or one.key in options.only]
    steps = steps_of(
        studies,
        options.data,
        lambda words: _takes(whole, words),
        lambda arguments: str(whole.parse_args(arguments).run.__module__),
        options.runs,
    )
    finished = Finished(options.runs / KEPT)
    if options.dry_run:
        for step in steps:
            before = finished.seconds(step)
            state = "finished" if finished.holds(step, options.data) else "to run"
            took = "" if before is None else f", {spent(before)} last time"
            print(f"{step.name}: {state}{took}\n    dala {' '.join(step.arguments)}")
        return 0
    outcomes = run_all(steps, options.data, finished)
    print(summary_of(outcomes, len(steps)))
    if any(one.how == "interrupted" for one in outcomes):
        raise KeyboardInterrupt
    return 1 if any(one.how == "failed" for one in outcomes) else 0


def _takes(whole: argparse.ArgumentParser, words: Sequence[str]) -> Mapping[str, bool]:
    """The options of a command, and whether each takes a path."""
    found = whole
    for word in words:
        (choice,) = (action for action in found._actions if isinstance(action, argparse._SubParsersAction))
        found = choice.choices[word]
    return {name: action.type is Path for action in found._actions for name in action.option_strings}
