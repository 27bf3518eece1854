"""A model that scans a slide in a second, and slides to scan."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dala.nets.dala_resnet50 import DALAResNet50, DualActivatedHead
from dala.runtime.card import read_card
from dala.runtime.predict import Model
from tests.helpers import slides


@dataclass(frozen=True)
class Quick:
    """In place of the convolutions: means over squares, repeated, so that the answer depends on every pixel."""

    name: str = "quick"
    streams: int = 2

    def trunk(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 16).repeat(1, 342, 1, 1)[:, :1024]

    def tail(self, trunk: Tensor) -> Tensor:
        return F.avg_pool2d(trunk, 2).repeat(1, 2, 1, 1) * torch.linspace(0.5, 2, 2048)[:, None, None]


def quick_model() -> Model:
    """The card of the served weights, a seeded random head, no statistics of familiarity, and no convolutions: another
    engine has them, as where `dala.runtime.predict.served` makes a model.
    """
    with torch.device("meta"):
        net = DALAResNet50(2)
    torch.manual_seed(0)
    net.head = DualActivatedHead(2048, 2)
    net.eval().requires_grad_(False)
    return Model(net, read_card("breast")[0], engine=Quick())


def with_sha(model: Model, sha256: str) -> Model:
    """The same as other weights."""
    card = replace(model.card, fields={**model.card.fields, "sha256": sha256})
    return replace(model, card=card)


def spread_slide(path: Path, side: int = 4096) -> None:
    """A slide of tissue in its middle half; at 0.5 um per pixel 4096 px make some 40 fields."""
    slides.generic(path, slides.pyramid(np.asarray(slides.drawn(side, side)), 4))


@dataclass(frozen=True)
class Deadly:
    """A path that ends the process which opens it, as a fault in a decoder would."""

    name: str = "deadly.svs"

    def __fspath__(self) -> str:
        os._exit(9)
