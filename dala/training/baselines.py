"""The networks that DALAResNet50 is compared with, each cut into trunk, last stage and head for the same recipe.

What a published network ends in (1000 classes of ImageNet) is replaced by a linear layer to our classes; everything
before it is the published network. `pretrained=True` asks torchvision or timm for its weights and raises
`BackboneError` where they cannot be downloaded. Both take seconds to import, and only a builder does it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dala.errors import BackboneError
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, Backbone, copy_backbone
from dala.nets.staged import Head, LinearHead, StagedNetwork

OPEN_GATE = 20.0  # sigmoid(20) is 1 in float32 and in bfloat16: such a gate changes nothing
NEARLY_OPEN_GATE = 4.0  # sigmoid(4) = 0.982, as LightweightAttention starts
CONV5_OF_VGG16 = 24  # index in torchvision's `features` of the first convolution after the fourth pooling


@dataclass(frozen=True)
class Settings:
    """What a builder is told; each takes what its network has: square inputs of `side`, `dropout` in the head."""

    classes: int = 2
    side: int = 224
    dropout: float = 0.5
    pretrained: bool = False


class Baseline(StagedNetwork):
    """A network made of the three parts it is given; `fresh` are the parts of `last` without pretrained weights."""

    def __init__(self, trunk: nn.Module, last: nn.Module, head: Head, fresh: tuple[nn.Module, ...] = ()) -> None:
        super().__init__()
        self.trunk, self.last, self.head = trunk, last, head
        self._fresh = fresh

    @property
    def tail(self) -> nn.Module:
        return self.last

    @property
    def fresh(self) -> tuple[nn.Module, ...]:
        return self._fresh


class SEResNet50(StagedNetwork):
    """Squeeze and excitation in all 16 bottlenecks of ResNet50 (Hu et al. 2018), timm's `seresnet50`.

    From a ResNet50's weights (`load_imagenet`) the gates of the frozen trunk start, and stay, at exactly 1, so its
    trunk equals ResNet50's; the gates of layer4 start nearly open and are trained. So at this start the comparison is
    about SE in layer4.
    """

    def __init__(self, classes: int = 2) -> None:
        import timm

        super().__init__()
        stages = dict(timm.create_model("seresnet50", num_classes=0).named_children())
        self.layer4: nn.Module = stages["layer4"]
        names = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")
        self.trunk = nn.Sequential(OrderedDict((name, stages[name]) for name in names))
        self.head = LinearHead(2048, classes)

    @property
    def tail(self) -> nn.Module:
        return self.layer4

    @property
    def fresh(self) -> tuple[nn.Module, ...]:
        return tuple(module.get_submodule("se") for module in self.layer4.children())

    def load_imagenet(self, backbone: Backbone) -> None:
        """Copy stem and stages from a torchvision-named ResNet50 and open the gates."""
        copy_backbone(self, backbone, "layer4.", own=("head.", ".se."))
        for part, bias in ((self.trunk, OPEN_GATE), (self.layer4, NEARLY_OPEN_GATE)):
            for name, module in part.named_modules():
                if name.endswith("se.fc2"):
                    assert isinstance(module, nn.Conv2d) and module.bias is not None
                    nn.init.zeros_(module.weight)
                    nn.init.constant_(module.bias, bias)


class Inception(nn.Module):
    """An inception block (Szegedy et al. 2015, figure 2b, with BatchNorm): input (N, in, h, w), output (N, 512, h, w).

    Side by side, each convolution followed by BatchNorm and ReLU: 1x1 to 128; 1x1 to 128 then 3x3 to 256; 1x1 to 32
    then 5x5 to 64; 3x3 maximum pooling of stride 1 then 1x1 to 64.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = _convolution(channels, 128, 1)
        self.three = nn.Sequential(_convolution(channels, 128, 1), _convolution(128, 256, 3))
        self.five = nn.Sequential(_convolution(channels, 32, 1), _convolution(32, 64, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _convolution(channels, 64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def densenet121(settings: Settings) -> Baseline:
    """torchvision's DenseNet121; last stage: the fourth dense block. Any side."""
    from torchvision import models

    net = _torchvision(models.densenet121, models.DenseNet121_Weights.IMAGENET1K_V1, settings.pretrained)
    stages = list(net.features.named_children())
    cut = [name for name, _ in stages].index("denseblock4")
    last = OrderedDict(stages[cut:], relu=nn.ReLU(inplace=True))
    return Baseline(nn.Sequential(OrderedDict(stages[:cut])), nn.Sequential(last), LinearHead(1024, settings.classes))


def vgg16(settings: Settings) -> Baseline:
    """torchvision's VGG16; last stage: conv5 and the two hidden layers of 4096. Any side: pooled to 7x7 before them.

    The hidden layers' dropout is off in our recipe, as everything but the head is in evaluation mode.
    """
    from torchvision import models

    net = _torchvision(models.vgg16, models.VGG16_Weights.IMAGENET1K_V1, settings.pretrained)
    hidden = list(net.classifier)[:-1]
    last = nn.Sequential(*net.features[CONV5_OF_VGG16:], net.avgpool, nn.Flatten(), *hidden)
    return Baseline(net.features[:CONV5_OF_VGG16], last, LinearHead(4096, settings.classes, nn.Identity()))


def vgg16_inception(settings: Settings) -> Baseline:
    """Our reading of "VGG16Inception": VGG16's convolutions, an `Inception` block, global average pool, linear layer.

    Last stage: conv5 and the inception block, which starts at random. Any side from 32.
    """
    from torchvision import models

    net = _torchvision(models.vgg16, models.VGG16_Weights.IMAGENET1K_V1, settings.pretrained)
    inception = Inception(512)
    last = nn.Sequential(*net.features[CONV5_OF_VGG16:], inception)
    return Baseline(net.features[:CONV5_OF_VGG16], last, LinearHead(512, settings.classes), (inception,))


def vit(settings: Settings) -> Baseline:
    """timm's ViT-B/16; last stage: blocks 10 to 12 and the norm. `side` is a multiple of 16."""
    return _transformer("vit_base_patch16_224.augreg2_in21k_ft_in1k", settings)


def dinov2(settings: Settings) -> Baseline:
    """timm's ViT-B/14 of DINOv2 (Oquab et al. 2023); last stage: blocks 10 to 12 and the norm. Multiples of 14."""
    return _transformer("vit_base_patch14_dinov2.lvd142m", settings)


def swin(settings: Settings) -> Baseline:
    """timm's Swin-T, windows of 7; last stage: the fourth stage and the norm. `side` is a multiple of 32."""
    net = _timm("swin_tiny_patch4_window7_224.ms_in1k", settings)
    # Maps leave trunk and tail with channels first, as those of the convolutional networks do.
    trunk = nn.Sequential(_Recoloured(net), net.patch_embed, *net.layers[:3], _Permuted(0, 3, 1, 2))
    last = nn.Sequential(_Permuted(0, 2, 3, 1), net.layers[3], net.norm, _Permuted(0, 3, 1, 2))
    return Baseline(trunk, last, LinearHead(net.num_features, settings.classes))


def _transformer(name: str, settings: Settings) -> Baseline:
    net = _timm(name, settings)
    trunk = nn.Sequential(_Recoloured(net), _Tokens(net), *net.blocks[:9])
    last = nn.Sequential(*net.blocks[9:], net.norm)
    return Baseline(trunk, last, LinearHead(net.num_features, settings.classes, _Class()))


class _Recoloured(nn.Module):
    """Input in ImageNet's normalisation to that which a timm network was trained with."""

    scale: Tensor
    shift: Tensor

    def __init__(self, net: Any) -> None:
        super().__init__()
        ours, theirs = [torch.tensor([m, s]).view(2, 3, 1, 1) for m, s in (
            (IMAGENET_MEAN, IMAGENET_STD), (net.pretrained_cfg["mean"], net.pretrained_cfg["std"]))]  # fmt: skip
        self.register_buffer("scale", ours[1] / theirs[1], persistent=False)
        self.register_buffer("shift", (ours[0] - theirs[0]) / theirs[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class _Tokens(nn.Module):
    """The start of a timm vision transformer: patches, class token, positions; (N, 1 + patches, width)."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.patch_embed, self.class_token, self.positions = net.patch_embed, net.cls_token, net.pos_embed

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.patch_embed(x)
        return torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions


class _Class(nn.Module):
    """The class token of (N, tokens, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class _Permuted(nn.Module):
    """The same values with their axes in another order."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.axes)


def _convolution(channels: int, out: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, size, padding=size // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


def _torchvision(build: Callable[..., Any], weights: Any, pretrained: bool) -> Any:
    return _downloaded(lambda: build(weights=weights), str(weights)) if pretrained else build()


def _timm(name: str, settings: Settings) -> Any:
    import timm

    def build() -> Any:
        return timm.create_model(name, pretrained=settings.pretrained, img_size=settings.side, num_classes=0)

    return _downloaded(build, name) if settings.pretrained else build()


def _downloaded(build: Callable[[], Any], weights: str) -> Any:
    """`build()`, with one sentence instead of the many ways in which a download can fail."""
    try:
        return build()
    except Exception as error:
        raise BackboneError(
            f"The pretrained weights {weights} cannot be had here ({type(error).__name__}): they are downloaded at "
            "their first use, which needs the internet."
        ) from error
