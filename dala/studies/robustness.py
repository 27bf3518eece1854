"""What is left of the verdicts when an image is stained, lit, focused, saved or framed differently.

Every image is judged by the network of the fold that has not seen its patient, those that `crossvalidate` kept, and
beside it by the linear probe and by colour alone, fitted on the same unchanged training images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import bootstrap
from torch import nn

from dala.data import breakhis
from dala.data import perturb as changes_module
from dala.data.perturb import CHANGES, Change
from dala.data.pixels import load_pixels
from dala.data.splits import grouped_folds
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.runtime.colour_only import colour_statistics
from dala.stats.metrics import Interval, binary_scores, with_intervals
from dala.training.evaluate import described, fitted_probe, frozen_features, kept_networks, last_block, write_json
from dala.training.features import device_of, reduced_precision, trunk_features
from dala.training.recipe import SIZE, Recipe

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

FOLDS = 5  # those of the first repeat of `crossvalidate`
MODELS = ("dala_resnet50", "linear_probe", "colour_only")
CHUNK = 32


@dataclass(frozen=True, eq=False)
class Judges:
    """The models of every fold and the test groups that each may judge."""

    networks: tuple[DALAResNet50, ...]
    probes: tuple[tuple[Floats, Floats], ...]
    colours: tuple[tuple[Floats, Floats], ...]
    last_block: nn.Module  # ImageNet's own, for the linear probe
    fold_of: dict[str, int]
    enlarged: int


def judges(dataset: breakhis.Dataset, pixels: Pixels, backbone: Backbone, recipe: Recipe, folder: Path) -> Judges:
    """Networks from `folder` and baselines fitted anew, fold by fold; pixels: (N, 224, 224, 3) uint8."""
    labels, groups = dataset.labels, dataset.groups
    splits = grouped_folds(labels, groups, FOLDS, seed=0)
    frozen = frozen_features(trunk_features(pixels, backbone, recipe, folder), backbone)
    statistics = colour_statistics(pixels)
    return Judges(
        kept_networks(folder, FOLDS),
        tuple(fitted_probe(frozen, labels, groups, training) for training, _ in splits),
        tuple(fitted_probe(statistics, labels, groups, training) for training, _ in splits),
        last_block(backbone),
        {str(group): number for number, (_, test) in enumerate(splits) for group in groups[test]},
        recipe.enlarged,
    )


def judged(images: Pixels, groups: NDArray[np.str_], by: Judges) -> dict[str, Floats]:
    """Probability of malignant, (N,), by each of MODELS, of images (N, S, S, 3) uint8 of these groups.

    A group that no fold knows is judged by all folds; its probability is their mean.
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


def robustness(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    path: Path,
    each: int,
    originals: breakhis.Dataset | None = None,
    changes: Sequence[Change] = CHANGES,
    progress: Callable[[str], Progress] | None = None,
) -> dict[str, Any]:
    """Judge up to `each` images of every group under every change and write the table to `path` as it grows.

    `originals`: published images at every magnification, for the look beyond the one that was trained on. What is
    judged is kept in `folder`: a killed run goes on where it was.
    """
    pixels = load_pixels(dataset.records, SIZE)
    chosen = sample(dataset.groups, each)
    labels, groups = dataset.labels[chosen], dataset.groups[chosen]
    by = judges(dataset, pixels, backbone, recipe, folder)
    # A change of the code that changes images makes other images.
    made = hashlib.sha256(Path(changes_module.__file__).read_bytes()).hexdigest()[:8]
    bars = progress or (lambda name: lambda done, total: None)

    def answers(name: str, make: Callable[[], Pixels], owners: NDArray[np.str_]) -> dict[str, Floats]:
        done = folder / f"robustness-{each}-{made}" / f"{name.replace(' ', '_')}.npz"
        if not done.is_file():
            done.parent.mkdir(parents=True, exist_ok=True)
            found = judged(make(), owners, by)
            partial = done.with_suffix(".partial.npz")
            np.savez(partial, **found)  # type: ignore[arg-type]
            partial.replace(done)
        with np.load(done) as kept:
            return {model: kept[model] for model in MODELS}

    plain = answers("unchanged", lambda: pixels[chosen], groups)
    record: dict[str, Any] = {
        "protocol": f"images judged by the network of the fold ({FOLDS} folds by accession number, the first repeat "
        f"of the cross-validation) that has not seen their patient, before calibration; up to {each} images, drawn "
        "at random, of every accession group, each changed alike at every strength; threshold 0.5; 95 % intervals: "
        "bootstrap over accession groups; the shift is the mean over the patients of the change of the true class's "
        "probability",
        "command": f"python -m dala robustness breakhis --data ROOT --originals DIR --each {each}",
        "data": described(dataset) | {"pictures": len(chosen)},
        "imagenet": backbone.source,
        "recipe": recipe.record,
        "models": list(MODELS),
        "unchanged": {model: scored(labels, plain[model], plain[model], groups) for model in MODELS},
        "changes": {},
        "originals": [] if originals is None else _originals(originals, answers),
    }
    steps, total = 0, sum(len(change.levels) for change in changes)
    bar = bars("changed images")
    for change in changes:
        levels = []
        for level in change.levels:
            found = plain
            if level != change.neutral:

                def make(change: Change = change, level: float = level) -> Pixels:
                    return np.stack([
                        change.apply(pixels[index], level, np.random.default_rng((0, int(index)))) for index in chosen
                    ])  # fmt: skip

                found = answers(f"{change.name} {level:g}", make, groups)
            rows = {model: scored(labels, found[model], plain[model], groups) for model in MODELS}
            levels.append({"level": level, **rows[MODELS[0]], **{model: rows[model] for model in MODELS[1:]}})
            steps += 1
            bar(steps, total)
        record["changes"][change.name] = {"unit": change.unit, "about": change.about, "levels": levels}
        write_json(path, record)
    return record


def scored(labels: NDArray[np.int64], answer: Floats, plain: Floats, groups: NDArray[np.str_]) -> dict[str, Interval]:
    """AUC, balanced accuracy, and the mean over the groups of the change of the true class's probability."""
    scores = with_intervals(labels, answer, groups)
    shift = np.where(labels == 1, 1, -1) * (answer - plain)
    return {"auc": scores["auc"], "balanced_accuracy": scores["balanced_accuracy"], "shift": mean_shift(shift, groups)}


def mean_shift(shift: Floats, groups: NDArray[np.str_], seed: int = 0) -> Interval:
    """Mean over the groups of a group's mean, with a percentile bootstrap over groups (None for a single group)."""
    means = np.array([shift[groups == group].mean() for group in sorted(set(groups))])
    value = float(means.mean())
    if len(means) < 2:
        return {"value": value, "low": None, "high": None}
    if np.ptp(means) == 0:
        return {"value": value, "low": value, "high": value}
    found = bootstrap((means,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(seed))
    return {"value": value, "low": float(found.confidence_interval.low), "high": float(found.confidence_interval.high)}


def _originals(
    originals: breakhis.Dataset,
    answers: Callable[[str, Callable[[], Pixels], NDArray[np.str_]], dict[str, Floats]],
) -> list[dict[str, Any]]:
    """A row a magnification of the published images; so few that only counts are given with the AUC."""
    pixels = load_pixels(originals.records, SIZE)
    found = answers(f"originals {len(pixels)}", lambda: pixels, originals.groups)
    magnification = np.array([record.magnification for record in originals.records])
    rows = []
    for at in sorted(set(magnification.tolist())):
        here = magnification == at
        labels = originals.labels[here]
        row: dict[str, Any] = {
            "magnification": at,
            "pictures": int(here.sum()),
            "groups": len(set(originals.groups[here])),
            "benign": int((labels == 0).sum()),
        }
        for model in MODELS:
            answer = found[model][here]
            right = int(((answer >= 0.5) == labels).sum())
            row[model] = {"right": right, "auc": binary_scores(labels, answer)["auc"]}
        rows.append(row)
    return rows
