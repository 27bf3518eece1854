"""Mini-DDSM: reads the published tree and its sheet, checks it against the published counts, groups images by case.

Source: Lekamlage, Afzal, Westerberg, Cheddad, "Mini-DDSM: Mammography-based Automatic Age Estimation", DMIP 2020, made
from the thumbnails of DDSM (Heath et al., "The Digital Database for Screening Mammography", IWDM 2000). The tree is
`{Normal,Benign,Cancer}/CASE/C_0029_1.LEFT_CC.jpg`, with outlines of lesions as `..._Mask.jpg` beside some images; a
sheet `DataWMask.xlsx` (columns fullPath, fileName, View, Side, Status, Tumour_Contour, Tumour_Contour2, Age, Density)
lies at its top. A CSV file with the same columns is read as well.

The label belongs to the **case**: of the four images of a Cancer case two usually show the healthy other breast.
The first letter of a name says where the film was scanned (DDSM's notes on calibration): A at Massachusetts General
(DBA M2100 or Howtek 960), B and C at Wake Forest (Lumisys 200), D at ISMD (Howtek). The letters differ in grey levels,
in film labels and in which classes they hold, so a classifier of all letters learns to tell scanners apart. Numbers of
cases repeat between letters; images that share a number stay on one side of every split, whatever their letter.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from PIL import Image

from dala.data import tree
from dala.data.pixels import Progress
from dala.errors import DataError
from dala.words import counted

Question = Literal["cancer", "status"]

STATUSES = ("Normal", "Benign", "Cancer")
CLASS_OF: Mapping[str, str] = MappingProxyType({"Normal": "normal", "Benign": "benign", "Cancer": "malignant"})
LETTERS = ("A", "B", "C", "D")
# Where benign and cancer can be compared: one scanner. A mixes two, and its classes differ in brightness alone.
TRAINED_LETTERS = ("B", "C")
CLASSES: Mapping[Question, tuple[str, ...]] = MappingProxyType(
    {"cancer": ("benign", "malignant"), "status": ("normal", "benign", "malignant")}
)
# Images of the full set, 9,684 in all, outlines of lesions not counted.
OFFICIAL_COUNTS: Mapping[str, int] = MappingProxyType({"Normal": 2728, "Benign": 3360, "Cancer": 3596})
SHEET_COLUMNS = ("fullPath", "Status", "Age", "Density", "Tumour_Contour")
EMPTY_SHARE = 0.05  # share of rows without any image from which on a file is reported as broken off

_NAME = re.compile(r"([A-D])_(\d{4})_(\d)\.(LEFT|RIGHT)_(CC|MLO)\.jpe?g", re.IGNORECASE)
_OUTLINE = re.compile(r".*_mask\d?\.(jpe?g|png)", re.IGNORECASE)
_SHEETS = {".xlsx", ".csv"}


@dataclass(frozen=True)
class Name:
    """What a file name says: C_0029_1.LEFT_CC.jpg is scanner C, case 0029, exposure 1, left breast, view CC."""

    letter: str
    case: str
    exposure: int
    side: str
    view: str


@dataclass(frozen=True)
class Record:
    """One mammogram with the status of its case.

    Age in years, density 1..4 (ACR) and `marked` (a lesion is outlined in this very image) come from the sheet and
    are None without one.
    """

    path: Path
    name: str
    status: str
    letter: str
    case: str
    side: str
    view: str
    age: int | None = None
    density: int | None = None
    marked: bool | None = None


Dataset = tree.Dataset[Record]  # its laboratories are the scanners' letters


def parse_name(name: str) -> Name:
    """Read a file name such as "C_0029_1.LEFT_CC.jpg"; DataError if it is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"'{name}' is not a Mini-DDSM name; it should look like C_0029_1.LEFT_CC.jpg.")
    letter, case, exposure, side, view = match.groups()
    return Name(letter.upper(), case, int(exposure), side.upper(), view.upper())


def load(root: Path, letters: tuple[str, ...] = TRAINED_LETTERS, task: Question = "cancer") -> Dataset:
    """The images of the given scanners, sorted by file name, with labels and cases; nothing is decoded yet.

    root: the folder that holds Normal, Benign and Cancer, or one above it. task "cancer": a benign case (0) or one with
    cancer (1, "malignant"), normal cases are left out; "status": all three. What is misnamed, misplaced, or of another
    status in the sheet is left out and said in `notes`. Raises DataError if the root holds no tree, several, or no
    image as asked.
    """
    if task not in CLASSES:
        raise DataError(f"There is no task '{task}'; there are 'cancer' and 'status'.")
    unknown = sorted(set(letters) - set(LETTERS))
    if unknown or not letters:
        raise DataError(f"The scanners of Mini-DDSM are {', '.join(LETTERS)}, not {', '.join(unknown) or 'none'}.")
    base = _find_base(root)
    found, problems = _scan(base, _find_sheet(base))
    classes = CLASSES[task]
    records = [record for record in found if record.letter in letters and CLASS_OF[record.status] in classes]
    if not records:
        raise DataError(f"There is no {' or '.join(classes)} image of the scanners {', '.join(letters)} in {root}.")
    return tree.dataset(
        base,
        records,
        classes,
        lambda record: (classes.index(CLASS_OF[record.status]), record.case, record.letter),
        [problem.note for problem in problems],
    )


@dataclass(frozen=True)
class Report(tree.Report):
    """What a tree holds beside what the full set holds; counts by (status, letter), published ones by status.

    cases: cases by the same. broken_off: readable files of which a part is missing. shared_numbers: case numbers under
    two letters or statuses. sheet: file name of the sheet, None without one; marked: images with an outlined lesion
    according to it.
    """

    cases: Mapping[tuple[str, str], int]
    broken_off: tuple[str, ...]
    incomplete_cases: int
    shared_numbers: int
    sheet: str | None
    marked: int

    def of_status(self, status: str) -> int:
        """Readable images of a status, over all scanners."""
        return sum(count for (name, _), count in self.counts.items() if name == status)

    @property
    def complete(self) -> bool:
        """Whether the counts are those of the full set and no file has a problem."""
        return not self.problems and all(self.of_status(status) == count for status, count in self.official.items())

    def text(self) -> str:
        """The report for a person: totals, a table of images (cases) by status and scanner, what is wrong."""
        lines = [
            *self.headline("Mini-DDSM", "published"),
            self.size_line(5),
            "",
            "images (cases)".ljust(18) + "".join(f"scanner {letter}".rjust(14) for letter in LETTERS) + "all".rjust(16),
        ]
        for status in STATUSES:
            cells = [f"{self.counts.get((status, x), 0)} ({self.cases.get((status, x), 0)})" for x in LETTERS]
            total = f"{self.of_status(status)}/{self.official[status]}"
            lines.append(status.ljust(18) + "".join(cell.rjust(14) for cell in cells) + total.rjust(16))
        lines += ["", "No sheet (DataWMask.xlsx): age, density and outlines of lesions are not known."]
        if self.sheet:
            lines[-1] = f"Sheet: {self.sheet}, {counted(self.marked, 'image')} with an outlined lesion."
        usable = sum(n for (status, x), n in self.counts.items() if x in TRAINED_LETTERS and status != "Normal")
        lines.append(f"Benign against cancer on scanners {' and '.join(TRAINED_LETTERS)}: {counted(usable, 'image')}.")
        if self.incomplete_cases:
            lines.append(f"{counted(self.incomplete_cases, 'case')} without all of the four views.")
        if self.shared_numbers:
            lines.append(
                f"{counted(self.shared_numbers, 'case number')} under two scanners or statuses; each is one group."
            )
        if self.broken_off:
            lines.append(
                f"{counted(len(self.broken_off), 'file')} without a part of the image, for example "
                f"{self.broken_off[0]}."
            )
        return "\n".join([*lines, *self.problem_lines()]) + "\n"


def validate(root: Path, progress: Progress | None = None) -> Report:
    """Decode every image of a tree and compare it with the published counts.

    `progress(done, total)` is called after every image. Raises DataError if the root holds no tree or several, or if
    its sheet cannot be read; everything else that is wrong stands in the report.
    """
    base = _find_base(root)
    sheet = _find_sheet(base)
    found, misfiled = _scan(base, sheet)
    empty, unreadable, sizes = tree.read_all(base, found, _empty_share, progress)
    readable = [found[index] for index in empty]
    views, places = Counter((record.status, record.case) for record in readable), defaultdict(set)
    for record in readable:
        places[record.case].add((record.status, record.letter))
    return Report(
        root=base,
        counts=MappingProxyType(Counter((record.status, record.letter) for record in readable)),
        official=OFFICIAL_COUNTS,
        problems=(*misfiled, *unreadable),
        copies=(),
        sizes=MappingProxyType(sizes),
        cases=MappingProxyType(Counter((s, x) for s, x, _ in {(r.status, r.letter, r.case) for r in readable})),
        broken_off=tuple(found[index].name for index, share in empty.items() if share >= EMPTY_SHARE),
        incomplete_cases=sum(count < 4 for count in views.values()),
        shared_numbers=sum(len(where) > 1 for where in places.values()),
        sheet=None if sheet is None else sheet.name,
        marked=sum(bool(record.marked) for record in readable),
    )


def _find_base(root: Path) -> Path:
    def holders(root: Path) -> set[Path]:
        if any((root / status).is_dir() for status in STATUSES):
            return {root}
        return {path.parent for status in STATUSES for path in root.rglob(status) if path.is_dir()}

    base = tree.find_tree(root, "Mini-DDSM", holders)
    if base is None:
        raise DataError(f"There is no Mini-DDSM tree in {root}: no folder Normal, Benign or Cancer.")
    return base


def _scan(base: Path, sheet: Path | None) -> tuple[list[Record], list[tree.Problem]]:
    """Every mammogram in the three folders, as a record or as a problem; outlines are passed over."""
    rows = {} if sheet is None else _read_sheet(sheet)

    def record(path: Path) -> Record | None:
        status, *places = path.relative_to(base).parts[:-1] or ("",)
        if status not in STATUSES or _OUTLINE.fullmatch(path.name):
            return None
        name, row = parse_name(path.name), rows.get(path.name.lower())
        if places != [name.case]:
            raise DataError(f"It should lie in {status}/{name.case}, the case that its name says.")
        if row is not None and row.status != status:
            raise DataError(f"It lies in {status}, but {sheet.name if sheet else 'the sheet'} says {row.status}.")
        told = (None, None, None) if row is None else (row.age, row.density, row.marked)
        return Record(path, path.name, status, name.letter, name.case, name.side, name.view, *told)

    return tree.scan(base, record)


@dataclass(frozen=True)
class _Row:
    """What the sheet says of one image."""

    status: str
    age: int | None
    density: int | None
    marked: bool


def _find_sheet(base: Path) -> Path | None:
    """The sheet beside the three folders: DataWMask.xlsx or, named otherwise, the only table there."""
    sheets = sorted(
        path for path in base.iterdir() if path.suffix.lower() in _SHEETS and not path.name.startswith((".", "~"))
    )
    named = [path for path in sheets if path.stem.lower() == "datawmask"]
    if named or len(sheets) == 1:
        return (named or sheets)[0]
    if sheets:
        listed = ", ".join(path.name for path in sheets)
        raise DataError(f"{base} holds several tables ({listed}); Mini-DDSM's is called DataWMask.xlsx.")
    return None


def _read_sheet(path: Path) -> dict[str, _Row]:
    """Rows by lower-case file name, the last part of `fullPath`, which is written with backslashes."""
    lines = _cells(path)
    header = [str(cell or "").strip() for cell in (lines[0] if lines else [])]
    missing = [column for column in SHEET_COLUMNS if column not in header]
    if missing:
        raise DataError(
            f"{path.name} has no column {', '.join(missing)}; Mini-DDSM's sheet has {', '.join(SHEET_COLUMNS)}."
        )
    place = {column: header.index(column) for column in SHEET_COLUMNS}
    rows = {}
    for line in lines[1:]:
        cell = {
            column: str("" if line[at] is None else line[at]).strip() for column, at in place.items() if at < len(line)
        }
        name = re.split(r"[\\/]", cell.get("fullPath", ""))[-1].lower()
        if name:
            rows[name] = _Row(
                status=cell.get("Status", "").capitalize(),
                age=_whole(cell.get("Age", "")),
                density=_whole(cell.get("Density", "")),
                marked=cell.get("Tumour_Contour", "-") not in ("", "-"),
            )
    return rows


def _cells(path: Path) -> list[list[object]]:
    if path.suffix.lower() == ".csv":
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                return [list(line) for line in csv.reader(file)]
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{path.name} cannot be read as a CSV file.") from error
    import openpyxl  # only trees with an Excel sheet need it

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book["Data"] if "Data" in book.sheetnames else book.worksheets[0]
        cells: list[list[object]] = [list(row) for row in sheet.iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # openpyxl raises whatever its zip and XML readers raise
        raise DataError(f"{path.name} cannot be read as an Excel sheet.") from error
    return cells


def _whole(text: str) -> int | None:
    """Ages and densities are whole numbers; 0 stands for unknown."""
    try:
        number = int(float(text))
    except ValueError:
        return None
    return number if number > 0 else None


def _empty_share(image: Image.Image) -> float:
    """Share of rows of one bright grey, the rest of a file that broke off."""
    grey = np.asarray(image.convert("L"))
    empty = (np.ptp(grey, axis=1) <= 2) & (grey.mean(axis=1) > 100)
    return float(empty.mean())
