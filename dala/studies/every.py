"""Every study in one go: the commands in their order, what is finished and need not be run again, times and failures.

A command is finished if it was run to its end with the same weights, the same code and the same data, and its file is
there. The code is every module of this package that the command's own one imports, directly or not.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from dala.errors import DataError, EvidenceError
from dala.files import write_json
from dala.studies.study import Study, card_of

PACKAGE = Path(__file__).resolve().parents[1]
KEPT = "studies.json"
# Below the folder of `dala laboratories`: where a command finds its own data set; no folder there: it is that folder.
ORIGINALS = "breakhis_originals"
FOLDERS = {"breakhis": "breakhis_200x_224", "mini_ddsm": "mini_ddsm"}
ALONE = {"faithfulness": "breakhis", "load": "breakhis"}  # commands that name no data set and want one's folder


@dataclass(frozen=True)
class Step:
    """A command with its arguments, and the studies whose files it writes; `module` is where its code begins."""

    arguments: tuple[str, ...]
    studies: tuple[Study[Any], ...]
    module: str

    @property
    def name(self) -> str:
        """The studies by their keys."""
        return ", ".join(study.key for study in self.studies)

    def fingerprint(self, root: Path) -> str:
        """Changes with the arguments, the weights, the code and the folder of the data."""
        digest = hashlib.sha256("\n".join((*self.arguments, str(root.resolve()))).encode())
        for name in sorted({study.weights for study in self.studies if study.weights is not None}):
            card = card_of(name)
            digest.update(f"{name} {None if card is None else card.fields['sha256']}".encode())
        for path in code_of(self.module):
            digest.update(path.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Outcome:
    """How a step ended: "finished" before, "done", "failed" or "interrupted", and after how many seconds."""

    step: Step
    how: str
    seconds: float


# What belongs to a command


@cache
def code_of(module: str) -> tuple[Path, ...]:
    """The files of this package that a module of it imports, itself among them, in any of its functions too; sorted."""
    found: dict[str, Path] = {}
    wanted = [module]
    while wanted:
        name = wanted.pop()
        path = _file_of(name)
        if path is None or name in found:
            continue
        found[name] = path
        wanted += _imported(path)
    return tuple(sorted(set(found.values())))


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """What a file may import, by name: `from dala import x` names dala and dala.x."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _file_of(module: str) -> Path | None:
    """The file of a module of this package; None for any other name."""
    first, *rest = module.split(".")
    if first != PACKAGE.name:
        return None
    place = PACKAGE.joinpath(*rest)
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def arguments_of(
    command: str, root: Path, takes: Callable[[Sequence[str]], Mapping[str, bool]], runs: Path
) -> tuple[str, ...]:
    """A study's command as arguments of `dala`, with the folders of the data below `root`.

    `takes` tells the options of a command by name, and whether each takes a path: where it can keep unfinished work,
    that is under `runs`.
    """
    _, *words = shlex.split(command)
    verb, dataset = words[0], next((word for word in words[1:2] if not word.startswith("-")), None)
    folder = FOLDERS.get(dataset or ALONE.get(verb, ""))
    own = root / folder if folder is not None and (root / folder).is_dir() else root
    originals = root / ORIGINALS if (root / ORIGINALS).is_dir() else root
    folders = {"--data": own, "--images": own, "--originals": originals}
    filled = [
        str(folders.get(before, root)) if word in ("ROOT", "DIR") else word
        for before, word in zip(["", *words], words, strict=False)
    ]
    head = words[:1] if dataset is None else words[:2]
    return (*filled, "--runs", str(runs)) if takes(head).get("--runs") else tuple(filled)


def command_of(study: Study[Any]) -> str:
    """The command that wrote a study's file, with its options; where there is none that can be read, the shortest."""
    try:
        return study.load(Path(study.path)).command
    except EvidenceError:
        return study.command


def steps_of(
    studies: Iterable[Study[Any]],
    root: Path,
    takes: Callable[[Sequence[str]], Mapping[str, bool]],
    module: Callable[[Sequence[str]], str],
    runs: Path,
) -> list[Step]:
    """A step for each command, in the order of the studies; `module` tells where the code of a command begins."""
    commands: dict[str, list[Study[Any]]] = {}
    for study in studies:
        commands.setdefault(command_of(study), []).append(study)
    steps = []
    for command, own in commands.items():
        arguments = arguments_of(command, root, takes, runs)
        steps.append(Step(arguments, tuple(own), module(arguments)))
    return steps


# What is finished


class Finished:
    """What was run to its end, kept in a file: the fingerprint and the seconds of every command."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, dict[str, Any]] = {}
        if path.is_file():
            try:
                self._kept = {str(key): dict(value) for key, value in json.loads(path.read_text("utf-8")).items()}
            except (ValueError, AttributeError, TypeError) as error:
                raise DataError(f"{path} is no list of finished studies; remove it to begin anew.") from error

    def seconds(self, step: Step) -> float | None:
        """How long the command took when it was last finished; None if it never was."""
        value = self._kept.get(shlex.join(step.arguments), {}).get("seconds")
        return float(value) if isinstance(value, int | float) else None

    def holds(self, step: Step, root: Path) -> bool:
        """Whether the step need not be run again."""
        kept = self._kept.get(shlex.join(step.arguments), {}).get("fingerprint")
        if kept is None:
            return False
        return kept == step.fingerprint(root) and all(Path(study.path).is_file() for study in step.studies)

    def keep(self, step: Step, root: Path, seconds: float) -> None:
        """Note that the step is finished. Its fingerprint is taken now: some commands write weights."""
        told = {"fingerprint": step.fingerprint(root), "seconds": round(seconds, 1)}
        self._kept[shlex.join(step.arguments)] = told
        write_json(self._path, self._kept)


# Running


def by_subprocess(step: Step) -> int:
    """Run a command in a process of its own, so that nothing of it stays in memory; its exit status."""
    # This very package, wherever the command is called from.
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    line = [sys.executable, "-m", PACKAGE.name, *step.arguments]
    return subprocess.run(line, check=False, env=os.environ | {"PYTHONPATH": path}).returncode


say_now: Callable[[str], None] = partial(print, flush=True)  # before what the process of a command says


def run_all(
    steps: Sequence[Step],
    root: Path,
    finished: Finished,
    run: Callable[[Step], int] = by_subprocess,
    say: Callable[[str], None] = say_now,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run every step that is not finished, one after the other, whatever becomes of those before; an interruption ends
    it. `say` gets a line before and after each."""
    outcomes: list[Outcome] = []
    for number, step in enumerate(steps, start=1):
        place = f"[{number} of {len(steps)}] {step.name}"
        if finished.holds(step, root):
            say(f"{place}: finished before")
            outcomes.append(Outcome(step, "finished", 0.0))
            continue
        say(f"{place}: dala {shlex.join(step.arguments)}")
        start = clock()
        try:
            status = run(step)
        except KeyboardInterrupt:
            outcomes.append(Outcome(step, "interrupted", clock() - start))
            break
        seconds = clock() - start
        outcomes.append(Outcome(step, "failed" if status else "done", seconds))
        if not status:
            finished.keep(step, root, seconds)
        say(f"{place}: {outcomes[-1].how} after {spent(seconds)}")
    return outcomes


def spent(seconds: float) -> str:
    """A time in words: "41 s", "12 min 3 s", "2 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def summary_of(outcomes: Sequence[Outcome], asked: int) -> str:
    """A line a step, and how many ended how."""
    lines = [f"{one.how:12s}{spent(one.seconds) if one.seconds else '':>14s}  {one.step.name}" for one in outcomes]
    count = {how: sum(one.how == how for one in outcomes) for how in ("done", "finished", "failed", "interrupted")}
    lines.append(
        f"{count['done']} done, {count['finished']} finished before, {count['failed']} failed, "
        f"{asked - count['done'] - count['finished'] - count['failed']} not run to their end, in "
        f"{spent(sum(one.seconds for one in outcomes))}"
    )
    return "\n".join(lines)
