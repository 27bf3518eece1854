"""Could the size of nuclei tell how large a pixel is? Measured where the pixel size is known; the page does not use it.

dala nuclei --data ROOT
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval, mean_over_groups
from dala.studies.blocks import Block, Row, Table, Text
from dala.studies.record import Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress
from dala.words import counted, figure, share

PART = "Laboratories"
# Standard deviations of the Gaussian, in pixels, at which blobs are looked for; of a disc of radius r it is r / sqrt 2.
SCALES = np.geomspace(1.2, 24, 19)
LEAST, FEWEST = 0.2, 10  # a peak as a share of the image's dense stain, and peaks without which nothing is said
DENSE = 99  # the percentile that stands for dense stain
LARGEST = 800  # pixels a side, from the middle: enough nuclei
GOOD = 0.20  # the median error at which a proposal would be shown
ESTIMATED = ("BreakHis", "UCSB")  # laboratories whose pixel size is itself an estimate from nuclei


@dataclass(frozen=True, kw_only=True)
class Place(Record):
    """A laboratory's images: how many could be estimated, the median over them of the blobs' standard deviation in um,
    and of the error of the pixel size as a share of the true one, by the other laboratories' blobs; `within` is the
    share of images whose error is at most `GOOD`, with its interval over patients."""

    images: int
    groups: int
    estimated: int
    blob_um: float
    error: float
    within: Interval


@dataclass(frozen=True, kw_only=True)
class NuclearScale(Result):
    """The estimate of a pixel's size from nuclei, laboratory by laboratory."""

    laboratories: dict[str, Place]


# Measuring


def blob_scale(pixels: NDArray[np.uint8]) -> float | None:
    """The standard deviation in pixels of the Gaussians that fit the dark blobs of an image (H, W, 3) best.

    Of the peaks of the scale-normalised Laplacian of its haematoxylin (Lindeberg 1998), the median weighted by strength
    times area. None where fewer than `FEWEST` stand out.
    """
    from dala.data.perturb import dyes

    stain = np.maximum(dyes(pixels)[..., 0], 0).astype(np.float32)
    dense = float(np.percentile(stain, DENSE))
    if dense <= 0:
        return None
    stack = np.stack(
        [-cv2.Laplacian(cv2.GaussianBlur(stain / dense, (0, 0), float(s)), cv2.CV_32F) * s * s for s in SCALES]
    )
    around = np.stack([cv2.dilate(one, np.ones((3, 3), np.uint8)) for one in stack])
    peak = (stack[1:-1] >= np.maximum(around[1:-1], np.maximum(around[:-2], around[2:]))) & (stack[1:-1] > LEAST)
    number = np.nonzero(peak)[0]
    if number.size < FEWEST:
        return None
    sizes, weights = SCALES[1:-1][number], stack[1:-1][peak] * SCALES[1:-1][number] ** 2
    order = np.argsort(sizes, kind="stable")
    sums = np.cumsum(weights[order])
    return float(sizes[order][np.searchsorted(sums, sums[-1] / 2)])


def places(blobs: Mapping[str, Sequence[float | None]], groups: Mapping[str, Sequence[str]]) -> dict[str, Place]:
    """By laboratory from its images' blobs, standard deviations in um, None where nothing could be said.

    A pixel's size is judged by the geometric mean of the other laboratories' medians: an image whose blobs are twice as
    large as theirs has its pixels taken for half as large.
    """
    known = {name: np.array([np.nan if one is None else one for one in values]) for name, values in blobs.items()}
    medians = {name: float(np.nanmedian(values)) for name, values in known.items()}
    found = {}
    for name, values in known.items():
        others = np.exp(np.mean([np.log(median) for other, median in medians.items() if other != name]))
        error = np.abs(others / values - 1)
        found[name] = Place(
            images=values.size,
            groups=len(set(groups[name])),
            estimated=int(np.isfinite(values).sum()),
            blob_um=round(medians[name], 3),
            error=round(float(np.nanmedian(error)), 4),
            within=mean_over_groups((error <= GOOD).astype(np.float64), np.array(groups[name])),
        )
    return found


def measure(root: Path, bar: Progress = lambda done, total: None) -> NuclearScale:
    """Blobs of every image of the five laboratories below `root`. DataError where one is missing or cannot be read."""
    from PIL import Image

    from dala.data.pixels import read_rgb
    from dala.training.laboratories.sources import TESTED, TRAINED, items_of

    items = items_of(root, (*TRAINED, *TESTED))
    blobs: dict[str, list[float | None]] = {}
    groups: dict[str, list[str]] = {}
    for done, item in enumerate(items, start=1):
        image = read_rgb(item.path)
        rows, columns = item.pixel_size(item.record, image.width, image.height)
        fine = min(rows, columns)
        if rows != columns:  # the edition of BreakHis in squares is squeezed
            size = round(image.width * columns / fine), round(image.height * rows / fine)
            image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (max(0, (side - LARGEST) // 2) for side in image.size)
        scale = blob_scale(np.asarray(image)[top : top + LARGEST, left : left + LARGEST])
        blobs.setdefault(item.laboratory, []).append(None if scale is None else scale * fine)
        groups.setdefault(item.laboratory, []).append(item.group)
        bar(done, len(items))
    return NuclearScale(
        protocol="peaks of the scale-normalised Laplacian of haematoxylin, weighted by strength times area; the pixel "
        "size of each laboratory's images from the blobs of the other four. Threshold and weights were chosen on these "
        f"images. The pixel sizes of {' and '.join(ESTIMATED)} are themselves estimates from nuclei. 95 % intervals: "
        "bootstrap over patients",
        command=STUDY.command,
        laboratories=places(blobs, groups),
    )


# The page


def table(record: NuclearScale) -> list[Row]:
    """A row a laboratory."""
    return [
        {
            "Laboratory": f"{name} (an estimate itself)" if name in ESTIMATED else name,
            "Images": str(one.images),
            "Patients": str(one.groups),
            "Estimated": str(one.estimated),
            "Blobs, um": f"{one.blob_um:.2f}",
            "Median error": share(one.error),
            f"Error at most {GOOD:.0%}".replace("%", " %"): figure(one.within, percent=True),
        }
        for name, one in record.laboratories.items()
    ]


def summary(record: NuclearScale) -> str:
    """In how many laboratories the estimate would be good enough."""
    good = sum(one.error < GOOD for one in record.laboratories.values())
    return (
        f"From the size of nuclei the pixel size is estimated with a median error below {share(GOOD)} in {good} of "
        f"{counted(len(record.laboratories), 'laboratory', 'laboratories')}"
    )


def section(record: NuclearScale) -> list[Block]:
    """The table, and what follows from it."""
    least = "Even so " if all(one.error < GOOD for one in record.laboratories.values()) else "That is not enough: "
    return [
        Table(table(record), "The pixel size estimated from nuclei"),
        Text(f"{summary(record)}. {least}the page proposes no pixel size, and asks for it."),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="holds the five laboratories' folders")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    record = measure(options.data, progress("images"))
    STUDY.write(record, options.out)
    for name, one in record.laboratories.items():
        print(
            f"{name:12s} {one.estimated} of {counted(one.images, 'image')}: blobs {one.blob_um:.2f} um, median error "
            f"{share(one.error)}, at most {share(GOOD)} in {figure(one.within, percent=True)}"
        )
    print(f"{record.protocol}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "nuclear_scale",
    "nuclear_scale.json",
    NuclearScale,
    None,
    "dala nuclei --data ROOT",
    part=PART,
    title="Pixel size from nuclei",
    question="Could the size of nuclei tell how large a pixel is?",
    section=section,
    verb=Verb("nuclei", None, "how well nuclei tell the size of a pixel (2 minutes)", add_arguments, run),
)
