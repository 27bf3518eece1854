"""BACH: reads the official tree of microscopy images, checks it against the official counts, groups it by patient.

Source: Aresta et al., "BACH: Grand challenge on breast cancer histology images", Medical Image Analysis 56, 2019; terms
CC BY-NC-ND 4.0. The tree is `ICIAR2018_BACH_Challenge/Photos/{Normal,Benign,InSitu,Invasive}/n001.tif, b001.tif,
is001.tif, iv001.tif`, 2048 x 1536 pixels at 0.42 um, with `Photos/microscopy_ground_truth.csv` (rows "n001.tif,Normal",
no header). Where name, folder and that file contradict each other the image is left out, because its label is
uncertain.

The patients are known in part: the challenge's page links to a list (`patient_microscopy`) that names the patient of
many images and says that every other image is of none of these. The list is no part of the archive. Put beside the
images as a text file with "patient" in its name, one line an image and its patient, it makes the groups; an image
without a patient is its own group, and two such images may still show one patient.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dala.data.pixels import Progress, in_order, read_rgb
from dala.errors import DataError

CLASSES = ("normal", "benign", "in situ", "invasive")
FOLDERS = ("Normal", "Benign", "InSitu", "Invasive")  # in the order of CLASSES
PREFIXES = ("n", "b", "is", "iv")
OFFICIAL_COUNT = 100  # images of each class
OFFICIAL_SIZE = (2048, 1536)  # width, height
MICRONS_PER_PIXEL = 0.42
TRUTH = "microscopy_ground_truth.csv"
LISTED = 20  # problems that the readable report lists one by one
PROBE = 65_536  # bytes from the middle of a file that tell most images apart

_NAME = re.compile(r"(iv|is|b|n)(\d{3})(?:\.tiff?)?", re.IGNORECASE)
_IMAGE_SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp"}
_LIST_SUFFIXES = {".csv", ".txt", ".tsv"}
_FOLDER_LABELS = {folder.lower(): label for label, folder in enumerate(FOLDERS)}
# What a patient list may say beside an image without saying who the patient is.
_NO_PATIENT = {"", "-", "?", "unknown", "none", "na", "n/a", "nan", *_FOLDER_LABELS}


@dataclass(frozen=True)
class Record:
    """One image; label into CLASSES; `patient` is None where the list does not name one."""

    path: Path
    name: str
    label: int
    patient: str | None

    @property
    def group(self) -> str:
        """The patient, or the image itself where the patient is not known."""
        return self.name if self.patient is None else f"patient {self.patient}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in a fixed order, labels (N,) int64 into `classes`, groups (N,) str, and notes on what was left out."""

    root: Path
    records: tuple[Record, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    notes: tuple[str, ...]

    @property
    def grouping(self) -> str:
        """One clause for a protocol: what a patient group is here, and what that leaves open."""
        known = [record.patient for record in self.records if record.patient is not None]
        if not known:
            return (
                "each image its own group, for no patient list lies beside the images: images of one patient can "
                "stand on both sides of a split, so the scores may be too high"
            )
        clause = f"grouped by patient ({len(set(known))} patients of {len(known)} images are listed)"
        rest = len(self.records) - len(known)
        if rest == 0:
            return clause
        return clause + (
            f", each of the other {rest} images its own group: two of these may show one patient, so the scores may "
            "be too high"
        )


@dataclass(frozen=True)
class Problem:
    """A file that is left out, by its path below the root, and why."""

    path: str
    reason: str


def parse_name(name: str) -> tuple[str, int]:
    """Stem and label of a file name: "is001.tif" is ("is001", 2); DataError if it is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"'{name}' is not a BACH name; it should look like n001.tif, b001.tif, is001.tif or iv001.tif.")
    prefix, number = match.groups()
    return f"{prefix.lower()}{number}", PREFIXES.index(prefix.lower())


def load(root: Path) -> Dataset:
    """The images of a tree, class by class and by number, with labels and patient groups; nothing is decoded yet.

    root: the folder that holds ICIAR2018_BACH_Challenge, that folder, or Photos in it. Misnamed and misplaced files and
    those that microscopy_ground_truth.csv gives another class are left out; an image that is there twice (the same
    bytes) is used once if both places give it one label and their patients do not differ, and not at all otherwise.
    Each of these is a sentence in `notes`. Raises DataError if the root holds no tree, several, or no usable image,
    and for a patient list that cannot be read.
    """
    base = _find_base(root)
    found, problems = _scan(base)
    notes = [f"{problem.path} is left out: {problem.reason}" for problem in problems]
    dropped: set[str] = set()
    for copies in _copies(found):
        names = " and ".join(record.path.name for record in copies)
        if len({(record.label, record.patient) for record in copies}) == 1:
            notes.append(f"{names} are the same image and used once.")
            dropped.update(record.name for record in copies[1:])
        else:
            notes.append(f"{names} are left out: the same image under different labels or patients.")
            dropped.update(record.name for record in copies)
    records = [record for record in found if record.name not in dropped]
    if not records:
        raise DataError(f"There is no usable BACH image in {root}.")
    return Dataset(
        root=base,
        records=tuple(records),
        classes=CLASSES,
        labels=np.array([record.label for record in records], dtype=np.int64),
        groups=np.array([record.group for record in records], dtype=np.str_),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Report:
    """What a tree holds beside what the official one holds.

    counts: readable images by class, in the order of CLASSES. problems: files that cannot be used. copies: names of
    files with the same bytes. sizes: images by (width, height). listed: images whose patient is known, who are
    `patients` in number. truth: whether microscopy_ground_truth.csv is there.
    """

    root: Path
    counts: tuple[int, ...]
    problems: tuple[Problem, ...]
    copies: tuple[tuple[str, ...], ...]
    sizes: Mapping[tuple[int, int], int]
    listed: int
    patients: int
    truth: bool

    @property
    def complete(self) -> bool:
        """Whether every official image is there, readable and of the official size, and no file has a problem."""
        whole = all(count == OFFICIAL_COUNT for count in self.counts)
        return whole and not self.problems and set(self.sizes) == {OFFICIAL_SIZE}

    def text(self) -> str:
        """The report for a person: totals, found/official by class, sizes, patients, what is wrong."""
        official = OFFICIAL_COUNT * len(CLASSES)
        lines = [
            f"BACH microscopy images in {self.root}",
            f"{sum(self.counts):,} of {official:,} official images are there and readable: "
            + ("the set is complete." if self.complete else "the set is NOT complete."),
            "",
            "class".ljust(12) + "found/official".rjust(16),
            *(
                name.ljust(12) + f"{count}/{OFFICIAL_COUNT}".rjust(16)
                for name, count in zip(CLASSES, self.counts, strict=True)
            ),
            "",
            "Sizes: " + (", ".join(f"{w}x{h} ({n:,})" for (w, h), n in sorted(self.sizes.items())) or "none") + ".",
        ]
        strange = sum(count for size, count in self.sizes.items() if size != OFFICIAL_SIZE)
        if strange:
            lines.append(f"{_images(strange)} not {OFFICIAL_SIZE[0]}x{OFFICIAL_SIZE[1]} as the official ones.")
        if not self.truth:
            lines.append(f"{TRUTH} is missing: labels come from names and folders alone.")
        if self.listed:
            lines.append(f"The patient list names {self.patients} patients of {self.listed} images.")
        else:
            lines.append("There is no patient list: each image counts as its own patient.")
        if self.copies:
            lines.append(
                f"Filed more than once: {len(self.copies)}, for example {' = '.join(self.copies[0])} (used once, or "
                "not at all where labels or patients differ)."
            )
        if self.problems:
            lines.append(f"{_images(len(self.problems), 'file')} left out:")
            lines.extend(f"  {problem.path}: {problem.reason}" for problem in self.problems[:LISTED])
            if len(self.problems) > LISTED:
                lines.append(f"  and {len(self.problems) - LISTED:,} more")
        return "\n".join(lines) + "\n"


def validate(root: Path, progress: Progress | None = None) -> Report:
    """Decode every image of a tree and compare it with the official counts.

    `progress(done, total)` is called after every image. Raises DataError if the root holds no tree or several, or a
    patient list that cannot be read; everything else that is wrong stands in the report.
    """
    base = _find_base(root)
    found, problems = _scan(base)
    readable, sizes = [], Counter[tuple[int, int]]()
    for record, result in zip(found, in_order(_size_or_reason, found, progress), strict=True):
        if isinstance(result, str):
            problems.append(Problem(record.path.relative_to(base).as_posix(), result))
        else:
            readable.append(record)
            sizes[result] += 1
    patients = [record.patient for record in readable if record.patient is not None]
    return Report(
        root=base,
        counts=tuple(sum(record.label == label for record in readable) for label in range(len(CLASSES))),
        problems=tuple(problems),
        copies=tuple(tuple(record.path.name for record in copies) for copies in _copies(readable)),
        sizes=MappingProxyType(sizes),
        listed=len(patients),
        patients=len(set(patients)),
        truth=(base / TRUTH).is_file(),
    )


def _find_base(root: Path) -> Path:
    """The folder that holds the class folders."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"The BACH folder {root} does not exist.")
    folders = [path for path in (root, *sorted(root.rglob("*"))) if path.is_dir()]
    trees = [path for path in folders if sum((path / folder).is_dir() for folder in FOLDERS) >= 2]
    if len(trees) > 1:
        listed = ", ".join(str(tree.relative_to(root)) for tree in trees)
        raise DataError(f"{root} holds {len(trees)} BACH trees ({listed}); name one of them.")
    if not trees:
        raise DataError(
            f"There is no BACH tree in {root}: no Photos folder with {', '.join(FOLDERS)}. Part B (whole slides) and "
            "the unlabelled test images cannot be used here."
        )
    return trees[0]


def _scan(base: Path) -> tuple[list[Record], list[Problem]]:
    """Every image file below the base, as a record or as a problem, sorted by class and number."""
    truth, patients = _truth_of(base), _patients_of(base)
    records: dict[str, Record] = {}
    problems: list[Problem] = []
    files = sorted(
        path
        for path in base.rglob("*")
        # "._n001.tif" are leftovers of archives made on a Mac, not images.
        if path.suffix.lower() in _IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    for path in files:
        place = path.relative_to(base)
        try:
            stem, label = parse_name(path.name)
        except DataError as error:
            problems.append(Problem(place.as_posix(), str(error)))
            continue
        elsewhere = [part for part in place.parts[:-1] if _FOLDER_LABELS.get(part.lower(), label) != label]
        if elsewhere:
            reason = f"It lies in folder '{elsewhere[0]}', but the name says {CLASSES[label]}."
        elif truth.get(stem, label) != label:
            reason = f"{TRUTH} says {CLASSES[truth[stem]]}, but the name says {CLASSES[label]}."
        elif stem in records:
            reason = f"A file of the same name is at {records[stem].path.relative_to(base).as_posix()}."
        else:
            records[stem] = Record(path, stem, label, patients.get(stem))
            continue
        problems.append(Problem(place.as_posix(), reason))
    return sorted(records.values(), key=lambda record: (record.label, record.name)), problems


def _truth_of(base: Path) -> dict[str, int]:
    """Labels by image from microscopy_ground_truth.csv; empty without the file. Rows of anything else say nothing."""
    path = base / TRUTH
    if not path.is_file():
        return {}
    labels = {}
    for cells in _rows(path):
        if len(cells) == 2 and _NAME.fullmatch(cells[0]) and cells[1].lower() in _FOLDER_LABELS:
            labels[parse_name(cells[0])[0]] = _FOLDER_LABELS[cells[1].lower()]
    return labels


def _patients_of(base: Path) -> dict[str, str]:
    """Patients by image from the list beside the images, or above them; empty without one."""
    places = [base, base.parent] if base.name == "Photos" else [base]
    lists = sorted(path for place in places for path in place.glob("*") if "patient" in path.name.lower())
    lists = [path for path in lists if path.is_file()]
    if not lists:
        return {}
    if len(lists) > 1:
        raise DataError(f"There are several patient lists ({', '.join(path.name for path in lists)}); leave one.")
    path = lists[0]
    if path.suffix.lower() not in _LIST_SUFFIXES:
        raise DataError(f"The patient list {path.name} is not read as it is; save it as CSV (image, patient).")
    patients: dict[str, str] = {}
    for number, cells in enumerate(_rows(path), start=1):
        names = [cell for cell in cells if _NAME.fullmatch(cell)]
        others = [cell for cell in cells if cell not in names and cell.lower() not in _NO_PATIENT]
        if not names:  # a heading or an empty line
            continue
        if len(names) > 1 or len(others) > 1:
            raise DataError(f"Line {number} of {path.name} is not one image and its patient: {', '.join(cells)}.")
        if not others:  # an image whose patient is not known
            continue
        stem = parse_name(names[0])[0]
        if patients.setdefault(stem, others[0]) != others[0]:
            raise DataError(f"{path.name} gives {stem} two patients, {patients[stem]} and {others[0]}.")
    if not patients:
        raise DataError(f"The patient list {path.name} names no image; a line should look like n001.tif,12.")
    return patients


def _rows(path: Path) -> list[list[str]]:
    """Cells of a text file whose columns are parted by commas, semicolons or tabs."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    delimiter = max(",;\t", key=text.count)
    return [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]


def _copies(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Sets of records with the same bytes.

    The official images are uncompressed and all of one length, so a piece from the middle is compared first and only
    where it is equal the whole file.
    """
    pieces: dict[tuple[int, bytes], list[Record]] = defaultdict(list)
    for record in records:
        size = record.path.stat().st_size
        with record.path.open("rb") as file:
            file.seek(max(0, (size - PROBE) // 2))
            pieces[size, hashlib.sha256(file.read(PROBE)).digest()].append(record)
    copies: list[tuple[Record, ...]] = []
    for alike in pieces.values():
        whole: dict[str, list[Record]] = defaultdict(list)
        for record in alike if len(alike) > 1 else ():
            with record.path.open("rb") as file:
                whole[hashlib.file_digest(file, "sha256").hexdigest()].append(record)
        copies.extend(tuple(same) for same in whole.values() if len(same) > 1)
    return copies


def _size_or_reason(record: Record) -> tuple[int, int] | str:
    try:
        return read_rgb(record.path).size
    except DataError as error:
        reason = str(error).removeprefix(f"{record.path} ")
        return reason[:1].upper() + reason[1:]


def _images(count: int, noun: str = "picture") -> str:
    return f"{count:,} {noun} is" if count == 1 else f"{count:,} {noun}s are"
