"""Commands that measure: one for every study that brings its own, and a list of what has been measured."""

from __future__ import annotations

import argparse
from typing import Any

from dala.cli import Command
from dala.errors import EvidenceError
from dala.studies import registry
from dala.studies.study import Study, Verb


def add(command: Command) -> None:
    """Add `studies` and every study's command."""
    command("studies", _studies, "list what has been measured: file, command, and whether it is of the shipped weights")
    verbs: dict[tuple[str, str | None], Verb] = {}
    for study in registry.STUDIES:
        if study.verb is not None:
            verbs.setdefault((study.verb.name, study.verb.dataset), study.verb)
    for verb in verbs.values():
        verb.add_arguments(command(verb.name, verb.run, verb.help, verb.dataset))


def _studies(options: argparse.Namespace) -> int:
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
