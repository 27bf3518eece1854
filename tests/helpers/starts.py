"""Random ResNet50s to start from, of the true size or slim, for what is done with a network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from dala.nets import resnet50
from dala.nets.imagenet import Backbone

FIRST: dict[tuple[object, ...], tuple[dict[str, Tensor], Tensor]] = {}
"""First weights of ResNet50s by the state of torch's random numbers, each with the state afterwards."""


def drawn_once(make: Callable[[], OrderedDict[str, nn.Module]]) -> OrderedDict[str, nn.Module]:
    """What `resnet50_parts` makes, and the random numbers that follow; of the same seed it is copied, a tenth of it.

    The process keeps four. As it is, where weights are drawn in another way or not at all.
    """
    own = torch.nn.init.kaiming_normal_.__module__ == "torch.nn.init"
    if not own or torch.get_default_device().type != "cpu" or torch.get_default_dtype() != torch.float32:
        return make()
    key = (torch.get_rng_state().numpy().tobytes(), *resnet50.STAGES.items(), resnet50.EXPANSION)
    if key not in FIRST:
        parts = make()
        while len(FIRST) > 3:
            FIRST.pop(next(iter(FIRST)))
        kept = {name: value.clone() for name, value in nn.Sequential(parts).state_dict().items()}
        FIRST[key] = kept, torch.get_rng_state()
        return parts
    with torch.device("meta"):
        parts = make()
    state, after = FIRST[key]
    copies = {name: value.clone() for name, value in state.items()}
    nn.Sequential(parts).load_state_dict(copies, strict=True, assign=True)
    torch.set_rng_state(after)
    return parts


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
