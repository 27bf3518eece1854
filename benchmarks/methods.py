"""The maps of pytorch-grad-cam, as it documents them, for the benchmarks that compare with it."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM
from torch import nn

from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.engines import Engine

METHODS = {
    "pytorch-grad-cam GradCAM": GradCAM,
    "pytorch-grad-cam HiResCAM": HiResCAM,
    "pytorch-grad-cam GradCAM++": GradCAMPlusPlus,
    "pytorch-grad-cam LayerCAM": LayerCAM,
    "pytorch-grad-cam EigenCAM": EigenCAM,
}
SCORE_CAM = "pytorch-grad-cam ScoreCAM"


def trainable(net: DALAResNet50) -> DALAResNet50:
    """A copy whose last weights want a gradient: pytorch-grad-cam differentiates down to them."""
    ready = copy.deepcopy(net)
    ready.layer4.requires_grad_()
    ready.head.requires_grad_()
    return ready


@dataclass(frozen=True)
class Scoring:
    """For ScoreCAM, which shows the network an image 2,048 times: what runs those, and where each map is kept."""

    engine: Engine
    kept: Path


class Masked(nn.Module):
    """A network for ScoreCAM: the image goes through torch, where its activations are taken, masked ones do not."""

    def __init__(self, net: DALAResNet50, engine: Engine) -> None:
        super().__init__()
        self.net, self.engine = net, engine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) == 1:
            return self.net(x)
        with torch.no_grad():
            return self.net.head(self.engine.tail(self.engine.trunk(x)))


def library_maps(
    net: DALAResNet50, x: torch.Tensor, target: torch.Tensor, scoring: Scoring | None = None
) -> dict[str, np.ndarray]:
    """Rectified, stretched and enlarged maps (S, S) float32 of the input x (1, 3, S, S), towards logits @ target.

    ScoreCAM's among them where `scoring` says how.
    """
    maps = {name: _map(kind, net, net, x, target) for name, kind in METHODS.items()}
    if scoring is not None:
        told = hashlib.sha256(x.numpy().tobytes() + target.numpy().tobytes()).hexdigest()[:16]
        kept = scoring.kept / f"{told}-{scoring.engine.name}.npy"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, _map(ScoreCAM, Masked(net, scoring.engine), net, x, target))
        maps[SCORE_CAM] = np.load(kept)
    return maps


def spread(count: int, wanted: int) -> set[int]:
    """Numbers of `wanted` of `count` images, evenly spread, so that neighbours cut from one slide do not crowd."""
    return set(np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist())


def _map(kind: type, model: nn.Module, net: DALAResNet50, x: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    def margin(output: torch.Tensor) -> torch.Tensor:
        return (output * target).sum(-1)

    with kind(model=model, target_layers=[net.layer4]) as cam:
        return np.asarray(cam(input_tensor=x.clone(), targets=[margin])[0], dtype=np.float32)
