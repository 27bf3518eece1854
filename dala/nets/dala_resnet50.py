"""DALAResNet50: ResNet50, lightweight attention after the last block of layer4, a head of two activated layers.

Beside it the plain ResNet50 that its parts are added to, one by one in the ablation.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from dala.nets.attention import LightweightAttention
from dala.nets.imagenet import Backbone, copy_backbone
from dala.nets.resnet50 import resnet50_parts
from dala.nets.staged import Head, LinearHead, StagedNetwork


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
    zero and `dropout` behind it.
    """

    def __init__(
        self,
        classes: int = 2,
        dropout: float = 0.5,
        *,
        attention: bool = False,
        dual_activated: bool = False,
        leak: float = 0.01,
    ) -> None:
        super().__init__()
        parts = resnet50_parts()
        last: OrderedDict[str, nn.Module] = OrderedDict(blocks=parts.pop("layer4"))
        self.trunk = nn.Sequential(parts)
        if attention:
            last["attention"] = LightweightAttention(2048)
        self.layer4 = nn.Sequential(last)
        self.head = DualActivatedHead(2048, classes, dropout, leak) if dual_activated else LinearHead(2048, classes)

    @property
    def tail(self) -> nn.Module:
        return self.layer4

    @property
    def fresh(self) -> tuple[nn.Module, ...]:
        return tuple(self.layer4.children())[1:]

    def load_imagenet(self, backbone: Backbone) -> None:
        """Copy stem and stages from a torchvision-named ResNet50; attention and head keep their start."""
        copy_backbone(self, backbone, "layer4.blocks.", own=("head.", "layer4.attention."))


class DALAResNet50(ResNet50):
    """The network of arXiv 2308.13150 as far as its abstract fixes it; the details are this project's definition."""

    head: DualActivatedHead

    def __init__(self, classes: int = 2, dropout: float = 0.5) -> None:
        super().__init__(classes, dropout, attention=True, dual_activated=True)
