"""BACH: images as overlapping tiles that vote, four classes, by patient.

A 2048 x 1536 image shows as much as nine BreakHis 200X images and would lose its nuclei if it were squeezed to 224
pixels whole. It is cut into a grid of 3 x 3 adjacent tiles of 683 x 512 pixels (287 x 215 um, a field of view like the
700 x 460 of BreakHis), and 2 x 2 further tiles of that size around the inner corners of the grid: 13 tiles, each
squeezed to 224 x 224 like every training image. A tile has the label of its image, which is the label of the
predominant finding and may be wrong for the tile. All tiles of an image, and all images of a patient, stand on one
side of a split.

The tiles vote in three ways, all reported: mean of probabilities (the headline), majority (shares of the tiles that
call a class, ties to the larger mean probability), and "as served" (softmax of the mean logits of the nine adjacent
tiles: what `predict` and `explain` answer).

The recipe is the one chosen on BreakHis; nothing was tuned on BACH, and no weights are shipped: the project's copy of
the data has no part A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dala.data import bach
from dala.data.bach import MICRONS_PER_PIXEL, Record
from dala.data.pixels import Progress, in_order, read_rgb
from dala.gate.checks import HISTOLOGY
from dala.intake.patch import Patch
from dala.nets.imagenet import Backbone
from dala.preprocess.fields import adjacent_boxes, crossing_boxes, field_grid
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.runtime.predict import Model
from dala.training.features import TrunkFeatures, frozen_features
from dala.training.recipe import SIZE, Recipe
from dala.training.task import (
    Baseline,
    Floats,
    Indices,
    Results,
    Task,
    Tiles,
    colour_features,
    confusion,
    mean_vote,
    probe,
    scored,
)

FIELD = (700, 460)  # width and height in pixels of the field of view that a tile comes near to
COLOUR_C = 1.0  # C of the probe of 6 statistics


def load(root: Path) -> Bach:
    """The task of a tree; see `dala.data.bach.load`."""
    return Bach(**vars(bach.load(root)), recipe=Recipe())


@dataclass(frozen=True, eq=False)
class Bach(Task[Record]):
    """Normal, benign, in situ or invasive."""

    served: ClassVar[str] = "dala_resnet50_as_served"  # the card is about the answers that are served
    preprocess: ClassVar[str] = "fields"
    name: ClassVar[str] = "bach"
    weights: ClassVar[str] = "bach"
    command: ClassVar[str] = "dala crossvalidate bach --data ROOT"
    explained: ClassVar[Mapping[str, str]] = {
        "dala_resnet50": "the recipe, plain view; mean of the tiles' probabilities",
        "dala_resnet50_majority": "the same networks; shares of the tiles that call a class, ties to the larger mean",
        "dala_resnet50_as_served": "the same networks; softmax of the mean logits of the adjacent tiles, as `predict`",
        "dala_resnet50_stain_shift": "the same networks on images with a strong random stain and colour change; mean "
        "of probabilities",
        "linear_probe": "logistic regression on pooled frozen ImageNet features of the same tiles; mean of "
        "probabilities",
        "colour_only": "logistic regression on mean and standard deviation of R, G and B of the same tiles; mean of "
        "probabilities",
    }

    @property
    def grouping(self) -> str:
        return bach.grouping(self.records)

    def protocol(self, divided: str) -> str:
        return (
            f"cross-validation, {self.grouping}; {divided}, all tiles of an image on one side, predictions pooled "
            "within a repeat and scores averaged over the repeats; 95 % intervals: bootstrap over the groups; the "
            "recipe is the one chosen on BreakHis"
        )

    def tiles(self, progress: Progress | None = None) -> Tiles:
        """Every image decoded once and squeezed as serving does; 2 MB of memory an image at 224."""
        pixels, image, adjacent = [], [], []
        paths = [record.path for record in self.records]
        for index, (tiles, next_to) in enumerate(in_order(partial(_tiles_of_file, size=SIZE), paths, progress)):
            pixels.append(tiles)
            image.append(np.full(len(tiles), index))
            adjacent.append(np.arange(len(tiles)) < next_to)
        return Tiles(np.concatenate(pixels), np.concatenate(image), np.concatenate(adjacent))

    def votes(self, logits: Floats, tiles: Tiles) -> dict[str, Floats]:
        adjacent = tiles.adjacent
        return {
            "majority": majority_vote(softmax(logits), tiles.image),
            "as_served": softmax(mean_vote(logits[adjacent], tiles.image[adjacent])),
        }

    def baselines(self, tiles: Tiles, features: TrunkFeatures, backbone: Backbone, folder: Path) -> dict[str, Baseline]:
        labels, groups = self.labels[tiles.image], self.groups[tiles.image]
        return {
            "linear_probe": probe(frozen_features(features, backbone), labels, groups),
            "colour_only": probe(colour_features(tiles), labels, groups, COLOUR_C),
        }

    def described(self) -> dict[str, Any]:
        return {
            "name": "BACH part A",
            "pictures": len(self.records),
            "per_class": self.per_class,
            "groups": len(set(self.groups)),
            "pictures_with_patient": sum(record.patient is not None for record in self.records),
        }

    def findings(self, results: Results) -> dict[str, Any]:
        return {"confusion": confusion(results.labels, results.predictions["dala_resnet50"], self.classes)}

    def card(self) -> dict[str, Any]:
        scale = f"{MICRONS_PER_PIXEL} um per pixel (20X)"
        return {
            "title": "Normal, benign, in situ or invasive on BACH",
            "input": {
                "size": SIZE,
                "resize": "tile squeezed to size x size (Pillow bicubic, antialiased, aspect ratio not kept), then "
                "enlarged bicubically",
                "preprocess": "fields",
                "magnification": scale,
                "modality": HISTOLOGY,
                "frame": list(FIELD),
            },
            "training_data": {
                "name": "BACH part A",
                "source": "Aresta et al., BACH: Grand challenge on breast cancer histology images, Medical Image "
                "Analysis 56, 2019",
                "terms": "CC BY-NC-ND 4.0",
                "magnification": scale,
            },
            "split": "the weights are trained on all groups; metrics are of the same recipe in cross-validation, "
            f"{self.grouping}",
            "assumptions": [
                f"A pixel of an image is about {MICRONS_PER_PIXEL} um wide: larger images are cut into tiles of about "
                f"{FIELD[0]} x {FIELD[1]} px.",
                "Every tile of an image is taken to show what the image's label says.",
                "One laboratory, one scanner.",
            ],
            "limits": [
                "The recipe was chosen on BreakHis; nothing was tuned on this data.",
                "The label is of the predominant finding of an image; an image may show several.",
            ],
        }

    def answers(self, patch: Patch, model: Model) -> dict[str, Floats]:
        """Every tile is squeezed and judged as in serving, and "as_served" is the very answer of `predict` for weights
        without a calibration."""
        pixels, next_to = tiles_of(Image.fromarray(patch.pixels), model.card.input.size)
        with torch.no_grad():
            logits = np.concatenate(
                [model.net(network_input(tile[None], model.card.input.upsampled)).double().numpy() for tile in pixels]
            )
        tiles = Tiles(pixels, np.zeros(len(pixels), dtype=np.intp), np.arange(len(pixels)) < next_to)
        found = {"mean": mean_vote(softmax(logits), tiles.image), **self.votes(logits, tiles)}
        return {name: vote[0] for name, vote in found.items()}

    def evaluated(self, model: Model, answers: Mapping[str, Floats]) -> dict[str, Any]:
        return {
            "weights_sha256": model.card.fields["sha256"],
            "pictures": len(self.records),
            "groups": len(set(self.groups)),
            "votes": {name: dict(scored(self.labels, p, self.groups, self.classes)) for name, p in answers.items()},
        }

    def evaluated_on(self, model: Model) -> str:
        return (
            "every image scored once, by the vote of its tiles, with weights trained on "
            f"{model.card.fields['training_data']['name']}; 95 % intervals by bootstrap over {len(set(self.groups))} "
            f"groups, {self.grouping}"
        )


def tiles_of(image: Image.Image, size: int) -> tuple[NDArray[np.uint8], int]:
    """Tiles (t, size, size, 3) of one image, the adjacent ones first, and how many these are."""
    grid = field_grid(*image.size, FIELD)
    boxes = adjacent_boxes(*image.size, grid)
    every = [*boxes, *crossing_boxes(*image.size, grid)]
    tiles = [np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box)) for box in every]
    return np.stack(tiles), len(boxes)


def _tiles_of_file(path: Path, size: int) -> tuple[NDArray[np.uint8], int]:
    return tiles_of(read_rgb(path), size)


def majority_vote(probabilities: Floats, image: Indices) -> Floats:
    """Shares (N, C) of each image's tiles that call a class; where classes are level the larger mean probability
    tips the scale by less than a millionth."""
    calls = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return (1 - 1e-6) * mean_vote(calls, image) + 1e-6 * mean_vote(probabilities, image)
