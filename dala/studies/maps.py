"""The maps that are compared: this tool's, those of pytorch-grad-cam, and maps that ask no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

GRADCAM, STEADY, RANDOM, STAIN = "gradcam", "steady", "random", "stain"
SCORE_CAM = "pytorch-grad-cam ScoreCAM"
METHODS = {
    GRADCAM: "Grad-CAM, as on the first page",
    "fine_averaged": "Half-cell shifts, averaged to Grad-CAM's cells",
    "steady_averaged": "Steadier map, averaged to Grad-CAM's cells",
    "fine": "Grad-CAM, half-cell shifts",
    STEADY: "Grad-CAM, steadier map",
    "gradcam_moved": "Grad-CAM, moved by half a cell",
    "gradcam_inverted": "Grad-CAM, inverted",
    "pytorch-grad-cam GradCAM": "pytorch-grad-cam: Grad-CAM",
    "pytorch-grad-cam HiResCAM": "pytorch-grad-cam: HiResCAM",
    "pytorch-grad-cam GradCAM++": "pytorch-grad-cam: Grad-CAM++",
    "pytorch-grad-cam LayerCAM": "pytorch-grad-cam: LayerCAM",
    "pytorch-grad-cam EigenCAM": "pytorch-grad-cam: EigenCAM",
    SCORE_CAM: "pytorch-grad-cam: ScoreCAM",
    RANDOM: "At random",
    "random_fine": "At random, finer cells",
    "centre": "Middle of the image",
    STAIN: "Amount of stain",
}


def in_order(methods: Mapping[str, T]) -> dict[str, T]:
    """The methods in the order of METHODS."""
    return {name: methods[name] for name in METHODS if name in methods}


def only(images: int, of: int) -> str:
    """Said behind a figure that is of a part of the images."""
    return f", {images} of {of} images" if images < of else ""
