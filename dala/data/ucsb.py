"""UCSB breast cancer cells: reads images of tissue arrays from folders benign and malignant, with the array of each.

Source: Gelasca, Obara, Fedorov, Kvilekval, Manjunath, "A biosegmentation benchmark for evaluation of bioimage analysis
methods", BMC Bioinformatics 10:368, 2009; research use. The images are 896 x 768 TIFFs named
`ytma10_010704_benign1.tif`, or `..._benign1_ccd.tif`: tissue array, date, class, number. They may lie in one folder or
in folders `benign` and `malignant`; a folder that contradicts the name leaves the image out, because its label is
uncertain. Folders with "mask" in their name, the outlines of nuclei, are passed over.

As far as known each image is of another patient, so an image is its own group. Images of one array share glass, stain
and day: the array is on the record, for whoever wants to split by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dala.data import tree
from dala.errors import DataError

CLASSES = ("benign", "malignant")
LABORATORY = "UCSB"
OFFICIAL_COUNTS = (32, 26)  # images of each class, 58 in all
MICRONS_PER_PIXEL = 0.25  # an estimate from the nuclei: nothing published says it

_NAME = re.compile(r"(ytma\d+)_(\d{6})_(benign|malignant)(\d+)(?:_ccd)?\.(?:tiff?|jpe?g|png)", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One image; label 0 benign, 1 malignant; array "ytma10"; date "010704" as the name has it."""

    path: Path
    name: str
    label: int
    array: str
    date: str


Dataset = tree.Dataset[Record]


def load(root: Path) -> Dataset:
    """The images below a folder, sorted by file name, with labels; each is its own group; nothing is decoded yet.

    Misnamed and misplaced files are left out; an image that is there twice (the same bytes) is used once, or not at all
    under two classes. Each of these is a sentence in `notes`. Raises DataError if the folder does not exist or holds
    no such image.
    """
    root = tree.folder(root, "UCSB")
    return tree.usable(
        root,
        "UCSB",
        tree.scan(root, _record),
        CLASSES,
        lambda record: (record.label, record.name, LABORATORY),
        lambda record: record.label,
    )


def _record(path: Path) -> Record | None:
    if "mask" in path.parent.name.lower():
        return None
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise DataError(f"'{path.name}' is not a UCSB name; it should look like ytma10_010704_benign1.tif.")
    array, date, class_, _ = (part.lower() for part in match.groups())
    if path.parent.name.lower() in CLASSES and path.parent.name.lower() != class_:
        raise DataError(f"It lies in folder '{path.parent.name}', but the name says {class_}.")
    return Record(path, path.stem.lower().removesuffix("_ccd"), CLASSES.index(class_), array, date)
