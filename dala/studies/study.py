"""A study: what was measured, the file that holds it, the command that writes it, and what the evidence page says."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from dala.errors import DataError, EvidenceError, WeightsError
from dala.files import shipped, write_json
from dala.studies.blocks import Block, sentence
from dala.studies.record import Data, Result
from dala.words import counted

if TYPE_CHECKING:
    from dala.runtime.card import Card

EVIDENCE_DIR = shipped("evidence")

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Verb:
    """A command: `dala NAME [DATASET]`, its help, its options, and what it does; `run` returns the exit status."""

    name: str
    dataset: str | None
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class Study(Generic[R]):
    """One question that was put to the model or its data, and one file with the answer.

    `weights`: whose card the file must agree with, None for a question to no weights. `command`: how the file is
    written. `verb`: that command, where the study brings it itself. `part`: where on the evidence page it stands, with
    `title`, `question` and `section`, its blocks; "" for a study that is not on the page. `summary`: its line of what
    is told in short.
    """

    key: str
    file: str
    record: type[R]
    weights: str | None
    command: str
    verb: Verb | None = None
    part: str = ""
    title: str = ""
    question: str = ""
    section: Callable[[R], Sequence[Block]] | None = None
    summary: Callable[[R], str] | None = None

    @property
    def path(self) -> str:
        """Where the file lies in the repository."""
        return f"evidence/{self.file}"

    def read(self, evidence: Path | None = None, weights: Path | None = None) -> Source[R] | None:
        """What has been measured, or None if that has not been done yet; EvidenceError for another kind of file."""
        path = (evidence or EVIDENCE_DIR) / self.file
        if not path.is_file():
            return None
        record = self.load(path)
        earlier = not record.is_current(None if self.weights is None else card_of(self.weights, weights))
        return Source(self, record, earlier, hashlib.sha256(path.read_bytes()).hexdigest())

    def load(self, path: Path) -> R:
        """The record in a file that is there; EvidenceError for another kind of file."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            named = isinstance(told["protocol"], str) and isinstance(told["command"], str)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(f"{self.path} is not a result file; {self._again}.") from error
        if not named:
            raise EvidenceError(f"{self.path} does not name its protocol and its command; {self._again}.")
        record = self.told_by(lambda: self.record.from_json(told, self.path))
        if self.weights is not None and not record.made_with:
            raise EvidenceError(f"{self.path} does not name its recipe or its weights; {self._again}.")
        return record

    @property
    def _again(self) -> str:
        return f"`{self.command}` writes it anew"

    def told_by(self, prepare: Callable[[], T]) -> T:
        """What `prepare` makes of a record; EvidenceError if the record is not what the command writes."""
        try:
            return prepare()
        except (EvidenceError, DataError, KeyError, TypeError, ValueError, IndexError) as error:
            message = f"{self.path} does not hold what `{self.command}` writes; run it again."
            raise EvidenceError(message) from error

    def write(self, record: R, path: Path) -> None:
        """Write a record, readable and stable under version control."""
        write_json(path, record.to_json())


T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Source(Generic[R]):
    """A result that has been read; `earlier` if it was measured with another recipe than its weights'. `stamp` changes
    with the file."""

    study: Study[R]
    record: R
    earlier: bool
    stamp: str

    def section(self) -> Sequence[Block]:
        """The blocks of the evidence page; EvidenceError if the record is not what the command writes."""
        show = self.study.section
        return () if show is None else self.study.told_by(lambda: show(self.record))

    def summary(self) -> str | None:
        """The line that is told in short; EvidenceError if the record is not what the command writes."""
        tell = self.study.summary
        return None if tell is None else self.study.told_by(lambda: tell(self.record))


@dataclass(frozen=True)
class Provenance:
    """How a figure was measured, in words: protocol, number of patients and images, intervals, command, file."""

    protocol: str
    patients: str | None
    intervals: str | None
    command: str
    file: str


def provenance(source: Source[R]) -> Provenance:
    """How the figures of a source were measured."""
    protocol, _, intervals = source.record.protocol.partition("95 % intervals: ")
    data = source.record.measured_on
    return Provenance(
        protocol=sentence(protocol),
        patients=None if data is None else patients_of(data),
        intervals=f"95 %, {intervals.rstrip('. ')}." if intervals else None,
        command=source.record.command,
        file=source.study.path,
    )


def patients_of(data: Data) -> str:
    """How many patient groups and images, as far as a record says it."""
    text = counted(data.groups, "group")
    if data.benign_groups is not None:
        text += f", {data.benign_groups} of them benign"
    return f"{text}, {counted(data.images, 'image')}"


def card_of(name: str, weights: Path | None = None) -> Card | None:
    """The model card of these weights, or None if there is none; EvidenceError for one that is not valid."""
    from dala.runtime.card import WEIGHTS_DIR, read_card

    folder = weights or WEIGHTS_DIR
    if not (folder / f"{name}.json").is_file():
        return None
    try:
        return read_card(name, folder)[0]
    except WeightsError as error:
        raise EvidenceError(str(error)) from error
