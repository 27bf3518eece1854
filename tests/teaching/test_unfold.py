"""The map taken apart: on a head worked out by hand, and on the real weights, where the parts must give the map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dala.explanation.gradcam import channel_weights
from dala.explanation.render import encode_png
from dala.opinion import Opinion, opinion_of, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model, activations_of, load_model
from dala.teaching.unfold import unfold
from tests.helpers.physical import at_scale, drawn


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breakhis")


@pytest.fixture(scope="module")
def opinion(model: Model) -> Opinion:
    return second_opinion(encode_png(draw("solid_sheets").pixels), model)


def test_weights_of_a_linear_head_by_hand() -> None:
    """Pooled over 2 x 3 cells, a logit's slope towards a channel is its weight over 6 at every cell."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        head[2].weight.copy_(torch.tensor([[6.0, 0.0], [-12.0, 18.0]]))
    weights = channel_weights(head, torch.ones(1, 2, 2, 3), torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    torch.testing.assert_close(weights, torch.tensor([[[1.0, 0.0]], [[-3.0, 3.0]]]))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["benign", "malignant"])
def test_the_parts_add_up_to_the_map(opinion: Opinion, target: str) -> None:
    steps = unfold(opinion, target)
    np.testing.assert_allclose(steps.total, opinion.maps[target].values, atol=1e-6)
    assert len(steps.weights) == 2048
    activations = activations_of(opinion.prediction.views.for_network[0], opinion.model).numpy()
    everything = steps.weights[:, None, None] * activations
    sizes = np.abs(everything).sum((1, 2))
    assert [channel.number for channel in steps.strongest] == np.argsort(-sizes, kind="stable")[:8].tolist()
    for channel in steps.strongest:
        np.testing.assert_array_equal(channel.activation, activations[channel.number])
        np.testing.assert_allclose(channel.contribution, channel.weight * channel.activation, rtol=1e-6)
    np.testing.assert_allclose(steps.few, sum(channel.contribution for channel in steps.strongest), atol=1e-6)
    assert steps.share == pytest.approx(np.sort(sizes)[-8:].sum() / sizes.sum(), rel=1e-5)
    assert steps.total[steps.place] == steps.total.max()
    assert (steps.positive == np.maximum(steps.total, 0)).all()
    assert steps.likeness == pytest.approx(np.corrcoef(steps.few.ravel(), steps.total.ravel())[0, 1])


@pytest.mark.slow
def test_a_image_of_several_tiles_shows_the_one_with_most_evidence(model: Model) -> None:
    wide = np.concatenate([np.full((460, 700, 3), 235, np.uint8), draw("solid_sheets").pixels], axis=1)
    opinion = second_opinion(encode_png(wide), model)
    assert len(opinion.prediction.views.places) > 1
    steps = unfold(opinion, "malignant")
    height, width = steps.total.shape
    rows, columns = opinion.prediction.views.grid
    row, column = divmod(steps.number, columns)
    tiles = opinion.maps["malignant"].values
    part = tiles[row * height : (row + 1) * height, column * width : (column + 1) * width]
    np.testing.assert_allclose(steps.total, part, atol=1e-6)
    evidence = np.maximum(tiles.reshape(rows, height, columns, width), 0).sum((1, 3))
    assert evidence.argmax() == steps.number
    assert steps.view == opinion.prediction.views.places[steps.number]


def test_nothing_is_written_to_the_shared_model(opinion: Opinion, model: Model) -> None:
    unfold(opinion, "malignant")
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.net.parameters())
    assert not model.net.training


@pytest.mark.slow
def test_a_field_at_a_physical_scale_is_taken_apart_as_it_is() -> None:
    opinion = opinion_of(drawn(264, 200, 0.5), at_scale(load_model("breakhis")))
    steps = unfold(opinion, "malignant")
    assert steps.total.shape == (7, 9) and steps.views == 1
    seen = opinion.maps["malignant"].values
    np.testing.assert_allclose(steps.total, seen, atol=1e-5 * np.abs(seen).max())
