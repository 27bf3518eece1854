"""ResNet50's stem and stages, torchvision's to the last random number, without importing torchvision.

That import takes longer than loading the weights and giving the first answer together, and of all it brings the served
network needs this alone.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

EXPANSION = 4  # a stage's output has four times the channels of its 3x3 convolutions
STAGES = {"layer1": (64, 3, 1), "layer2": (128, 4, 2), "layer3": (256, 6, 2), "layer4": (512, 3, 2)}


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride: "v1.5") and 1x1 convolution beside the identity (He et al. 2016, torchvision)."""

    def __init__(self, incoming: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, EXPANSION * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        answer: Tensor = self.relu(self.bn3(self.conv3(x)) + beside)
        return answer


def resnet50_parts() -> OrderedDict[str, nn.Module]:
    """conv1, bn1, relu, maxpool and layer1 to layer4, initialised as `torchvision.models.resnet50()` does.

    The parameters are torchvision's for the same seed, and so are all random numbers drawn afterwards.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, 2, 1),
    )
    incoming = 64
    for name, (width, blocks, stride) in STAGES.items():
        parts[name] = _stage(incoming, width, blocks, stride)
        incoming = EXPANSION * width
    nn.Linear(incoming, 1000)  # torchvision's classifier: nobody needs it but those who repeat a seed
    for module in nn.Sequential(parts).modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # see `LightweightAttention`
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return parts


def _stage(incoming: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    outgoing = EXPANSION * width
    downsample = nn.Sequential(nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing))
    first = Bottleneck(incoming, width, stride, downsample)
    return nn.Sequential(first, *(Bottleneck(outgoing, width, 1, None) for _ in range(1, blocks)))
