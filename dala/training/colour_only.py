"""A classifier that knows six numbers of an image: how often would colour alone have been right?

Group-balanced logistic regression on mean and standard deviation of R, G and B. It stands beside the network on the
teaching page, with all images fitted, and in every table, fitted and measured by accession group. It lies beside
the weights NAME.safetensors as NAME.colour.safetensors; `dala train breakhis` and `dala colour breakhis` write it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dala.errors import WeightsError
from dala.runtime.calibration import softmax

SUFFIX = ".colour.safetensors"
STATISTICS = ("mean R", "mean G", "mean B", "deviation R", "deviation G", "deviation B")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ColourOnly:
    """Weights (classes, 6) and biases (classes,) of the logits, in units of the grey levels 0..255."""

    classes: tuple[str, ...]
    rows: Floats
    biases: Floats

    def probabilities(self, images: NDArray[np.uint8]) -> Floats:
        """Probabilities (N, classes), not calibrated, of images (N, H, W, 3) uint8 as the network sees them."""
        return softmax(colour_statistics(images) @ self.rows.T + self.biases)


def colour_statistics(pixels: NDArray[np.uint8]) -> Floats:
    """Mean and standard deviation of R, G and B, (N, 6), of images (N, H, W, 3) uint8."""
    flat = pixels.reshape(len(pixels), -1, 3).astype(np.float32)
    return np.concatenate([flat.mean(1), flat.std(1)], axis=1).astype(np.float64)


def save_colour_only(path: Path, model: ColourOnly, **facts: str) -> None:
    """Write a classifier with further facts on how it was made."""
    save_file({"rows": model.rows, "biases": model.biases}, path, {**facts, "classes": ", ".join(model.classes)})
    path.chmod(0o644)


def load_colour_only(weights: Path) -> ColourOnly | None:
    """The colour-only classifier beside `weights` (a .safetensors path), None if there is none.

    Raises `WeightsError` for a damaged file.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            classes = tuple((file.metadata() or {})["classes"].split(", "))
            rows, biases = file.get_tensor("rows"), file.get_tensor("biases")
        if rows.shape != (len(classes), len(STATISTICS)) or biases.shape != (len(classes),):
            raise ValueError("shapes do not fit")
        if not (np.isfinite(rows).all() and np.isfinite(biases).all()):
            raise ValueError("not finite")
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path.name} is damaged; `dala colour breakhis` writes it.") from error
    return ColourOnly(classes, rows, biases)
