"""The recipe of the shipped weights, with every choice at its top. Chosen by grouped cross-validation.

dala crossvalidate breakhis --data ROOT    the figures below, from evidence/breakhis_200x.json
dala train breakhis --data ROOT            weights/breakhis.safetensors, trained on every group
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from dala.data.augment import Augmentation

SIZE = 224  # side to which every image is squeezed, as the images of the 224 edition were
# What a choice is called in JSON where that is not the field's name: shipped cards and their evidence are compared.
JSON_KEYS = {
    "lr": "rate",
    "head_lr": "head_rate",
    "logistic_c": "strength",
    "ridge_alpha": "ridge",
    "weight_decay": "decay",
    "distillation": "trust",
    "ema_decay": "average",
    "warmup": "warm_up",
}

GEOMETRIC = Augmentation(crop=0.85, aspect=1.25, stain=0.0, stain_mix=0.0, gain=0.0, gamma=0.0, grey=0.0, blur=0.0)
STAINED = Augmentation()
# Colour and stain far beyond what a laboratory does, shape untouched: how much does a model lean on colour?
STAIN_SHIFT = Augmentation(
    crop=1.0, aspect=1.0, stain=0.4, stain_mix=0.1, gain=0.1, gamma=0.25, grey=0.0, blur=0.0, symmetries=False
)


@dataclass(frozen=True)
class Recipe:
    """Fine-tuning that stays close to ImageNet: stem to layer3 frozen, layer4 slowly, attention and head faster."""

    enlarged: int = 320  # side at which the network sees the squeezed image
    epochs: float = 1.0
    batch: int = 32
    lr: float = 1e-6  # layer4
    head_lr: float = 3e-6  # attention and head; Adam steps by the rate, and on 2048 inputs every step shifts logits
    logistic_c: float = 1e-4  # C of the teacher's logistic regression, or of the head's own without a teacher
    teacher: int = 448  # side at which the teacher sees the image; 0: no teacher (see dala.training.teacher)
    teacher_stages: tuple[str, ...] = ("layer2",)  # what of the trunk it sees
    ridge_alpha: float = 1e3  # of the ridge regression by which the head begins as the teacher's student
    weight_decay: float = 0.05  # AdamW
    dropout: float = 0.5
    distillation: float = 1.0  # share of the teacher's (or the head start's own) answer in the target; the rest: label
    ema_decay: float = 0.98  # exponential moving average of the weights; the average is what is kept
    warmup: float = 0.1  # share of the steps; then half a cosine down to zero
    norm_batches: int = 10  # batches from which layer4's BatchNorm statistics are estimated anew, then frozen
    # Views of each image, drawn equally often in fine-tuning: plain, mirrored, and these.
    geometric_views: int = 2
    stained_views: int = 1
    stained_share: float = 0.03  # weight of the stained views in the head's start; plain and mirrored have the rest
    geometric: Augmentation = GEOMETRIC
    stained: Augmentation = STAINED

    @property
    def training_views(self) -> tuple[str, ...]:
        """Names of the views that training draws from."""
        geometric = [f"geometric{k}" for k in range(self.geometric_views)]
        return ("plain", "mirrored", *geometric, *(f"stained{k}" for k in range(self.stained_views)))

    @property
    def start_views(self) -> dict[str, float]:
        """The views that the head's start is fitted on and the norms are estimated on, with weights that sum to 1."""
        share = self.stained_share if self.stained_views else 0.0
        stained = {f"stained{k}": share / self.stained_views for k in range(self.stained_views)}
        return {"plain": (1 - share) / 2, "mirrored": (1 - share) / 2, **stained}

    @property
    def memorising(self) -> Recipe:
        """Fine-tuning as the literature does it: labels alone, a hundred times the rate, several epochs.

        It learns slides by heart, which pays exactly where images of a slide stand on both sides. For comparison,
        never shipped.
        """
        return replace(
            self,
            teacher=0,
            distillation=0.0,
            lr=1e-4,
            head_lr=3e-4,
            epochs=4.0,
            geometric_views=0,
            stained_views=0,
        )

    @property
    def record(self) -> dict[str, Any]:
        """Every choice, as cards and evidence files hold it, whose keys stay what they are (`JSON_KEYS`)."""
        choices: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {JSON_KEYS.get(name, name): value for name, value in choices.items()}

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with any choice, so that no run resumes from another recipe's files."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()[:8]
