"""Grad-CAM by torch-cam, a program of other authors, as the answer to compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def torchcam_rectified(
    model: nn.Module, layer: str | nn.Module, x: Tensor, target: int | Callable[[Tensor], Tensor]
) -> Tensor:
    """torch-cam's own map, (n, h, w): after its ReLU, before its min-max normalisation, which is switched off.

    target: index of a logit, or a function from one sample's logits (C,) to a scalar. The hooks are removed at the end.
    """
    from torchcam.methods import GradCAM  # with all of matplotlib: only for who asks

    with torch.enable_grad(), GradCAM(model, layer) as extractor:
        scores = model(x.detach().requires_grad_())
        if isinstance(target, int):
            (cam,) = extractor(target, scores, normalized=False)
        else:
            (cam,) = extractor(scores=scores, normalized=False, targets=target)
    return cam.detach()


def torchcam_signed(model: nn.Module, layer: str | nn.Module, x: Tensor, class_index: int) -> Tensor:
    """The signed map, (n, h, w), from two rectified ones: towards the logit minus towards the negated logit.

    Exact, since the map is linear in the target and ReLU(m) - ReLU(-m) = m.
    """
    against = torchcam_rectified(model, layer, x, lambda logits: -logits[class_index])
    return torchcam_rectified(model, layer, x, class_index) - against
