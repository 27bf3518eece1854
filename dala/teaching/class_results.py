"""What a class has answered to a deck: how each case was called, marks over one another, scores, and a table of all."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.cases.deck_records import Deck, Item, Points
from dala.cases.kept import CALLS, DIAGNOSES, answer_of
from dala.export.table import harmless
from dala.stats.agreement import Share
from dala.teaching.reading import area_of

BENIGN, MALIGNANT, NOT_SURE = CALLS
POINT = 0.04  # of the image's longer side: the radius of the disc that a single place stands for


@dataclass(frozen=True)
class Distribution:
    """How many readers called a case each way, in the order of `CALLS`, and how many have not yet."""

    counts: dict[str, int]
    missing: int

    @property
    def answered(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class ClassScore:
    """Calls on cases with a known answer. `right`: of those that were benign or malignant; not sure is neither right
    nor wrong and is counted apart. Sensitivity and specificity likewise."""

    right: Share
    sensitivity: Share
    specificity: Share
    not_sure: int


@dataclass(frozen=True)
class ModelScore:
    """The model's answers to the cases with a known answer: right where it answered; not sure and outside its
    competence are counted apart."""

    right: Share
    not_sure: int
    outside: int


def distribution(item: Item, readers: int) -> Distribution:
    """Of a case whose reads may be seen."""
    calls = [read.call for read in item.reads or ()]
    return Distribution({call: calls.count(call) for call in CALLS}, max(0, readers - len(calls)))


def class_score(items: Iterable[Item], reader: int | None = None) -> ClassScore:
    """Of one reader, or of all together, on the cases whose truth may be seen and is known."""
    calls = [
        (item.truth.diagnosis, read.call)
        for item in items
        if item.truth is not None and item.truth.diagnosis is not None
        for read in item.reads or ()
        if reader is None or read.reader == reader
    ]
    return ClassScore(*_shares(calls), sum(call == NOT_SURE for _, call in calls))


def model_score(items: Iterable[Item]) -> ModelScore:
    """On the cases whose truth may be seen and is known, and that the model has looked at."""
    calls: list[tuple[str, str]] = [
        (item.truth.diagnosis, answer_of(item.truth.opinion))
        for item in items
        if item.truth is not None and item.truth.diagnosis is not None and item.truth.opinion is not None
    ]
    answers = [answer for _, answer in calls]
    return ModelScore(_shares(calls)[0], answers.count(NOT_SURE), answers.count("outside"))


def _shares(calls: Sequence[tuple[str, str]]) -> tuple[Share, Share, Share]:
    """Of (truth, call): right, sensitivity and specificity of what was called benign or malignant."""

    def of(truths: tuple[str, ...]) -> Share:
        right = [truth == call for truth, call in calls if truth in truths and call in DIAGNOSES]
        return Share(sum(right), len(right))

    return of(DIAGNOSES), of((MALIGNANT,)), of((BENIGN,))


def marks_of(item: Item) -> list[Points]:
    """The marks on a case, without the reads that have none."""
    return [read.mark for read in item.reads or () if read.mark]


def density(marks: Sequence[Points], height: int, width: int) -> NDArray[np.float32]:
    """How many of the marks cover each pixel, (height, width) float32: an outline what lies within it, a single place a
    disc around it, of which every reader counts once."""
    total = np.zeros((height, width), np.float32)
    radius = max(1, round(POINT * max(height, width)))
    for mark in marks:
        area = area_of(mark, height, width)
        if len(mark) == 1:
            row, column = np.argwhere(area)[0]
            disc = np.zeros((height, width), np.uint8)
            cv2.circle(disc, (int(column), int(row)), radius, 1, cv2.FILLED)
            area = disc.astype(bool)
        total += area
    return total


COLUMNS = ("case", "image", "answer", "reader", "name", "call", "right", "mark", "model")


def to_csv(deck: Deck) -> str:
    """Every answer to every case for a spreadsheet, as the teacher sees them; the mark as "x y" pairs in shares of
    width and height. `right` is empty for not sure, and where the answer is not known."""
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for item in deck.items:
        truth = item.truth
        answer = "" if truth is None or truth.diagnosis is None else truth.diagnosis
        model = "" if truth is None or truth.opinion is None else answer_of(truth.opinion)
        for read in item.reads or ():
            right = str(read.call == answer).lower() if answer and read.call in DIAGNOSES else ""
            mark = "; ".join(f"{x:.4f} {y:.4f}" for x, y in read.mark)
            row: list[object] = [item.number, "" if truth is None else truth.name, answer, read.reader,
                                 deck.readers.get(read.reader, ""), read.call, right, mark, model]  # fmt: skip
            writer.writerow(harmless(cell) for cell in row)
    return file.getvalue()
