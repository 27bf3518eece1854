"""A reader's calls beside the truth and the model's: what a student has read, and how well."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.data.breakhis import CLASSES
from dala.stats.agreement import Share, cohen_kappa
from dala.stats.metrics import binary_scores

BENIGN, MALIGNANT = CLASSES
MOST_POINTS = 2000

Mask = NDArray[np.bool_]
Field = NDArray[np.floating]
Mark = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Read:
    """One case that was read before its answer was seen.

    call: "benign" or "malignant", with a confidence 0.5 (a guess) to 1 (certain). mark: where, as shares 0..1 of the
    image's width and height; one point, the corners of an outline, or nothing. hit: whether the mark is in the drawn
    lesion, None where there is no mark or no drawn lesion. model, probability: the model's class and its probability of
    malignant; inside: whether the image is within the model's competence; not_sure: whether its answer is "not sure".
    drawn: whether the image is a drawing, of which no model has a score.
    """

    number: int
    name: str
    answer: str
    call: str
    confidence: float
    mark: Mark
    hit: bool | None
    model: str
    probability: float
    inside: bool
    not_sure: bool = False
    drawn: bool = False

    @property
    def answered(self) -> bool:
        """Whether the model gave an answer that may be right or wrong."""
        return self.inside and not self.not_sure and not self.drawn

    @property
    def right(self) -> bool:
        return self.call == self.answer

    @property
    def probability_of_malignant(self) -> float:
        """The reader's own, from call and confidence."""
        return self.confidence if self.call == MALIGNANT else 1 - self.confidence


@dataclass(frozen=True)
class Score:
    """How well somebody called the cases: shares of all, of the malignant and of the benign ones, and the Brier score,
    the mean of (probability of malignant - truth)^2, None without cases."""

    right: Share
    sensitivity: Share
    specificity: Share
    brier: float | None


@dataclass(frozen=True)
class Agreement:
    """How often reader and model make the same call, and Cohen's kappa, None where both only ever use one class."""

    same: Share
    kappa: float | None


def score_of_reader(reads: Sequence[Read]) -> Score:
    """The reader's."""
    return _score([(read.answer, read.call, read.probability_of_malignant) for read in reads])


def score_of_model(reads: Sequence[Read]) -> Score:
    """The model's on those of the same cases that it answered: not sure and outside are neither right nor wrong."""
    return _score([(read.answer, read.model, read.probability) for read in reads if read.answered])


def agreement(reads: Sequence[Read]) -> Agreement:
    """Between reader and model on the cases that the model answered, whatever the truth is."""
    reads = [read for read in reads if read.answered]
    same = Share(sum(read.call == read.model for read in reads), len(reads))
    return Agreement(same, cohen_kappa([read.call for read in reads], [read.model for read in reads]))


def hits(reads: Sequence[Read]) -> Share:
    """Of the marks on cases with a drawn lesion, those that are in it."""
    told = [read.hit for read in reads if read.hit is not None]
    return Share(sum(told), len(told))


def area_of(mark: Mark, height: int, width: int) -> Mask:
    """The pixels of a mark, (height, width) bool: one for a point, those within the outline otherwise."""
    area = np.zeros((height, width), np.uint8)
    corners = np.array(
        [[min(width - 1, math.floor(x * width)), min(height - 1, math.floor(y * height))] for x, y in mark], np.int32
    )
    if len(corners) == 1:
        area[corners[0, 1], corners[0, 0]] = 1
    elif len(corners) > 1:
        cv2.fillPoly(area, [corners], 1)
    return area.astype(bool)


def hit(mark: Mark, lesion: Mask) -> bool | None:
    """Whether a point is in the lesion, or at least half of an outline is; None without a mark or without a lesion."""
    if not mark or not lesion.any():
        return None
    marked = area_of(mark, *lesion.shape)
    return bool(2 * (marked & lesion).sum() >= marked.sum())


def evidence_at(mark: Mark, field: Field) -> float | None:
    """What the model's map has at the mark: at a point its value over the map's maximum (0 where it is not positive),
    within an outline the share of all positive evidence. None without a mark or without evidence."""
    positive = np.maximum(field, 0)
    if not mark or not positive.any():
        return None
    marked = area_of(mark, *field.shape)
    if len(mark) == 1:
        return float(positive[marked].max() / positive.max())
    return float(positive[marked].sum(dtype=np.float64) / positive.sum(dtype=np.float64))


def mark_from(points: object) -> Mark:
    """A mark as a browser sent it; nothing where it is not a list of pairs of numbers within 0..1."""
    if not isinstance(points, list | tuple) or len(points) > MOST_POINTS:
        return ()
    mark = []
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2:
            return ()
        if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in point):
            return ()
        mark.append((float(point[0]), float(point[1])))
    return tuple(mark)


COLUMNS = (
    "case", "name", "answer", "call", "confidence", "right", "mark", "mark_in_lesion", "model", "model_p_malignant",
    "within_model_competence", "model_not_sure", "drawn",
)  # fmt: skip


def to_csv(reads: Sequence[Read]) -> str:
    """All reads as a table for a spreadsheet; the mark as "x y" pairs in shares of width and height."""
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for read in reads:
        name = read.name if read.name[:1] not in "=+-@\t\r" else "'" + read.name  # no formula in a spreadsheet
        mark = "; ".join(f"{x:.4f} {y:.4f}" for x, y in read.mark)
        found = "" if read.hit is None else str(read.hit).lower()
        writer.writerow(
            [read.number, name, read.answer, read.call, f"{read.confidence:.2f}", str(read.right).lower(), mark, found,
             read.model, f"{read.probability:.6f}", str(read.inside).lower(), str(read.not_sure).lower(),
             str(read.drawn).lower()]
        )  # fmt: skip
    return file.getvalue()


def _score(calls: Sequence[tuple[str, str, float]]) -> Score:
    """Of truth, call and probability of malignant of each case."""

    def of(answer: str | None) -> Share:
        right = [called == truth for truth, called, _ in calls if answer in (None, truth)]
        return Share(sum(right), len(right))

    labels, probabilities = [truth == MALIGNANT for truth, _, _ in calls], [chance for _, _, chance in calls]
    return Score(of(None), of(MALIGNANT), of(BENIGN), binary_scores(labels, probabilities)["brier"] if calls else None)
