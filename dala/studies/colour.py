"""Fits the judge that knows the colours of an image alone, on every image, to stand beside the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.runtime.colour_only import SUFFIX, ColourOnly, colour_statistics, save_colour_only
from dala.training.evaluate import fitted_probe
from dala.training.recipe import SIZE

COMMAND = "python -m dala colour breakhis --data ROOT"


def ship_colour_only(root: Path, magnification: int, weights: Path) -> Path:
    """Fit on every image of one magnification and write the judge beside `weights`; returns its path."""
    dataset = breakhis.load(root, magnification)
    path = weights.with_suffix(SUFFIX)
    write_colour_only(path, dataset, load_pixels(dataset.records, SIZE))
    return path


def write_colour_only(path: Path, dataset: breakhis.Dataset, pixels: NDArray[np.uint8]) -> ColourOnly:
    """The same for images (N, S, S, 3) uint8 that have been read."""
    everything = np.arange(len(dataset.labels))
    rows, biases = fitted_probe(colour_statistics(pixels), dataset.labels, dataset.groups, everything)
    model = ColourOnly(dataset.classes, rows, biases)
    save_colour_only(
        path,
        model,
        protocol="group-balanced logistic regression on every image of the data set; how often it is right on "
        "patients left out is in the card of the weights beside it, under comparison",
        command=COMMAND,
        images=str(len(dataset.labels)),
        groups=str(len(set(dataset.groups))),
    )
    return model
