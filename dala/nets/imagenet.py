"""The ImageNet start of a network: what its inputs were like, and its parameters copied to where they belong.

`dala.training.backbone` fetches and checks one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A ResNet50 state (torchvision names, float32) and where it came from."""

    state: dict[str, Tensor]
    source: str


def copy_backbone(net: nn.Module, backbone: Backbone, last: str, own: tuple[str, ...]) -> None:
    """Copy stem and stages into a network that has them as `trunk.*` and, the blocks of the last stage, as `last`.

    What has `own` in its name keeps its start. Raises ValueError where anything else is missing or does not fit.
    """
    renamed = {
        last + name.removeprefix("layer4.") if name.startswith("layer4.") else f"trunk.{name}": value
        for name, value in backbone.state.items()
        if re.match(r"(conv1|bn1|layer[1-4])\b", name)
    }
    missing, unexpected = net.load_state_dict(renamed, strict=False)
    wrong = [name for name in missing if not any(part in name for part in (*own, "num_batches"))] + unexpected
    if wrong:
        raise ValueError(f"The backbone does not fit: {wrong[0]}.")
