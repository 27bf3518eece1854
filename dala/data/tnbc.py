"""TNBC: reads tiles of triple-negative breast cancers with the masks of their nuclei.

Source: Naylor, Lae, Reyal, Walter, "Segmentation of nuclei in histopathology images by deep regression of the distance
map", IEEE Transactions on Medical Imaging 38(2), 2019; CC BY 4.0. 50 tiles of 11 patients, 512 x 512 at 40x, about
0.25 um per pixel. Here they lie in `images/slide01_01_1.jpg` and `masks/slide01_01_1.png`; the published archive has
`Slide_01/01_1.png` and `GT_01/01_1.png`, which is read as well.

Every patient has a carcinoma, so every tile is labelled malignant, though a few show fat or stroma alone. With one
class it is for testing: as training data it would teach the laboratory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.data import tree
from dala.data.pixels import read_rgb
from dala.errors import DataError

CLASSES = ("benign", "malignant")
LABORATORY = "TNBC"
MICRONS_PER_PIXEL = 0.25

_FLAT = re.compile(r"slide(\d{2})_\1_\d+", re.IGNORECASE)
_FOLDER = re.compile(r"Slide_(\d{2})", re.IGNORECASE)
_MASKS = re.compile(r"masks|GT_\d{2}", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One tile of a patient, "slide01", with the file that marks its nuclei; label 1, malignant."""

    path: Path
    name: str
    label: int
    patient: str
    mask: Path


Dataset = tree.Dataset[Record]


def load(root: Path) -> Dataset:
    """The tiles below a folder, sorted by file name, grouped by patient; nothing is decoded yet.

    Misnamed tiles and those without a mask are left out, each with a sentence in `notes`. Raises DataError if the
    folder does not exist or holds no such tile.
    """
    root = tree.folder(root, "TNBC")
    return tree.usable(
        root,
        "TNBC",
        tree.scan(root, _record),
        CLASSES,
        lambda record: (record.label, record.patient, LABORATORY),
        lambda record: record.patient,
    )


def nuclei(record: Record) -> NDArray[np.bool_]:
    """The mask of a tile's nuclei, (H, W); touching nuclei are not told apart. DataError if it cannot be read."""
    return np.asarray(read_rgb(record.mask))[:, :, 0] > 0


def _record(path: Path) -> Record | None:
    if _MASKS.fullmatch(path.parent.name):
        return None
    if folder := _FOLDER.fullmatch(path.parent.name):
        name, mask = f"slide{folder[1]}_{path.stem}", path.parents[1] / f"GT_{folder[1]}" / path.name
    else:
        name, mask = path.stem, path.parents[1] / "masks" / f"{path.stem}.png"
    match = _FLAT.fullmatch(name)
    if match is None:
        raise DataError(f"'{path.name}' is not a TNBC name; it should look like slide01_01_1.jpg or Slide_01/01_1.png.")
    if not mask.is_file():
        raise DataError(f"The mask of its nuclei is missing: {mask.parent.name}/{mask.name}.")
    return Record(path, name.lower(), 1, f"slide{match[1]}", mask)
