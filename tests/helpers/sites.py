"""Site files made by hand: their facts, and a head that gives one answer to everything."""

from __future__ import annotations

from typing import Any

import torch

from dala.nets.dala_resnet50 import DualActivatedHead
from dala.runtime.predict import Model
from dala.sites import CHANNELS, CLASSES


def facts_of(model: Model, name: str = "Lab A", **more: Any) -> dict[str, Any]:
    one = {"value": 0.9, "low": 0.7, "high": 1.0}
    scores = {key: one for key in ("auc", "balanced_accuracy", "sensitivity", "specificity")}
    measured = {"scores": scores, "answered": {"share": one, "wrong": {"value": 0.1, "low": 0.0, "high": 0.3}}}
    return {
        "schema": 1,
        "name": name,
        "weights": model.name,
        "weights_sha256": model.card.fields["sha256"],
        "created": "2026-11-29",
        "images": 40,
        "groups": 20,
        "benign": 20,
        "malignant": 20,
        "patients_by": "table",
        "um_per_pixel": [0.25, 0.25],
        "unfamiliar": 0,
        "gate": {"limit": 1.2, "margin": 0.1},
        "decides": 0.1,
        "thresholds": {alpha: {"benign": 0.4, "malignant": 0.4} for alpha in ("0.05", "0.10")},
        "before": measured,
        "after": measured,
        "protocol": "5-fold cross-validation by patient",
        "guarantee": "None.",
        "command": "dala adapt --data FOLDER --name LAB",
        **more,
    }


def head_that_says(margin: float) -> dict[str, torch.Tensor]:
    """A head of zeros but for the last biases: its logits are -margin / 2 and margin / 2 for whatever image."""
    head = {key: torch.zeros_like(value) for key, value in DualActivatedHead(CHANNELS, CLASSES).state_dict().items()}
    head["classifier.bias"] = torch.tensor([-margin / 2, margin / 2])
    return head
