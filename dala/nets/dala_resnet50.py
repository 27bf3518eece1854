"""DALAResNet50: ResNet50, lightweight attention after the last block of layer4, a head of two activated layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models import resnet50

from dala.nets.attention import LightweightAttention
from dala.nets.imagenet import Backbone, is_backbone_parameter


class DualActivatedHead(nn.Sequential):
    """Global average pool, Linear 512, LeakyReLU(0.01), Dropout, Linear 128, ReLU, Linear to the classes.

    Input (N, channels, h, w), output logits (N, classes). Nothing before the pool mixes places, so the gradient of any
    logit towards the input is the same at every place of a picture.
    """

    fc1: nn.Linear
    fc2: nn.Linear
    classifier: nn.Linear

    def __init__(self, channels: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc1=nn.Linear(channels, 512),
                leaky=nn.LeakyReLU(0.01),
                dropout=nn.Dropout(dropout),
                fc2=nn.Linear(512, 128),
                relu=nn.ReLU(),
                classifier=nn.Linear(128, classes),
            )
        )


class DALAResNet50(nn.Module):
    """The network of arXiv 2308.13150 as far as its abstract fixes it; the details are this project's definition.

    Input (N, 3, H, W), RGB normalised with ImageNet's mean and standard deviation. `features` returns the tensor that
    feeds the pool, (N, 2048, H/32, W/32), where Grad-CAM looks; `head` maps it to logits (N, classes).
    `trunk` (stem to layer3) and `layer4` are apart as training computes the frozen first part only once.
    """

    def __init__(self, classes: int = 2, dropout: float = 0.5) -> None:
        super().__init__()
        net = resnet50(weights=None)
        self.trunk = nn.Sequential(
            OrderedDict(
                conv1=net.conv1,
                bn1=net.bn1,
                relu=net.relu,
                maxpool=net.maxpool,
                layer1=net.layer1,
                layer2=net.layer2,
                layer3=net.layer3,
            )
        )
        self.layer4 = nn.Sequential(OrderedDict(blocks=net.layer4, attention=LightweightAttention(2048)))
        self.head = DualActivatedHead(2048, classes, dropout)

    def features(self, x: Tensor) -> Tensor:
        """The attended layer4 output, (N, 2048, H/32, W/32)."""
        attended: Tensor = self.layer4(self.trunk(x))
        return attended

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def load_imagenet(self, backbone: Backbone) -> None:
        """Copy stem and stages from a torchvision-named ResNet50; attention and head keep their start."""
        renamed: dict[str, Tensor] = {}
        for name, value in backbone.state.items():
            if is_backbone_parameter(name):
                prefix = (
                    "layer4.blocks." + name.removeprefix("layer4.") if name.startswith("layer4.") else "trunk." + name
                )
                renamed[prefix] = value
        missing, unexpected = self.load_state_dict(renamed, strict=False)
        own = [n for n in missing if not n.startswith(("head.", "layer4.attention.")) and "num_batches" not in n]
        if own or unexpected:
            raise ValueError(f"The backbone does not fit: {(own + unexpected)[0]}.")
