"""How unlike the training images is this one, and of which laboratory is it? Distances in the trunk's features.

The trunk's (stem to layer3) pooled output is a by-product of the forward pass that is made anyway, and the statistics
outlive a retraining of what follows it. The pooled features of the training images are modelled as a Gaussian: the
leading axes of their covariance with their variances, and one variance for all other directions (probabilistic PCA:
Tipping & Bishop 1999), which is what several hundred images of some dozen patients allow to estimate. Several
laboratories have a mean each and share the covariance about their means. NAME.gate.safetensors lies beside the weights
and is written by `dala gate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
GAUSSIAN = ("mean", "scale", "axes", "variances")
OF_LABORATORIES, LOOKALIKE = "laboratories.", "lookalike"
SMALLEST_SCALE = 1e-3  # a feature that is dead on all training images must not make a new one infinitely far


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Pooled features of the training images: (C,) mean, or (L, C) means of laboratories, (C,) scale, (K, C)
    orthonormal axes of the scaled features, (K,) variances along them, `rest`: that along every other direction."""

    mean: Floats
    scale: Floats
    axes: Floats
    variances: Floats
    rest: float

    def distances(self, pooled: NDArray[np.floating]) -> Floats:
        """(N,) distances of (N, C) pooled features to the nearest mean: a training image is at about 1."""
        return np.asarray(self.to_each(pooled).min(1), np.float64)

    def to_each(self, pooled: NDArray[np.floating]) -> Floats:
        """(N, L) Mahalanobis distances of (N, C) pooled features to each mean, over sqrt(C)."""
        columns = [self._to(mean, np.asarray(pooled, np.float64)) for mean in np.atleast_2d(self.mean)]
        return np.stack(columns, 1)

    def _to(self, mean: Floats, pooled: Floats) -> Floats:
        z = (pooled - mean) / self.scale
        along = z @ self.axes.T
        beside = np.maximum((z * z).sum(1) - (along * along).sum(1), 0)
        squared = (along * along / self.variances).sum(1) + beside / self.rest
        return np.asarray(np.sqrt(squared / len(self.scale)), np.float64)


@dataclass(frozen=True, eq=False)
class Laboratories:
    """Which laboratory an image is taken for: a Gaussian of images as they are, a mean for each of the `names`.

    An image is taken for the nearest if it lies within its `limits` (L,), and if the next is farther by its `margins`
    (L,), in squared distance: an image of an unknown laboratory lies between the known ones.
    """

    names: tuple[str, ...]
    gaussian: Gaussian
    limits: Floats
    margins: Floats

    def distances(self, pooled: NDArray[np.floating]) -> Floats:
        """(L,): of an image to each, the median over its views (N, C)."""
        return np.asarray(np.median(self.gaussian.to_each(pooled), 0), np.float64)

    def taken_for(self, distances: NDArray[np.floating]) -> str | None:
        """The laboratory of an image at these distances (L,); None for an unknown one."""
        nearest = int(np.argmin(distances))
        farther = np.delete(distances, nearest) ** 2 - distances[nearest] ** 2
        taken = distances[nearest] <= self.limits[nearest] and (farther >= self.margins[nearest]).all()
        return self.names[nearest] if taken else None


@dataclass(frozen=True, eq=False)
class Lookalike:
    """A linear classifier of tissue that the model takes for carcinoma though it is none, which no distance tells:
    `weights` (C,) and a bias; above 0 it is such tissue."""

    weights: Floats
    bias: float

    def recognised(self, pooled: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) of pooled features (N, C)."""
        return np.asarray(np.asarray(pooled, np.float64) @ self.weights + self.bias > 0)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A Gaussian with what its distances, the out-of-distribution scores, mean: `limit` is the largest that passes;
    `others` (Q,), ascending, are the scores of true patches of patients that were held out. Of several laboratories
    there is also what tells them apart, and what is taken for carcinoma and is none."""

    gaussian: Gaussian
    limit: float
    others: Floats
    laboratories: Laboratories | None = None
    lookalike: Lookalike | None = None

    def p_value(self, score: float) -> float:
        """Share of true patches, of new patients, that score at least as high; 0..1."""
        return float((self.others >= score).mean())


def fit_gaussian(
    pooled: NDArray[np.floating],
    weights: NDArray[np.floating],
    axes: int,
    laboratories: NDArray[np.integer] | None = None,
) -> Gaussian:
    """The weighted Gaussian of (N, C) pooled features; `weights` (N,) need not sum to one. With `laboratories` (N,),
    each a number 0..L - 1, a mean for each and the covariance about them.

    Raises ValueError unless `axes` < min(N - 1, C): nothing would be left to measure the other directions by.
    """
    x = np.asarray(pooled, np.float64)
    if axes >= min(len(x) - 1, x.shape[1]):
        raise ValueError(f"{len(x)} images of {x.shape[1]} features do not carry {axes} axes and a rest.")
    share = np.asarray(weights, np.float64) / np.sum(weights)
    if laboratories is None:
        mean = share @ x
        centred = x - mean
    else:
        own = [laboratories == number for number in range(int(laboratories.max()) + 1)]
        mean = np.stack([share[one] @ x[one] / share[one].sum() for one in own])
        centred = x - mean[laboratories]
    scale = np.sqrt(share @ centred**2) + SMALLEST_SCALE
    z = centred / scale * np.sqrt(share)[:, None]
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
    values = {**_arrays(familiarity.gaussian), "others": familiarity.others}
    notes = {
        "rest": repr(familiarity.gaussian.rest),
        "limit": repr(familiarity.limit),
        "trunk": trunk,
        "enlarged": str(enlarged),
    }
    known = familiarity.laboratories
    if known is not None:
        values |= {f"{OF_LABORATORIES}{key}": value for key, value in _arrays(known.gaussian).items()}
        values |= {f"{OF_LABORATORIES}limits": known.limits, f"{OF_LABORATORIES}margins": known.margins}
        notes |= {"laboratories": json.dumps(known.names), f"{OF_LABORATORIES}rest": repr(known.gaussian.rest)}
    if familiarity.lookalike is not None:
        values |= {LOOKALIKE: familiarity.lookalike.weights}
        notes |= {LOOKALIKE: repr(familiarity.lookalike.bias)}
    save_file({key: np.ascontiguousarray(value, np.float32) for key, value in values.items()}, path, notes)
    path.chmod(0o644)


def _arrays(gaussian: Gaussian) -> dict[str, Floats]:
    return {part: getattr(gaussian, part) for part in GAUSSIAN}


def _gaussian(values: Mapping[str, Floats], notes: Mapping[str, str], of: str = "") -> Gaussian:
    mean, scale, axes, variances = (values[f"{of}{part}"] for part in GAUSSIAN)
    rest = float(notes[f"{of}rest"])
    if not ((scale > 0).all() and (variances > 0).all() and rest > 0):
        raise ValueError("no deviation or variance is 0, negative or no number")
    return Gaussian(mean, scale, axes, variances, rest)


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
            values = {key: np.asarray(file.get_tensor(key), np.float64) for key in file.keys()}  # noqa: SIM118
        known = None
        if "laboratories" in notes:
            limits, margins = (values[f"{OF_LABORATORIES}{key}"] for key in ("limits", "margins"))
            names = tuple(json.loads(notes["laboratories"]))
            known = Laboratories(names, _gaussian(values, notes, OF_LABORATORIES), limits, margins)
        lookalike = Lookalike(values[LOOKALIKE], float(notes[LOOKALIKE])) if LOOKALIKE in notes else None
        gaussian, limit = _gaussian(values, notes), float(notes["limit"])
        if not all(np.isfinite(one).all() for one in (*values.values(), limit, lookalike.bias if lookalike else 0)):
            raise ValueError("a value that is not finite: every image would be as near as any other")
        return Familiarity(gaussian, limit, values["others"], known, lookalike)
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path.name} is damaged or does not hold a gate's statistics; `dala gate` writes it."
        ) from error
