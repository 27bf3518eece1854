"""The images of every laboratory below one folder, each at the physical scale at which the network sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dala.data import bach_part_b, brca_m2c, breakhis, tnbc, ucsb
from dala.data.pixels import read_rgb
from dala.data.tree import Dataset
from dala.errors import DataError

UM_PER_PIXEL = 0.5
# A BreakHis field in micrometres at 200X, whatever the size of the file: 700 x 460 px of about 0.35 um, an estimate.
BREAKHIS_FIELD = (245.0, 161.0)
BENIGN, MALIGNANT = 0, 1


@dataclass(frozen=True)
class Source:
    """A data set of one laboratory: how it is read below a root, and its pixel size in um, (rows, columns), of an image
    of so many (width, height) pixels."""

    laboratory: str
    load: Callable[[Path], Dataset[Any]]
    pixel_size: Callable[[Any, int, int], tuple[float, float]]


def _breakhis_size(record: breakhis.Record, width: int, height: int) -> tuple[float, float]:
    wide, high = BREAKHIS_FIELD
    times = 200 / record.magnification
    return high * times / height, wide * times / width


def _square(um: float) -> Callable[[Any, int, int], tuple[float, float]]:
    return lambda record, width, height: (um, um)


# Laboratories with both classes, which are trained on; and those of one class, which only ever test.
TRAINED: tuple[Source, ...] = (
    Source("BreakHis", lambda root: breakhis.load(root / "breakhis_200x_224", 200), _breakhis_size),
    Source(ucsb.LABORATORY, lambda root: ucsb.load(root / "ucsb"), _square(ucsb.MICRONS_PER_PIXEL)),
    Source(brca_m2c.LABORATORY, lambda root: brca_m2c.load(root / "brca_m2c"), _square(brca_m2c.MICRONS_PER_PIXEL)),
)
TESTED: tuple[Source, ...] = (
    Source(tnbc.LABORATORY, lambda root: tnbc.load(root / "tnbc"), _square(tnbc.MICRONS_PER_PIXEL)),
    Source(
        bach_part_b.LABORATORY,
        lambda root: bach_part_b.load(root / "bach_part_b"),
        _square(bach_part_b.MICRONS_PER_PIXEL),
    ),
)


@dataclass(frozen=True)
class Item:
    """An image file with what is known of it; `pixel_size` as in `Source`."""

    path: Path
    name: str
    label: int
    group: str
    laboratory: str
    record: Any
    pixel_size: Callable[[Any, int, int], tuple[float, float]]

    def seen(self) -> Image.Image:
        """The image as the network sees it, at `UM_PER_PIXEL` in both directions; DataError if it cannot be read."""
        image = read_rgb(self.path)
        return at_scale(image, self.pixel_size(self.record, image.width, image.height))


def at_scale(image: Image.Image, pixel_size: tuple[float, float]) -> Image.Image:
    """An image of (rows, columns) um per pixel at `UM_PER_PIXEL`, bicubic with antialiasing."""
    rows, columns = pixel_size
    size = (max(1, round(image.width * columns / UM_PER_PIXEL)), max(1, round(image.height * rows / UM_PER_PIXEL)))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def items_of(root: Path, sources: Sequence[Source] = TRAINED) -> tuple[Item, ...]:
    """Every image of these laboratories below `root`, laboratory by laboratory; DataError where one is missing."""
    found: list[Item] = []
    for source in sources:
        data = source.load(root)
        found.extend(
            Item(record.path, record.name, int(label), f"{source.laboratory}/{group}", source.laboratory, record,
                 source.pixel_size)
            for record, label, group in zip(data.records, data.labels, data.groups, strict=True)
        )  # fmt: skip
    if not found:
        raise DataError(f"{root} holds no images of the laboratories that training knows.")
    return tuple(found)
