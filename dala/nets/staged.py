"""What training needs to know of a network: a frozen trunk, a last stage that is fine-tuned, and a head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict

from torch import Tensor, nn


class Head(nn.Sequential):
    """From the last stage's output to logits; `pool` and `flatten` come first and give the pooled features."""

    pool: nn.Module
    flatten: nn.Module


class LinearHead(Head):
    """Pool, flatten, one linear layer. The pool is a global average unless another is given."""

    classifier: nn.Linear

    def __init__(self, features: int, classes: int, pool: nn.Module | None = None) -> None:
        super().__init__(
            OrderedDict(
                pool=pool if pool is not None else nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(features, classes),
            )
        )


class StagedNetwork(nn.Module, ABC):
    """Input (N, 3, H, W), RGB normalised with ImageNet's mean and deviation; logits (N, classes).

    Training computes the `trunk` once per image and view, so nothing in it may depend on chance or on the batch.
    """

    trunk: nn.Module
    head: Head

    @property
    @abstractmethod
    def tail(self) -> nn.Module:
        """The last stage, which is fine-tuned: the trunk's output to what the head pools."""

    @property
    def fresh(self) -> tuple[nn.Module, ...]:
        """Parts of the tail that no pretrained weights exist for; they learn at the head's rate."""
        return ()

    def features(self, x: Tensor) -> Tensor:
        """The last stage's output."""
        output: Tensor = self.tail(self.trunk(x))
        return output

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits
