"""How often is it wrong, on whose patients: every task's network and its baselines on the same grouped folds.

A fold's answers are kept on disk as soon as they are made: a killed run goes on where it was. Every number is about
images whose patient group the model did not see in training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dala.data.pixels import Progress
from dala.errors import DataError
from dala.files import replacing, write_json, write_text
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.nets.staged import StagedNetwork
from dala.runtime.calibration import softmax
from dala.training.features import TrunkFeatures, apply_to_view, imagenet_resnet50
from dala.training.fine_tune import fine_tune
from dala.training.recipe import Recipe
from dala.training.task import Baseline, Floats, Fold, Indices, Results, Task, folds_of, mean_vote, pooled, scored
from dala.words import counted

NETWORK = "dala_resnet50"

Make = Callable[[int], StagedNetwork]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Logits (repeats, T, C) by view of tiles whose group was not in training, NaN where not tested; image: (T,), which
    image each tile is of."""

    logits: dict[str, Floats]
    image: Indices
    minutes: float

    @property
    def probabilities(self) -> Floats:
        """By the plain view and the mean of an image's tiles: (repeats, N) of the second of two classes, or
        (repeats, N, C)."""
        return self.of("plain")

    def of(self, view: str) -> Floats:
        """The same by another view."""
        # The softmax here, in float64: in bfloat16 every probability above .998 would be 1.
        return pooled([mean_vote(softmax(logits), self.image) for logits in self.logits[view]])


def held_out(
    make: Make,
    features: TrunkFeatures,
    task: Task[Any],
    recipe: Recipe,
    folder: Path,
    folds: Sequence[Fold],
    keep: Path | None = None,
) -> HeldOut:
    """Fine-tune `make(seed)` on every fold and ask it for its test images, by every view of the task that there is.

    What is found in `folder` is not trained again. keep: where the networks of the first repeat are kept, if anywhere.
    """
    views = [view for view in task.views if view in features.views]
    shape = (max(fold.repeat for fold in folds) + 1, len(features.image), len(task.classes))
    logits = {view: np.full(shape, np.nan) for view in views}
    minutes = 0.0
    for fold in folds:
        answers = fold_answers(make, features, task, recipe, folder, fold, views, keep)
        test = features.tiles_of(fold.test)
        for view in views:
            logits[view][fold.repeat, test] = answers[view]
        minutes += float(answers["minutes"])
    return HeldOut(logits, features.image, minutes)


def fold_answers(
    make: Make,
    features: TrunkFeatures,
    task: Task[Any],
    recipe: Recipe,
    folder: Path,
    fold: Fold,
    views: Sequence[str] = ("plain",),
    keep: Path | None = None,
) -> dict[str, Floats]:
    """One fold of `held_out`: logits (test tiles, C) by view, and the minutes that it took."""
    done = folder / f"fold-{fold.repeat}-{fold.number}-of-{fold.folds}.npz"
    # The networks of one division serve every later question about new patients.
    network = None if keep is None or fold.repeat else keep / f"{fold.number}.safetensors"
    if not done.is_file() or (network is not None and not network.is_file()):
        started = time.monotonic()
        labels, groups = task.labels[features.image], task.groups[features.image]
        training, test = features.tiles_of(fold.training), features.tiles_of(fold.test)
        net = fine_tune(make(fold.seed), features, labels, groups, training, recipe, fold.seed, done.with_suffix(""))
        rest = nn.Sequential(net.tail, net.head)
        answers = {view: apply_to_view(rest, features, view, test) for view in views}
        if network is not None:
            with replacing(network) as partial:
                save_file({name: value.contiguous() for name, value in net.state_dict().items()}, partial)
        minutes = np.array((time.monotonic() - started) / 60)
        with replacing(done) as partial:
            np.savez(partial, minutes=minutes, **answers)  # type: ignore[arg-type]
    with np.load(done) as kept:
        return {name: kept[name] for name in (*views, "minutes")}


def dala_resnet50(task: Task[Any], recipe: Recipe, backbone: Backbone) -> Callable[[int], DALAResNet50]:
    """What makes the task's network by its seed."""
    return lambda seed: imagenet_resnet50(backbone, len(task.classes), recipe.dropout, seed)


def network_folder(folder: Path, backbone: Backbone, name: str = NETWORK) -> Path:
    """Where the folds of a network that started from `backbone` are kept; cross-validation, benchmark and ablation
    share them."""
    return folder / f"{name}-{Path(backbone.source).stem}"


def kept_networks(task: Task[Any], runs: Path, folds: int) -> tuple[DALAResNet50, ...]:
    """The networks of the first repeat's folds, as `cross_validate` left them; DataError where one is missing."""
    networks = []
    for number in range(folds):
        path = _networks(task, runs, folds) / f"{number}.safetensors"
        if not path.is_file():
            raise DataError(f"The folds' networks are missing; `{task.command}` keeps them.")
        net = DALAResNet50(classes=len(task.classes))
        net.load_state_dict(load_file(path))
        networks.append(net.eval().requires_grad_(False).to(memory_format=torch.channels_last))
    return tuple(networks)


def _networks(task: Task[Any], runs: Path, folds: int) -> Path:
    """Where the networks of the first repeat's folds are kept."""
    return task.folder(runs) / f"networks-of-{folds}"


def cross_validate(
    task: Task[Any], backbone: Backbone, runs: Path, folds: int, repeats: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Repeated grouped cross-validation of the task's recipe beside its baselines on the same folds; ready for JSON."""
    task.check()
    splits = folds_of(task, folds, repeats)  # first: what cannot be divided costs nothing
    folder = task.folder(runs)
    tiles = task.tiles(progress)
    features = task.features(tiles, backbone, folder)
    network = held_out(
        dala_resnet50(task, task.recipe, backbone), features, task, task.recipe,
        network_folder(folder, backbone), splits, _networks(task, runs, folds),
    )  # fmt: skip
    predictions = {NETWORK: network.probabilities}
    votes = [task.votes(logits, tiles) for logits in network.logits["plain"]]
    predictions |= {f"{NETWORK}_{name}": pooled([vote[name] for vote in votes]) for name in votes[0]}
    predictions |= {f"{NETWORK}_{view}": network.of(view) for view in network.logits if view != "plain"}
    for name, baseline in task.baselines(tiles, features, backbone, folder).items():
        predictions[name] = answers_of(baseline, features, len(task.classes), splits)
    record = record_of(task, backbone, folder, predictions, folds, repeats)
    if len(tiles.image) > len(task.records):
        record["data"]["tiles"] = len(tiles.image)
    return record


def answers_of(baseline: Baseline, features: TrunkFeatures, classes: int, folds: Sequence[Fold]) -> Floats:
    """What a baseline says of each fold's test images, as `HeldOut.probabilities`; repeats that it leaves out are
    missing."""
    repeats: dict[int, Floats] = {}
    for fold in folds:
        test = features.tiles_of(fold.test)
        answer = baseline(fold, features.tiles_of(fold.training), test)
        if answer is not None:
            repeats.setdefault(fold.repeat, np.full((len(features.image), classes), np.nan))[test] = answer
    return pooled([mean_vote(p, features.image) for p in repeats.values()])


def record_of(
    task: Task[Any], backbone: Backbone, folder: Path, predictions: dict[str, Floats], folds: int, repeats: int
) -> dict[str, Any]:
    """The evidence of a cross-validation, for JSON, of the images that were tested."""
    network = predictions[NETWORK]
    tested = np.asarray(np.isfinite(network.reshape(repeats, len(task.labels), -1)).all(axis=(0, 2)))
    labels, groups = task.labels[tested], task.groups[tested]
    predictions = {name: p[:, tested] for name, p in predictions.items()}
    scores = {name: dict(scored(labels, p, groups, task.classes)) for name, p in predictions.items()}
    results = Results(labels, groups, task.laboratories[tested], predictions, scores, folds, backbone, folder)
    return {
        "protocol": task.protocol(f"{counted(folds, 'fold')}, {counted(repeats, 'repeat')}"),
        "command": task.command,
        "data": task.described(),
        "imagenet": backbone.source,
        "recipe": task.recipe.record,
        "scores": scores,
        "explained": dict(task.explained),
        **task.findings(results),
        "predictions": {
            "files": [record.path.name for record, here in zip(task.records, tested, strict=True) if here],
            **({} if len(task.classes) == 2 else {"classes": list(task.classes)}),
            "labels": labels.tolist(),
            "groups": [str(group) for group in groups],
            "probabilities": {name: p.round(task.decimals).tolist() for name, p in predictions.items()},
        },
    }


def write_evidence(path: Path, record: dict[str, Any]) -> None:
    """Write a cross-validation: its figures to `path`, every held-out prediction to NAME_predictions.json beside it."""
    head = {key: record[key] for key in ("protocol", "command", "data", "imagenet", "recipe")}
    rows = json.dumps({**head, **record["predictions"]}, ensure_ascii=False, allow_nan=False)
    write_text(path.with_name(f"{path.stem}_predictions.json"), rows + "\n")
    write_json(path, {key: value for key, value in record.items() if key != "predictions"})
