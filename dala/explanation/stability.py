"""Test-time augmentation of a map: eight symmetries and four half-stride shifts, their mean and where they disagree.

The last stage of a ResNet looks at every second cell of the stage before. Moved by one such cell it looks at the
others: four shifts give four maps whose cells lie between each other, one map of twice the resolution each way. That
costs four passes of the last stage and none of the trunk. Tissue has no up or down: the eight flips and quarter turns
of a patch should get the same answer, and how far their maps differ is what a map's value is uncertain by.

Flips also take away a bias: strided convolutions centre a cell at its upper left and not at its middle, so a single map
lies half a cell too low and too far right on the image; from the mirrored image it lies too far the other way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dala.explanation.gradcam import signed_maps

SYMMETRIES = 8
SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1))
AGREE = 7  # of the eight symmetries: by chance alone a sign is shared by so many with probability 18 / 256


@dataclass(frozen=True, eq=False)
class AugmentedMaps:
    """Raw signed maps of every target, from every symmetry, turned back: (T, 8, H, W) float32, read-only."""

    values: NDArray[np.float32]

    @property
    def mean(self) -> NDArray[np.float32]:
        """The mean over the symmetries, (T, H, W): steadier and finer than a single map."""
        return np.asarray(self.values.mean(axis=1), dtype=np.float32)

    @property
    def spread(self) -> NDArray[np.float32]:
        """Standard deviation over the symmetries, (T, H, W), in the map's units."""
        return np.asarray(self.values.std(axis=1), dtype=np.float32)

    @property
    def unstable(self) -> NDArray[np.bool_]:
        """Cells where fewer than `AGREE` of the eight share the sign of the mean, (T, H, W)."""
        same = np.sign(self.values) == np.sign(self.mean)[:, None]
        return np.asarray(same.sum(axis=1) < AGREE)


def turned(x: Tensor, symmetry: int) -> Tensor:
    """One of the eight symmetries of a square, 0..7, of the last two axes: a mirror image from 4 on, then turned."""
    if symmetry >= 4:
        x = x.flip(-1)
    return torch.rot90(x, symmetry % 4, (-2, -1))


def turned_back(x: Tensor, symmetry: int) -> Tensor:
    """The inverse of `turned`."""
    x = torch.rot90(x, -(symmetry % 4), (-2, -1))
    return x.flip(-1) if symmetry >= 4 else x


def shifted(trunk: Tensor, down: int, right: int) -> Tensor:
    """The trunk's output (N, K, H, W) moved up and left by 0 or 1 cells, its last row or column repeated."""
    if down:
        trunk = torch.cat([trunk[..., 1:, :], trunk[..., -1:, :]], dim=-2)
    if right:
        trunk = torch.cat([trunk[..., 1:], trunk[..., -1:]], dim=-1)
    return trunk


def fine_maps(trunk: Tensor, tail: Callable[[Tensor], Tensor], head: nn.Module, targets: Tensor) -> Tensor:
    """Signed Grad-CAM at twice the last stage's resolution each way, (T, N, H, W) float32, that of the trunk.

    trunk: (N, K, H, W), what `tail` (stride 2) turns into (N, K', h, w), the head's input. targets: (T, C). A tail that
    answers at the trunk's resolution repeats its last stage's cells: there the mean of the shifts lies between them.
    """
    parts = []
    for down, right in SHIFTS:
        with torch.no_grad():
            activations = tail(shifted(trunk, down, right))
        parts.append(signed_maps(head, activations, targets))
    first = parts[0]
    if first.shape[-2:] == trunk.shape[-2:]:
        return _mean_of_shifts(parts)
    fine = first.new_empty((*first.shape[:2], 2 * first.shape[2], 2 * first.shape[3]))
    for (down, right), part in zip(SHIFTS, parts, strict=True):
        fine[..., down::2, right::2] = part
    return fine[..., : trunk.shape[-2], : trunk.shape[-1]]  # one more where the trunk's is odd, off the image


def _mean_of_shifts(parts: list[Tensor]) -> Tensor:
    """The mean (T, N, H, W) of maps of moved trunks at the trunk's resolution, each moved back first."""
    total, count = torch.zeros_like(parts[0]), parts[0].new_zeros(parts[0].shape[-2:])
    height, width = count.shape
    for (down, right), part in zip(SHIFTS, parts, strict=True):
        total[..., down:, right:] += part[..., : height - down, : width - right]
        count[down:, right:] += 1
    return total / count


def augmented_maps(
    x: Tensor,
    trunk: Callable[[Tensor], Tensor],
    tail: Callable[[Tensor], Tensor],
    head: nn.Module,
    targets: Tensor,
    progress: Callable[[int, int], None] | None = None,
) -> AugmentedMaps:
    """Fine maps of one view x (1, 3, h, w), from all its symmetries; targets (T, C), fixed for all of them."""
    rows = []
    for symmetry in range(SYMMETRIES):
        with torch.no_grad():
            features = trunk(turned(x, symmetry).contiguous(memory_format=torch.channels_last))
        rows.append(turned_back(fine_maps(features, tail, head, targets)[:, 0], symmetry))
        if progress is not None:
            progress(symmetry + 1, SYMMETRIES)
    values = torch.stack(rows, dim=1).numpy()
    values.flags.writeable = False
    return AugmentedMaps(values)
