"""Steadier maps: the eight symmetries undo themselves, the shifts lie between each other, disagreement is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dala.explanation.stability import (
    SYMMETRIES,
    AugmentedMaps,
    augmented_maps,
    fine_maps,
    shifted,
    turned,
    turned_back,
)

TARGETS = torch.tensor([[-1.0, 1.0]])


def every_second(trunk: Tensor) -> Tensor:
    """A last stage of stride 2 that looks at a single cell."""
    return trunk[..., ::2, ::2]


def linear_head(weights: list[list[float]]) -> nn.Module:
    """Pool and a linear layer without bias: Grad-CAM is then (weights @ activations) / cells."""
    layer = nn.Linear(len(weights[0]), len(weights), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)


def test_symmetries_are_eight_and_undo_themselves() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    every = [turned(x, symmetry) for symmetry in range(SYMMETRIES)]
    assert len({tuple(one.flatten().tolist()) for one in every}) == 8
    for symmetry, one in enumerate(every):
        torch.testing.assert_close(turned_back(one, symmetry), x)


def test_shift_moves_by_one_and_repeats_the_border() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert shifted(x, 0, 0) is x
    assert shifted(x, 1, 0)[0, 0].tolist() == [[3, 4, 5], [6, 7, 8], [6, 7, 8]]
    assert shifted(x, 1, 1)[0, 0].tolist() == [[4, 5, 5], [7, 8, 8], [7, 8, 8]]


def test_the_fine_map_has_every_cell_in_its_place() -> None:
    trunk = torch.randn(1, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    head = linear_head([[1.0, 0.0, 2.0], [0.0, 3.0, -1.0]])
    found = fine_maps(trunk, every_second, head, TARGETS)
    # malignant minus benign: weights (-1, 3, -3), the gradient of a mean over 4 x 3 cells
    expected = torch.einsum("k,nkhw->nhw", torch.tensor([-1.0, 3.0, -3.0]), trunk) / 12
    assert found.shape == (1, 1, 8, 6)
    torch.testing.assert_close(found[0], expected)


def test_of_a_tail_at_the_trunks_resolution_the_shifts_are_averaged() -> None:
    """A tail that adds the place of a cell of layer4, which stands for two by two: 0 0 1 1 from left to right, whatever
    is moved. Moved back, the mean is 0, 0.5, 1, 1.5 where all shifts count: by hand, at the left edge only those that
    do not move right do."""
    trunk = torch.zeros(1, 1, 2, 4)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        head[2].weight.copy_(torch.tensor([[0.0], [8.0]]))

    def tail(moved: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 2, 4)

    found = fine_maps(trunk, tail, head, torch.tensor([[0.0, 1.0]]))
    assert found[0, 0].tolist() == [[0, 0, 0.5, 1]] * 2


def test_a_network_that_knows_no_direction_is_steady() -> None:
    x = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    head = linear_head([[1.0, 0.0], [0.0, 1.0]])
    pool = nn.AvgPool2d(2)

    def tail(trunk: Tensor) -> Tensor:  # 2 x 2 means: no direction, and no border within a shift of an even size
        return nn.functional.avg_pool2d(trunk, 1, 2)

    seen: list[tuple[int, int]] = []
    found = augmented_maps(x, pool, tail, head, TARGETS, lambda done, total: seen.append((done, total)))
    assert seen == [(n, 8) for n in range(1, 9)]
    assert found.values.shape == (1, 8, 8, 8) and not found.values.flags.writeable
    expected = (pool(x)[0, 1] - pool(x)[0, 0]) / 16
    np.testing.assert_allclose(found.mean[0], expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.spread, 0, atol=1e-6)
    assert not found.unstable.any()


def test_a_network_with_a_direction_is_seen_to_disagree() -> None:
    x = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(2))
    slope = torch.linspace(-1, 1, 8)[None, None, None, :]

    def trunk(seen: Tensor) -> Tensor:  # brighter to the right, whichever way the image is turned
        return nn.functional.avg_pool2d(seen, 2) + slope

    found = augmented_maps(x, trunk, every_second, linear_head([[0.0, 0.0], [1.0, 0.0]]), TARGETS)
    # Over the eight turns a cell gets the slope of its column and of its row, each with both signs, twice.
    steps = np.linspace(-1, 1, 8)
    expected = np.sqrt((steps[None, :] ** 2 + steps[:, None] ** 2) / 2) / 16
    np.testing.assert_allclose(found.spread[0], expected, atol=1e-6)
    assert found.unstable.mean() > 0.5


def test_spread_and_sign_by_hand() -> None:
    values = np.zeros((1, 8, 1, 3), np.float32)
    values[0, :, 0, 0] = [1, 1, 1, 1, 1, 1, 1, -1]  # seven of eight: stable
    values[0, :, 0, 1] = [1, 1, 1, 1, 1, 1, -1, -1]  # six of eight: not
    values[0, :, 0, 2] = -2
    found = AugmentedMaps(values)
    assert found.mean[0, 0].tolist() == [0.75, 0.5, -2]
    assert found.spread[0, 0] == pytest.approx([np.sqrt(1 - 0.75**2), np.sqrt(1 - 0.5**2), 0])
    assert found.unstable[0, 0].tolist() == [False, True, False]
