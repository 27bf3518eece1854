"""The mammography weights that may be shipped: trained on every case of the trained scanners, with their card."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dala.data.mini_ddsm import Dataset
from dala.gate.checks import MAMMOGRAM
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, load_backbone
from dala.preprocess.mammogram import SIDE
from dala.runtime.card import WEIGHTS_DIR, Card, read_card
from dala.runtime.weights import save_weights
from dala.studies.calibration import NOT_CALIBRATED, calibrate_weights
from dala.training.fine_tune import fit
from dala.training.recipe import Recipe
from dala.training.release import EVIDENCE_DIR, IMAGENET_SOURCES
from dala.training.tasks.mini_ddsm import COMMAND, NETWORK, RECIPE, load_all, trunk_views

NAME = "mini_ddsm"


def train_mini_ddsm(
    root: Path, backbone_source: str, runs: Path, evidence: Path | None, seed: int, out: Path | None
) -> Card:
    """Train the recipe on every benign and malignant case of the trained letters and write weights and card.

    The card's metrics are those of the cross-validation JSON (`evidence`, by default the repository's) if it belongs to
    this recipe and these images; otherwise they are null and the protocol says so. Beside that file its predictions
    calibrate the weights.
    """
    dataset, _ = load_all(root)
    backbone = load_backbone(backbone_source)
    folder = runs / NAME
    features = trunk_views(dataset, "breast", backbone, RECIPE, folder)
    everything = np.arange(len(dataset.labels))
    place = folder / RECIPE.fingerprint / f"all-seed{seed}"
    net = fit(features, dataset.labels, dataset.groups, everything, backbone, RECIPE, seed, place)
    figures = evidence or EVIDENCE_DIR / f"{NAME}.json"
    record = record_of(figures, RECIPE, dataset, backbone.source)
    path = out or WEIGHTS_DIR / f"{NAME}.safetensors"
    card = save_weights(net, path, card_fields(path.stem, dataset, RECIPE, seed, record, backbone.source))
    predictions = figures.with_name(f"{figures.stem}_predictions.json")
    if record is not None and predictions.is_file():
        calibrate_weights(predictions, path, figures.with_name(f"calibration_{figures.name}") if out is None else None)
        card, _ = read_card(path)
    return card


def record_of(path: Path, recipe: Recipe, dataset: Dataset, imagenet: str) -> dict[str, Any] | None:
    """A cross-validation JSON, if it is of this recipe, ImageNet start and number of images."""
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = record["recipe"] == recipe.record
    same = same and record["data"]["pictures"] == len(dataset.records) and record["imagenet"] == imagenet
    return record if same else None


def metrics_of(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """The card's metrics: the network's over all, by letter and by case, and the AUC of all it is compared with."""
    if record is None:
        return {
            "protocol": "not measured: no cross-validation of this recipe on these images was found",
            "command": COMMAND,
            "values": {},
        }
    return {
        "protocol": record["protocol"],
        "command": record["command"],
        "values": record["scores"][NETWORK],
        "by_letter": {letter: scores[NETWORK] for letter, scores in record["scores_by_letter"].items()},
        "by_case": record["scores_by_case"][NETWORK],
        "comparison": {name: {"auc": scores["auc"]} for name, scores in record["scores"].items() if name != NETWORK},
    }


def card_fields(
    name: str, dataset: Dataset, recipe: Recipe, seed: int, record: Mapping[str, Any] | None, imagenet: str
) -> dict[str, Any]:
    """Everything a card says but size and sha256 of the weights."""
    letters = " and ".join(sorted({str(letter) for letter in dataset.laboratories}))
    return {
        "schema": 1,
        "name": name,
        "title": "Mammogram of a benign case or of one with cancer, Mini-DDSM",
        "network": DALAResNet50.__name__,
        "classes": list(dataset.classes),
        "positive": dataset.classes[1],
        "input": {
            "size": recipe.enlarged,
            "enlarged": recipe.enlarged,
            "colour": "RGB",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "preprocess": "mammogram",
            "resize": f"whole film squeezed to {SIDE} x {SIDE} (Pillow bicubic, antialiased, aspect ratio not kept); "
            "the breast cut out, cleaned and stretched to one grey scale, chest wall at the left, squeezed bicubically "
            "to size x size (dala.preprocess.mammogram)",
            "magnification": "whole film",
            "modality": MAMMOGRAM,
            "frame": [SIDE, SIDE],
        },
        "imagenet": IMAGENET_SOURCES.get(imagenet, imagenet),
        "training_data": {
            "name": f"Mini-DDSM, scanners {letters}, benign and cancer cases",
            "source": "Lekamlage et al., Mini-DDSM: Mammography-based Automatic Age Estimation, DMIP 2020; thumbnails "
            "of Heath et al., The Digital Database for Screening Mammography, IWDM 2000",
            "terms": "DDSM: for research use",
            "pictures": len(dataset.records),
            "per_class": {label: int((dataset.labels == index).sum()) for index, label in enumerate(dataset.classes)},
            "groups": sorted({str(group) for group in dataset.groups}),
            "magnification": "whole film",
        },
        "recipe": {"seed": seed, **recipe.record},
        "split": "the shipped weights are trained on all cases; metrics are of the same recipe in cross-validation by "
        "case",
        "metrics": metrics_of(record),
        "assumptions": [
            "Attention, head and threshold rules are this project's definition: the published abstract fixes little.",
            f"A whole film, CC or MLO, digitised; training saw thumbnails of {SIDE} px, so nothing below about a "
            "millimetre: no microcalcifications.",
            f"Film digitised by one model of scanner (letters {letters} of DDSM).",
        ],
        "limits": [
            NOT_CALIBRATED,
            "The label is the case's: 'malignant' means that this patient has cancer in one of the breasts. Images "
            "of the healthy other breast count as malignant in training and in every score.",
            "Benign cases stand against cancer cases; the model has seen no case without a finding.",
            *([] if record is None else [record["site_effect"]]),
            "Film scanners only: no digital mammography, no tomosynthesis.",
            "Never for histology; the modality is part of this card.",
        ],
        "use": "Research and teaching only, not for diagnosis.",
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }
