"""The network's parts against answers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dala.nets.attention import LightweightAttention
from dala.nets.dala_resnet50 import STAGES, DALAResNet50, DualActivatedHead


def test_attention_by_hand() -> None:
    # 2 channels, reduced to 1. Pooled: 3 and 1. Squeeze weights (1, -5), bias 0: 3 - 5 = -2, LeakyReLU(0.01): -0.02.
    # Excite weights (10, -10), bias 1: 0.8 and 1.2. Gates: sigmoid(0.8) and sigmoid(1.2).
    attention = LightweightAttention(2, reduction=2)
    with torch.no_grad():
        attention.squeeze.weight.copy_(torch.tensor([[1.0, -5.0]]).view(1, 2, 1, 1))
        attention.excite.weight.copy_(torch.tensor([10.0, -10.0]).view(2, 1, 1, 1))
        attention.excite.bias.fill_(1.0)
        x = torch.tensor([[[[2.0, 4.0]], [[0.0, 2.0]]]])
        y = attention(x)
    first, second = 1 / (1 + math.exp(-0.8)), 1 / (1 + math.exp(-1.2))
    expected = torch.tensor([[[[2 * first, 4 * first]], [[0.0, 2 * second]]]])
    torch.testing.assert_close(y, expected)


def test_attention_starts_near_the_identity_with_a_gradient() -> None:
    torch.manual_seed(0)
    attention = LightweightAttention(32)
    x = torch.randn(2, 32, 3, 3)
    torch.testing.assert_close(attention(x), x / (1 + math.exp(-4)))
    attention(x).square().sum().backward()
    assert attention.excite.weight.grad is not None
    assert attention.excite.weight.grad.abs().max() > 0


def test_attention_refuses_an_uneven_reduction() -> None:
    with pytest.raises(ValueError, match="cannot be reduced"):
        LightweightAttention(30, reduction=16)


def test_head_is_the_stated_stack() -> None:
    head = DualActivatedHead(4, 2).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        # Pool of channel 0 is -2: fc1 passes it on, LeakyReLU(0.01) makes -0.02; fc2 turns its sign: 0.02 passes ReLU;
        # a second unit with -0.02 is stopped by ReLU. Classifier: 100 x unit 0 to class 0, 100 x unit 1 to class 1.
        head.fc1.weight[0, 0] = 1.0
        head.fc2.weight[0, 0], head.fc2.weight[1, 0] = -1.0, 1.0
        head.classifier.weight[0, 0], head.classifier.weight[1, 1] = 100.0, 100.0
        x = torch.zeros(1, 4, 2, 2)
        x[0, 0] = torch.tensor([[-1.0, -3.0], [-2.0, -2.0]])
        torch.testing.assert_close(head(x), torch.tensor([[2.0, 0.0]]))


@pytest.mark.slow
def test_two_steps_reduce_the_loss_and_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    net = DALAResNet50(classes=3, dropout=0.0)
    x, y = torch.randn(6, 3, 64, 64), torch.tensor([0, 1, 2, 0, 1, 2])
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)
    losses = []
    for step in range(3):
        loss = nn.functional.cross_entropy(net(x), y)
        optimiser.zero_grad()
        loss.backward()
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name
            # The attention's first layer waits for the second one's weights to leave zero, which takes one step.
            assert p.grad.any() or (step == 0 and "squeeze" in name), name
        optimiser.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]


def test_features_feed_the_head() -> None:
    net = DALAResNet50().eval()
    x = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        features = net.features(x)
        assert features.shape == (2, 2048, 3, 2)
        torch.testing.assert_close(net.head(features), net(x))


def test_the_head_of_all_stages_sees_them_side_by_side() -> None:
    """By hand: layer2's cells averaged three by three at every second one, layer3, and layer4 with means between its
    cells, at layer3's places; odd sizes too."""
    torch.manual_seed(0)
    net = DALAResNet50(stages=STAGES).eval()
    x = torch.randn(1, 3, 84, 131)
    with torch.no_grad():
        middle = x
        for name, stage in net.trunk.named_children():
            middle = stage(middle)
            if name == "layer2":
                second = middle
        last = nn.Sequential(*net.layer4.children())(middle)
        found = net.features(x)
    assert second.shape[2:] == (11, 17) and middle.shape[2:] == (6, 9) and last.shape[2:] == (3, 5)
    assert found.shape == (1, 3584, 6, 9) and net.cell == 16 and net.trunk_width == 1536
    torch.testing.assert_close(found[:, 512:1536], middle)
    torch.testing.assert_close(found[0, :512, 2, 3], second[0, :, 3:6, 5:8].mean((1, 2)))
    torch.testing.assert_close(found[0, :512, 0, 0], second[0, :, :2, :2].mean((1, 2)))  # what lies outside is left out
    torch.testing.assert_close(found[:, 1536:, ::2, ::2], last)
    torch.testing.assert_close(found[0, 1536:, 1, 4], last[0, :, :2, 2].mean(1))
    torch.testing.assert_close(found[0, 1536:, 5, 8], last[0, :, 2, 4])  # below the last cell there is no other
    torch.testing.assert_close(net.head(found), net(x))
    with pytest.raises(ValueError, match="not layer3"):
        DALAResNet50(stages=("layer3",))


def test_parameter_count() -> None:
    # ResNet50 without its classifier 23,508,032; attention 2048*128+128 + 128*2048+2048; head by hand.
    attention = 2048 * 128 + 128 + 128 * 2048 + 2048
    head = (2048 * 512 + 512) + (512 * 128 + 128) + (128 * 2 + 2)
    assert sum(p.numel() for p in DALAResNet50().parameters()) == 23_508_032 + attention + head
