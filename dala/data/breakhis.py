"""BreakHis: reads the official tree, checks it against the official counts, and groups images by accession.

Source: Spanhol, Oliveira, Petitjean, Heutte, "A Dataset for Breast Cancer Histopathological Image Classification", IEEE
Transactions on Biomedical Engineering 63(7), 2016. The tree is
`BreaKHis_v1/histology_slides/breast/{benign,malignant}/SOB/SUBTYPE/SLIDE/{40X,100X,200X,400X}/NAME.png`; NAME says it
all once more, and where a folder contradicts the name the image is left out, because its label is uncertain.

The patient group is the accession: the year and the leading digits of the slide. 23060AB and 23060CD are two slides of
one patient and must never stand on both sides of a split, though the official patient count takes them for two.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from dala.data import tree
from dala.data.pixels import Progress
from dala.errors import DataError
from dala.words import counted

Question = Literal["binary", "subtype"]

MAGNIFICATIONS = (40, 100, 200, 400)
CLASSES = ("benign", "malignant")


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
_FOLDER_SUBTYPES = {subtype.folder for subtype in SUBTYPES.values()}


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


Dataset = tree.Dataset[Record]


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


def load(root: Path, magnification: int | None = None, task: Question = "binary") -> Dataset:
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
    found, problems = tree.scan(base, lambda path: _record(path, base))
    notes = [problem.note for problem in problems]
    records = [record for record in found if magnification in (None, record.magnification)]

    doubtful = _slides_under_two(found, "subtype") | FILED_TWICE if task == "subtype" else _slides_under_two(found)
    uncertain = sorted({record.slide for record in records if record.slide in doubtful})
    if uncertain:
        listed = f"slide {uncertain[0]} is" if len(uncertain) == 1 else f"slides {', '.join(uncertain)} are"
        kept = [record for record in records if record.slide not in doubtful]
        notes.append(f"{_images(len(records) - len(kept))} left out: {listed} filed under two diagnoses.")
        records = kept

    records, once, never = tree.used_once(
        records, _copies(records), lambda record: record.label if task == "binary" else record.subtype
    )
    for same in never:
        names = " and ".join(record.name for record in same)
        notes.append(f"{names} are left out: the same image under different labels.")
    if once:
        example = " and ".join(record.name for record in once[0])
        notes.append(f"{_images(len(once))} filed more than once and used once, for example {example}.")

    if not records:
        asked = f"at {magnification}X " if magnification is not None else ""
        raise DataError(f"There is no usable BreakHis image {asked}in {root}.")
    if task == "binary":
        return tree.dataset(base, records, CLASSES, lambda one: (one.label, one.accession, "BreakHis"), notes)
    codes, classes = list(SUBTYPES), tuple(subtype.name for subtype in SUBTYPES.values())
    return tree.dataset(
        base, records, classes, lambda one: (codes.index(one.subtype), one.accession, "BreakHis"), notes
    )


@dataclass(frozen=True)
class Report(tree.Report):
    """What a tree holds beside what the official data set holds; counts by (subtype, magnification).

    two_diagnoses: slides filed under two subtypes. benign_groups, malignant_groups: accession groups that hold the
    class.
    """

    two_diagnoses: tuple[str, ...]
    slides: int
    groups: int
    benign_groups: int
    malignant_groups: int

    def text(self) -> str:
        """The report for a person: totals, a table of found/official, what is missing, what is wrong."""
        lines = [
            *self.headline("BreakHis"),
            f"{counted(self.slides, 'slide')}, {counted(self.groups, 'accession group')} "
            f"({self.benign_groups} with benign, {self.malignant_groups} with malignant images).",
            self.size_line(),
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
                f"{counted(len(self.copies), 'image')} filed more than once, for example "
                f"{' = '.join(self.copies[0])} (used once, or not at all where the labels differ)."
            )
        return "\n".join([*lines, *self.problem_lines()]) + "\n"

    def _row(self, title: str, codes: Iterable[str]) -> str:
        cells = []
        for at in MAGNIFICATIONS:
            found = sum(self.counts.get((code, at), 0) for code in codes)
            cells.append(f"{found}/{sum(self.official[code, at] for code in codes)}".rjust(12))
        return title.ljust(22) + "".join(cells)

    def _differences(self) -> list[str]:
        """What is missing, a sentence a magnification, and what there is too much of."""
        lines = []
        gaps = {key: official - self.counts.get(key, 0) for key, official in self.official.items()}
        for at in MAGNIFICATIONS:
            missing = {code: gap for (code, m), gap in gaps.items() if m == at and gap > 0}
            if missing:
                total = sum(missing.values())
                whole = total == sum(count for (_, m), count in self.official.items() if m == at)
                listed = ", ".join(f"{SUBTYPES[code].name} {gap}" for code, gap in missing.items())
                lines.append(f"Missing at {at}X: {counted(total, 'image')} ({'all' if whole else listed}).")
        surplus = [f"{SUBTYPES[code].name} {at}X {-gap}" for (code, at), gap in gaps.items() if gap < 0]
        return [*lines, f"More than official: {', '.join(surplus)}."] if surplus else lines


def validate(root: Path, progress: Progress | None = None) -> Report:
    """Decode every image of a tree and compare it with the official counts.

    `progress(done, total)` is called after every image. Raises DataError if the root holds no tree or several;
    everything else that is wrong with it stands in the report.
    """
    base = _find_base(root)
    found, misfiled = tree.scan(base, lambda path: _record(path, base))
    seen, unreadable, sizes = tree.read_all(base, found, lambda image: None, progress)
    readable = [found[index] for index in seen]
    return Report(
        root=base,
        counts=MappingProxyType(Counter((record.subtype, record.magnification) for record in readable)),
        official={
            (code, at): count
            for code, row in OFFICIAL_COUNTS.items()
            for at, count in zip(MAGNIFICATIONS, row, strict=True)
        },
        problems=(*misfiled, *unreadable),
        copies=tuple(tuple(record.name for record in copies) for copies in _copies(readable)),
        sizes=MappingProxyType(sizes),
        two_diagnoses=tuple(sorted(_slides_under_two(readable, "subtype"))),
        slides=len({record.slide for record in readable}),
        groups=len({record.accession for record in readable}),
        benign_groups=len({record.accession for record in readable if record.label == 0}),
        malignant_groups=len({record.accession for record in readable if record.label == 1}),
    )


def _find_base(root: Path) -> Path:
    found = tree.find_tree(
        root,
        "BreakHis",
        lambda root: [p for p in root.rglob("breast") if p.parent.name == "histology_slides" and p.is_dir()],
    )
    base = found or Path(root)
    if not any(path.suffix.lower() in tree.IMAGE_SUFFIXES for path in base.rglob("*")):
        raise DataError(f"There is no BreakHis tree in {base}: no BreaKHis_v1/histology_slides/breast and no image.")
    return base


def _record(path: Path, base: Path) -> Record:
    """The record of an image file; DataError where its name says nothing or its folders contradict it."""
    name = parse_name(path.name)
    for folder in path.relative_to(base).parts[:-1]:
        says = _contradicted(name, folder.lower())
        if says is not None:
            raise DataError(f"It lies in folder '{folder.lower()}', but the name says {says}.")
    return Record(
        path=path,
        name=path.name,
        label=SUBTYPES[name.subtype].label,
        subtype=name.subtype,
        slide=f"{name.year}-{name.slide}",
        accession=name.accession,
        magnification=name.magnification,
        sequence=name.sequence,
    )


def _contradicted(name: Name, folder: str) -> str | None:
    """What the name says where a folder says something else; None where it agrees or says nothing."""
    subtype = SUBTYPES[name.subtype]
    if folder in CLASSES and folder != CLASSES[subtype.label]:
        return CLASSES[subtype.label]
    if folder in _FOLDER_SUBTYPES and folder != subtype.folder:
        return subtype.name
    if (match := _MAGNIFICATION_FOLDER.fullmatch(folder)) and int(match.group(1)) != name.magnification:
        return f"{name.magnification}X"
    if match := _SLIDE_FOLDER.fullmatch(folder):
        stated = tuple(part.upper() for part in match.groups())
        if stated != (name.class_, name.subtype, name.year, name.slide):
            return f"slide {name.year}-{name.slide}, {subtype.name}"
    return None


def _slides_under_two(records: Iterable[Record], what: Literal["label", "subtype"] = "label") -> set[str]:
    """Slides whose images are filed under two labels, or two subtypes."""
    found: dict[str, set[object]] = defaultdict(set)
    for record in records:
        found[record.slide].add(getattr(record, what))
    return {slide for slide, kinds in found.items() if len(kinds) > 1}


def _copies(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Sets of records that are one image: the same bytes, or the same slide, magnification and number."""
    records = list(records)
    numbered: dict[object, list[Record]] = defaultdict(list)
    for record in records:
        numbered[record.slide, record.magnification, record.sequence].append(record)
    # An image may share its bytes with one file and its number with another: all three are one image.
    leader = {record.path: index for index, record in enumerate(records)}
    for alike in (*numbered.values(), *tree.same_bytes(records)):
        joined = {leader[record.path] for record in alike}
        if len(joined) > 1:
            leader = {path: min(joined) if first in joined else first for path, first in leader.items()}
    members: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        members[leader[record.path]].append(record)
    return [tuple(group) for group in members.values() if len(group) > 1]


def _magnifications() -> str:
    return ", ".join(f"{magnification}X" for magnification in MAGNIFICATIONS)


def _images(count: int) -> str:
    return f"{counted(count, 'image')} {'is' if count == 1 else 'are'}"
