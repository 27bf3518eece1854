"""How unlike the training images is this one? A distance in the features of the frozen trunk.

The trunk (stem to layer3, ImageNet weights) is the same in every recipe, so the statistics outlive a retraining of what
follows; its pooled output is a by-product of the forward pass that is made anyway. The pooled features of the training
images are modelled as a Gaussian: the leading axes of their covariance with their variances, and one variance for all
other directions (probabilistic PCA: Tipping & Bishop 1999), which is what several hundred images of some dozen
patients allow to estimate. NAME.gate.safetensors lies beside the weights and is written by `dala gate`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from dala.errors import WeightsError

Floats = NDArray[np.float64]

SUFFIX = ".gate.safetensors"
PARTS = ("mean", "scale", "axes", "variances", "others")
SMALLEST_SCALE = 1e-3  # a feature that is dead on all training images must not make a new one infinitely far


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Pooled features of the training images: (C,) mean and scale, (K, C) orthonormal axes of the scaled features,
    (K,) variances along them, and `rest`, the variance along every other direction."""

    mean: Floats
    scale: Floats
    axes: Floats
    variances: Floats
    rest: float

    def distances(self, pooled: NDArray[np.floating]) -> Floats:
        """(N,) Mahalanobis distances of (N, C) pooled features, over sqrt(C): a training image is at about 1."""
        z = (np.asarray(pooled, np.float64) - self.mean) / self.scale
        along = z @ self.axes.T
        beside = np.maximum((z * z).sum(1) - (along * along).sum(1), 0)
        squared = (along * along / self.variances).sum(1) + beside / self.rest
        return np.asarray(np.sqrt(squared / len(self.mean)), np.float64)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A Gaussian with what its distances, the out-of-distribution scores, mean: `limit` is the largest that passes;
    `others` (Q,), ascending, are the scores of true patches of patients that were held out."""

    gaussian: Gaussian
    limit: float
    others: Floats

    def p_value(self, score: float) -> float:
        """Share of true patches, of new patients, that score at least as high; 0..1."""
        return float((self.others >= score).mean())


def fit_gaussian(pooled: NDArray[np.floating], weights: NDArray[np.floating], axes: int) -> Gaussian:
    """The weighted Gaussian of (N, C) pooled features; `weights` (N,) need not sum to one.

    Raises ValueError unless `axes` < min(N - 1, C): nothing would be left to measure the other directions by.
    """
    x = np.asarray(pooled, np.float64)
    if axes >= min(len(x) - 1, x.shape[1]):
        raise ValueError(f"{len(x)} images of {x.shape[1]} features do not carry {axes} axes and a rest.")
    share = np.asarray(weights, np.float64) / np.sum(weights)
    mean = share @ x
    scale = np.sqrt(share @ (x - mean) ** 2) + SMALLEST_SCALE
    z = (x - mean) / scale * np.sqrt(share)[:, None]
    _, singular, directions = np.linalg.svd(z, full_matrices=False)
    variances = singular**2
    rest = float(variances[axes:].sum() / (x.shape[1] - axes))
    # An axis counts at least as much as any other direction does.
    return Gaussian(mean, scale, directions[:axes], np.maximum(variances[:axes], rest), rest)


def trunk_identity(trunk: nn.Module) -> str:
    """A digest of a trunk's parameters at the precision of weights on disk: the same for every model that shares it."""
    digest = hashlib.sha256()
    for key, value in sorted(trunk.state_dict().items()):
        if not key.endswith("num_batches_tracked"):
            digest.update(key.encode())
            digest.update(value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_familiarity(path: Path, familiarity: Familiarity, trunk: str, enlarged: int) -> None:
    """Write the statistics (float32, below 2 MB), with the trunk and the input side that they belong to."""
    gaussian = familiarity.gaussian
    values = {
        "mean": gaussian.mean,
        "scale": gaussian.scale,
        "axes": gaussian.axes,
        "variances": gaussian.variances,
        "others": familiarity.others,
    }
    notes = {
        "rest": repr(gaussian.rest),
        "limit": repr(familiarity.limit),
        "trunk": trunk,
        "enlarged": str(enlarged),
    }
    save_file({key: np.ascontiguousarray(value, np.float32) for key, value in values.items()}, path, notes)
    path.chmod(0o644)


def load_familiarity(weights: Path, trunk: nn.Module, enlarged: int) -> Familiarity | None:
    """The statistics beside `weights` (a .safetensors path), or None if there are none for this trunk and input side.

    None also for statistics of another trunk or side: distances to them would mean nothing. Raises `WeightsError` for a
    damaged file.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            notes = file.metadata() or {}
            if notes["trunk"] != trunk_identity(trunk) or notes["enlarged"] != str(enlarged):
                return None
            values = {key: np.asarray(file.get_tensor(key), np.float64) for key in PARTS}
        gaussian = Gaussian(
            values["mean"], values["scale"], values["axes"], values["variances"], rest=float(notes["rest"])
        )
        return Familiarity(gaussian, float(notes["limit"]), values["others"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path.name} is damaged or does not hold a gate's statistics; `dala gate breakhis` writes it."
        ) from error
