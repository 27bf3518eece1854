"""Grad-CAM and its kin by pytorch-grad-cam and torch-cam, as they document them, and the turns that programs take.

Both are packages of development: importing this module without them raises DataError.
"""

from __future__ import annotations

import copy
import hashlib
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dala.errors import DataError
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.engines import Engine
from dala.studies.maps import SCORE_CAM

try:
    from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import GradCAM as TorchCam
except ImportError as error:
    raise DataError(
        "Comparing with other programs needs grad-cam and torchcam: pip install -r requirements-dev.txt brings them."
    ) from error

Map = NDArray[np.float32]

METHODS = {
    "pytorch-grad-cam GradCAM": GradCAM,
    "pytorch-grad-cam HiResCAM": HiResCAM,
    "pytorch-grad-cam GradCAM++": GradCAMPlusPlus,
    "pytorch-grad-cam LayerCAM": LayerCAM,
    "pytorch-grad-cam EigenCAM": EigenCAM,
}
REST = 0.1  # s


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

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            return self.net(x)
        with torch.no_grad():
            return self.net.head(self.engine.tail(self.engine.trunk(x)))


def library_maps(net: DALAResNet50, x: Tensor, target: Tensor, scoring: Scoring | None = None) -> dict[str, Map]:
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


def _map(kind: Any, model: nn.Module, net: DALAResNet50, x: Tensor, target: Tensor) -> Map:
    def margin(output: Tensor) -> Tensor:
        return (output * target).sum(-1)

    with kind(model=model, target_layers=[net.layer4]) as cam:
        return np.asarray(cam(input_tensor=x.clone(), targets=[margin])[0], dtype=np.float32)


def pytorch_grad_cam(net: DALAResNet50, x: Tensor, classes: tuple[int, ...] = (0, 1)) -> Map:
    """Its Grad-CAM as documented: stretched maps (classes, side, side)."""
    with GradCAM(model=net, target_layers=[net.layer4]) as cam:
        return np.stack([cam(input_tensor=x, targets=[ClassifierOutputTarget(index)])[0] for index in classes])


def torch_cam(net: DALAResNet50, x: Tensor) -> Map:
    """Its Grad-CAM as documented: rectified raw maps of both classes, (classes, h, w)."""
    with TorchCam(net, "layer4") as extractor:
        scores = net(x)
        maps = [extractor(index, scores, normalized=False, retain_graph=index == 0)[0][0] for index in (0, 1)]
    return torch.stack(maps).numpy()


def milliseconds(programs: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median over the runs of every program, taking turns, after one round to warm up.

    With a rest before each: torch's threads go on spinning for some milliseconds after their work, on the cores of
    whoever comes next.
    """
    times: dict[str, list[float]] = {name: [] for name in programs}
    order = list(programs)
    for turn in range(runs + 1):
        random.Random(turn).shuffle(order)
        for name in order:
            time.sleep(REST)
            start = time.perf_counter()
            programs[name]()
            if turn:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}
