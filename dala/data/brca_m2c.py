"""BRCA-M2C: reads tiles of TCGA slides from several hospitals, labelled by the dots that mark every cell.

Source: Abousamra et al., "Multi-class cell detection using spatial context representation", ICCV 2021; BSD 3-Clause.
Tiles of 0.5 um per pixel lie in `images/NAME.png` (or .jpg), the cells of each in `labels/NAME_gt_class_coords.txt` as
published or in `dots/NAME.txt`, a line a cell: row and column in pixels from the top left corner, and class, 1
lymphocyte, 2 tumour or epithelium, 3 stroma. NAME begins with the TCGA barcode: "TCGA-A7-A0D9" is the patient, A7 the
hospital.

Nobody labelled the tiles as a whole. Slides of TCGA-BRCA are of carcinomas, so a tile with many epithelial cells is
taken to show tumour, and one without any shows nothing malignant: stroma, vessels, lymphocytes. What lies between is
left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.data import tree
from dala.errors import DataError
from dala.words import counted

CLASSES = ("benign", "malignant")  # benign: nothing malignant
LABORATORY = "BRCA-M2C"
MICRONS_PER_PIXEL = 0.5
LYMPHOCYTE, EPITHELIUM, STROMA = 1, 2, 3  # classes of dots
TUMOUR_CELLS = 50  # epithelial cells from which a tile is taken to show tumour

PLACES = {"labels": "_gt_class_coords.txt", "dots": ".txt"}  # folder of the dots, and what follows a tile's name
_NAME = re.compile(r"(TCGA-([A-Z0-9]{2})-[A-Z0-9]{4})-.*", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One tile; label 0 nothing malignant, 1 malignant, None in between; patient "TCGA-A7-A0D9", hospital "A7"; cells:
    how many dots of class 1, 2 and 3 it has."""

    path: Path
    name: str
    label: int | None
    patient: str
    hospital: str
    dots: Path
    cells: tuple[int, int, int]


Dataset = tree.Dataset[Record]


def load(root: Path) -> Dataset:
    """The tiles below a folder that holds `images` and `labels` or `dots`, sorted by file name, grouped by patient.

    Tiles without a file of dots or with an unreadable one are left out, as are those with 1 to 49 epithelial cells, of
    which `notes` has the count. Raises DataError if there is no such folder or no usable tile.
    """
    base = tree.find_tree(
        root,
        "BRCA-M2C",
        lambda root: [
            path
            for path in (root, *root.rglob("*"))
            if (path / "images").is_dir() and any((path / place).is_dir() for place in PLACES)
        ],
    )
    if base is None:
        raise DataError(f"There is no BRCA-M2C tree in {root}: no folder with images and labels.")
    found, problems = tree.scan(base / "images", lambda path: _record(path, base))
    labelled = [record for record in found if record.label is not None]
    notes = []
    if between := len(found) - len(labelled):
        notes.append(
            f"{counted(between, 'tile')} left out: between 1 and {TUMOUR_CELLS - 1} epithelial cells, neither tumour "
            "nor free of it."
        )
    return tree.usable(
        base,
        "BRCA-M2C",
        (labelled, problems),
        CLASSES,
        lambda record: (int(record.label or 0), record.patient, LABORATORY),
        lambda record: (record.label, record.patient),
        notes,
    )


def read_dots(path: Path) -> NDArray[np.int64]:
    """The cells of a tile, (N, 3): x and y in pixels, class 1 to 3. DataError if the file says anything else.

    A line of the file has the row first, that is y: on the true tiles nuclei are dark there.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        dots = np.array([[int(float(cell)) for cell in line] for line in lines], dtype=np.int64).reshape(-1, 3)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read as dots, three numbers a line: row, column, class.") from error
    if not np.isin(dots[:, 2], (LYMPHOCYTE, EPITHELIUM, STROMA)).all() or any(len(line) != 3 for line in lines):
        raise DataError(f"{path.name} cannot be read as dots: a line is row, column and a class from 1 to 3.")
    return dots[:, [1, 0, 2]]


def _record(path: Path, base: Path) -> Record:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"'{path.name}' is not a TCGA name; it should begin like TCGA-A7-A0D9-01Z-00-DX1.")
    places = [base / folder / f"{path.stem}{ending}" for folder, ending in PLACES.items()]
    place = next((place for place in places if place.is_file()), None)
    if place is None:
        raise DataError("Its dots are missing: there is no file of cells for it.")
    classes = read_dots(place)[:, 2]
    cells = tuple(int((classes == one).sum()) for one in (LYMPHOCYTE, EPITHELIUM, STROMA))
    label = 1 if cells[1] >= TUMOUR_CELLS else 0 if cells[1] == 0 else None
    return Record(path, path.stem, label, match[1].upper(), match[2].upper(), place, (cells[0], cells[1], cells[2]))
