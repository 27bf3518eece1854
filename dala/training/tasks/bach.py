"""BACH: images as overlapping tiles that vote, cross-validation by patient, training and scoring of four classes.

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

python -m dala crossvalidate bach --data ROOT    evidence/bach.json
python -m dala train bach --data ROOT            weights/bach.safetensors, trained on every image
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from dala.data.bach import CLASSES, MICRONS_PER_PIXEL, Dataset, Record, grouping
from dala.data.pixels import Progress, in_order, read_rgb
from dala.data.splits import grouped_folds
from dala.errors import DataError, IntakeError
from dala.intake.image import read_image
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, Backbone
from dala.preprocess.fields import adjacent_boxes, crossing_boxes, field_grid
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.runtime.card import Card
from dala.runtime.colour_only import colour_statistics
from dala.runtime.predict import Model
from dala.runtime.weights import save_weights
from dala.stats.metrics import multiclass_intervals
from dala.studies.calibration import NOT_CALIBRATED
from dala.training.evaluate import PROBE_STRENGTH, divided, fitted_probe, frozen_features, known_groups
from dala.training.features import TrunkFeatures, apply_to_view, trunk_features
from dala.training.fine_tune import fit
from dala.training.recipe import SIZE, Recipe
from dala.training.release import IMAGENET_SOURCES

FIELD = (700, 460)  # width and height in pixels of the field of view that a tile comes near to
COLOUR_STRENGTH = 1.0  # C of the probe of 6 statistics
COLOUR_CHUNK = 256
COMMAND = "python -m dala crossvalidate bach --data ROOT"
EXPLAINED = {
    "dala_resnet50": "the recipe, plain view; mean of the tiles' probabilities",
    "dala_resnet50_majority": "the same networks; shares of the tiles that call a class, ties to the larger mean",
    "dala_resnet50_as_served": "the same networks; softmax of the mean logits of the adjacent tiles, as `predict`",
    "dala_resnet50_stain_shift": "the same networks on images with a strong random stain and colour change; mean of "
    "probabilities",
    "linear_probe": "logistic regression on pooled frozen ImageNet features of the same tiles; mean of probabilities",
    "colour_only": "logistic regression on mean and standard deviation of R, G and B of the same tiles; mean of "
    "probabilities",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tiles:
    """T tiles of N images: pixels (T, size, size, 3) uint8; `image` (T,), each one's image; `adjacent` (T,), not
    so for those around the inner corners."""

    pixels: NDArray[np.uint8]
    image: NDArray[np.int64]
    adjacent: NDArray[np.bool_]

    def of(self, images: NDArray[np.intp]) -> NDArray[np.int64]:
        """Indices of all tiles of the given images."""
        return np.flatnonzero(np.isin(self.image, images))


def load_tiles(records: Sequence[Record], size: int = SIZE, progress: Progress | None = None) -> Tiles:
    """Every tile of every image, decoded once and squeezed as serving does; 2 MB of memory an image at 224.

    Raises DataError at the first file that cannot be read.
    """
    pixels, image, adjacent = [], [], []
    paths = [record.path for record in records]
    for index, (tiles, next_to) in enumerate(in_order(partial(_tiles_of_file, size=size), paths, progress)):
        pixels.append(tiles)
        image.append(np.full(len(tiles), index))
        adjacent.append(np.arange(len(tiles)) < next_to)
    return Tiles(np.concatenate(pixels), np.concatenate(image), np.concatenate(adjacent))


def tiles_of(image: Image.Image, size: int) -> tuple[NDArray[np.uint8], int]:
    """Tiles (t, size, size, 3) of one image, the adjacent ones first, and how many these are."""
    grid = field_grid(*image.size, FIELD)
    boxes = adjacent_boxes(*image.size, grid)
    every = [*boxes, *crossing_boxes(*image.size, grid)]
    tiles = [np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box)) for box in every]
    return np.stack(tiles), len(boxes)


def _tiles_of_file(path: Path, size: int) -> tuple[NDArray[np.uint8], int]:
    return tiles_of(read_rgb(path), size)


def mean_vote(probabilities: Floats, image: NDArray[np.int64]) -> Floats:
    """Mean over each image's tiles, (N, C), of the tiles' probabilities (T, C) or logits; `image` (T,) counts from
    0 and leaves none out."""
    sums = np.zeros((int(image.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, image, probabilities)
    return sums / np.bincount(image)[:, None]


def majority_vote(probabilities: Floats, image: NDArray[np.int64]) -> Floats:
    """Shares (N, C) of each image's tiles that call a class; where classes are level the larger mean probability
    tips the scale by less than a millionth."""
    calls = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return (1 - 1e-6) * mean_vote(calls, image) + 1e-6 * mean_vote(probabilities, image)


def votes(logits: Floats, tiles_image: NDArray[np.int64], adjacent: NDArray[np.bool_]) -> dict[str, Floats]:
    """The three votes (N, C) of the tiles' logits (T, C): "mean", "majority", "as_served"."""
    probabilities = softmax(logits)
    return {
        "mean": mean_vote(probabilities, tiles_image),
        "majority": majority_vote(probabilities, tiles_image),
        "as_served": softmax(mean_vote(logits[adjacent], tiles_image[adjacent])),
    }


def run_folder(runs: Path, dataset: Dataset, recipe: Recipe) -> Path:
    """Where features and folds of this recipe on these images, groups and tiles are kept."""
    said = json.dumps([[str(record.path.name), record.group] for record in dataset.records] + [FIELD, SIZE])
    return runs / f"bach-{recipe.fingerprint}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def cross_validate(
    dataset: Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    folds: int,
    repeats: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Repeated cross-validation by patient group of the network beside two baselines, four classes; ready for JSON.

    A fold's predictions are kept in `folder` (see `run_folder`) as soon as they are made: a killed run goes on where it
    was. Raises DataError where a class has fewer groups than folds or is missing.
    """
    _all_classes(dataset)
    labels, groups = dataset.labels, dataset.groups
    splits = [grouped_folds(labels, groups, folds, seed=repeat) for repeat in range(repeats)]
    tiles = load_tiles(dataset.records, progress=progress)
    features = trunk_features(tiles.pixels, backbone, recipe, folder)
    tile_labels, tile_groups = labels[tiles.image], groups[tiles.image]
    frozen = frozen_features(features, backbone)
    # In chunks: statistics are computed in float32, four times the memory of the pixels.
    starts = range(0, len(tiles.pixels), COLOUR_CHUNK)
    colours = np.concatenate([colour_statistics(tiles.pixels[start : start + COLOUR_CHUNK]) for start in starts])
    shape = (repeats, len(tiles.image), len(CLASSES))
    plain, shifted, probe, colour = (np.zeros(shape) for _ in range(4))
    for repeat, split in enumerate(splits):
        for number, (training_images, test_images) in enumerate(split):
            training, test = tiles.of(training_images), tiles.of(test_images)
            done = folder / f"fold-{folds}-{repeat}-{number}.npz"
            if not done.is_file():
                seed = 100 * repeat + number
                place = folder / f"fold-{folds}-{repeat}-{number}"
                _logits_of_fold(done, features, tile_labels, tile_groups, training, test, backbone, recipe, seed, place)
            with np.load(done) as kept:
                plain[repeat, test], shifted[repeat, test] = kept["plain"], kept["stain_shift"]
            for x, answer, strength in ((frozen, probe, PROBE_STRENGTH), (colours, colour, COLOUR_STRENGTH)):
                answer[repeat, test] = probed(x, tile_labels, tile_groups, training, test, strength)
    ours = [votes(logits, tiles.image, tiles.adjacent) for logits in plain]
    predictions = {
        "dala_resnet50": np.stack([vote["mean"] for vote in ours]),
        "dala_resnet50_majority": np.stack([vote["majority"] for vote in ours]),
        "dala_resnet50_as_served": np.stack([vote["as_served"] for vote in ours]),
        **{
            name: np.stack([mean_vote(softmax(logits), tiles.image) for logits in repeats_of])
            for name, repeats_of in (
                ("dala_resnet50_stain_shift", shifted),
                ("linear_probe", probe),
                ("colour_only", colour),
            )
        },
    }
    return {
        "protocol": f"cross-validation, {grouping(dataset.records)}; {divided(folds, repeats)}, all tiles of an image "
        "on one side, predictions pooled within a repeat and scores averaged over the repeats; 95 % intervals: "
        "bootstrap over the groups; the recipe is the one chosen on BreakHis",
        "command": COMMAND,
        "data": described(dataset, tiles),
        "imagenet": backbone.source,
        "recipe": recipe.record,
        "scores": {name: scores_of(labels, p, groups) for name, p in predictions.items()},
        "explained": EXPLAINED,
        "confusion": {
            "explained": "images, rows the truth, columns the call (mean of probabilities), mean over the repeats",
            "classes": list(CLASSES),
            "counts": confusion(labels, predictions["dala_resnet50"]),
        },
        "predictions": {
            "files": [record.path.name for record in dataset.records],
            "classes": list(CLASSES),
            "labels": labels.tolist(),
            "groups": [str(group) for group in groups],
            "probabilities": {name: p.round(6).tolist() for name, p in predictions.items()},
        },
    }


def _logits_of_fold(
    done: Path,
    features: TrunkFeatures,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    training: NDArray[np.int64],
    test: NDArray[np.int64],
    backbone: Backbone,
    recipe: Recipe,
    seed: int,
    place: Path,
) -> None:
    """Train on some tiles and write the logits of the others to `done`."""
    net = fit(features, labels, groups, training, backbone, recipe, seed, place)
    rest = nn.Sequential(net.layer4, net.head)
    plain, shifted = (apply_to_view(rest, features, name, test) for name in ("plain", "stain_shift"))
    np.savez(done, plain=plain, stain_shift=shifted)


def probed(
    x: Floats,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    training: NDArray[np.int64],
    test: NDArray[np.int64],
    strength: float,
) -> Floats:
    """Logits (len(test), classes) by group-balanced logistic regression on standardised features."""
    rows, biases = fitted_probe(x, labels, groups, training, strength)
    return x[test] @ rows.T + biases


def scores_of(labels: NDArray[np.int64], probabilities: Floats, groups: NDArray[np.str_]) -> dict[str, Any]:
    """The metrics of four classes with intervals, for JSON: names of recalls without spaces."""
    return dict(multiclass_intervals(labels, probabilities, groups, [name.replace(" ", "_") for name in CLASSES]))


def confusion(labels: NDArray[np.int64], probabilities: Floats) -> list[list[float]]:
    """Images by truth (rows) and call (columns), the mean over repeats (R, N, C)."""
    counts = np.zeros((len(CLASSES), len(CLASSES)))
    for called in probabilities.argmax(axis=2):
        np.add.at(counts, (labels, called), 1 / len(probabilities))
    mean: list[list[float]] = counts.round(3).tolist()
    return mean


def described(dataset: Dataset, tiles: Tiles) -> dict[str, Any]:
    """What a result was computed on, for JSON."""
    return {
        "name": "BACH part A",
        "pictures": len(dataset.records),
        "per_class": {name: int((dataset.labels == label).sum()) for label, name in enumerate(CLASSES)},
        "groups": len(set(dataset.groups)),
        "pictures_with_patient": sum(record.patient is not None for record in dataset.records),
        "tiles": len(tiles.image),
    }


def train(
    dataset: Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    evidence: Path,
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> Card:
    """Train the recipe on every image and write weights and card to `out`.

    The card's metrics are those of the cross-validation JSON at `evidence` if it belongs to this recipe, ImageNet start
    and these images; otherwise they are empty and the protocol says so.
    """
    _all_classes(dataset)
    tiles = load_tiles(dataset.records, progress=progress)
    features = trunk_features(tiles.pixels, backbone, recipe, folder)
    labels, groups = dataset.labels[tiles.image], dataset.groups[tiles.image]
    everything = np.arange(len(labels))
    net = fit(features, labels, groups, everything, backbone, recipe, seed, folder / f"all-seed{seed}")
    metrics = metrics_of(evidence, recipe, dataset, backbone.source)
    return save_weights(net, out, card_fields(out.stem, dataset, recipe, seed, metrics, backbone.source))


def metrics_of(path: Path, recipe: Recipe, dataset: Dataset, imagenet: str) -> dict[str, Any]:
    """The card's metrics from a cross-validation JSON of the same recipe, ImageNet start, images and groups."""
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        data = record.get("data", {})
        if (
            record.get("recipe") == recipe.record
            and record.get("imagenet") == imagenet
            and (data.get("pictures"), data.get("groups")) == (len(dataset.records), len(set(dataset.groups)))
        ):
            scores = record["scores"]
            return {
                "protocol": record["protocol"],
                "command": record["command"],
                # The card is about the answers that are served; the votes over more tiles stand beside them.
                "values": scores["dala_resnet50_as_served"],
                "comparison": {name: value for name, value in scores.items() if name != "dala_resnet50_as_served"},
            }
    return {
        "protocol": "not measured: no cross-validation of this recipe on these images was found",
        "command": COMMAND,
        "values": {},
    }


def card_fields(
    name: str, dataset: Dataset, recipe: Recipe, seed: int, metrics: dict[str, Any], imagenet: str
) -> dict[str, Any]:
    """Everything a card says but size and sha256 of the weights."""
    scale = f"{MICRONS_PER_PIXEL} um per pixel (20X)"
    return {
        "schema": 1,
        "name": name,
        "title": "Normal, benign, in situ or invasive on BACH",
        "network": "DALAResNet50",
        "classes": list(CLASSES),
        "positive": CLASSES[-1],
        "input": {
            "size": SIZE,
            "enlarged": recipe.enlarged,
            "colour": "RGB",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "resize": "tile squeezed to size x size (Pillow bicubic, antialiased, aspect ratio not kept), then "
            "enlarged bicubically",
            "preprocess": "fields",
            "magnification": scale,
            "modality": "H&E histology of the breast, bright field",
            "frame": list(FIELD),
        },
        "imagenet": IMAGENET_SOURCES.get(imagenet, imagenet),
        "training_data": {
            "name": "BACH part A",
            "source": "Aresta et al., BACH: Grand challenge on breast cancer histology images, Medical Image Analysis "
            "56, 2019",
            "terms": "CC BY-NC-ND 4.0",
            "pictures": len(dataset.records),
            "per_class": {label: int((dataset.labels == index).sum()) for index, label in enumerate(CLASSES)},
            "groups": sorted({str(group) for group in dataset.groups}),
            "magnification": scale,
        },
        "recipe": {"seed": seed, **recipe.record},
        "split": f"the weights are trained on all groups; metrics are of the same recipe in cross-validation, "
        f"{grouping(dataset.records)}",
        "metrics": metrics,
        "assumptions": [
            "Attention, head and threshold rules are this project's definition: the published abstract fixes little.",
            f"A pixel of an image is about {MICRONS_PER_PIXEL} um wide: larger images are cut into tiles of about "
            f"{FIELD[0]} x {FIELD[1]} px.",
            "Every tile of an image is taken to show what the image's label says.",
            "One laboratory, one scanner.",
        ],
        "limits": [
            "The recipe was chosen on BreakHis; nothing was tuned on this data.",
            NOT_CALIBRATED,
            "The label is of the predominant finding of an image; an image may show several.",
        ],
        "use": "Research and teaching only, not for diagnosis.",
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def evaluate(dataset: Dataset, model: Model, progress: Progress | None = None) -> dict[str, Any]:
    """Score four-class weights on a tree, image by image; ready for JSON.

    Every tile is squeezed and judged as in serving, and "as_served" is the very answer of `predict` for weights without
    a calibration. Raises DataError for weights of other classes and for an image that cannot be read.
    """
    if model.card.classes != dataset.classes:
        raise DataError(f"The weights {model.name} know {model.card.classes}, the data set {dataset.classes}.")
    found: dict[str, list[Floats]] = {"mean": [], "majority": [], "as_served": []}
    for done, record in enumerate(dataset.records):
        try:
            patch = read_image(record.path)
        except IntakeError as error:
            raise DataError(f"{record.path.name} cannot be scored: {error}") from error
        tiles, next_to = tiles_of(Image.fromarray(patch.pixels), model.card.input.size)
        with torch.no_grad():
            logits = np.concatenate(
                [model.net(network_input(tile[None], model.card.input.upsampled)).double().numpy() for tile in tiles]
            )
        image = np.zeros(len(tiles), dtype=np.int64)
        for name, vote in votes(logits, image, np.arange(len(tiles)) < next_to).items():
            found[name].append(vote[0])
        if progress is not None:
            progress(done + 1, len(dataset.records))
    return {
        "protocol": protocol_of(dataset, model),
        "weights": model.name,
        "weights_sha256": model.card.fields["sha256"],
        "pictures": len(dataset.records),
        "groups": len(set(dataset.groups)),
        "votes": {name: scores_of(dataset.labels, np.stack(p), dataset.groups) for name, p in found.items()},
    }


def protocol_of(dataset: Dataset, model: Model) -> str:
    """One sentence on what a score on this data set means for these weights."""
    return (
        "every image scored once, by the vote of its tiles, with weights trained on "
        f"{model.card.fields['training_data']['name']}; 95 % intervals by bootstrap over {len(set(dataset.groups))} "
        f"groups, {grouping(dataset.records)}; {known_groups(dataset.groups, model)}"
    )


def _all_classes(dataset: Dataset) -> None:
    missing = [name for label, name in enumerate(CLASSES) if not (dataset.labels == label).any()]
    if missing:
        raise DataError(f"Training needs images of all four classes; this tree holds none of {', '.join(missing)}.")
