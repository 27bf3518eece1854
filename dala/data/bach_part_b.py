"""BACH part B: reads tiles of whole slides with masks of carcinoma in situ and invasive carcinoma.

Source: Aresta et al., "BACH: Grand challenge on breast cancer histology images", Medical Image Analysis 56, 2019; terms
CC BY-NC-ND 4.0. The slides are cut beforehand into tiles `SLIDE/region0_tile11.jpg` of 0.42 um per pixel, each with
`region0_tile11_mask.png`: 0 unmarked, 1 in situ, 2 invasive.

Only one structure of a region is marked, so unmarked tissue is not normal: a tile is malignant where anything is
marked, and left out where nothing is. With one class it is for testing and for maps, never plain training data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dala.data import tree
from dala.data.pixels import DECODE_FAILURES
from dala.errors import DataError
from dala.words import counted

CLASSES = ("benign", "malignant")
LABORATORY = "BACH"
MICRONS_PER_PIXEL = 0.42
FINDINGS = {1: "in situ", 2: "invasive"}

_MASK = "_mask.png"


@dataclass(frozen=True)
class Record:
    """One tile of a slide such as "A03", which stands for the patient; label 1 malignant, None where nothing is marked;
    `marked` is the share of its pixels that is, 0..1; findings among those of `FINDINGS`."""

    path: Path
    name: str
    label: int | None
    slide: str
    mask: Path
    marked: float
    findings: tuple[str, ...]


Dataset = tree.Dataset[Record]


def load(root: Path) -> Dataset:
    """The tiles below a folder, sorted by file name, grouped by slide; masks are decoded, tiles are not.

    A tile without a mask, or with one that cannot be read, is left out with a sentence in `notes`; those in which
    nothing is marked are left out with a count. Raises DataError if the folder does not exist or holds no such tile.
    """
    root = tree.folder(root, "BACH part B")
    found, problems = tree.scan(root, lambda path: _record(path, root))
    marked = [record for record in found if record.label is not None]
    notes = []
    if bare := len(found) - len(marked):
        notes.append(f"{counted(bare, 'tile')} left out: nothing is marked, which does not make it normal.")
    return tree.usable(
        root,
        "BACH part B",
        (marked, problems),
        CLASSES,
        lambda record: (int(record.label or 0), record.slide, LABORATORY),
        lambda record: record.slide,
        notes,
    )


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A mask (H, W), 0 unmarked, 1 in situ, 2 invasive. DataError if it cannot be read or says anything else."""
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except DECODE_FAILURES as failure:
        raise DataError(f"The mask {path.name} cannot be read as an image.") from failure
    if mask.ndim != 2 or mask.max() > max(FINDINGS):
        raise DataError(f"The mask {path.name} holds something else than 0 unmarked, 1 in situ and 2 invasive.")
    return mask.astype(np.uint8)


def _record(path: Path, root: Path) -> Record | None:
    if path.name.endswith(_MASK):
        return None
    mask = path.with_name(path.stem + _MASK)
    if not mask.is_file():
        raise DataError(f"Its mask {mask.name} is missing.")
    seen = read_mask(mask)
    findings = tuple(name for value, name in FINDINGS.items() if (seen == value).any())
    slide = path.parent.name if path.parent != root else root.resolve().name
    return Record(
        path, f"{slide}/{path.stem}", 1 if findings else None, slide, mask, float((seen > 0).mean()), findings
    )
