"""Made-up cohorts: labels, patient groups and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from dala.stats.conformal import Cohort, sigmoid


def patients(*groups: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups for patients given as (benign images, malignant images)."""
    labels = [label for benign, malignant in groups for label in [0] * benign + [1] * malignant]
    names = [f"patient {i}" for i, counts in enumerate(groups) for _ in range(sum(counts))]
    return np.array(labels), np.array(names)


def random_case(seed: int, images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities rounded to 1/50, so that there are many ties."""
    random = np.random.default_rng(seed)
    labels = (random.random(images) < 0.7).astype(int)
    return labels, np.clip(np.round((0.35 + 0.25 * labels + random.normal(0, 0.3, images)) * 50) / 50, 0, 1)


def simulated(seed: int, benign: int = 10, malignant: int = 20, scale: float = 1.0, repeats: int = 2) -> dict[str, Any]:
    """Groups of 2 to 9 images; a patient's and an image's deviation; margins `scale` times too large."""
    draw = np.random.default_rng(seed)
    labels, groups, margins = [], [], []
    for k in range(benign + malignant):
        label = int(k >= benign)
        patient = draw.normal(2 * label - 1, 1)
        for _ in range(draw.integers(2, 10)):
            labels.append(label)
            groups.append(f"g{k:03}")
            margins.append(scale * (patient + draw.normal(0, 0.7) + draw.normal(0, 0.2, repeats)))
    probabilities = sigmoid(np.array(margins).T)
    return {
        "protocol": "p", "command": "c", "imagenet": "npm", "recipe": {},
        "data": {"pictures": len(labels), "groups": benign + malignant},
        "labels": labels, "groups": groups, "probabilities": {"dala_resnet50": probabilities.tolist()},
    }  # fmt: skip


def cohort_of(predictions: dict[str, Any]) -> Cohort:
    return Cohort.of(predictions["labels"], predictions["groups"], predictions["probabilities"]["dala_resnet50"])
