"""BreakHis: reads the official tree, checks it against the official counts, and groups images by accession.

Source: Spanhol, Oliveira, Petitjean, Heutte, "A Dataset for Breast Cancer Histopathological Image Classification", IEEE
Transactions on Biomedical Engineering 63(7), 2016. The tree is
`BreaKHis_v1/histology_slides/breast/{benign,malignant}/SOB/SUBTYPE/SLIDE/{40X,100X,200X,400X}/NAME.png`; NAME says it
all once more, and where a folder contradicts the name the image is left out, because its label is uncertain.

The patient group is the accession: the year and the leading digits of the slide. 23060AB and 23060CD are two slides of
one patient and must never stand on both sides of a split, though the official patient count takes them for two.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dala.data.pixels import Progress, in_order, read_rgb
from dala.errors import DataError

Task = Literal["binary", "subtype"]

MAGNIFICATIONS = (40, 100, 200, 400)
CLASSES = ("benign", "malignant")
LISTED = 20  # problems that the readable report lists one by one


@dataclass(frozen=True)
class Subtype:
    """One of the eight diagnoses: its name, the folder it stands in, and its class (0 benign, 1 malignant)."""

    name: str
    folder: str
    label: int


SUBTYPES: Mapping[str, Subtype] = MappingProxyType(
    {
        "A": Subtype("adenosis", "adenosis", 0),
        "F": Subtype("fibroadenoma", "fibroadenoma", 0),
        "PT": Subtype("phyllodes tumour", "phyllodes_tumor", 0),
        "TA": Subtype("tubular adenoma", "tubular_adenoma", 0),
        "DC": Subtype("ductal carcinoma", "ductal_carcinoma", 1),
        "LC": Subtype("lobular carcinoma", "lobular_carcinoma", 1),
        "MC": Subtype("mucinous carcinoma", "mucinous_carcinoma", 1),
        "PC": Subtype("papillary carcinoma", "papillary_carcinoma", 1),
    }
)

# Images per subtype at 40X, 100X, 200X, 400X, from the paper; 7,909 in all.
OFFICIAL_COUNTS: Mapping[str, tuple[int, int, int, int]] = MappingProxyType(
    {
        "A": (114, 113, 111, 106),
        "F": (253, 260, 264, 237),
        "PT": (109, 121, 108, 115),
        "TA": (149, 150, 140, 130),
        "DC": (864, 903, 896, 788),
        "LC": (156, 170, 163, 137),
        "MC": (205, 222, 196, 169),
        "PC": (145, 142, 135, 138),
    }
)

# Published under two diagnoses, DC and LC, with the same images: its subtype is unknown even where a tree holds only
# one of the two.
FILED_TWICE = frozenset({"14-13412"})

_NAME = re.compile(r"SOB_([BM])_([A-Z]+)-(\d{2})-(\d+)([A-Za-z]*)-(\d+)-(\d+)\.png", re.IGNORECASE)
_SLIDE_FOLDER = re.compile(r"SOB_([BM])_([A-Z]+)[-_](\d{2})-(\d+[A-Za-z]*)", re.IGNORECASE)
_MAGNIFICATION_FOLDER = re.compile(r"(\d+)X", re.IGNORECASE)
_FOLDER_SUBTYPES = {subtype.folder: code for code, subtype in SUBTYPES.items()}
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}


@dataclass(frozen=True)
class Name:
    """What a BreakHis file name says: SOB_B_A-14-22549AB-100-027.png is B, A, 14, 22549AB, 100, 27."""

    class_: str
    subtype: str
    year: str
    slide: str
    magnification: int
    sequence: int

    @property
    def accession(self) -> str:
        """Year and leading digits of the slide, "14-22549": the patient group."""
        digits = re.match(r"\d+", self.slide)
        assert digits is not None  # parse_name takes no slide without leading digits
        return f"{self.year}-{digits.group()}"


@dataclass(frozen=True)
class Record:
    """One image; label 0 benign, 1 malignant; slide "14-22549AB"; accession "14-22549" is the patient group."""

    path: Path
    name: str
    label: int
    subtype: str
    slide: str
    accession: str
    magnification: int
    sequence: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in a fixed order, labels (N,) int64 into `classes`, groups (N,) str, and notes on what was left out."""

    root: Path
    task: Task
    records: tuple[Record, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """A file that is left out, by its path below the root, and why."""

    path: str
    reason: str


def parse_name(name: str) -> Name:
    """Read a file name such as "SOB_B_A-14-22549AB-100-027.png"; DataError with the reason if it is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"'{name}' is not a BreakHis name; it should look like SOB_B_A-14-22549AB-100-027.png.")
    class_, code, year, digits, letters, magnification, sequence = match.groups()
    class_, code = class_.upper(), code.upper()
    if code not in SUBTYPES:
        raise DataError(f"'{name}' names the subtype '{code}', but BreakHis has only {', '.join(SUBTYPES)}.")
    subtype = SUBTYPES[code]
    if class_ != "BM"[subtype.label]:
        raise DataError(f"'{name}' contradicts itself: {subtype.name} is {CLASSES[subtype.label]}.")
    if int(magnification) not in MAGNIFICATIONS:
        raise DataError(
            f"'{name}' names the magnification {magnification}X, but BreakHis has only {_magnifications()}."
        )
    return Name(class_, code, year, digits + letters.upper(), int(magnification), int(sequence))


def load(root: Path, magnification: int | None = None, task: Task = "binary") -> Dataset:
    """The images of a tree, sorted by file name, with labels and accession groups; nothing is decoded yet.

    root: the folder that holds BreaKHis_v1, BreaKHis_v1 itself, or a folder in it. magnification: 40, 100, 200, 400, or
    None for all. task "binary": classes benign, malignant; "subtype": the eight of SUBTYPES, in that order, whether or
    not the tree holds them all.

    An image that is filed twice (the same bytes, or the same slide, magnification and number under two diagnoses) is
    kept once if both places give it the same label, and left out altogether if not. For "subtype" every image of a
    slide with two diagnoses is left out, slide 13412 among them. Misnamed and misplaced files are left out. Each of
    these is a sentence in `notes`. Raises DataError if the root holds no tree, several, or no image as asked.
    """
    if task not in ("binary", "subtype"):
        raise DataError(f"There is no task '{task}'; there are 'binary' and 'subtype'.")
    if magnification is not None and magnification not in MAGNIFICATIONS:
        raise DataError(f"BreakHis has no magnification {magnification}X; it has {_magnifications()}.")
    base = _find_base(root)
    found, problems = _scan(base)
    notes = [f"{problem.path} is left out: {problem.reason}" for problem in problems]
    two_diagnoses = _slides_with_two_diagnoses(found)
    records = [record for record in found if magnification in (None, record.magnification)]

    slides_out = two_diagnoses | FILED_TWICE if task == "subtype" else _slides_with_both_classes(found)
    uncertain = [record for record in records if record.slide in slides_out]
    if uncertain:
        slides = sorted({record.slide for record in uncertain})
        listed = f"slide {slides[0]} is" if len(slides) == 1 else f"slides {', '.join(slides)} are"
        notes.append(f"{_images(len(uncertain))} left out: {listed} filed under two diagnoses.")
        records = [record for record in records if record.slide not in slides_out]

    kept_once: list[tuple[Record, ...]] = []
    dropped: set[Path] = set()
    for copies in _copies(records):
        if len({record.label if task == "binary" else record.subtype for record in copies}) == 1:
            kept_once.append(copies)
            dropped.update(record.path for record in copies[1:])
        else:
            names = " and ".join(record.name for record in copies)
            notes.append(f"{names} are left out: the same image under different labels.")
            dropped.update(record.path for record in copies)
    if kept_once:
        example = " and ".join(record.name for record in kept_once[0])
        notes.append(f"{_images(len(kept_once))} filed more than once and used once, for example {example}.")
    records = [record for record in records if record.path not in dropped]

    if not records:
        asked = f"at {magnification}X " if magnification is not None else ""
        raise DataError(f"There is no usable BreakHis image {asked}in {root}.")
    codes = list(SUBTYPES)
    labels_array = [record.label if task == "binary" else codes.index(record.subtype) for record in records]
    return Dataset(
        root=base,
        task=task,
        records=tuple(records),
        classes=CLASSES if task == "binary" else tuple(subtype.name for subtype in SUBTYPES.values()),
        labels=np.array(labels_array, dtype=np.int64),
        groups=np.array([record.accession for record in records], dtype=np.str_),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Report:
    """What a tree holds beside what the official data set holds.

    counts: readable images by (subtype, magnification). problems: files that cannot be used. copies: names of files
    that hold the same image. two_diagnoses: slides filed under two subtypes. sizes: images by (width, height).
    benign_groups, malignant_groups: accession groups that hold the class.
    """

    root: Path
    counts: Mapping[tuple[str, int], int]
    problems: tuple[Problem, ...]
    copies: tuple[tuple[str, ...], ...]
    two_diagnoses: tuple[str, ...]
    sizes: Mapping[tuple[int, int], int]
    slides: int
    groups: int
    benign_groups: int
    malignant_groups: int

    @property
    def found(self) -> int:
        return sum(self.counts.values())

    @property
    def complete(self) -> bool:
        """Whether every official image is there and readable: all counts as published, no file with a problem."""
        return not self.problems and all(
            self.counts.get((code, magnification), 0) == official for code, magnification, official in _official()
        )

    def text(self) -> str:
        """The report for a person: totals, a table of found/official, what is missing, what is wrong."""
        official = sum(count for _, _, count in _official())
        lines = [
            f"BreakHis in {self.root}",
            f"{self.found:,} of {official:,} official images are there and readable: "
            + ("the set is complete." if self.complete else "the set is NOT complete."),
            f"{_number(self.slides, 'slide')}, {_number(self.groups, 'accession group')} "
            f"({self.benign_groups} with benign, {self.malignant_groups} with malignant images).",
            "Sizes: " + (", ".join(f"{w}x{h} ({n:,})" for (w, h), n in sorted(self.sizes.items())) or "none") + ".",
            "",
            "found/official".ljust(22) + "".join(f"{magnification}X".rjust(12) for magnification in MAGNIFICATIONS),
        ]
        for label, class_ in enumerate(CLASSES):
            members = [code for code, subtype in SUBTYPES.items() if subtype.label == label]
            lines.append(self._row(class_, members))
            lines.extend(self._row(f"  {SUBTYPES[code].name}", [code]) for code in members)
        lines += ["", *self._differences()]
        if self.two_diagnoses:
            lines.append(
                f"Slides filed under two diagnoses: {', '.join(self.two_diagnoses)} (left out of the subtype task)."
            )
        if self.copies:
            lines.append(
                f"{_number(len(self.copies), 'picture')} filed more than once, for example "
                f"{' = '.join(self.copies[0])} (used once, or not at all where the labels differ)."
            )
        if self.problems:
            lines.append(f"{_number(len(self.problems), 'file')} left out:")
            lines.extend(f"  {problem.path}: {problem.reason}" for problem in self.problems[:LISTED])
            if len(self.problems) > LISTED:
                lines.append(f"  and {len(self.problems) - LISTED:,} more")
        return "\n".join(lines) + "\n"

    def _row(self, title: str, codes: Iterable[str]) -> str:
        codes = list(codes)
        cells = []
        for column, magnification in enumerate(MAGNIFICATIONS):
            found = sum(self.counts.get((code, magnification), 0) for code in codes)
            cells.append(f"{found}/{sum(OFFICIAL_COUNTS[code][column] for code in codes)}".rjust(12))
        return title.ljust(22) + "".join(cells)

    def _differences(self) -> list[str]:
        missing, surplus = [], []
        for code, magnification, official in _official():
            difference = self.counts.get((code, magnification), 0) - official
            if difference < 0:
                missing.append((magnification, -difference, f"{SUBTYPES[code].name} {-difference}"))
            elif difference > 0:
                surplus.append(f"{SUBTYPES[code].name} {magnification}X {difference}")
        lines = []
        for magnification in MAGNIFICATIONS:
            here = [item for item in missing if item[0] == magnification]
            if here:
                total = sum(item[1] for item in here)
                whole = total == sum(count for _, m, count in _official() if m == magnification)
                lines.append(
                    f"Missing at {magnification}X: {_number(total, 'picture')}"
                    + (" (all)." if whole else f" ({', '.join(item[2] for item in here)}).")
                )
        if surplus:
            lines.append(f"More than official: {', '.join(surplus)}.")
        return lines


def validate(root: Path, progress: Progress | None = None) -> Report:
    """Decode every image of a tree and compare it with the official counts.

    `progress(done, total)` is called after every image. Raises DataError if the root holds no tree or several;
    everything else that is wrong with it stands in the report.
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
    return Report(
        root=base,
        counts=MappingProxyType(Counter((record.subtype, record.magnification) for record in readable)),
        problems=tuple(problems),
        copies=tuple(tuple(record.name for record in copies) for copies in _copies(readable)),
        two_diagnoses=tuple(sorted(_slides_with_two_diagnoses(readable))),
        sizes=MappingProxyType(sizes),
        slides=len({record.slide for record in readable}),
        groups=len({record.accession for record in readable}),
        benign_groups=len({record.accession for record in readable if record.label == 0}),
        malignant_groups=len({record.accession for record in readable if record.label == 1}),
    )


def _find_base(root: Path) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"The BreakHis folder {root} does not exist.")
    trees = sorted(path for path in root.rglob("breast") if path.parent.name == "histology_slides" and path.is_dir())
    if len(trees) > 1:
        listed = ", ".join(str(tree.relative_to(root)) for tree in trees)
        raise DataError(f"{root} holds {len(trees)} BreakHis trees ({listed}); name one of them.")
    return trees[0] if trees else root


def _scan(base: Path) -> tuple[list[Record], list[Problem]]:
    """Every image file below the base, as a record or as a problem, sorted by file name."""
    records: dict[str, Record] = {}
    problems: list[Problem] = []
    files = [
        path
        for path in base.rglob("*")
        # "._NAME.png" are leftovers of archives made on a Mac, not images.
        if path.suffix.lower() in _IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not files:
        raise DataError(f"There is no BreakHis tree in {base}: no BreaKHis_v1/histology_slides/breast and no image.")
    for path in sorted(files, key=lambda path: (path.name, path.as_posix())):
        place = path.relative_to(base)
        try:
            name = parse_name(path.name)
        except DataError as error:
            problems.append(Problem(place.as_posix(), str(error)))
            continue
        contradiction = _contradiction(name, place)
        if contradiction is not None:
            problems.append(Problem(place.as_posix(), contradiction))
        elif path.name in records:
            first = records[path.name].path.relative_to(base).as_posix()
            problems.append(Problem(place.as_posix(), f"A file of the same name is at {first}."))
        else:
            records[path.name] = Record(
                path=path,
                name=path.name,
                label=SUBTYPES[name.subtype].label,
                subtype=name.subtype,
                slide=f"{name.year}-{name.slide}",
                accession=name.accession,
                magnification=name.magnification,
                sequence=name.sequence,
            )
    return list(records.values()), problems


def _contradiction(name: Name, place: Path) -> str | None:
    """What the first folder that contradicts the name says, or None; folders that say nothing are passed over."""
    subtype = SUBTYPES[name.subtype]
    for folder in (part.lower() for part in place.parts[:-1]):
        says: str | None = None
        if folder in CLASSES and folder != CLASSES[subtype.label]:
            says = f"the name says {CLASSES[subtype.label]}"
        elif folder in _FOLDER_SUBTYPES and folder != subtype.folder:
            says = f"the name says {subtype.name}"
        elif (match := _MAGNIFICATION_FOLDER.fullmatch(folder)) and int(match.group(1)) != name.magnification:
            says = f"the name says {name.magnification}X"
        elif match := _SLIDE_FOLDER.fullmatch(folder):
            stated = tuple(part.upper() for part in match.groups())
            if stated != (name.class_, name.subtype, name.year, name.slide):
                says = f"the name says slide {name.year}-{name.slide}, {subtype.name}"
        if says is not None:
            return f"It lies in folder '{folder}', but {says}."
    return None


def _slides_with_two_diagnoses(records: Iterable[Record]) -> set[str]:
    subtypes: dict[str, set[str]] = defaultdict(set)
    for record in records:
        subtypes[record.slide].add(record.subtype)
    return {slide for slide, codes in subtypes.items() if len(codes) > 1}


def _slides_with_both_classes(records: Iterable[Record]) -> set[str]:
    labels: dict[str, set[int]] = defaultdict(set)
    for record in records:
        labels[record.slide].add(record.label)
    return {slide for slide, found in labels.items() if len(found) > 1}


def _copies(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Sets of records that are one image: the same bytes, or the same slide, magnification and number.

    Only files of equal length are hashed, so a set without copies costs next to nothing.
    """
    records = list(records)
    by_length: dict[int, list[int]] = defaultdict(list)
    by_key: dict[object, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        by_length[record.path.stat().st_size].append(index)
        by_key[record.slide, record.magnification, record.sequence].append(index)
    for indices in by_length.values():
        if len(indices) > 1:
            for index in indices:
                by_key[hashlib.sha256(records[index].path.read_bytes()).hexdigest()].append(index)

    # An image may share its bytes with one file and its number with another: all three are one image.
    leader = list(range(len(records)))
    for indices in by_key.values():
        joined = {leader[index] for index in indices}
        if len(joined) > 1:
            first = min(joined)
            leader = [first if current in joined else current for current in leader]
    members: dict[int, list[Record]] = defaultdict(list)
    for index, first in enumerate(leader):
        members[first].append(records[index])
    return [tuple(group) for group in members.values() if len(group) > 1]


def _size_or_reason(record: Record) -> tuple[int, int] | str:
    try:
        return read_rgb(record.path).size
    except DataError as error:
        reason = str(error).removeprefix(f"{record.path} ")
        return reason[:1].upper() + reason[1:]


def _official() -> Iterable[tuple[str, int, int]]:
    for code, counts in OFFICIAL_COUNTS.items():
        for magnification, count in zip(MAGNIFICATIONS, counts, strict=True):
            yield code, magnification, count


def _magnifications() -> str:
    return ", ".join(f"{magnification}X" for magnification in MAGNIFICATIONS)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _images(count: int) -> str:
    return f"{_number(count, 'picture')} {'is' if count == 1 else 'are'}"
