"""Signed Grad-CAM from the gradient of the head alone: no hooks, no mode change, no `.grad`, safe to share by threads.

A: the activations that feed the head (K x h x w). For a target t, a linear combination of the logits, alpha_k is the
mean over space of dt/dA_k, and the map is M = sum_k alpha_k A_k (Selvaraju et al., Grad-CAM, ICCV 2017), here without
the ReLU: raw, signed, at the layer's own resolution. If the head pools over space first, dt/dA is constant over
space, so that M also equals HiResCAM, sum_k dt/dA_k * A_k (Draelos and Carin 2020), and summed over space M is the
target itself for a head that is linear and has no bias. Maps are linear in the target: [-1, 1] gives malignant minus
benign, [1, -1] its exact mirror.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from dala.explanation.threshold import has_evidence

Value = TypeVar("Value", bound=np.generic)


def margins(classes: int) -> Tensor:
    """The targets of a class's maps, (classes, classes): each class's logit minus the mean of the other logits."""
    return (torch.eye(classes) * classes - 1) / (classes - 1)


def signed_maps(head: nn.Module, activations: Tensor, targets: Tensor) -> Tensor:
    """Raw signed Grad-CAM of every target and view, (T, n, h, w) float32, from one forward pass of the head.

    Arguments and errors as in `channel_weights`. For the mean over the views, divide by n.
    """
    weights = channel_weights(head, activations, targets)
    with torch.no_grad(), torch.autocast(device_type=activations.device.type, enabled=False):
        values = activations.detach().to(torch.float32)
        return torch.einsum("tnk,nkhw->tnhw", weights, values)


def channel_weights(head: nn.Module, activations: Tensor, targets: Tensor) -> Tensor:
    """The weight alpha of every channel for every target and view, (T, n, K) float32.

    head: (n, K, h, w) -> (n, C) logits, differentiable, treating its inputs one by one (so dropout and batch
    normalisation, if any, must be in evaluation mode). activations: (n, K, h, w), any floating type, not written.
    targets: (T, C), each row the weights of the logits.

    Works inside no_grad, inference_mode and autocast: the head always runs in float32 with a graph of its own.
    Raises ValueError for shapes that do not fit and for a head whose answer is random or depends on the batch.
    """
    if activations.ndim != 4:
        raise ValueError(f"Activations are (views, channels, height, width), not {tuple(activations.shape)}.")
    if targets.ndim != 2:
        raise ValueError(f"Targets are (targets, classes), not {tuple(targets.shape)}.")
    if any(
        module.training and (isinstance(module, _BatchNorm) or (isinstance(module, _DropoutNd) and module.p > 0))
        for module in head.modules()
    ):
        raise ValueError("The head's dropout or batch normalisation is in training mode: call eval() first.")

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device_type=activations.device.type, enabled=False),
    ):
        values, places = activations.detach(), 1
        if _pools_first(head):  # what is pooled is all that the head sees, and a thousandth of it
            values, places = values.to(torch.float32).mean((2, 3), keepdim=True), values.shape[2] * values.shape[3]
        # A copy, not only detach(): tensors born in inference mode cannot enter a graph, their copies can.
        leaf = values.to(torch.float32, copy=True).requires_grad_()
        logits = head(leaf)
        if logits.ndim != 2 or logits.shape[1] != targets.shape[1]:
            raise ValueError(
                f"The targets weigh {targets.shape[1]} classes, the head answered with the shape {tuple(logits.shape)}."
            )
        rows = []
        for row in targets.detach().to(logits):
            (gradient,) = torch.autograd.grad((logits @ row).sum(), leaf, retain_graph=True)
            rows.append(gradient.mean(dim=(2, 3)) / places)
        return torch.stack(rows) if rows else leaf.new_empty((0, *leaf.shape[:2])).detach()


def _pools_first(head: nn.Module) -> bool:
    first = next(head.children(), None) if isinstance(head, nn.Sequential) else None
    return isinstance(first, nn.AdaptiveAvgPool2d) and first.output_size in (1, (1, 1))


def stitch(maps: NDArray[Value], grid: tuple[int, int]) -> NDArray[Value]:
    """Lay the maps (n, h, w) of n adjacent views, row by row, into one map (rows * h, cols * w)."""
    rows, cols = grid
    if maps.ndim != 3 or maps.shape[0] != rows * cols:
        raise ValueError(f"A grid of {rows} x {cols} views does not fit maps of the shape {maps.shape}.")
    height, width = maps.shape[1:]
    return maps.reshape(rows, cols, height, width).transpose(0, 2, 1, 3).reshape(rows * height, cols * width)


def blended(
    maps: NDArray[np.floating], starts: list[tuple[int, int]], pitch: int, extent: tuple[int, int]
) -> NDArray[np.float32]:
    """Maps (n, h, w) of overlapping fields on one lattice of the whole image, a cell every `pitch` pixels from 0 on.

    starts: (top, left) of each field in pixels of the network, of which the image has `extent` (rows, columns). A cell
    of a field that begins between two cells of the lattice is interpolated. Where fields overlap each counts the more,
    the further a cell lies from its edge.
    """
    shape = tuple(-(-side // pitch) for side in extent)
    total, weight = np.zeros(shape), np.zeros(shape)
    for one, start in zip(maps, starts, strict=True):
        first = [-(-side // pitch) for side in start]
        last = [
            min(n, (s + pitch * cells - 1) // pitch + 1) for n, s, cells in zip(shape, start, one.shape, strict=True)
        ]
        sides = [
            np.clip((pitch * np.arange(low, high) - s) / pitch, 0, cells - 1)
            for low, high, s, cells in zip(first, last, start, one.shape, strict=True)
        ]
        edges = [np.minimum(side + 1, cells - side) for side, cells in zip(sides, one.shape, strict=True)]
        share = np.outer(*edges)
        here = slice(first[0], last[0]), slice(first[1], last[1])
        total[here] += share * _between(_between(np.asarray(one, np.float64), sides[0]).T, sides[1]).T
        weight[here] += share
    return np.asarray(total / weight, np.float32)


def _between(values: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `values` (h, w) at places between them, by linear interpolation."""
    low = np.clip(np.floor(rows).astype(int), 0, len(values) - 1)
    high, share = np.minimum(low + 1, len(values) - 1), (rows - low)[:, None]
    return np.asarray(values[low] * (1 - share) + values[high] * share)


@dataclass(frozen=True)
class Lattice:
    """Where the cells of a map lie on an image, as shares of its height and width: row and column of the `first`, and
    the distance from one to the next, which is not the image's size over their number where that is not whole."""

    first: tuple[float, float]
    pitch: tuple[float, float]

    @classmethod
    def of(cls, pitch: int, extent: tuple[int, int], first: tuple[float, float] = (0.0, 0.0)) -> Lattice:
        """A cell every `pitch` pixels of an image of `extent` (rows, columns), from the middle of pixel `first` on."""
        height, width = extent
        return cls(((first[0] + 0.5) / height, (first[1] + 0.5) / width), (pitch / height, pitch / width))


@dataclass(frozen=True, eq=False)
class SignedMap:
    """A raw signed map towards one target.

    values: (h, w) float32, layer resolution, any sign, kept as a read-only copy. target: what positive values speak
    for, such as "malignant". box: the part of the image that the values cover, (left, top, right, bottom) as shares
    0..1 of its width and height; None for all of it. lattice: where the cells lie; None where they share the box
    equally. Raises ValueError if the values are not a finite (h, w).
    """

    values: NDArray[np.float32]
    target: str
    box: tuple[float, float, float, float] | None = None
    lattice: Lattice | None = None

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float32, order="C")
        if values.ndim != 2 or values.size == 0:
            raise ValueError(f"A map has two dimensions and at least one value; this one has the shape {values.shape}.")
        if not np.isfinite(values).all():
            raise ValueError("The map holds values that are not finite numbers.")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def maximum(self) -> float:
        """Largest raw value, negative if everything speaks against the target."""
        return float(self.values.max())

    @property
    def has_evidence(self) -> bool:
        """True if any value is positive beyond float noise, measured on the map's own scale."""
        return has_evidence(self.values)

    @property
    def positive(self) -> NDArray[np.float32]:
        """The evidence for the target, (h, w): the values with negative ones set to 0 (Grad-CAM's ReLU)."""
        return np.maximum(self.values, np.float32(0))

    def upsampled(self, height: int, width: int) -> NDArray[np.float32]:
        """The signed values on the image at the size (height, width): bilinear, half-pixel centres, repeated borders.

        Outside the `box`, where the network saw nothing, the field is 0.
        """
        if height < 1 or width < 1:
            raise ValueError(f"A map cannot be enlarged to {height} x {width} pixels.")
        if self.lattice is not None:
            rows, columns = (
                np.clip(((np.arange(side) + 0.5) / side - first) / pitch, 0, cells - 1)
                for side, first, pitch, cells in zip(
                    (height, width), self.lattice.first, self.lattice.pitch, self.values.shape, strict=True
                )
            )
            across = _between(self.values.T.astype(np.float64), columns).T
            return np.asarray(_between(across, rows), dtype=np.float32)
        if self.box is None:
            return self._resized(height, width)
        left, right = (round(share * width) for share in self.box[::2])
        top, bottom = (round(share * height) for share in self.box[1::2])
        field = np.zeros((height, width), dtype=np.float32)
        if right > left and bottom > top:
            field[top:bottom, left:right] = self._resized(bottom - top, right - left)
        return field

    def _resized(self, height: int, width: int) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(self.values, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
