"""Our signed maps on the shipped weights are torch-cam's."""

from __future__ import annotations

import pytest
import torch

from dala.explanation.gradcam import signed_maps
from dala.phantoms.tissue import PHANTOMS, draw
from dala.preprocess.views import cut, network_input
from dala.runtime.predict import load_model
from tests.helpers.oracle import torchcam_signed


@pytest.mark.slow
@pytest.mark.parametrize("name", PHANTOMS[:2])
def test_equals_torchcam(name: str) -> None:
    model = load_model("breakhis")
    tiles, _ = cut(draw(name).pixels, (1, 1), model.card.input.size)
    x = network_input(tiles, model.card.input.upsampled)
    with torch.no_grad():
        activations = model.net.features(x)
    ours = signed_maps(model.net.head, activations, torch.eye(2))[:, 0]
    for index in (0, 1):
        theirs = torchcam_signed(model.net, "layer4", x, index)
        relative = (ours[index] - theirs).norm() / theirs.norm()
        assert relative < 1e-4
