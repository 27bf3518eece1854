"""The lightweight attention module: one gate per channel, seen from the pooled image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LightweightAttention(nn.Module):
    """Channel attention by squeeze and excitation (Hu et al. 2018) with LeakyReLU; our reading of the DALA module.

    Global average pool, 1x1 convolution to `channels // reduction`, LeakyReLU(0.01), 1x1 convolution back, sigmoid,
    scale. Input and output: (N, channels, h, w). The last convolution starts at zero weights and bias 4, so that every
    gate starts at sigmoid(4) = 0.982: nearly the identity, with a gradient from the first step on.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        if channels % reduction:
            raise ValueError(f"{channels} channels cannot be reduced by {reduction}.")
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.activation = nn.LeakyReLU(0.01)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)
        # Without storage there is nothing to draw, and asking such a tensor for normal numbers imports half of torch:
        # a second of every start.
        if not self.squeeze.weight.is_meta:
            nn.init.kaiming_normal_(self.squeeze.weight, a=0.01, nonlinearity="leaky_relu")
        nn.init.zeros_(self.squeeze.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.excite.weight)
        nn.init.constant_(self.excite.bias, 4.0)  # type: ignore[arg-type]

    def gates(self, x: Tensor) -> Tensor:
        """Gate of every channel, (N, channels, 1, 1) in 0..1."""
        pooled = x.mean((2, 3), keepdim=True)
        return torch.sigmoid(self.excite(self.activation(self.squeeze(pooled))))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gates(x)
