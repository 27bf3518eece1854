"""Random ResNet50s to start from, of the true size or slim, for what is done with a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from dala.nets import resnet50
from dala.nets.imagenet import Backbone


def random_backbone() -> Backbone:
    """Of seed 0, with a classifier of zeros, which ImageNet's own has and nobody uses."""
    torch.manual_seed(0)
    state = torch.nn.Sequential(resnet50.resnet50_parts()).state_dict()
    state |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    return Backbone({key: value for key, value in state.items() if "num_batches" not in key}, "random")


@contextmanager
def slim_resnets() -> Iterator[Backbone]:
    """Meanwhile every ResNet50 that is made has one block a stage, a quarter as wide inside; yields a random start.

    What the stages give has the channels of the true ones, and attention and head are the true ones: the same network
    at a third of the cost. Shipped weights do not fit into it.
    """
    with pytest.MonkeyPatch.context() as patch:
        slim = {name: (width // 4, 1, stride) for name, (width, _, stride) in resnet50.STAGES.items()}
        patch.setattr(resnet50, "STAGES", slim)
        patch.setattr(resnet50, "EXPANSION", 4 * resnet50.EXPANSION)
        yield random_backbone()


def torchvisions_slim_resnet() -> torch.nn.Module:
    """The same slim network, with the same names of parameters, as torchvision has it."""
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=16)
