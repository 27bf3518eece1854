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
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dala.data import tree
from dala.data.pixels import Progress
from dala.errors import DataError
from dala.words import counted

CLASSES = ("normal", "benign", "in situ", "invasive")
FOLDERS = ("Normal", "Benign", "InSitu", "Invasive")  # in the order of CLASSES
PREFIXES = ("n", "b", "is", "iv")
OFFICIAL_COUNT = 100  # images of each class
OFFICIAL_SIZE = (2048, 1536)  # width, height
MICRONS_PER_PIXEL = 0.42
TRUTH = "microscopy_ground_truth.csv"

_NAME = re.compile(r"(iv|is|b|n)(\d{3})(?:\.tiff?)?", re.IGNORECASE)
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


Dataset = tree.Dataset[Record]


def grouping(records: tuple[Record, ...]) -> str:
    """One clause for a protocol: what a patient group is here, and what that leaves open."""
    known = [record.patient for record in records if record.patient is not None]
    if not known:
        return (
            "each image its own group, for no patient list lies beside the images: images of one patient can "
            "stand on both sides of a split, so the scores may be too high"
        )
    clause = f"grouped by patient ({len(set(known))} patients of {len(known)} images are listed)"
    rest = len(records) - len(known)
    if rest == 0:
        return clause
    return clause + (
        f", each of the other {rest} images its own group: two of these may show one patient, so the scores may "
        "be too high"
    )


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
    return tree.usable(
        base,
        "BACH",
        _scan(base),
        CLASSES,
        lambda record: (record.label, record.group, "BACH"),
        lambda record: (record.label, record.patient),
    )


@dataclass(frozen=True)
class Report(tree.Report):
    """What a tree holds beside what the official one holds; counts by class.

    listed: images whose patient is known, who are `patients` in number. truth: whether microscopy_ground_truth.csv is
    there.
    """

    listed: int
    patients: int
    truth: bool

    @property
    def complete(self) -> bool:
        """Whether every official image is there, readable and of the official size, and no file has a problem."""
        return super().complete and set(self.sizes) == {OFFICIAL_SIZE}

    def text(self) -> str:
        """The report for a person: totals, found/official by class, sizes, patients, what is wrong."""
        lines = [
            *self.headline("BACH microscopy images"),
            "",
            "class".ljust(12) + "found/official".rjust(16),
            *(name.ljust(12) + f"{self.counts[name]}/{count}".rjust(16) for name, count in self.official.items()),
            "",
            self.size_line(),
        ]
        strange = sum(count for size, count in self.sizes.items() if size != OFFICIAL_SIZE)
        if strange:
            are = f"{counted(strange, 'image')} {'is' if strange == 1 else 'are'}"
            lines.append(f"{are} not {OFFICIAL_SIZE[0]}x{OFFICIAL_SIZE[1]} as the official ones.")
        if not self.truth:
            lines.append(f"{TRUTH} is missing: labels come from names and folders alone.")
        if self.listed:
            patients, images = counted(self.patients, "patient"), counted(self.listed, "image")
            lines.append(f"The patient list names {patients} of {images}.")
        else:
            lines.append("There is no patient list: each image counts as its own patient.")
        if self.copies:
            lines.append(
                f"Filed more than once: {len(self.copies)}, for example {' = '.join(self.copies[0])} (used once, or "
                "not at all where labels or patients differ)."
            )
        return "\n".join([*lines, *self.problem_lines()]) + "\n"


def validate(root: Path, progress: Progress | None = None) -> Report:
    """Decode every image of a tree and compare it with the official counts.

    `progress(done, total)` is called after every image. Raises DataError if the root holds no tree or several, or a
    patient list that cannot be read; everything else that is wrong stands in the report.
    """
    base = _find_base(root)
    found, misfiled = _scan(base)
    seen, unreadable, sizes = tree.read_all(base, found, lambda image: None, progress)
    readable = [found[index] for index in seen]
    patients = [record.patient for record in readable if record.patient is not None]
    counts = Counter(record.label for record in readable)
    return Report(
        root=base,
        counts=MappingProxyType({name: counts[label] for label, name in enumerate(CLASSES)}),
        official=dict.fromkeys(CLASSES, OFFICIAL_COUNT),
        problems=(*misfiled, *unreadable),
        copies=tuple(tuple(record.path.name for record in copies) for copies in tree.same_bytes(readable)),
        sizes=MappingProxyType(sizes),
        listed=len(patients),
        patients=len(set(patients)),
        truth=(base / TRUTH).is_file(),
    )


def _find_base(root: Path) -> Path:
    """The folder that holds the class folders."""
    base = tree.find_tree(
        root,
        "BACH",
        lambda root: [
            path
            for path in (root, *root.rglob("*"))
            if path.is_dir() and sum((path / folder).is_dir() for folder in FOLDERS) >= 2
        ],
    )
    if base is None:
        raise DataError(
            f"There is no BACH tree in {root}: no Photos folder with {', '.join(FOLDERS)}. Part B (whole slides) and "
            "the unlabelled test images cannot be used here."
        )
    return base


def _scan(base: Path) -> tuple[list[Record], list[tree.Problem]]:
    """Every image file below the base, as a record or as a problem, sorted by class and number."""
    truth, patients = _truth_of(base), _patients_of(base)

    def record(path: Path) -> Record:
        stem, label = parse_name(path.name)
        folders = path.relative_to(base).parts[:-1]
        elsewhere = [part for part in folders if _FOLDER_LABELS.get(part.lower(), label) != label]
        if elsewhere:
            raise DataError(f"It lies in folder '{elsewhere[0]}', but the name says {CLASSES[label]}.")
        if truth.get(stem, label) != label:
            raise DataError(f"{TRUTH} says {CLASSES[truth[stem]]}, but the name says {CLASSES[label]}.")
        return Record(path, stem, label, patients.get(stem))

    records, problems = tree.scan(base, record)
    return sorted(records, key=lambda record: (record.label, record.name)), problems


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
