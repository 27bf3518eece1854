"""Cases with known answers: schematic ones drawn by code, and images whose name or folder tells the class."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.data.breakhis import CLASSES, SUBTYPES, parse_name
from dala.errors import DataError
from dala.explanation.render import encode_png
from dala.intake.image import MAXIMUM_BYTES
from dala.phantoms.tissue import PHANTOMS, Phantom, draw

Mask = NDArray[np.bool_]
LONGEST_DIAGNOSIS = 300
FIELDS_DRAWN = 1000  # different fields of view of each drawing that a deck may take


@dataclass(frozen=True)
class Case:
    """An image to be read.

    number: its place in the deck, from 1. name: for the intake and for records; it does not tell the answer of a drawn
    case. answer: "benign" or "malignant". group: images of one group are of one patient, as far as is known.
    path, or drawing and field: where the image comes from.
    """

    number: int
    name: str
    answer: str
    group: str
    path: Path | None = None
    drawing: str | None = None
    field: int = 0

    def phantom(self) -> Phantom | None:
        """The drawing with its lesion, None for an image from a file."""
        return None if self.drawing is None else draw(self.drawing, self.field)

    def data(self) -> bytes:
        """The image's file. Raises OSError where it cannot be read."""
        phantom = self.phantom()
        if phantom is not None:
            return encode_png(phantom.pixels)
        assert self.path is not None
        with self.path.open("rb") as file:
            return file.read(MAXIMUM_BYTES + 1)


def answer_of(path: Path) -> str | None:
    """What an image's BreakHis name, or else the nearest folder called benign or malignant, says; None: nothing."""
    try:
        return CLASSES["BM".index(parse_name(path.name).class_)]
    except DataError:
        folders = (part.lower() for part in reversed(path.parts[:-1]))
        return next((part for part in folders if part in CLASSES), None)


def group_of(path: Path) -> str:
    """The accession group that a BreakHis name tells; any other image is a group of its own."""
    try:
        return parse_name(path.name).accession
    except DataError:
        return str(path)


def answered(paths: Iterable[Path]) -> list[Path]:
    """Those images whose answer is known."""
    return [path for path in paths if answer_of(path) is not None]


def balanced(count: int, random: np.random.Generator) -> list[str]:
    """So many answers in random order, half of each class; an odd one is of a random class."""
    answers = [*CLASSES] * (count // 2) + [CLASSES[int(random.integers(2))]] * (count % 2)
    return [answers[place] for place in random.permutation(count)]


def diagnosis_of(path: Path) -> str | None:
    """What an image shows, in words: of a table cases.csv beside it or in the folder above (columns file and
    diagnosis), or else of its BreakHis name; None: nobody tells."""
    for folder in (path.parent, path.parent.parent):
        try:
            rows = csv.DictReader(StringIO((folder / "cases.csv").read_text(encoding="utf-8-sig", errors="replace")))
            told = next((row.get("diagnosis") for row in rows if Path(row.get("file") or "").name == path.name), None)
        except (OSError, csv.Error):
            continue
        if told:
            return told.strip()[:LONGEST_DIAGNOSIS]
    try:
        return SUBTYPES[parse_name(path.name).subtype].name
    except DataError:
        return None


def drawn_deck(count: int, seed: int) -> list[Case]:
    """Drawn cases, the classes in equal numbers as far as `count` allows; another seed gives other fields of view."""
    random = np.random.default_rng(seed)
    by_answer: dict[str, list[str]] = {
        answer: [name for name in PHANTOMS if _has_lesion(name) is malignant]
        for answer, malignant in zip(CLASSES, (False, True), strict=True)
    }
    deck = []
    for number, answer in enumerate(balanced(count, random), start=1):
        drawing = str(random.choice(by_answer[answer]))
        field = int(random.integers(1, FIELDS_DRAWN))
        deck.append(Case(number, f"drawn-{number}.png", answer, f"{drawing}-{field}", drawing=drawing, field=field))
    return deck


def file_deck(paths: Sequence[Path], count: int, seed: int) -> list[Case]:
    """Up to `count` of the images whose answer is known, without repetition: the classes in equal numbers as long as
    both are left, each time one of the class's groups, then one of that group's images. So a patient of many images
    counts little."""
    random = np.random.default_rng(seed)
    left: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(paths):
        answer = answer_of(path)
        if answer is not None:
            left.setdefault(answer, {}).setdefault(group_of(path), []).append(path)
    deck: list[Case] = []
    for wanted in balanced(count, random):
        if not left:
            break
        answer = wanted if wanted in left else next(iter(left))
        groups = left[answer]
        group = sorted(groups)[int(random.integers(len(groups)))]
        path = groups[group].pop(int(random.integers(len(groups[group]))))
        if not groups[group]:
            del groups[group]
        if not groups:
            del left[answer]
        deck.append(Case(len(deck) + 1, path.name, answer, group, path=path))
    return deck


@lru_cache
def _has_lesion(drawing: str) -> bool:
    return bool(draw(drawing).lesion_mask.any())
