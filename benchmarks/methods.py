"""The maps of pytorch-grad-cam, as it documents them, for the benchmarks that compare with it."""

from __future__ import annotations

import copy

import numpy as np
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM

from dala.nets.dala_resnet50 import DALAResNet50

METHODS = {
    "pytorch-grad-cam GradCAM": GradCAM,
    "pytorch-grad-cam HiResCAM": HiResCAM,
    "pytorch-grad-cam GradCAM++": GradCAMPlusPlus,
    "pytorch-grad-cam LayerCAM": LayerCAM,
    "pytorch-grad-cam EigenCAM": EigenCAM,
}
SCORE_CAM = {"pytorch-grad-cam ScoreCAM": ScoreCAM}


def trainable(net: DALAResNet50) -> DALAResNet50:
    """A copy whose last weights want a gradient: pytorch-grad-cam differentiates down to them."""
    ready = copy.deepcopy(net)
    ready.layer4.requires_grad_()
    ready.head.requires_grad_()
    return ready


def library_maps(
    net: DALAResNet50, x: torch.Tensor, target: torch.Tensor, score_cam: bool = False
) -> dict[str, np.ndarray]:
    """Rectified, stretched and enlarged maps (S, S) float32 of the input x (1, 3, S, S), towards logits @ target."""

    def margin(output: torch.Tensor) -> torch.Tensor:
        return (output * target).sum(-1)

    maps = {}
    for name, kind in (METHODS | (SCORE_CAM if score_cam else {})).items():
        with kind(model=net, target_layers=[net.layer4]) as cam:
            maps[name] = np.asarray(cam(input_tensor=x.clone(), targets=[margin])[0], dtype=np.float32)
    return maps
