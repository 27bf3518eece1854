"""Tiles of breast tissue in named classes, `ROOT/<class>/*.jpg`: what the network learns tissue from before diagnoses.

No tile of the collection names its patient, so tiles are held out by a hash of their name: a figure on them says that
tissue is recognised, not that it is recognised in new patients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.data.tree import Dataset, dataset, scan
from dala.errors import DataError

# Folder of a class -> what its tiles are to the question benign or malignant: normal tissue holds nothing malignant
# (benign), tumour is malignant, and None is left out of that question: its tiles are either.
CLASSES = {
    "adipose_tissue": "benign",
    "apocrine_change": "benign",
    "haemorrhage": "benign",
    "immunecels": "benign",
    "in_situ": None,
    "mucinous_change": None,
    "muscle_tissue": "benign",
    "mvd": None,
    "necrosis": None,
    "pgcc": None,
    "stroma": "benign",
    "tumor": "malignant",
}
LABORATORY = "TCGA tiles"
HELD_OUT = 0.15  # share of the tiles that no training sees


@dataclass(frozen=True)
class TissueTile:
    """A tile by its class folder and file name."""

    path: Path

    @property
    def tissue(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return f"{self.tissue}/{self.path.stem}"

    @property
    def held_out(self) -> bool:
        """Whether training leaves this tile out, by its name alone."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[:8], 16) < HELD_OUT * 2**32


TissueDataset = Dataset[TissueTile]
FIELD = (4, 6)  # rows and columns of tiles of 37 um in about a field of view, 225 x 150 um


def field_of(tiles: Sequence[NDArray[np.uint8]], draw: np.random.Generator) -> NDArray[np.uint8]:
    """About a field of view of square tiles of one size (side, side, 3), turned and mirrored at random, which leaves
    seams; of a single tile a pattern of its mirror images, which has none."""
    rows, columns = FIELD
    if len(tiles) == 1:
        side = len(tiles[0])
        return np.pad(tiles[0], ((0, (rows - 1) * side), (0, (columns - 1) * side), (0, 0)), "symmetric")
    chosen = draw.choice(len(tiles), rows * columns, replace=len(tiles) < rows * columns)
    turned = [np.rot90(tiles[at], int(draw.integers(4)))[:, :: int(draw.choice([-1, 1]))] for at in chosen]
    return np.concatenate([np.concatenate(turned[row * columns :][:columns], 1) for row in range(rows)])


def load(root: Path) -> TissueDataset:
    """Every tile in the class folders below `root`, each a group of its own; DataError where a class is missing."""
    if not root.is_dir():
        raise DataError(f"The tissue folder {root} does not exist.")
    missing = [name for name in CLASSES if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{root} holds no folder {' and none '.join(missing)} of tissue tiles.")
    records, problems = scan(root, lambda path: TissueTile(path) if path.parent.name in CLASSES else None)
    if not records:
        raise DataError(f"{root} holds no tissue tiles.")
    names = tuple(CLASSES)
    return dataset(
        root,
        records,
        names,
        lambda tile: (names.index(tile.tissue), tile.name, LABORATORY),
        [problem.note for problem in problems],
    )
