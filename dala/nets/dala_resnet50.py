"""DALAResNet50: ResNet50, lightweight attention after the last block of layer4, a head of two activated layers.

Beside it the plain ResNet50 that its parts are added to, one by one in the ablation.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dala.nets.attention import LightweightAttention
from dala.nets.imagenet import Backbone, copy_backbone
from dala.nets.resnet50 import resnet50_parts
from dala.nets.staged import Head, LinearHead, StagedNetwork

LAST = ("layer4",)
STAGES = ("layer2", "layer3", "layer4")
WIDTHS = {"layer2": 512, "layer3": 1024, "layer4": 2048}


class BranchingTrunk(nn.Sequential):
    """Stem to layer3, which keeps what layer2 says beside it: (N, 512 + 1024, H/16, W/16), every second cell of layer2
    averaged with its neighbours. No parameter of its own."""

    def forward(self, x: Tensor) -> Tensor:
        beside = x
        for name, stage in self.named_children():
            x = stage(x)
            if name == "layer2":
                beside = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return torch.cat([beside, x], 1)


class JoiningTail(nn.Sequential):
    """layer4 on what layer3 says, beside both: a `BranchingTrunk`'s output to (N, 512 + 1024 + 2048, H/16, W/16). Every
    second cell is one of layer4, those between are means, so that all stages look at one place."""

    def forward(self, trunk: Tensor) -> Tensor:
        last = trunk[:, WIDTHS["layer2"] :]
        for stage in self:
            last = stage(last)
        wide = F.pad(F.interpolate(last, scale_factor=2.0, mode="nearest"), (0, 1, 0, 1), "replicate")
        between = F.avg_pool2d(wide, 2, stride=1)
        return torch.cat([trunk, between[..., : trunk.shape[-2], : trunk.shape[-1]]], 1)


class DualActivatedHead(Head):
    """Global average pool, Linear 512, LeakyReLU(leak), Dropout, Linear 128, ReLU, Linear to the classes.

    Input (N, channels, h, w), output logits (N, classes). Nothing before the pool mixes places, so the gradient of any
    logit towards the input is the same at every place of an image.
    """

    fc1: nn.Linear
    leaky: nn.LeakyReLU
    fc2: nn.Linear
    classifier: nn.Linear

    def __init__(self, channels: int, classes: int, dropout: float = 0.5, leak: float = 0.01) -> None:
        super().__init__(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc1=nn.Linear(channels, 512),
                leaky=nn.LeakyReLU(leak),
                dropout=nn.Dropout(dropout),
                fc2=nn.Linear(512, 128),
                relu=nn.ReLU(),
                classifier=nn.Linear(128, classes),
            )
        )


class ResNet50(StagedNetwork):
    """torchvision's ResNet50 in stages, with or without the two parts that make it a DALAResNet50.

    `features` returns the tensor that feeds the pool, (N, 2048, H/32, W/32), where Grad-CAM looks; `head` maps it to
    logits (N, classes). `trunk` is stem to layer3; `layer4` holds the blocks and, with `attention`, the module after
    them. The head is linear or, with `dual_activated`, two activated layers of which the first has slope `leak` below
    zero and `dropout` behind it. With the `stages` layer2, layer3 and layer4 the head sees all three side by side:
    `features` is (N, 3584, H/16, W/16).
    """

    def __init__(
        self,
        classes: int = 2,
        dropout: float = 0.5,
        *,
        attention: bool = False,
        dual_activated: bool = False,
        leak: float = 0.01,
        stages: tuple[str, ...] = LAST,
    ) -> None:
        super().__init__()
        if stages not in (LAST, STAGES):
            raise ValueError(
                f"The head sees layer4, or layer2, layer3 and layer4, not {', '.join(stages) or 'nothing'}."
            )
        parts = resnet50_parts()
        last: OrderedDict[str, nn.Module] = OrderedDict(blocks=parts.pop("layer4"))
        if attention:
            last["attention"] = LightweightAttention(WIDTHS["layer4"])
        self.stages = stages
        self.trunk = nn.Sequential(parts) if stages == LAST else BranchingTrunk(parts)
        self.layer4 = nn.Sequential(last) if stages == LAST else JoiningTail(last)
        width = sum(WIDTHS[stage] for stage in stages)
        self.head = DualActivatedHead(width, classes, dropout, leak) if dual_activated else LinearHead(width, classes)

    @property
    def tail(self) -> nn.Module:
        return self.layer4

    @property
    def trunk_width(self) -> int:
        """Channels of the trunk's output; the last 1,024 of them are layer3's."""
        return sum(WIDTHS[stage] for stage in self.stages if stage != "layer4") or WIDTHS["layer3"]

    @property
    def cell(self) -> int:
        """Pixels of the input from one cell of `features` to the next."""
        return 32 if self.stages == LAST else 16

    @property
    def fresh(self) -> tuple[nn.Module, ...]:
        return tuple(self.layer4.children())[1:]

    def load_imagenet(self, backbone: Backbone) -> None:
        """Copy stem and stages from a torchvision-named ResNet50; attention and head keep their start."""
        copy_backbone(self, backbone, "layer4.blocks.", own=("head.", "layer4.attention."))


class DALAResNet50(ResNet50):
    """The network of arXiv 2308.13150 as far as its abstract fixes it; the details are this project's definition.

    Its head sees layer4 alone, as we read the paper, or layer2, layer3 and layer4 together: what middle layers know of
    cells carries to new laboratories, and shows where it was seen (`dala laboratories`, `dala pointing`).
    """

    head: DualActivatedHead

    def __init__(self, classes: int = 2, dropout: float = 0.5, stages: tuple[str, ...] = LAST) -> None:
        super().__init__(classes, dropout, attention=True, dual_activated=True, stages=stages)
