"""Models that have not seen an image's patient: the folds' networks that `crossvalidate` kept, and two baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.training.colour_only import colour_statistics
from dala.training.cross_validation import kept_networks
from dala.training.features import device_of, frozen_features, last_block, reduced_precision
from dala.training.task import colour_features, fitted_probe, folds_of
from dala.training.tasks.breakhis import BreakHis

FOLDS = 5  # those of the first repeat of `crossvalidate`
MODELS = ("dala_resnet50", "linear_probe", "colour_only")
CHUNK = 32

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Readers:
    """The models of every fold and the fold that each test group belongs to."""

    networks: tuple[DALAResNet50, ...]
    probes: tuple[tuple[Floats, Floats], ...]
    colours: tuple[tuple[Floats, Floats], ...]
    last_block: nn.Module  # ImageNet's own, for the linear probe
    fold_of: dict[str, int]
    enlarged: int


def readers(task: BreakHis, backbone: Backbone, runs: Path) -> Readers:
    """The networks that `crossvalidate` kept and baselines fitted anew, fold by fold."""
    tiles, folds = task.tiles(), folds_of(task, FOLDS, 1)
    frozen = frozen_features(task.features(tiles, backbone, task.folder(runs)), backbone)
    statistics = colour_features(tiles)
    return Readers(
        kept_networks(task, runs, FOLDS),
        tuple(fitted_probe(frozen, task.labels, task.groups, fold.training) for fold in folds),
        tuple(fitted_probe(statistics, task.labels, task.groups, fold.training) for fold in folds),
        last_block(backbone),
        {str(group): fold.number for fold in folds for group in task.groups[fold.test]},
        task.recipe.enlarged,
    )


def analysed(images: Pixels, groups: NDArray[np.str_], by: Readers) -> dict[str, Floats]:
    """Probability of malignant, (N,), by each of MODELS, of images (N, S, S, 3) uint8 of these groups.

    A group that no fold knows is analysed by all folds; its probability is their mean.
    """

    device, folds = device_of(), range(len(by.networks))
    answers = {name: np.zeros((len(folds), len(images))) for name in MODELS}
    asked = np.array([[by.fold_of.get(str(group), fold) == fold for group in groups] for fold in folds])
    trunk, last = by.networks[0].trunk.to(device), by.last_block.to(device)
    with torch.no_grad(), reduced_precision(device):
        for start in range(0, len(images), CHUNK):
            part = slice(start, start + CHUNK)
            maps = trunk(network_input(images[part], by.enlarged).to(device))
            features = last(maps).double().cpu().numpy()
            for fold, net in enumerate(by.networks):
                mine = np.flatnonzero(asked[fold, part])
                if len(mine):
                    logits = net.to(device).head(net.tail(maps[torch.from_numpy(mine).to(device)])).double().cpu()
                    answers["dala_resnet50"][fold, start + mine] = softmax(logits.numpy())[:, 1]
            for fold, (rows, biases) in enumerate(by.probes):
                answers["linear_probe"][fold, part] = softmax(features @ rows.T + biases)[:, 1]
    statistics = colour_statistics(images)
    for fold, (rows, biases) in enumerate(by.colours):
        answers["colour_only"][fold] = softmax(statistics @ rows.T + biases)[:, 1]
    return {name: (values * asked).sum(0) / asked.sum(0) for name, values in answers.items()}


def sample(groups: NDArray[np.str_], each: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of up to `each` images of every group, drawn at random, ascending."""
    random = np.random.default_rng(seed)
    chosen = [random.permutation(np.flatnonzero(groups == group))[:each] for group in sorted(set(groups))]
    return np.sort(np.concatenate(chosen))
